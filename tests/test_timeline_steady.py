"""Holes in the time stamps of steady streams; single stamps far off."""

from __future__ import annotations

import pickle
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.timeline import PtsRepair, SteadyRate

MS = Fraction(1, 1000)
KHZ_90 = Fraction(1, 90_000)


def filled(stamps, base=KHZ_90, lossy=True):
    steady = SteadyRate(base)
    out = []
    for pts in stamps:
        out += [*steady.push(pts, lossy=lossy), pts]
    return out, steady.holes


def test_a_hole_in_a_steady_stream_is_filled_evenly():
    stamps = [3600 * n for n in range(40)]
    out, holes = filled(stamps[:20] + stamps[26:])
    assert (out, holes) == (stamps, 1)


def test_a_hole_of_one_frame_and_a_clock_that_wobbles():
    stamps = [round(n * 1001 / 30) for n in range(60)]  # 33 and 34 ms
    out, holes = filled(stamps[:30] + stamps[31:], MS)
    assert holes == 1
    assert len(out) == len(stamps)
    assert all(abs(a - b) <= 1 for a, b in zip(out, stamps, strict=True))


@pytest.mark.parametrize(
    "stamps",
    [
        [0, 40, 80, 400, 440],  # too short to be called steady
        [n * 40 + (n % 3) * 30 for n in range(20)] + [2000],  # varies
        [40 * n for n in range(20)] + [40 * 19 + 59],  # less than one and a half frames
        [40 * n for n in range(20)] + [40 * 19 + 10_001],  # a pause somebody made
    ],
)
def test_what_is_no_hole(stamps):
    assert filled(stamps, MS) == (stamps, 0)


def test_where_nothing_can_be_lost_nothing_is_filled():
    stamps = [3600 * n for n in range(20)] + [3600 * 30]
    assert filled(stamps, lossy=False) == (stamps, 0)


@given(st.lists(st.integers(1, 10_000), max_size=80), st.booleans())
def test_filled_stamps_increase_and_keep_all_given_ones(steps, lossy):
    stamps = [sum(steps[:n]) for n in range(len(steps))]
    out, _ = filled(stamps, MS, lossy)
    assert all(a < b for a, b in pairwise(out))
    assert [pts for pts in out if pts in set(stamps)] == stamps
    steady = SteadyRate(MS)
    for pts in stamps[:40]:
        steady.push(pts, lossy=lossy)
    copy = pickle.loads(pickle.dumps(steady))
    assert copy.push(10**6, lossy=True) == steady.push(10**6, lossy=True)


def repaired(raw, longest=10**9):
    repair = PtsRepair(KHZ_90, Fraction(25), longest)
    last = len(raw) - 1
    out = [repair.push(pts, raw[n + 1 : n + 3], final=n == last) for n, pts in enumerate(raw)]
    return out, repair.counters()


GOOD = [3600 * n + 900 for n in range(10)]


@pytest.mark.parametrize("at", range(10))
@pytest.mark.parametrize("wild", [10**12, -(10**12), 2**62, -(2**62)])
def test_one_stamp_far_off_costs_nothing_else(at, wild):
    raw = [*GOOD]
    raw[at] = wild
    out, counters = repaired(raw)
    assert counters == {"pts_missing": 0, "pts_duplicate": 0, "pts_outliers": 1, "pts_restarts": 0}
    assert out == GOOD


def test_slides_and_restarts_are_not_taken_for_outliers():
    slides = [0, 90_000 * 60, 90_000 * 61, 90_000 * 600]
    assert repaired(slides) == (
        slides,
        dict.fromkeys(("pts_missing", "pts_duplicate", "pts_outliers", "pts_restarts"), 0),
    )
    out, counters = repaired([*GOOD, *GOOD])
    assert (counters["pts_restarts"], counters["pts_outliers"]) == (1, 0)
    assert {b - a for a, b in pairwise(out)} == {3600}
    late = [*GOOD[:5], *(pts + 90_000 * 500 for pts in GOOD[5:])]  # the clock jumps and stays there
    assert repaired(late)[0] == late


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), min_size=1, max_size=60))
def test_whatever_comes_stamps_increase(raw):
    out, _ = repaired(raw)
    assert all(a < b for a, b in pairwise(out))
