"""Smooth: the path that stays near the string and has the least jerk, going on from where the camera is.

    minimise  integral (x - s)^2 + 3 tau^2 (x')^2 + 3 tau^4 (x'')^2 + tau^6 (x''')^2 dt,  the last three positions given

The weights are those of (1 + (tau w)^2)^3: away from the ends the path is the string passed three times forwards and
three times backwards through an exponential filter of time tau, which neither lags nor rings. Where the string hardly
counts (an approach) only the jerk does: one swing that arrives in time.

The future s is known within the look-ahead, so there is no lag; the given past makes position, speed and
acceleration continuous from one solution to the next. It is linear: x = P s + Q past. For evenly spaced frames P and Q
are made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import factorial
from operator import sub

import numpy as np
import numpy.typing as npt

from dualface_ray.framing import constants as c

F64 = npt.NDArray[np.float64]
HISTORY = 3


def _derivative(times: F64, order: int) -> F64:
    """Rows (n, n + 3) of divided differences: the derivative of this order over each frame and those before it."""
    count = len(times) - HISTORY
    rows = np.arange(count)
    matrix = np.zeros((count, len(times)))
    first = HISTORY - order
    at = [times[first + k : first + k + count] for k in range(order + 1)]
    for j in range(order + 1):
        product = np.ones(count)
        for m in range(order + 1):
            if m != j:
                product *= at[j] - at[m]
        matrix[rows, rows + first + j] = factorial(order) / product
    return matrix


def _gains(times: F64, tau_s: float, weights: F64 | None = None) -> tuple[F64, F64]:
    """P (n, n) and Q (n, 3) for n + 3 times, the first three of them in the past; weights (n,) of the string."""
    count = len(times) - HISTORY
    steps = np.diff(times)[HISTORY - 1 :]
    normal = np.zeros((len(times), len(times)))
    damping = ((1, 3 * tau_s**2), (2, 3 * tau_s**4)) if weights is None else ()
    for order, factor in (*damping, (3, tau_s**6)):
        rows = _derivative(times, order)
        normal += rows.T @ (rows * (steps * factor)[:, None])
    pull = np.diag(steps if weights is None else steps * weights)
    solved = np.linalg.solve(normal[HISTORY:, HISTORY:] + pull, np.hstack([pull, -normal[HISTORY:, :HISTORY]]))
    return np.ascontiguousarray(solved[:, :count]), np.ascontiguousarray(solved[:, count:])


@lru_cache(maxsize=256)
def _even_gains(count: int, step_s: float, tau_s: float) -> tuple[F64, F64]:
    return _gains(np.arange(count + HISTORY, dtype=np.float64) * np.float64(step_s), tau_s)


@lru_cache(maxsize=16)
def _uneven_gains(times: tuple[float, ...], tau_s: float) -> tuple[F64, F64]:
    return _gains(np.array(times), tau_s)


def smooth(
    past_s: Sequence[float],
    past: F64,
    times_s: Sequence[float],
    string: F64,
    tau_s: float,
    weights: Sequence[float] | None = None,
) -> F64:
    """The path at ``times_s``: float64 (n, k) for a string (n, k) and past positions (3, k) at ``past_s``.

    ``weights``: how much the string counts in each frame; None = 1 everywhere.
    """
    times = [*past_s, *times_s]
    count = len(times_s)
    mean = (times[-1] - times[0]) / (len(times) - 1)
    tolerance = c.EVEN_TIMES * mean
    if weights is not None:
        p, q = _gains(np.array(times) - times[0], tau_s, np.array(weights))
    elif max(steps := list(map(sub, times[1:], times))) - mean <= tolerance and mean - min(steps) <= tolerance:
        p, q = _even_gains(count, float(f"{mean:.4g}"), tau_s)
    else:
        first = times[0]
        p, q = _uneven_gains(tuple(t - first for t in times), tau_s)
    path: F64 = p @ string + q @ past
    return path
