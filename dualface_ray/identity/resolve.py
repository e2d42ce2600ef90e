"""Resolve: from named tracks to a box for each person in every frame of a window.

Offline both sides of a gap are usually known: boxes between two sights are interpolated (detected when they are near,
predicted across an occlusion); after the last sight the motion model takes over until the person counts as absent.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from dualface_ray.frames import F32
from dualface_ray.identity import constants as c
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.sights import OTHER, Sight, Track, look_distance
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import PERSONS, Box, PersonState, PersonTrack, TrackedFrame

_ABSENT = PersonTrack(PersonState.ABSENT, None, 0.0)


@dataclass(slots=True)
class Knot:
    """A sight that belongs to a person, and what ended the track after it ("" = it went on)."""

    frame: int
    t_s: float
    box: Box
    score: float
    vx: float
    vy: float
    shot: int
    ended: str = ""
    since: int = -2
    """For a track's first sight: the last examined frame without it (-1 = none); -2 for every other sight."""
    after_miss: bool = False
    track_id: int = -1
    """-1 = a loose face."""


@dataclass(slots=True)
class Frame:
    """One frame of the window: index, time stamp, seconds, shot."""

    index: int
    pts_ticks: int
    t_s: float
    shot: int


def knots_of(tracker: Tracker, name: str, shown: Knot | None) -> list[Knot]:
    """All sights of a person (decided or likeliest) after the last knot that was shown, in order."""
    after = shown.frame if shown is not None else -1
    found: dict[int, Knot] = {}
    if shown is not None:
        found[shown.frame] = shown
    for track in tracker.tracks:
        if (track.person or track.guess) != name:
            continue
        last = track.sights[-1]
        for sight in track.sights:
            if sight.frame > after:
                knot = _knot(sight, track.shot)
                knot.track_id = track.track_id
                if sight.frame == track.born:
                    knot.since = track.since
                if sight is last:
                    knot.ended = _ended(tracker, track)
                known = found.get(sight.frame)
                if known is None or track.person:
                    found[sight.frame] = knot
            elif shown is not None and sight.frame == shown.frame and sight is last:
                shown.ended = _ended(tracker, track)
    return [found[frame] for frame in sorted(found)]


def _ended(tracker: Tracker, track: Track) -> str:
    """What came after a track's last sight: "" while it is still followed."""
    if track.closed or track.missed_from < 0:
        return track.closed
    return "left" if tracker.edge_of(track) else "missed"


def _knot(sight: Sight, shot: int) -> Knot:
    return Knot(sight.frame, sight.t_s, sight.box, sight.score, sight.vx, sight.vy, shot, after_miss=sight.after_miss)


def fill_overlaps(tracker: Tracker, knots: dict[str, list[Knot]]) -> None:
    """Give the loose faces of overlaps to whoever's path and looks they fit; the frames around stay predicted."""
    by_frame: dict[int, list[Sight]] = {}
    for sight in tracker.loose:
        by_frame.setdefault(sight.frame, []).append(sight)
    for frame in sorted(by_frame):
        sights = by_frame[frame]
        options: list[tuple[float, str, int]] = []
        for name in PERSONS:
            place = _path_box(knots[name], sights[0].t_s)
            if place is None:
                continue
            options += [(_misfit(place, s, tracker.persons[name].look), name, i) for i, s in enumerate(sights)]
        for number, (place, look) in enumerate(_strangers(tracker, sights[0].t_s)):
            options += [(_misfit(place, sight, look), f"{number}", i) for i, sight in enumerate(sights)]
        used_names: set[str] = set()
        used: set[int] = set()
        for misfit, name, i in sorted(options):
            if misfit == math.inf or name in used_names or i in used:
                continue
            used_names.add(name)
            used.add(i)
            if name not in knots:
                continue
            path = knots[name]
            at = bisect_right([k.frame for k in path], frame)
            if at and path[at - 1].frame == frame:
                continue
            knot = _knot(sights[i], tracker.shot)
            knot.after_miss = True
            if at:
                knot.ended = path[at - 1].ended or "overlap"
            path.insert(at, knot)


