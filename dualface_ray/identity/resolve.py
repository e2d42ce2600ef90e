"""Resolve: from named tracks to a box for each person in every frame of a window.

Offline both sides of a gap are usually known: boxes between two sights are interpolated (detected when they are near,
predicted across an occlusion); after the last sight the motion model takes over until the person counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dualface_ray.identity import constants as c
from dualface_ray.identity.knots import Frame, Knot, bends, bent, drift, knots_of, mix, passing
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.overlaps import fill_overlaps, hide_behind
from dualface_ray.identity.sights import OTHER
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import PERSONS, PersonState, PersonTrack, TrackedFrame

_ABSENT = PersonTrack(PersonState.ABSENT, None, 0.0)


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
        if gap <= max_predict_s and gap_widths(before.box, after.box) < c.HIDDEN_MOVE_WIDTHS + c.HIDDEN_SPEED * gap:
            fade = math.exp(-min(since, after.t_s - t_s) / c.SCORE_DECAY_S)
            later = path[at + 1] if at + 1 < len(path) else None
            box = bent(before, after, t_s, passing(before, after, later))
            return PersonTrack(PersonState.PREDICTED, box, before.score * fade)
    limit = {"left": c.LEFT_S, "changed": 0.0}.get(before.ended, max_predict_s)
    if since > limit:
        return _ABSENT
    box = drift(before, t_s)
    if not (0 < box[0] + box[2] < 2 * size[0] and 0 < box[1] + box[3] < 2 * size[1]):
        return _ABSENT
    fade = math.exp(-since / c.SCORE_DECAY_S)
    state = PersonState.DETECTED if not before.ended and since <= 0.5 * c.INTERPOLATE_S else PersonState.PREDICTED
    return PersonTrack(state, box, before.score * fade)


def _column(
    path: Sequence[Knot], frames: Sequence[Frame], size: tuple[float, float], max_predict_s: float
) -> list[PersonTrack]:
    """One person in each of these consecutive frames."""
    column: list[PersonTrack] = []
    at, count, number = 0, len(path), len(frames)
    while (k := len(column)) < number:
        frame = frames[k]
        while at < count and path[at].frame <= frame.index:
            at += 1
        if 0 < at < count and _followed(path[at - 1], path[at]):
            later = path[at + 1] if at + 1 < count else None
            until = min(number, k + path[at].frame - frame.index)
            column += _between(path[at - 1], path[at], later, frames[k:until])
        else:
            column.append(person_track(path, at, frame, size, max_predict_s))
    return column


def _followed(a: Knot, b: Knot) -> bool:
    """Whether the same face was followed from one sight to the next: the way between them counts as seen."""
    if a.track_id != b.track_id or b.after_miss or a.shot != b.shot or a.ended == "left":
        return False
    return b.t_s - a.t_s <= c.INTERPOLATE_S


def _between(a: Knot, b: Knot, later: Knot | None, frames: Sequence[Frame]) -> list[PersonTrack]:
    """The frames from one sight on to before the next one."""
    speeds = bends(a, b, later)
    result = []
    for frame in frames:
        t_s = frame.t_s
        if frame.index == a.frame:
            result.append(PersonTrack(PersonState.DETECTED, a.box, a.score))
            continue
        w = (t_s - a.t_s) / (b.t_s - a.t_s)
        box = mix(a, b, t_s) if speeds is None else bent(a, b, t_s, speeds)
        result.append(PersonTrack(PersonState.DETECTED, box, a.score * (1.0 - w) + b.score * w))
    return result


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

    A doubt that begins later does not count yet: it will most likely be settled before it is shown. Nor does one in
    which one of the two is followed: who the other face is, the other person or a stranger, showing both cannot help.
    """
    followed = {track.person for track in tracker.tracks if not track.closed}
    starts = [x.start for x in tracker.crossings if x.resolved < 0 and x.start <= due and len(x.persons) > 1]
    if followed.isdisjoint(PERSONS):
        starts += [
            track.born
            for track in tracker.tracks
            if not track.person and not track.closed and track.guess not in ("", OTHER) and track.born <= due
        ]
    return starts


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
    columns = [_column(knots[name], frames, size, max_predict_s) for name in PERSONS]
    hide_behind(columns, knots, frames)
    tracked = [
        TrackedFrame(f.index, f.pts_ticks, f.shot, a, b, f.index < doubt)
        for f, a, b in zip(frames, *columns, strict=True)
    ]
    return tracked, knots
