"""Seam: two neighbouring spans have both decided on an overlap; here it becomes one stretch.

    coda (the earlier span) ─┬─► check_seam: do they mean the same two people?
    overture (the later one) ┴─► blend: crops lead from the one's path to the other's, or change places at a cut

The coda is at its best where it begins (its future still known), the overture where it ends (its past known by then).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dualface_ray.errors import ProtocolError
from dualface_ray.framing.director import DirectedFrame
from dualface_ray.framing.layout import layout_shape, plan_of
from dualface_ray.framing.path import PathPoint
from dualface_ray.framing.plan import Rect
from dualface_ray.framing.smooth import F64
from dualface_ray.identity import PERSONS, Box, PersonState, PersonTrack, iou
from dualface_ray.settings import Settings

_SAME_FACE_IOU = 0.3
"""Boxes of one face, found twice and filtered differently, overlap at least this much."""
_LEAST_VOTES = 3
"""Fewer frames than this that speak against each other are no contradiction."""
_ONE_SIDED = 0.5
"""Whom only one of the two sees for this share of the overlap, the other does not recognise."""
_EIGHTHS = [(0, 8), *((a, b) for a in range(5) for b in range(a + 4, 9) if (a, b) != (0, 8))]
"""When a crop may change paths, in eighths of the overlap: the whole of it, or a calmer part, half of it at least."""
_BEND_WEIGHT = 3.0
"""A change of speed is noticed more than speed: what a pixel per frame squared costs over a pixel per frame."""
_RANK = {PersonState.DETECTED: 2, PersonState.PREDICTED: 1, PersonState.ABSENT: 0}


def check_seam(coda: Sequence[PathPoint], overture: Sequence[PathPoint]) -> str:
    """Why the two cannot mean the same A and B, with counts; "" = nothing speaks against it.

    Raises:
        ProtocolError: they do not tell of the same consecutive frames.
    """
    pairs = _paired(coda, overture)
    for k, name in enumerate(PERSONS):
        same = swapped = elsewhere = alone = 0
        for p, q in pairs:
            if not (p.tracked.certain and q.tracked.certain):
                continue
            mine, yours = _seen(p, k), _seen(q, k)
            if (mine is None) != (yours is None):
                here, there = (p, q) if mine is not None else (q, p)
                if _overlap(_seen(here, k), _seen(there, 1 - k)) > _SAME_FACE_IOU:
                    swapped += 1
                elif _track(there, k).state is PersonState.ABSENT:
                    alone += 1
            elif mine is not None and yours is not None:
                fits = iou(mine, yours)
                if fits < max(_overlap(mine, _seen(q, 1 - k)), _overlap(_seen(p, 1 - k), yours)):
                    swapped += 1
                elif fits > _SAME_FACE_IOU:
                    same += 1
                elif fits <= 0:
                    elsewhere += 1
        against = swapped + elsewhere
        if (against >= _LEAST_VOTES and against > same) or (alone > _ONE_SIDED * len(pairs) and alone > same):
            return (
                f"{name} is not the same person on both sides of frame {pairs[0][0].frame_index}: of {len(pairs)} "
                f"frames seen by both, {same} agree, {swapped} show the other person, {elsewhere} another face, "
                f"in {alone} only one side sees {name}"
            )
    return ""


def shot_offset(coda: Sequence[PathPoint], overture: Sequence[PathPoint]) -> int:
    """What to add to the later span's shot numbers so that they go on from the earlier one's."""
    pairs = _paired(coda, overture)
    return _shots(pairs)[-1] - pairs[-1][1].tracked.shot


def blend(coda: Sequence[PathPoint], overture: Sequence[PathPoint], settings: Settings) -> list[DirectedFrame]:
    """One path through the overlap: the coda's before its first frame, the overture's after its last.

    Each crop moves from the one to the other without a jump of its speed, at the calmest time; in an overlap with a cut
    both change there, at once. Every crop lies between two that lie in the frame and show the face, so it does, too.
    Boxes are the better of both. Shots are numbered as the coda does (``shot_offset``).

    Raises:
        ProtocolError: the two do not tell of the same consecutive frames.
    """
    layout = layout_shape(settings)
    pairs = _paired(coda, overture)
    shots = _shots(pairs)
    middle = len(pairs) // 2
    cuts = [k for k in range(1, len(pairs)) if shots[k] != shots[k - 1]]
    switch = min(cuts, key=lambda k: abs(k - middle), default=-1)
    frames = []
    paths = [_led_over(pairs, person) for person in (0, 1)] if switch < 0 else []
    for k, (p, q) in enumerate(pairs):
        later = k >= (middle if switch < 0 else switch)
        near = q if later else p
        crops = (paths[0][k], paths[1][k]) if paths else near.crops
        tracked = replace(_better(p, q, later).tracked, shot=shots[k])
        frames.append(DirectedFrame(tracked, plan_of(layout, p.frame_index, tracked.pts_ticks, crops, near.order)))
    return frames


def _paired(coda: Sequence[PathPoint], overture: Sequence[PathPoint]) -> list[tuple[PathPoint, PathPoint]]:
    """The frames that both decided on."""
    later = {point.frame_index: point for point in overture}
    pairs = [(point, later[point.frame_index]) for point in coda if point.frame_index in later]
    numbers = [p.frame_index for p, _ in pairs]
    if not pairs or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ProtocolError("the ends of two spans do not meet", where=f"frame {numbers[0] if numbers else '?'}")
    if any(p.tracked.pts_ticks != q.tracked.pts_ticks for p, q in pairs):
        raise ProtocolError("two spans tell different times of the same frames", where=f"frame {numbers[0]}")
    return pairs


def _shots(pairs: Sequence[tuple[PathPoint, PathPoint]]) -> list[int]:
    """Shot of each frame: cuts as the coda judged them in the first half, as the overture did in the second."""
    shots = [pairs[0][0].tracked.shot]
    for k in range(1, len(pairs)):
        side = int(2 * k >= len(pairs))
        cut = pairs[k][side].tracked.shot != pairs[k - 1][side].tracked.shot
        shots.append(shots[-1] + int(cut))
    return shots


def _better(p: PathPoint, q: PathPoint, later: bool) -> PathPoint:
    """Whose boxes are kept: names in no doubt, more people seen, the side nearer to where it is at its best."""

    def worth(point: PathPoint, near: bool) -> tuple[bool, int, bool]:
        return point.tracked.certain, sum(_RANK[_track(point, k).state] for k in (0, 1)), near

    return q if worth(q, later) > worth(p, not later) else p


def _track(point: PathPoint, person: int) -> PersonTrack:
    return point.tracked.b if person else point.tracked.a


def _seen(point: PathPoint, person: int) -> Box | None:
    track = _track(point, person)
    return track.box_px if track.state is PersonState.DETECTED else None


def _overlap(a: Box | None, b: Box | None) -> float:
    return 0.0 if a is None or b is None else iou(a, b)


def _led_over(pairs: Sequence[tuple[PathPoint, PathPoint]], person: int) -> list[Rect]:
    """A person's crops from the coda's path to the overture's, over the time that makes the calmest way."""
    mine, yours = (np.array([pair[side].crops[person] for pair in pairs]) for side in (0, 1))
    ticks = np.array([p.tracked.pts_ticks for p, _ in pairs], np.float64)
    step = (ticks[-1] - ticks[0]) / max(1, len(pairs) - 1) or 1.0
    at = (ticks - ticks[0] + step) / (ticks[-1] - ticks[0] + 2 * step)
    low, high = np.minimum(mine, yours), np.maximum(mine, yours)
    best: F64 = mine
    least = np.inf
    for begin, end in _EIGHTHS:
        w = np.clip((8 * at - begin) / (end - begin), 0.0, 1.0)
        share = (w * w * (3.0 - 2.0 * w))[:, None]
        path = np.clip(mine + (yours - mine) * share, low, high)  # rounding must not lead out of the picture
        cost = _largest(np.diff(path, axis=0)) + _BEND_WEIGHT * _largest(np.diff(path, 2, axis=0))
        if cost < least - 1e-9:
            best, least = path, cost
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in best.tolist()]


def _largest(values: F64) -> float:
    return float(np.abs(values).max(initial=0.0))