def _misfit(place: Box, sight: Sight, look: F32 | None) -> float:
    """How badly a loose face fits a path, in widths and the like; inf = not at all."""
    far = gap_widths(place, sight.box)
    grown = abs(math.log((sight.box[3] - sight.box[1]) / max(place[3] - place[1], 1e-6)))
    if far > c.LOOSE_WIDTHS or grown > c.LOOSE_SIZE:
        return math.inf
    return far + 2 * grown + 2 * (look_distance(sight.look, look) or 0.0)


def _strangers(tracker: Tracker, t_s: float) -> list[tuple[Box, F32 | None]]:
    """Where the faces that are nobody's of the two should be, from just before or just after an overlap."""
    places: list[tuple[Box, F32 | None]] = []
    for track in tracker.tracks:
        if track.person != OTHER or not track.sights:
            continue
        first, last = track.sights[0], track.last
        if last.t_s <= t_s <= last.t_s + c.LOOSE_STRANGER_S:
            places.append((_drift(_knot(last, track.shot), t_s), track.look))
        elif first.frame == track.born and t_s < first.t_s <= t_s + c.LOOSE_STRANGER_S and len(track.sights) > 1:
            second = track.sights[1]
            places.append((_mix(_knot(first, track.shot), _knot(second, track.shot), t_s), track.look))
    return places


def _path_box(path: Sequence[Knot], t_s: float) -> Box | None:
    before = [k for k in path if k.t_s <= t_s]
    after = [k for k in path if k.t_s > t_s]
    if before and after and before[-1].shot == after[0].shot:
        return _mix(before[-1], after[0], t_s)
    if before and t_s - before[-1].t_s < c.INTERPOLATE_S:
        return _drift(before[-1], t_s)
    return None


def _mix(a: Knot, b: Knot, t_s: float) -> Box:
    w = (t_s - a.t_s) / (b.t_s - a.t_s)
    p, q, v = a.box, b.box, 1.0 - w
    return p[0] * v + q[0] * w, p[1] * v + q[1] * w, p[2] * v + q[2] * w, p[3] * v + q[3] * w


def _drift(a: Knot, t_s: float) -> Box:
    reach = c.SPEED_DECAY_S * (1.0 - math.exp(-max(0.0, t_s - a.t_s) / c.SPEED_DECAY_S))
    dx, dy = a.vx * reach, a.vy * reach
    p = a.box
    return p[0] + dx, p[1] + dy, p[2] + dx, p[3] + dy


def person_track(
    path: Sequence[Knot], at: int, frame: Frame, size: tuple[float, float], max_predict_s: float
) -> PersonTrack:
    """One person in one frame of a video of this size; ``at`` is the number of knots at or before the frame."""
    t_s = frame.t_s
    before = path[at - 1] if at else None
    if before is not None and before.frame == frame.index:
        return PersonTrack(PersonState.DETECTED, before.box, before.score)
    after = path[at] if at < len(path) else None
    if before is not None and before.shot != frame.shot:
        before = None
    if after is not None and after.shot != frame.shot:
        after = None
    if after is not None and (before is None or before.ended == "left"):
        entering = _entering(path, at, frame)
        if entering is not None:
            return entering
    if before is None:
        return _ABSENT
    since = t_s - before.t_s
    if after is not None and before.ended != "left":
        gap = after.t_s - before.t_s
        w = since / gap
        if gap <= c.INTERPOLATE_S and before.track_id == after.track_id and not after.after_miss:
            return PersonTrack(PersonState.DETECTED, _mix(before, after, t_s), before.score * (1 - w) + after.score * w)
        if gap <= max_predict_s and gap_widths(before.box, after.box) < 1.0 + 3.0 * gap:
            fade = math.exp(-min(since, after.t_s - t_s) / c.SCORE_DECAY_S)
            return PersonTrack(PersonState.PREDICTED, _mix(before, after, t_s), before.score * fade)
    limit = c.LEFT_S if before.ended == "left" else max_predict_s
    if since > limit:
        return _ABSENT
    box = _drift(before, t_s)
    if not (0 < box[0] + box[2] < 2 * size[0] and 0 < box[1] + box[3] < 2 * size[1]):
        return _ABSENT
    fade = math.exp(-since / c.SCORE_DECAY_S)
    state = PersonState.DETECTED if not before.ended and since <= 0.5 * c.INTERPOLATE_S else PersonState.PREDICTED
    return PersonTrack(state, box, before.score * fade)


