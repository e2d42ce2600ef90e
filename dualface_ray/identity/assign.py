"""Which face continues which track: exact joint assignment with one cost.

cost(track, face) in nats = W_MOTION d2 / (P + R) + W_OVERLAP (1 - IoU) + W_SIZE dlogh2 / var + W_LOOK look2 / scale2
cost(track, nothing)      = MISS_COST

All joint assignments of tracks to distinct faces (or nothing) within the gates are enumerated (two tracks and a few
faces in practice); the second best total tells how far the answer can be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dualface_ray.identity import constants as c
from dualface_ray.identity.motion import iou
from dualface_ray.identity.sights import Sight, Track, look_distance
from dualface_ray.identity.tracks import Box

_MAX_ENUMERATED = 5
"""Tracks enumerated jointly, persons first; further ones take what is left, nearest first."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Result of ``assign``.

    Attributes:
        face_of: index of the face of each track, or -1.
        margin: second best total minus the best, in nats.
        rival: for each track with a face, by how much an unassigned face would have cost more (inf = none in reach).
    """

    face_of: tuple[int, ...]
    margin: float
    rival: tuple[float, ...]


class Forecast(NamedTuple):
    """What is expected of a track's next face, for all faces of one frame."""

    box: Box
    width: float
    reach: float
    """Farthest distance of the centres, px."""
    lunge: float
    """The same for a face that looks the same."""
    p_x: float
    """Variance of a centre's distance on one axis, px squared."""
    p_h: float
    growth: float
    """Largest change of log height."""

    @staticmethod
    def of(track: Track, t_s: float) -> Forecast:
        """Of a track at a time."""
        motion = track.motion
        width = motion.width
        dt = max(0.0, t_s - track.last.t_s)
        p_x, p_h = motion.spread(t_s)
        return Forecast(
            motion.box_at(t_s),
            width,
            min(c.GATE_WIDTHS + c.GATE_SPEED_WIDTHS * dt, c.GATE_MAX_WIDTHS) * width,
            min(c.LUNGE_WIDTHS + c.LUNGE_SPEED_WIDTHS * dt, c.GATE_MAX_WIDTHS) * width,
            p_x + (c.MEASURE_WIDTHS * width) ** 2,
            p_h + c.SIZE_MEASURE**2,
            c.GATE_SIZE + c.GATE_SIZE_RATE * dt,
        )


def pair_cost(track: Track, forecast: Forecast, face: Sight, look_scale: float) -> float | None:
    """Cost in nats of this face continuing this track, or None outside the gates."""
    box = forecast.box
    dx = 0.5 * (face.box[0] + face.box[2] - box[0] - box[2])
    dy = 0.5 * (face.box[1] + face.box[3] - box[1] - box[3])
    d2 = dx * dx + dy * dy
    dh = math.log(max(face.box[3] - face.box[1], 1e-3)) - track.motion.log_h
    if abs(dh) > forecast.growth:
        return None
    far = d2 > forecast.reach * forecast.reach
    if far and d2 > forecast.lunge * forecast.lunge:
        return None
    look = look_distance(track.look, face.look)
    if far and (look is None or not face.clear or look > c.LUNGE_LOOK * look_scale):
        return None  # a lunge: farther only for a face that looks the same
    cost = min(c.W_MOTION * d2 / forecast.p_x, c.MOTION_CAP * 0.5)
    cost += c.W_OVERLAP * (1.0 - iou(box, face.box)) + min(c.W_SIZE * dh * dh / forecast.p_h, c.SIZE_CAP)
    if look is not None:
        cap = c.LOOK_CAP if face.clear and track.look_hits else c.BLURRED_LOOK_CAP
        cost += min(c.W_LOOK * (look / look_scale) ** 2, cap)
    return cost


def assign(tracks: Sequence[Track], faces: Sequence[Sight], look_scale: float) -> Assignment:
    """The cheapest joint assignment; tracks of persons should come first, faces are those of one frame."""
    head = min(len(tracks), _MAX_ENUMERATED)
    keep = head + 1  # the best totals never need a track's worse faces: the others can take no more than the rest
    costs: list[list[tuple[float, int]]] = []
    for track in tracks:
        row = []
        if faces:
            forecast = Forecast.of(track, faces[0].t_s)
            for j, face in enumerate(faces):
                cost = pair_cost(track, forecast, face, look_scale)
                if cost is not None and cost < 2 * c.MISS_COST:
                    row.append((cost, j))
            row.sort()
        costs.append([*row[:keep], (c.MISS_COST, -1)])

    best: list[int] = []
    best_cost = second_cost = math.inf
    chosen = [-1] * head

    def descend(i: int, used: int, total: float) -> None:
        nonlocal best, best_cost, second_cost
        if total >= second_cost:
            return
        if i == head:
            if total < best_cost:
                best, best_cost, second_cost = chosen.copy(), total, best_cost
            else:
                second_cost = total
            return
        for cost, j in costs[i]:
            if j >= 0 and used >> j & 1:
                continue
            chosen[i] = j
            descend(i + 1, used | (1 << j if j >= 0 else 0), total + cost)

    descend(0, 0, 0.0)
    face_of = best
    taken = {j for j in face_of if j >= 0}
    for i in range(head, len(tracks)):
        pick = next((j for _, j in costs[i] if j not in taken), -1)
        face_of.append(pick)
        if pick >= 0:
            taken.add(pick)
    rival = []
    for i, pick in enumerate(face_of):
        mine = next((cost for cost, j in costs[i] if j == pick), math.inf)
        others = [cost for cost, j in costs[i] if j >= 0 and j not in taken]
        rival.append(min(others, default=math.inf) - mine if pick >= 0 else math.inf)
    return Assignment(tuple(face_of), second_cost - best_cost, tuple(rival))
