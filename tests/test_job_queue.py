"""What is ready, what runs, and what a dead lane gives back; metrics beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

from actors import job as job_room
from actors.backlog.unit import Unit
from actors.backlog.workqueue import Standing, WorkQueue
from actors.lane import LaneState
from actors.messages import StreamStatus, Work
from actors.metrics import (
    ATTEMPTS,
    BATCH,
    END_S,
    FRAME_RATE,
    FRAMES,
    LANES,
    LATENCY,
    VIDEOS,
    JobMetrics,
    LaneFacts,
    MetricSpec,
)
from actors.placement import LanePlan
from dualface_ray.hardware import thread_budget
from dualface_ray.media import plan_outputs
from dualface_ray.report import VideoState, VideoTask
from dualface_ray.settings import resolve


def plan(name: str, streams: int = 1) -> LanePlan:
    return LanePlan(name, "cpu", 1, 0, streams, thread_budget(1, streams), 1, 1)


def unit(name: str, work: Work = Work.WHOLE, cost: float = 60.0) -> Unit:
    return Unit(name, name.partition("-")[0], work, cost, 100)


def test_small_units_go_first_and_the_rest_by_length():
    queue = WorkQueue()
    queue.add([unit("v1", cost=10), unit("v2", cost=90), unit("v3-join", Work.JOIN)])
    lane = plan("lane-0", 3)
    assert [queue.next_for(lane, 0.0) for _ in range(4)] == ["v3-join", "v2", "v1", None]
    assert queue.running == 3
    for name in ("v1", "v2", "v3-join"):
        queue.finished("lane-0", name, 10.0)
    assert queue.running == 0
    assert queue.left_s(10.0) == 0


def test_a_dead_lane_gives_everything_back():
    queue = WorkQueue()
    join = unit("v3-join", Work.JOIN)
    queue.add([unit("v1"), join])
    lane = plan("lane-0", 2)
    assert [queue.next_for(lane, 0.0) for _ in range(2)] == ["v3-join", "v1"]
    queue.lane_died("lane-0", [join, unit("v1")])
    assert queue.running == 0
    assert math.isinf(queue.left_s(1.0))
    other = plan("lane-1", 2)
    assert [queue.next_for(other, 1.0) for _ in range(2)] == ["v3-join", "v1"]


def test_lanes_that_drain_and_go_are_not_counted_on():
    queue = WorkQueue()
    slow, fast = plan("lane-0"), replace(plan("lane-1"), profile="fast", speed=10.0)
    for number, lane in enumerate((slow, fast)):  # each shows how fast it is
        queue.add([unit(f"first{number}", cost=1)])
        assert queue.next_for(lane, 0.0) == f"first{number}"
        queue.finished(lane.lane_id, f"first{number}", 1 / lane.speed)
    queue.add([unit("v1", cost=600), unit("v2", cost=600)])
    assert queue.next_for(fast, 1.0) == "v1"
    assert queue.next_for(slow, 1.0) is None, "the fast one has both done sooner"
    queue.follow([Standing(slow, works=True), Standing(fast, works=True, draining=True)], 1.0)
    assert queue.next_for(fast, 1.0) is None
    assert queue.next_for(slow, 1.0) == "v2"
    queue.finished("lane-1", "v1", 61.0)
    queue.follow([Standing(slow, works=True)], 61.0)
    assert queue.left_s(61.0) == pytest.approx(540)


def test_whoever_asks_first_does_not_take_what_others_do_sooner():
    """All lanes of the job are known before the first of them asks."""
    queue = WorkQueue()
    queue.add([unit(f"v{n}", cost=cost) for n, cost in enumerate((600, 590, 580, 50))])
    slow, fast = plan("lane-0"), replace(plan("lane-1", 3), profile="fast", speed=30.0)
    queue.follow([Standing(slow, works=True), Standing(fast, works=False)], 0.0)
    assert queue.next_for(slow, 0.0) == "v3"
    queue.finished("lane-0", "v3", 50.0)
    assert queue.next_for(slow, 50.0) is None, "the fast one still starts; it has all of them done 60 s after that"
    assert queue.next_for(slow, 100.0) == "v0", "it is late"


def test_lanes_that_wait_for_more_take_what_fits_before_that():
    """Long videos become units one after the other: those that wait are not all there is."""
    queue = WorkQueue()
    slow, fast = plan("lane-0"), replace(plan("lane-1"), profile="fast", speed=10.0)
    for number, lane in enumerate((slow, fast)):
        queue.add([unit(f"first{number}", cost=1)])
        assert queue.next_for(lane, 0.0) == f"first{number}"
        queue.finished(lane.lane_id, f"first{number}", 1 / lane.speed)
    queue.add([unit("v1", cost=600), unit("v2", cost=600)])
    assert queue.next_for(fast, 1.0) == "v1"
    assert queue.next_for(slow, 1.0) is None
    queue.expect(20_000.0)
    assert queue.next_for(slow, 1.0) == "v2"
    assert queue.left_s(1.0) == pytest.approx(21_200 / 11, rel=0.05)


def test_progress_shows_the_speed():
    queue = WorkQueue()
    queue.add([unit("v1", cost=100)])
    lane = plan("lane-0")
    assert queue.next_for(lane, 0.0) == "v1"
    assert queue.left_s(20.0) == pytest.approx(80)
    for now in range(21):
        queue.moved("lane-0", "v1", 0.02 * now, float(now))
    queue.moved("nobody", "v1", 0.9, 20.0)
    queue.moved("lane-0", "v2", 0.9, 20.0)
    assert queue.left_s(20.0) == pytest.approx(30, rel=0.1)


def test_what_is_dropped_is_nowhere():
    queue = WorkQueue()
    queue.add([unit("v1"), unit("v2-survey", Work.SURVEY), unit("v3")])
    lane = plan("lane-0", 3)
    assert queue.next_for(lane, 0.0) == "v2-survey"
    queue.drop(["v1", "v2-survey", "nobody"])
    assert queue.running == 0
    assert queue.next_for(lane, 0.0) == "v3"
    assert queue.next_for(lane, 0.0) is None


def test_what_to_fetch_ahead_is_named_once():
    queue = WorkQueue()
    queue.add([unit("v1"), unit("v2")])
    lane = plan("lane-0")
    assert queue.next_for(lane, 0.0) == "v1"
    named = [queue.ahead_for(lane, now) for now in (59.0, 59.2, 59.4)]
    assert named.count("v2") <= 1
    assert [name for name in named if name] in ([], ["v2"])


@dataclass
class Placed:
    """As much of a lane as its job looks at here."""

    plan: LanePlan
    state: LaneState
    draining: bool = False


def test_a_job_tells_its_queue_of_all_lanes_and_how_far_units_are(tmp_path, monkeypatch):
    monkeypatch.setattr(job_room, "here", lambda: "node")
    monkeypatch.setattr(job_room, "dashboard", lambda: False)
    (outputs,) = plan_outputs([tmp_path / "talk.mp4"], tmp_path / "out", layout="stacked", container="mp4")
    given = VideoTask(0, tmp_path / "talk.mp4", outputs, "f" * 64, frames_estimate=3000, duration_s=100.0)
    runner = job_room.JobRunner([given], resolve(), "test")
    lane, late = Placed(plan("lane-0"), LaneState.READY), Placed(plan("lane-1"), LaneState.STARTING)
    runner._fleet.lanes |= {"lane-0": lane, "lane-1": late}
    monkeypatch.setattr(type(runner._fleet), "turn", lambda *_: [])
    monkeypatch.setattr(runner._gate, "is_open", lambda: False)
    monkeypatch.setattr(job_room, "facts_of", lambda _: ())
    runner._turn(0.0)
    assert runner._queue.left_s(0.0) == pytest.approx(50), "two lanes will share it"
    assert runner._queue.next_for(lane.plan, 0.0) == given.stream_id
    for now_s in range(31):
        status = StreamStatus(given.stream_id, 0, VideoState.RUNNING, 60 * now_s, 3000)
        runner._take(lane, status, float(now_s))
    assert runner._queue.left_s(30.0) == pytest.approx(10, rel=0.2), "2 s of video a second, and two such lanes"
    runner._take(lane, StreamStatus(given.stream_id, 0, VideoState.RUNNING, 9, 0), 31.0)


class Told:
    """An exporter that remembers."""

    def __init__(self) -> None:
        self.added: list[tuple[str, float]] = []
        self.last: dict[tuple[str, ...], float] = {}

    def add(self, spec: MetricSpec, amount: float = 1.0, **tags: str) -> None:
        self.added.append((spec.name, amount))

    def put(self, spec: MetricSpec, value: float, **tags: str) -> None:
        self.last[(spec.name, *tags.values())] = value


def test_metrics_show_frames_batches_and_states():
    told = Told()
    metrics = JobMetrics(told)  # type: ignore[arg-type]
    metrics.began("lane-0")
    metrics.frames("lane-0", ("v1", 0), 10)
    metrics.frames("lane-0", ("v1", 0), 30)
    metrics.frames("lane-0", ("v1", 0), 50, final=True)
    metrics.turn(10.0, {"running": 1}, [LaneFacts("lane-0", "ready", items=64, batches=4, frames=10, delay_s=5)], 5.0)
    metrics.frames("lane-0", ("v2", 0), 20)
    metrics.turn(11.0, {"running": 2}, [], 5.0)
    assert told.last[VIDEOS.name, "running"] == 1, "not each turn"
    metrics.turn(
        20.0, {"running": 2}, [LaneFacts("lane-0", "ready", items=96, batches=5, frames=30, delay_s=25)], math.inf
    )
    assert sum(amount for name, amount in told.added if name == FRAMES.name) == 70
    assert (ATTEMPTS.name, 1.0) in told.added
    assert told.last[FRAME_RATE.name, "lane-0"] == 2.0
    assert told.last[BATCH.name, "lane-0"] == 32
    assert told.last[LATENCY.name, "lane-0"] == 1.0
    assert told.last[LANES.name, "ready"] == 1
    assert told.last[LANES.name, "starting"] == 0
    assert told.last[END_S.name,] == 5.0


def test_without_an_exporter_nothing_is_kept():
    metrics = JobMetrics(None)
    metrics.began("lane-0")
    metrics.frames("lane-0", ("v1", 0), 10)
    metrics.died("lane-0")
    metrics.turn(0.0, {}, [], 0.0)
