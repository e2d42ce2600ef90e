"""Overlaps: what can be said of faces that cover each other, once it is known who came out where."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from dualface_ray.frames import F32
from dualface_ray.identity import constants as c
from dualface_ray.identity.knots import Frame, Knot, drift, mix, to_knot
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.sights import OTHER, Sight, look_distance
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import PERSONS, Box, PersonTrack


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
            knot = to_knot(sights[i], tracker.shot)
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
            places.append((drift(to_knot(last, track.shot), t_s), track.look))
        elif first.frame == track.born and t_s < first.t_s <= t_s + c.LOOSE_STRANGER_S and len(track.sights) > 1:
            second = track.sights[1]
            places.append((mix(to_knot(first, track.shot), to_knot(second, track.shot), t_s), track.look))
    return places


def _path_box(path: Sequence[Knot], t_s: float) -> Box | None:
    before = [k for k in path if k.t_s <= t_s]
    after = [k for k in path if k.t_s > t_s]
    if before and after and before[-1].shot == after[0].shot:
        return mix(before[-1], after[0], t_s)
    if before and t_s - before[-1].t_s < c.INTERPOLATE_S:
        return drift(before[-1], t_s)
    return None


def hide_behind(columns: list[list[PersonTrack]], knots: dict[str, list[Knot]], frames: Sequence[Frame]) -> None:
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
