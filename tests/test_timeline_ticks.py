"""Ticks and fractions: exact where they can be, rounded by the stated rule where not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.timeline import Rounding, frame_ticks, rescale, round_fraction, seconds, track_timescale

MS = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("value", "nearest", "down", "up"),
    [
        (Fraction(5, 2), 3, 2, 3),
        (Fraction(-5, 2), -3, -3, -2),
        (Fraction(1, 3), 0, 0, 1),
        (Fraction(-1, 3), 0, -1, 0),
        (Fraction(7), 7, 7, 7),
    ],
)
def test_rounding_rules(value, nearest, down, up):
    assert round_fraction(value) == nearest
    assert round_fraction(value, Rounding.DOWN) == down
    assert round_fraction(value, Rounding.UP) == up


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6), st.integers(1, 10**6))
def test_nearest_is_within_half_a_tick(ticks, source_den, target_den):
    source, target = Fraction(1, source_den), Fraction(1, target_den)
    assert abs(rescale(ticks, source, target) * target - ticks * source) <= target / 2


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**5), st.integers(1, 1000))
def test_a_finer_clock_is_exact_and_returns(ticks, den, factor):
    coarse, fine = Fraction(1, den), Fraction(1, den * factor)
    there = rescale(ticks, coarse, fine)
    assert seconds(there, fine) == seconds(ticks, coarse)
    assert rescale(there, fine, coarse) == ticks


def test_a_time_base_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        rescale(1, Fraction(0), MS)


def test_nominal_frame_length():
    assert frame_ticks(Fraction(1, 30000), Fraction(30000, 1001)) == 1001
    assert frame_ticks(MS, Fraction(30000, 1001)) == 33
    assert frame_ticks(Fraction(1, 10), Fraction(25)) == 1  # never 0
    assert frame_ticks(MS, Fraction(0)) == 1


@pytest.mark.parametrize("den", [1, 24, 25, 1000, 11988, 12800, 30000, 90000, 10**6, 2**31 - 1])
def test_a_track_clock_holds_every_tick_exactly(den):
    scale = track_timescale(Fraction(1, den))
    assert scale % den == 0
    assert 10_000 <= scale < 2**31


def test_a_track_clock_has_a_limit():
    with pytest.raises(ValueError, match="too fine"):
        track_timescale(Fraction(1, 2**31))
