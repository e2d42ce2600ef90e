"""Overlaps: what can be said of faces that cover each other, once it is known who came out where."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from dualface_ray.frames import F32
from dualface_ray.identity import constants as c
from dualface_ray.identity.knots import Frame, Knot, bent, drift, mix, passing, to_knot
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.sights import OTHER, Sight, look_distance
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import PERSONS, Box, PersonTrack


def fill_overlaps(tracker: Tracker, knots: dict[str, list[Knot]]) -> None:
    """Give the loose faces of overlaps to whoever they decisively belong to; the frames around stay predicted.

    A face that is followed through an overlap is one person's all the way, so all its sights are judged together, by
    place, size and looks. Where another person (or a stranger) fits nearly as well, nobody is said to have been seen.
    """
    faces = _chains(tracker.loose)
    for number, face in enumerate(faces):
        fits = _fits(tracker, knots, face)
        others = [_fits(tracker, knots, other) for k, other in enumerate(faces) if k != number and _meet(face, other)]
        for name in PERSONS:
            if name in fits and _lead(name, fits, others) >= c.LOOSE_LEAD:
                _claim(knots[name], face, tracker.shot)
                break


def _chains(loose: Sequence[Sight]) -> list[list[Sight]]:
    """Loose sights of the same face in a row, in order; a new row where it is not clear which one goes on."""
    done: list[list[Sight]] = []
    open_rows: list[list[Sight]] = []
    for frame in sorted({s.frame for s in loose}):
        sights = [s for s in loose if s.frame == frame]
        nearest = {id(s): [row for row in open_rows if _goes_on(row, s)] for s in sights}
        rows: list[list[Sight]] = []
        for sight in sights:
            fitting = nearest[id(sight)]
            rivals = [s for s in sights if fitting and any(row is fitting[0] for row in nearest[id(s)])]
            if len(fitting) == 1 and len(rivals) == 1:
                fitting[0].append(sight)
                rows.append(fitting[0])
            else:
                rows.append([sight])
        done += [row for row in rows if len(row) == 1]
        open_rows = rows
    return done


def _goes_on(row: Sequence[Sight], sight: Sight) -> bool:
    """Whether a sight continues a row, at the row's speed."""
    last = row[-1]
    dt = sight.t_s - last.t_s
    if dt > c.LOOSE_GAP_S:
        return False
    dx = dy = 0.0
    if len(row) > 1:
        before = row[-2]
        share = dt / (last.t_s - before.t_s)
        dx, dy = (0.5 * share * (last.box[k] + last.box[k + 2] - before.box[k] - before.box[k + 2]) for k in (0, 1))
    b = last.box
    grown = abs(math.log((sight.box[3] - sight.box[1]) / max(b[3] - b[1], 1e-6)))
    near = gap_widths((b[0] + dx, b[1] + dy, b[2] + dx, b[3] + dy), sight.box)
    return near < c.HELD_WIDTHS + c.HELD_SPEED_WIDTHS * dt and grown < c.HELD_SIZE


def _meet(face: Sequence[Sight], other: Sequence[Sight]) -> bool:
    """Whether two rows share a frame: then they are two people."""
    return not {s.frame for s in face}.isdisjoint(s.frame for s in other)


def _fits(tracker: Tracker, knots: dict[str, list[Knot]], face: Sequence[Sight]) -> dict[str, float]:
    """How badly each person and stranger fits a face's row, summed over its sights; those who do not are left out."""
    total: dict[str, float] = {}
    for sight in face:
        places: dict[str, tuple[Box, F32 | None]] = _strangers(tracker, sight.t_s)
        for name in PERSONS:
            place = _path_box(knots[name], sight.t_s)
            if place is not None:
                places[name] = place, tracker.persons[name].look
        for name, (box, look) in places.items():
            total[name] = total.get(name, 0.0) + _misfit(box, sight, look)
    return {name: misfit for name, misfit in total.items() if misfit < math.inf}


def _lead(name: str, fits: dict[str, float], others: Sequence[dict[str, float]]) -> float:
    """By how much the best answer in which somebody else is this face is worse than the one in which ``name`` is.

    Where other faces are seen at the same time, the two may change places: then both must fit worse.
    """
    lead = math.inf
    for rival, misfit in fits.items():
        if rival == name:
            continue
        worse = misfit - fits[name]
        for other in others:
            if rival in other:
                worse = max(worse, misfit + other.get(name, c.LOOSE_NOWHERE) - fits[name] - other[rival])
        lead = min(lead, worse)
    return lead


def _claim(path: list[Knot], face: Sequence[Sight], shot: int) -> None:
    """Put the sights of a face into a person's path, but where the person was seen."""
    for sight in face:
        at = bisect_right([k.frame for k in path], sight.frame)
        if at and path[at - 1].frame == sight.frame:
            continue
        knot = to_knot(sight, shot)
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


def _strangers(tracker: Tracker, t_s: float) -> dict[str, tuple[Box, F32 | None]]:
    """Where the faces that are nobody's of the two should be, from just before or just after an overlap."""
    places: dict[str, tuple[Box, F32 | None]] = {}
    for track in tracker.tracks:
        if track.person != OTHER or not track.sights:
            continue
        first, last = track.sights[0], track.last
        if last.t_s <= t_s <= last.t_s + c.LOOSE_STRANGER_S:
            places[f"{track.track_id}"] = drift(to_knot(last, track.shot), t_s), track.look
        elif first.frame == track.born and t_s < first.t_s <= t_s + c.LOOSE_STRANGER_S and len(track.sights) > 1:
            second = track.sights[1]
            places[f"{track.track_id}"] = (
                mix(to_knot(first, track.shot), to_knot(second, track.shot), t_s),
                track.look,
            )
    return places


def _path_box(path: Sequence[Knot], t_s: float) -> Box | None:
    before = [k for k in path if k.t_s <= t_s]
    after = [k for k in path if k.t_s > t_s]
    if before and after and before[-1].shot == after[0].shot:
        later = after[1] if len(after) > 1 else None
        return bent(before[-1], after[0], t_s, passing(before[-1], after[0], later))
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
