"""Lanes that die again and again: what waits does not wait for them longer than it would take elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from actors.backlog.schedule import Schedule
from actors.backlog.unit import Unit
from actors.backlog.workqueue import WorkQueue
from actors.fleet import Fleet, Ports
from actors.lane import LaneState
from actors.messages import Work
from actors.placement import ClusterSnapshot, LanePlan, NodeSnapshot
from dualface_ray.errors import ActorError
from dualface_ray.settings import resolve

TURN_S = 0.25


def known(**speeds: float) -> Schedule:
    """Lanes of one slot and a kind each that have shown these speeds."""
    schedule = Schedule()
    for lane, speed in speeds.items():
        schedule.join(lane, kind=lane, slots=1, speed=speed)
        schedule.add(f"first of {lane}", 1.0)
        assert schedule.next_for(lane, -1 / speed) == f"first of {lane}"
        schedule.finished(lane, f"first of {lane}", 1 / speed)
    return schedule


@pytest.mark.parametrize("later", [0.0, 10.0], ids=["little waits", "more will be added"])
@pytest.mark.parametrize(("doubt_s", "taken"), [(0, None), (300, None), (700, "a")])
def test_work_waits_for_a_failing_lane_as_long_as_it_would_take_here(later, doubt_s, taken):
    schedule = known(slow=1, fast=10)
    schedule.add("busy", 100)
    assert schedule.next_for("fast", 0) == "busy"
    schedule.add("a", 600)
    schedule.expect(later)
    schedule.doubt("fast", doubt_s)
    assert schedule.next_for("slow", 0) == taken, "the fast one would have it done in 70 s, the slow one in 600"


def test_a_lane_that_has_proved_itself_is_waited_for_again():
    schedule = known(slow=1, fast=10)
    for video, cost in (("busy", 100), ("a", 600)):
        schedule.add(video, cost)
    schedule.doubt("fast", 700)
    assert schedule.next_for("fast", 0) == "a", "it may try what nobody else has begun"
    assert schedule.expected_end(0) == pytest.approx(700), "as if it were not there"
    schedule.doubt("fast", 0)
    assert schedule.expected_end(0) == pytest.approx(700 / 11)
    schedule.lane_died("fast")
    assert schedule.expected_end(0) == pytest.approx(700)


def test_the_longest_is_taken_of_what_ends_sooner_here():
    schedule = known(slow=1, fast=10)
    schedule.add("busy", 200)
    assert schedule.next_for("fast", 0) == "busy"
    for video, cost in (("a", 600), ("b", 260), ("c", 240)):
        schedule.add(video, cost)
    assert schedule.next_for("slow", 0) is None
    schedule.doubt("fast", 170)
    assert schedule.next_for("slow", 0) == "b", (
        "in 260 s; the fast one in 20 + 60 + 26, or as long again as it has failed"
    )


def test_lanes_in_doubt_do_not_hide_what_sure_ones_can_do():
    schedule = known(slow=1, fast=10, other=10)
    schedule.add("a", 2100)
    schedule.doubt("fast", 1e6)
    assert schedule.expected_end(0) == pytest.approx(2100 / 11), "without it"
    schedule.doubt("fast", 21)
    assert schedule.expected_end(0) == pytest.approx((2100 + 210) / 21)


@dataclass(eq=False)
class MadeUpLane:
    """Starts, works as fast as its plan says, and dies where its node is broken."""

    plan: LanePlan
    plant: Plant
    state: LaneState = LaneState.PLACING
    failure: ActorError | None = None
    draining: bool = False
    lost: bool = False
    jobs: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ready_s = self.plant.now_s + self.plant.start_s

    @property
    def text(self) -> str:
        return self.plan.text

    def advance(self) -> None:
        if self.plant.now_s >= self.ready_s + self.plant.lives_s.get(self.plan.node_id, 1e9):
            self.state, self.failure = LaneState.DEAD, ActorError("the actor died", where=self.plan.lane_id)
        elif self.plant.now_s >= self.ready_s:
            self.state = LaneState.READY

    def close(self) -> None:
        self.state = LaneState.CLOSED


class Plant:
    """The real fleet and queue, one slot a lane, turn by turn as the job goes round."""

    def __init__(self, nodes: dict[str, int], videos: dict[str, float], lives_s: dict[str, float], start_s: float):
        self.now_s, self.start_s, self.lives_s = 0.0, start_s, lives_s
        snapshot = ClusterSnapshot(nodes=tuple(NodeSnapshot(name, {"CPU": cores}) for name, cores in nodes.items()))
        ports = Ports(lambda: snapshot, lambda plan: MadeUpLane(plan, self))  # type: ignore[arg-type,return-value]
        self.fleet, self.queue = Fleet(resolve(**{"lane.streams": 1}), ports), WorkQueue()
        self.units = {name: Unit(name, name, Work.WHOLE, cost, 100) for name, cost in videos.items()}
        self.queue.add(self.units.values())
        self.begun: list[tuple[str, str, float]] = []
        """Node, unit and moment."""
        self.left = set(videos)

    def turn(self) -> None:
        self.now_s += TURN_S
        for lane in self.fleet.turn(self.now_s, lambda: [1000] * 20, tuple):
            self.queue.lane_died(lane.plan.lane_id, [self.units[name] for name in lane.jobs])
            self.fleet.bury(lane, self.now_s)
        self.queue.follow(self.fleet.standings, self.now_s)
        for lane in self.fleet.ready:
            for name in list(lane.jobs):
                lane.jobs[name] += TURN_S * lane.plan.speed / self.units[name].cost
                if lane.jobs[name] < 1:
                    self.queue.moved(lane.plan.lane_id, name, lane.jobs[name], self.now_s)
                    continue
                del lane.jobs[name]
                self.queue.finished(lane.plan.lane_id, name, self.now_s)
                self.fleet.finished_one(lane)
                self.left.remove(name)
        for lane in self.fleet.ready:
            if not lane.jobs and (name := self.queue.next_for(lane.plan, self.now_s)) is not None:
                lane.jobs[name] = 0.0
                self.begun.append((lane.plan.node_id, name, self.now_s))

    def run(self) -> float:
        while self.left:
            self.turn()
            assert self.now_s < 5000
        return self.now_s


VIDEOS = {"a": 600.0, "b": 300.0, "c": 300.0, "d": 200.0}


def test_a_slow_lane_does_not_wait_until_all_fast_ones_cool_down():
    """Two fast lanes die while they start, never at the same time: one of them was always to come in a moment."""
    plant = Plant({"slow": 4, "f1": 40, "f2": 40}, VIDEOS, {"f1": -3.0, "f2": -1.0}, start_s=40.0)
    end_s = plant.run()
    node, _, moment = plant.begun[0]
    assert (node, moment) == ("slow", pytest.approx(40, abs=2 * TURN_S)), "as soon as it is there; before, after 118 s"
    alone_s = Plant({"slow": 4}, VIDEOS, {}, start_s=40.0).run()
    assert end_s == pytest.approx(alone_s, abs=5)


def test_a_fast_lane_that_dies_once_is_waited_for():
    plant = Plant({"slow": 4, "f1": 40, "f2": 40}, VIDEOS, {"f1": -30.0}, start_s=40.0)
    while plant.now_s < 11:
        plant.turn()
    plant.lives_s.clear()
    assert plant.run() < 130
    assert all(node != "slow" for node, _, _ in plant.begun), "each of these takes it 80 s and more"
