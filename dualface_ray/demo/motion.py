"""Motion: smooth noise and eased moves, all functions of the time in seconds."""

from __future__ import annotations

import itertools
import math

import numpy as np


class Wander:
    """Smooth noise around zero: a few sines of random frequency and phase, about unit standard deviation.

    A sum of sines is smooth in every derivative, so that a face's motion has no jerks that a camera path could not
    follow, and it can be evaluated at any time (variable frame rates).
    """

    def __init__(self, rng: np.random.Generator, low_hz: float = 0.06, high_hz: float = 0.5, terms: int = 5) -> None:
        frequency = np.exp(rng.uniform(math.log(low_hz), math.log(high_hz), terms))
        amplitude = (low_hz / frequency) ** 0.6
        amplitude *= math.sqrt(2 / float(np.sum(amplitude**2)))
        phase = rng.uniform(0, 2 * math.pi, terms)
        self._terms = [
            (float(a), 2 * math.pi * float(f), float(p)) for a, f, p in zip(amplitude, frequency, phase, strict=True)
        ]

    def __call__(self, time_s: float) -> float:
        """The value at this time."""
        return sum(a * math.sin(w * time_s + p) for a, w, p in self._terms)


def ease(time_s: float, start_s: float, end_s: float) -> float:
    """0 before ``start_s``, 1 after ``end_s``, in between the smootherstep 6u^5 - 15u^4 + 10u^3 (Perlin 2002)."""
    u = min(1.0, max(0.0, (time_s - start_s) / (end_s - start_s)))
    return u * u * u * (u * (6 * u - 15) + 10)


def path(time_s: float, *points: tuple[float, float]) -> float:
    """A value that eases from point to point; each point is (time in s, value), in order."""
    value = points[0][1]
    for (start_s, _), (end_s, target) in itertools.pairwise(points):
        value += (target - value) * ease(time_s, start_s, end_s)
    return value
