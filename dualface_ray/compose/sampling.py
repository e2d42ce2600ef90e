"""Resampling of one axis, defined once: which source samples make an output sample, and with what weights.

Output sample i of an axis lies at source sample index ``start + i * step`` (real numbers, step > 0; index k is the
centre of sample k; indices outside the picture repeat its edge). Its value is made in three stages, each a linear
filter, so together they are one row of weights (``axis_taps``):

0. *Decimate* (only for step >= 4): means of d samples, anchored at sample 0, d = 2**floor(log2(step / 2)). All that
   follows works on the decimated axis: step / d, (start - (d - 1) / 2) / d.
1. *Shift and prefilter*: the axis is filtered to the integer grid n + phase + m, m = 0, 1, ..., by a Lanczos kernel
   stretched by max(1, step) and corrected so that constants and slopes are kept exactly (``_lanczos``). This moves the
   grid by the fraction of the crop's edge, so a drifting camera moves smoothly, and removes what the output cannot
   hold (no aliasing).
2. *Scale*: output i is interpolated at m = (i + lead + 1/2) step - 1/2 by the cubic convolution of Keys (1981) with
   a = -0.75, or linearly. ``lead`` = ceil(1.5 / step) outputs before the first one keep all its neighbours at m >= 0.

n + phase = start + 1/2 - (lead + 1/2) step, with 0 <= phase < 1 (a phase within 1e-6 of an integer is that integer).
Without a shift at step 1 all three stages are the identity. The split exists because stages 1 and 2 are what fast
libraries offer; a device applies the weights of ``axis_taps`` directly.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_SNAP = 1e-6
"""Fractions of a sample that are rounding noise of the geometry."""
CUBIC_A = -0.75
"""Keys' parameter; OpenCV's INTER_CUBIC uses this value."""


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Where the ``count`` output samples of one axis lie, in source sample indices: ``start + i * step``."""

    start: float
    step: float
    count: int


@dataclass(frozen=True, slots=True)
class Quality:
    """The kernels of one kind of plane."""

    shift_lobes: int
    """Half width in samples of the Lanczos kernel that only shifts (step <= 1)."""
    shrink_lobes: int
    """Half width in stretched samples of the one that also removes what the output cannot hold."""
    cubic: bool
    """Cubic rather than linear interpolation in stage 2."""


LUMA = Quality(shift_lobes=2, shrink_lobes=3, cubic=True)
"""Shifting a real 1080p frame by half a sample with two lobes keeps 58 dB to the ideal shift and 99.6 % of its mean
gradient (linear: 51 dB and 96 %, visible as a pulse in a slow drift; three lobes: 61 dB at half as much cost again)."""
CHROMA = Quality(shift_lobes=2, shrink_lobes=2, cubic=False)
"""Chroma is soft in nearly all 4:2:0 video; the eye does not see what a longer kernel would keep."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisStages:
    """The three stages of one axis, ready to be executed one after the other."""

    decimate: int
    first: int
    """Index (on the decimated axis) of the sample that ``kernel[0]`` weighs for m = 0."""
    kernel: npt.NDArray[np.float32]
    """Stage 1: ``shifted[m] = sum_j kernel[j] * axis[first + m + j]``; [1] when there is nothing to filter."""
    lead: int
    step: float
    """Stage 2's step on the decimated axis."""
    count: int

    @property
    def length(self) -> int:
        """How many shifted samples (m = 0 .. length - 1) stage 2 reads for outputs 0 .. lead + count - 1."""
        outputs = self.lead + self.count
        return max(math.floor((outputs - 0.5) * self.step - 0.5) + 3, math.ceil(outputs * self.step) + 1)


