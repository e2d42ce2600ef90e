"""The definition of resampling: identities, sums, positions, frequency response."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.compose import CHROMA, LUMA, AxisMap, Quality, axis_stages, axis_taps

steps = st.floats(0.01, 30)
starts = st.floats(-20, 2000)
qualities = st.sampled_from([LUMA, CHROMA])


def dense(axis: AxisMap, quality: Quality, samples: np.ndarray) -> np.ndarray:
    first, weights = axis_taps(axis, quality)
    index = np.clip(first[:, None] + np.arange(weights.shape[1]), 0, len(samples) - 1)
    return (weights * samples[index]).sum(axis=1)


@given(starts, steps, st.integers(1, 200), qualities)
@settings(max_examples=150, deadline=None)
def test_weights_sum_to_one_and_stages_hold_all_that_is_read(
    start: float, step: float, count: int, quality: Quality
) -> None:
    axis = AxisMap(start, step, count)
    first, weights = axis_taps(axis, quality)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    stages = axis_stages(axis, quality)
    window = stages.first * stages.decimate
    end = window + (stages.length + len(stages.kernel) - 1) * stages.decimate
    assert first.min() >= window
    assert first.max() + weights.shape[1] <= end
    assert round(stages.length / stages.step) >= stages.lead + count


@given(st.floats(20, 400), st.floats(0.02, 20), qualities)
@settings(max_examples=150, deadline=None)
def test_a_straight_line_is_read_at_the_mapped_positions(start: float, step: float, quality: Quality) -> None:
    """Keys' cubic with a = -0.75 bends a line by up to 0.047 of its samples; everything else keeps it exactly."""
    count = 40
    line = np.arange(3000.0)
    found = dense(AxisMap(start + 200, step, count), quality, line)
    expected = start + 200 + step * np.arange(count)
    assert np.abs(found - expected).max() < (0.05 * max(1, step) if quality.cubic else 0.002)


def test_whole_samples_at_step_one_are_the_identity() -> None:
    for start in (0.0, 7.0, -3.0, 1e-9, 5 - 1e-9):
        first, weights = axis_taps(AxisMap(start, 1.0, 16), LUMA)
        samples = np.random.default_rng(0).uniform(0, 255, 40)
        expected = samples[np.clip(np.arange(16) + round(start), 0, 39)]
        assert np.array_equal(dense(AxisMap(start, 1.0, 16), LUMA, samples), expected)
        assert np.count_nonzero(weights) == 16
        assert len(first) == 16


@pytest.mark.parametrize("step", [1.0, 1.5, 2.0, 3.7, 4.0, 6.5, 9.0])
def test_what_the_output_cannot_hold_is_removed(step: float) -> None:
    """A wave of 0.8 of the output's sampling rate would come back as a slow beat; at most a tenth of it may remain."""
    samples = 100 * np.sin(2 * np.pi * 0.8 / step * np.arange(4000))
    found = dense(AxisMap(500.3, step, 200), LUMA, samples)
    if step == 1.0:
        assert np.abs(found).max() > 50  # the output holds it as it is: nothing may be removed
    else:
        assert np.abs(found).max() < 12


@pytest.mark.parametrize("step", [0.5, 1.0, 1.5, 2.0, 5.0])
def test_what_the_output_can_hold_stays(step: float) -> None:
    frequency = 0.2 / max(step, 1.0)
    position = 500.3 + step * np.arange(200)
    samples = 100 * np.sin(2 * np.pi * frequency * np.arange(4000))
    found = dense(AxisMap(500.3, step, 200), LUMA, samples)
    assert np.abs(found - 100 * np.sin(2 * np.pi * frequency * position)).max() < 12


@pytest.mark.parametrize(
    "axis", [AxisMap(math.nan, 1, 4), AxisMap(0, 0, 4), AxisMap(0, -1, 4), AxisMap(0, math.inf, 4), AxisMap(0, 1, 0)]
)
def test_a_mapping_that_is_none_is_refused(axis: AxisMap) -> None:
    with pytest.raises(ValueError, match="not an increasing mapping"):
        axis_stages(axis, LUMA)
