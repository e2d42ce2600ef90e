"""Smooth: the path that stays near the string and has the least jerk, going on from where the camera is.

    minimise  integral (x - s)^2 + tau^6 (x''')^2 dt     with the last three positions given

The future s is known within the look-ahead, so there is no lag; the given past makes position, speed and
acceleration continuous from one solution to the next. It is linear: x = P s + Q past. For evenly spaced frames P and Q
are made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dualface_ray.framing import constants as c

F64 = npt.NDArray[np.float64]
HISTORY = 3


def _gains(times: F64, tau_s: float) -> tuple[F64, F64]:
    """P (n, n) and Q (n, 3) for n + 3 times, the first three of them in the past."""
    total = len(times)
    count = total - HISTORY
    third = np.zeros((count, total))
    rows = np.arange(count)
    quads = np.stack([times[k : k + count] for k in range(4)])  # each row of `third`: four times
    for j in range(4):
        product = np.ones(count)
        for m in range(4):
            if m != j:
                product *= quads[j] - quads[m]
        third[rows, rows + j] = 6.0 / product
    steps = np.diff(times)[HISTORY - 1 :]
    weight = steps * tau_s**6
    weighted = third * weight[:, None]
    normal = third.T @ weighted
    system = normal[HISTORY:, HISTORY:] + np.diag(steps)
    solved = np.linalg.solve(system, np.hstack([np.diag(steps), -normal[HISTORY:, :HISTORY]]))
    return np.ascontiguousarray(solved[:, :count]), np.ascontiguousarray(solved[:, count:])


@lru_cache(maxsize=256)
def _even_gains(count: int, step_s: float, tau_s: float) -> tuple[F64, F64]:
    return _gains(np.arange(count + HISTORY, dtype=np.float64) * np.float64(step_s), tau_s)


@lru_cache(maxsize=16)
def _uneven_gains(times: tuple[float, ...], tau_s: float) -> tuple[F64, F64]:
    return _gains(np.array(times), tau_s)


def smooth(past_s: Sequence[float], past: F64, times_s: Sequence[float], string: F64, tau_s: float) -> F64:
    """The path at ``times_s``: float64 (n, k) for a string (n, k) and past positions (3, k) at ``past_s``."""
    times = [*past_s, *times_s]
    count = len(times_s)
    mean = (times[-1] - times[0]) / (len(times) - 1)
    tolerance = c.EVEN_TIMES * mean
    if all(abs(b - a - mean) <= tolerance for a, b in pairwise(times)):
        p, q = _even_gains(count, float(f"{mean:.4g}"), tau_s)
    else:
        first = times[0]
        p, q = _uneven_gains(tuple(t - first for t in times), tau_s)
    path: F64 = p @ string + q @ past
    return path