def axis_stages(axis: AxisMap, quality: Quality) -> AxisStages:
    """Split a mapping into its stages, as the module defines them.

    Raises:
        ValueError: the mapping is not finite, not increasing, or empty.
    """
    if not (math.isfinite(axis.start) and math.isfinite(axis.step) and axis.step > 0 and axis.count > 0):
        raise ValueError(f"not an increasing mapping: {axis}")
    decimate = 2 ** math.floor(math.log2(axis.step / 2)) if axis.step >= 4 else 1
    step = axis.step / decimate
    start = (axis.start - (decimate - 1) / 2) / decimate
    step = 1.0 if abs(step - 1) < _SNAP / axis.count else step
    lead = math.ceil(1.5 / step)
    origin = start + 0.5 - (lead + 0.5) * step
    if abs(origin - round(origin)) < _SNAP:
        origin = float(round(origin))
    whole = math.floor(origin)
    offsets, kernel = _lanczos(
        origin - whole, max(1.0, step), quality.shift_lobes if step <= 1 else quality.shrink_lobes
    )
    return AxisStages(decimate, whole + offsets, kernel, lead, step, axis.count)


def axis_taps(axis: AxisMap, quality: Quality) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """All stages as one table: output i = sum_t weights[i, t] * source[clamp(first[i] + t)].

    Returns:
        first: int32 (count,), may be negative or beyond the end (clamp each index to the picture).
        weights: float32 (count, taps), rows sum to 1.
    """
    stages = axis_stages(axis, quality)
    position = (np.arange(axis.count) + stages.lead + 0.5) * stages.step - 0.5
    whole = np.floor(position).astype(np.int64)
    scale = _cubic(position - whole) if quality.cubic else _linear(position - whole)
    reach = 1 if quality.cubic else 0
    taps = np.zeros((axis.count, scale.shape[1] + len(stages.kernel) - 1))
    for column in range(scale.shape[1]):
        taps[:, column : column + len(stages.kernel)] += scale[:, column, None] * stages.kernel[None, :]
    first = (stages.first + whole - reach) * stages.decimate
    weights = np.repeat(taps, stages.decimate, axis=1) / stages.decimate
    return first.astype(np.int32), weights.astype(np.float32)


def _lanczos(phase: float, stretch: float, lobes: int) -> tuple[int, npt.NDArray[np.float32]]:
    """Offset of the first tap and the taps that read the axis at ``phase`` (0..1) behind a sample."""
    if stretch == 1 and phase == 0:
        return 0, np.ones(1, np.float32)
    reach = math.ceil(lobes * stretch)
    offsets = range(-reach + 1, reach + 1)
    arms = [(offset - phase) / stretch for offset in offsets]
    taps = [_lanczos_at(arm, lobes) for arm in arms]
    # A cut-off sinc reads a slope some hundredths of a sample beside its place, and a drifting picture would wobble
    # by that. An odd correction (x (1 - x^2)^2 over the kernel's width) makes sum and first moment exact.
    tilt = [arm * (1 - (arm / lobes) ** 2) ** 2 if abs(arm) < lobes else 0.0 for arm in arms]
    system = [
        [math.fsum(taps), math.fsum(tilt)],
        [math.fsum(map(operator.mul, offsets, taps)), math.fsum(map(operator.mul, offsets, tilt))],
    ]
    gain, lean = np.linalg.solve(system, (1.0, phase))
    return -reach + 1, (gain * np.array(taps) + lean * np.array(tilt)).astype(np.float32)


def _lanczos_at(x: float, lobes: int) -> float:
    """sinc(x) sinc(x / lobes), zero from ``lobes`` on."""
    if x == 0 or abs(x) >= lobes:
        return float(x == 0)
    return lobes * math.sin(math.pi * x) * math.sin(math.pi * x / lobes) / (math.pi * x) ** 2


def _cubic(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights of samples -1, 0, 1, 2 around the fraction t: (n, 4)."""
    a = CUBIC_A
    before = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a
    left = ((a + 2) * t - (a + 3)) * t * t + 1
    right = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1
    return np.stack([before, left, right, 1 - before - left - right], axis=1)


def _linear(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights of samples 0 and 1 around the fraction t: (n, 2)."""
    return np.stack([1 - t, t], axis=1)
