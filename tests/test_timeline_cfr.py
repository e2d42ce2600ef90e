"""Constant rate: which frame is shown at each tick, nothing stretched, everything counted."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.timeline import CfrClock, plan_cfr

MS = Fraction(1, 1000)


def test_the_same_rate_changes_nothing():
    pts = [1001 * n for n in range(50)]
    plan = plan_cfr(pts, Fraction(1, 30000), Fraction(30000, 1001))
    assert plan.sources == tuple(range(50))
    assert (plan.duplicated, plan.dropped) == (0, 0)


def test_twice_the_rate_shows_every_frame_twice():
    plan = plan_cfr([0, 40, 80], MS, Fraction(50), end_ticks=120)
    assert plan.sources == (0, 0, 1, 1, 2, 2)
    assert (plan.duplicated, plan.dropped) == (3, 0)


def test_half_the_rate_drops_every_other_frame():
    plan = plan_cfr([0, 20, 40, 60, 80], MS, Fraction(25))
    assert plan.sources == (0, 2, 4)  # half way between two ticks goes to the later one, where 40 ms already is
    assert (plan.duplicated, plan.dropped) == (0, 2)


def test_a_pause_repeats_the_frame_before_it():
    plan = plan_cfr([500, 540, 1500, 1540], MS, Fraction(25))
    assert plan.sources == (0, *[1] * 24, 2, 3)
    assert plan.duplicated == 23


def test_no_frames_no_ticks():
    assert plan_cfr([], MS, Fraction(25)).sources == ()


def test_stamps_must_increase():
    clock = CfrClock(MS, Fraction(25))
    clock.push(0)
    clock.push(1000)
    with pytest.raises(ValueError, match="increase"):
        clock.push(0)


@given(st.lists(st.integers(1, 400), min_size=0, max_size=60), st.integers(0, 10**6), st.sampled_from([24, 25, 30, 60]))
def test_every_tick_shows_the_frame_whose_time_has_come(steps, start, fps):
    pts = [start]
    for step in steps:
        pts.append(pts[-1] + step)
    rate = Fraction(fps * 1000, 1001)
    plan = plan_cfr(pts, MS, rate)
    assert list(plan.sources) == sorted(plan.sources)
    assert plan.sources[-1] == len(pts) - 1
    assert len(plan.sources) == len(pts) + plan.duplicated - plan.dropped
    for tick, source in enumerate(plan.sources):
        shown, due = (pts[source] - start) * MS, tick / rate
        assert shown <= due + 1 / (2 * rate)  # never more than half a tick early
        if source + 1 < len(pts):  # and the next one is not due yet
            assert (pts[source + 1] - start) * MS >= due + 1 / (2 * rate) - Fraction(1, 10**9)
