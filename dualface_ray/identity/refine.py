"""Refine: where between two examined frames it is worth looking again.

Coarse to fine and by content alone: fast motion, surprises, faces near each other, somebody lost or new. A calm
conversation asks nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.sights import OTHER, Sight, Track


def spacing_wanted(
    tracks: Sequence[Track], faces: Sequence[Sight], t_s: float, result: Assignment
) -> tuple[float, str]:
    """How densely (seconds) the time up to ``t_s`` should be examined, and why; infinity when all is calm.

    Nothing is changed: ``result``, the assignment of the faces to the tracks, is a trial.
    """
    mine = [track for track in tracks if track.person != OTHER]
    owner = {face: i for i, face in enumerate(result.face_of) if face >= 0}
    spacing, reason = math.inf, ""

    def want(value: float, why: str) -> None:
        nonlocal spacing, reason
        if value < spacing:
            spacing, reason = value, why

    boxes = []
    for i, track in enumerate(tracks):
        if track.person == OTHER:
            continue
        j = result.face_of[i]
        if j < 0:
            if track.missed_from < 0 or t_s - track.last.t_s < c.SEARCH_S:
                want(c.CHANGE_SPACING_S, "lost")
            boxes.append(track.motion.box_at(t_s))
            continue
        box, last = faces[j].box, track.last
        boxes.append(box)
        dt = t_s - last.t_s
        if track.missed_from >= 0 and dt > c.INTERPOLATE_S:
            want(c.CHANGE_SPACING_S, "back")
        moved = gap_widths(last.box, box)
        missed = gap_widths(track.motion.box_at(t_s), box)
        if track.hits >= 2 and missed > c.SURPRISE_WIDTHS:
            want(max(c.FAST_SPACING_S, dt / math.ceil(missed / (0.5 * c.SURPRISE_WIDTHS))), "surprise")
        if moved > c.FAST_WIDTHS:
            want(max(c.FAST_SPACING_S, dt / math.ceil(moved / (0.5 * c.FAST_WIDTHS))), "fast")
    strays = [face for j, face in enumerate(faces) if j not in owner]
    for i, track in enumerate(tracks):
        if track.person == OTHER or result.face_of[i] >= 0 or track.missed_from >= 0:
            continue
        if any(gap_widths(track.last.box, face.box) < c.GATE_MAX_WIDTHS for face in strays):
            want(c.FAST_SPACING_S, "jumped")
    if len(owner) < len(faces) and len(mine) < 2:
        want(c.CHANGE_SPACING_S, "new")
    if any(track.origin == "crossing" and not track.person for track in mine):
        want(c.NEAR_SPACING_S, "crossing")
    strangers = [face.box for j, face in enumerate(faces) if j not in owner or tracks[owner[j]].person == OTHER]
    everybody = boxes + strangers
    for i, box in enumerate(boxes):
        if any(gap_widths(box, other) < c.NEAR_WIDTHS for other in everybody[i + 1 :]):
            want(c.NEAR_SPACING_S, "near")
    return spacing, reason


def between(first: int, last: int, first_s: float, last_s: float, spacing_s: float) -> list[int]:
    """Frames strictly between two examined ones that divide the time into steps of at most ``spacing_s``."""
    parts = min(last - first, math.ceil((last_s - first_s) / spacing_s - 0.25))
    frames = sorted({first + round((last - first) * k / parts) for k in range(1, parts)} if parts > 1 else set())
    return [frame for frame in frames if first < frame < last]
