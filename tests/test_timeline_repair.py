"""Repairing time stamps: increasing always, untouched where they were good, counted where they were not."""

from __future__ import annotations

import pickle
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.timeline import ClockJoin, PtsRepair

TB = Fraction(1, 30000)
RATE = Fraction(30000, 1001)


def repaired(raw, time_base=TB, rate=RATE):
    repair = PtsRepair(time_base, rate)
    return [repair.push(pts) for pts in raw], repair.counters()


def test_good_stamps_are_kept_exactly():
    raw = [-500, 0, 1001, 2002, 40000, 40001]
    out, counters = repaired(raw)
    assert out == raw
    assert not any(counters.values())


def test_missing_stamps_follow_at_the_nominal_rate():
    out, counters = repaired([1000, None, None, 4003])
    assert out == [1000, 2001, 3002, 4003]
    assert counters["pts_missing"] == 2
    assert repaired([None, None])[0] == [0, 1001]


def test_a_duplicate_never_moves_the_next_good_stamp():
    out, counters = repaired([0, 1001, 1001, 2002, 3003])
    assert out == [0, 1001, 1501, 2002, 3003]
    assert counters["pts_duplicate"] == 1


def test_several_duplicates_share_the_room_of_one_frame():
    out, _ = repaired([0, 0, 0, 0, 1001])
    assert out[0] == 0
    assert out[-1] == 1001
    assert all(a < b for a, b in pairwise(out))


def test_a_small_step_back_is_a_frame_out_of_place():
    out, counters = repaired([0, 2002, 1001, 3003])
    assert out == [0, 2002, 2502, 3003]
    assert counters == {"pts_missing": 0, "pts_duplicate": 1, "pts_outliers": 0, "pts_restarts": 0}


def test_a_restarted_clock_goes_on_from_where_it_was():
    out, counters = repaired([90000, 91001, 92002, 0, 1001, 2002])
    assert out == [90000, 91001, 92002, 93003, 94004, 95005]
    assert counters["pts_restarts"] == 1
    assert counters["pts_duplicate"] == 0


def test_no_room_between_ticks_still_increases():
    out, _ = repaired([0, 0, 1, 2], Fraction(1, 25), Fraction(25))
    assert out == [0, 1, 2, 3]


stamps = st.lists(st.one_of(st.none(), st.integers(-(10**7), 10**7)), max_size=60)


@given(stamps, st.sampled_from([TB, Fraction(1, 1000), Fraction(1, 25)]), st.sampled_from([RATE, Fraction(0)]))
def test_whatever_comes_in_increases_strictly_going_out(raw, time_base, rate):
    out, _ = repaired(raw, time_base, rate)
    assert len(out) == len(raw)
    assert all(a < b for a, b in pairwise(out))


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(-(10**9), 10**9))
def test_increasing_stamps_are_never_touched(steps, start):
    raw = [start]
    for step in steps:
        raw.append(raw[-1] + step)
    out, counters = repaired(raw)
    assert out == raw
    assert not any(counters.values())


@given(stamps, st.integers(0, 60))
def test_the_state_survives_pickling_anywhere(raw, cut):
    whole, counters = repaired(raw)
    first = PtsRepair(TB, RATE)
    out = [first.push(pts) for pts in raw[:cut]]
    second = pickle.loads(pickle.dumps(first))
    out += [second.push(pts) for pts in raw[cut:]]
    assert (out, second.counters()) == (whole, counters)


def test_sound_and_picture_join_a_restarted_clock_alike():
    clock = ClockJoin(Fraction(1, 48000))
    out = [clock.push(pts, 1024) for pts in (48000, 49024, 50048, 0, 1024)]
    assert out == [48000, 49024, 50048, 51072, 52096]
    assert clock.restarts == 1