def _hide_behind(columns: list[list[PersonTrack]], knots: dict[str, list[Knot]], frames: Sequence[Frame]) -> None:
    """Somebody who vanished in an overlap and has not come out is behind the other face: the box stays there."""
    for me, name in enumerate(PERSONS):
        last = next((k for k in reversed(knots[name]) if k.ended == "overlap"), None)
        if last is None or last is not knots[name][-1]:
            continue
        for k, frame in enumerate(frames):
            mine, other = columns[me][k], columns[1 - me][k]
            if frame.index <= last.frame or mine.box_px is None or other.box_px is None or frame.shot != last.shot:
                continue
            p, q = mine.box_px, other.box_px
            off = 0.5 * (p[0] + p[2] - q[0] - q[2])
            reach = c.HIDDEN_REACH_WIDTHS * (q[2] - q[0])
            if abs(off) > reach:
                dx = math.copysign(reach, off) - off
                columns[me][k] = PersonTrack(mine.state, (p[0] + dx, p[1], p[2] + dx, p[3]), mine.score)


def _entering(path: Sequence[Knot], at: int, frame: Frame) -> PersonTrack | None:
    """The box of somebody who has just come in, between the last frame without and the first sight; else None."""
    first = path[at]
    if first.since < -1 or first.t_s - frame.t_s > c.CHANGE_SPACING_S or 2 * frame.index <= first.since + first.frame:
        return None
    vx = vy = 0.0
    if at + 1 < len(path) and path[at + 1].shot == first.shot:
        later = path[at + 1]
        dt = later.t_s - first.t_s
        vx = 0.5 * (later.box[0] + later.box[2] - first.box[0] - first.box[2]) / dt
        vy = 0.5 * (later.box[1] + later.box[3] - first.box[1] - first.box[3]) / dt
    dt = frame.t_s - first.t_s
    p = first.box
    box = p[0] + vx * dt, p[1] + vy * dt, p[2] + vx * dt, p[3] + vy * dt
    return PersonTrack(PersonState.PREDICTED, box, first.score * math.exp(dt / c.SCORE_DECAY_S))


def uncertain_from(tracker: Tracker, due: int) -> list[int]:
    """First frames of the doubts that reach into what is shown now; they last to the end of the window.

    A doubt that begins later does not count yet: it will most likely be settled before it is shown.
    """
    starts = [
        track.born
        for track in tracker.tracks
        if not track.person and not track.closed and track.guess not in ("", OTHER) and track.born <= due
    ]
    return starts + [x.start for x in tracker.crossings if x.resolved < 0 and x.start <= due]


def resolve(
    tracker: Tracker, frames: Sequence[Frame], shown: dict[str, Knot | None], due: int, max_predict_s: float
) -> tuple[list[TrackedFrame], dict[str, list[Knot]]]:
    """Both persons in each frame of the window, as far as is known now; also the knots they were made from.

    Args:
        tracker: after the last examined frame of the window.
        frames: consecutive frames, the first one not yet shown.
        shown: for each person the last knot at or before the frames already shown.
        due: the last frame that will be shown now.
        max_predict_s: how long a box is predicted.
    """
    knots = {name: knots_of(tracker, name, shown[name]) for name in PERSONS}
    if tracker.loose:
        fill_overlaps(tracker, knots)
    doubt = min(uncertain_from(tracker, due), default=1 << 62)
    size = tracker.width, tracker.height
    columns = []
    for name in PERSONS:
        path = knots[name]
        at, count = 0, len(path)
        column = []
        for frame in frames:
            while at < count and path[at].frame <= frame.index:
                at += 1
            column.append(person_track(path, at, frame, size, max_predict_s))
        columns.append(column)
    _hide_behind(columns, knots, frames)
    tracked = [
        TrackedFrame(f.index, f.pts_ticks, f.shot, a, b, f.index < doubt)
        for f, a, b in zip(frames, *columns, strict=True)
    ]
    return tracked, knots
