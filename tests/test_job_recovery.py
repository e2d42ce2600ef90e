"""When a unit is tried again and when a lane is."""

from __future__ import annotations

import math
from dataclasses import replace

from actors.placement import LanePlan
from actors.recovery import SHORTAGES, AttemptBook, LaneBook, blames_the_lane, ran_short
from dualface_ray.errors import (
    ActorError,
    DeviceError,
    EncoderSessionsExhausted,
    NotAVideoError,
    PlacementError,
    ResourceError,
    VramBudgetError,
)
from dualface_ray.hardware import thread_budget

PLAN = LanePlan(
    "lane-3", "cuda", cores=4, gpus=1, streams=16, threads=thread_budget(4, 16), pool_bytes=1, pool_slots=1, node_id="n"
)
DEATH = ActorError("the actor died", where="lane-3 encoder-0")


def test_pauses_double_and_then_the_lane_is_out_for_longer_and_longer():
    book = LaneBook(cooldown_s=30)
    found = [book.died(PLAN, DEATH) for _ in range(6)]
    assert [r.pause_s for r in found] == [0.25, 0.5, 30, 60, 120, 240]
    assert [r.cooling for r in found] == [False, False, True, True, True, True]
    assert "3 starts in a row without result" in found[2].text
    assert all(r.plan is PLAN for r in found)
    book.finished_one("lane-3")
    assert not book.died(PLAN, DEATH).cooling, "one finished unit, and it counts as healthy"


def test_a_cool_down_is_bounded():
    book = LaneBook(cooldown_s=30)
    pauses = [book.died(PLAN, DEATH).pause_s for _ in range(60)]
    assert max(pauses) == 1800
    assert all(math.isfinite(pause) for pause in pauses)


def test_lanes_have_books_of_their_own():
    book = LaneBook(cooldown_s=30)
    for _ in range(3):
        book.died(PLAN, DEATH)
    assert not book.died(replace(PLAN, lane_id="lane-4"), DEATH).cooling


def test_how_long_a_lane_has_come_to_nothing():
    book = LaneBook(cooldown_s=30)
    assert book.wasted_s("lane-3") == 0
    found = []
    for began_s, died_s in ((100, 140), (141, 180), (181, 220), (250, 1000)):
        book.started("lane-3", began_s)
        found.append(book.wasted_s("lane-3"))
        book.died(PLAN, DEATH)
        assert book.wasted_s("lane-3") == found[-1], f"until {died_s} it was one that might have worked"
    assert found == [0, 41, 81, 150], "from its first start on"
    book.started("lane-3", 1100)
    book.finished_one("lane-3")
    assert book.wasted_s("lane-3") == 0
    book.died(PLAN, DEATH)
    book.started("lane-3", 2000)
    assert book.wasted_s("lane-3") == 0, "it had worked: the next start is the first that may come to nothing"
    book.started("lane-3", 2030)
    assert book.wasted_s("lane-3") == 30
    book.forget("lane-3")
    assert book.wasted_s("lane-3") == 0


def test_out_of_memory_starts_it_smaller_and_the_reports_hear_of_it():
    smallest = replace(PLAN, lane_id="lane-0", streams=4)
    plan = replace(PLAN, smaller=replace(PLAN, lane_id="lane-0", streams=8, smaller=smallest))
    book = LaneBook(cooldown_s=30)
    first = book.died(plan, VramBudgetError("no memory"))
    assert (first.plan.lane_id, first.plan.streams, first.plan.node_id) == ("lane-3", 8, "n")
    assert first.plan.notes == ("a lane ran out of device memory and went on with 8 videos at once instead of 16",)
    second = book.died(first.plan, ResourceError("no memory either"))
    assert second.plan.streams == 4
    assert len(second.plan.notes) == 2
    last = book.died(second.plan, VramBudgetError("no memory"))
    assert last.plan is second.plan, "nothing smaller is planned: a death like any other"
    assert first.pause_s < 1


def test_encoder_sessions_that_run_out_start_it_smaller_too():
    plan = replace(PLAN, smaller=replace(PLAN, lane_id="lane-0", streams=8))
    again = LaneBook(cooldown_s=30).died(plan, EncoderSessionsExhausted("the driver allows 12"))
    assert (again.plan.streams, again.cooling) == (8, False)
    assert again.plan.notes == ("a lane ran out of encoder sessions and went on with 8 videos at once instead of 16",)


def test_whose_fault_it_is():
    assert blames_the_lane(VramBudgetError("x"))
    assert blames_the_lane(DeviceError("x"))
    assert not blames_the_lane(NotAVideoError("x"))
    assert ran_short(VramBudgetError("x"))
    assert ran_short(EncoderSessionsExhausted("x"))
    assert not ran_short(PlacementError("x"))
    assert not ran_short(DeviceError("x"))
    assert not ran_short(DEATH)


def test_a_lane_that_shrinks_costs_its_videos_no_attempt():
    book = AttemptBook(max_attempts=2)
    for shortage in range(SHORTAGES):
        assert book.begin("v00001") == shortage, "each attempt has a number of its own all the same"
        assert book.verdict("v00001", "a.mp4", VramBudgetError("no memory")) is None
    assert book.begin("v00001") == SHORTAGES
    assert book.verdict("v00001", "a.mp4", DEATH) is None, "its first death"
    book.begin("v00001")
    error = book.verdict("v00001", "a.mp4", EncoderSessionsExhausted("none is left"))
    assert error is not None, "somebody else holds what it needs for good"
    assert "none is left" in str(error)


def test_a_poison_video_stops_with_its_cause_and_attempts_of_a_dead_driver_count():
    book = AttemptBook(max_attempts=3)
    assert book.begin("v00001", earlier=1) == 1
    assert book.verdict("v00001", "a.mp4", DEATH) is None
    assert book.begin("v00001", earlier=1) == 2
    verdict = book.verdict("v00001", "a.mp4", DEATH)
    assert verdict is not None
    assert "3 times" in str(verdict)
    assert "the actor died" in str(verdict)


def test_a_video_that_kills_the_whole_job_is_not_begun_again_for_ever():
    book = AttemptBook(max_attempts=2)
    assert book.worn_out("v00001", "a.mp4", earlier=5) is None
    assert "6 times when the whole job died" in str(book.worn_out("v00001", "a.mp4", earlier=6))
    book.begin("v00002", earlier=1)
    assert book.worn_out("v00002", "a.mp4", earlier=6) is None, "within a job the verdict counts"
