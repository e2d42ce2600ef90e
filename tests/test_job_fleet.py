"""The fleet without Ray: lanes follow the nodes, rest, cool down, and end when nothing more can come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from actors.fleet import LOOK_S, Fleet, Ports
from actors.lane import LaneState
from actors.placement import ClusterSnapshot, LanePlan, NodeSnapshot
from dualface_ray.errors import ActorError, DualfaceError, PlacementError, ProfileError
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import resolve

RINGS = [1000] * 20


@dataclass(eq=False)
class FakeLane:
    plan: LanePlan
    state: LaneState = LaneState.PLACING
    failure: DualfaceError | None = None
    draining: bool = False
    lost: bool = False
    jobs: dict = field(default_factory=dict)
    starts: bool = True

    @property
    def text(self) -> str:
        return self.plan.text

    def advance(self) -> None:
        if not self.starts:
            self.die(ActorError("no such model"))
        elif self.state is LaneState.PLACING:
            self.state = LaneState.READY

    def lose(self, what: str) -> None:
        self.lost = True
        self.die(ActorError(what, where=self.plan.lane_id))

    def die(self, error: DualfaceError | None = None) -> None:
        self.state, self.failure = LaneState.DEAD, error or ActorError("the actor died", where=self.plan.lane_id)

    def close(self) -> None:
        self.state = LaneState.CLOSED


class World:
    """A cluster, the fleet in it, and a clock."""

    def __init__(self, *nodes: NodeSnapshot, grows: bool = False, **overrides: object) -> None:
        self.nodes = list(nodes)
        self.grows = grows
        self.made: list[FakeLane] = []
        self.starts = True
        self.now_s = 100.0
        self.fleet = Fleet(resolve(**overrides), Ports(self.look, self.make, lambda: self.grows))

    def look(self) -> ClusterSnapshot:
        return ClusterSnapshot(nodes=tuple(self.nodes))

    def make(self, plan: LanePlan) -> FakeLane:
        self.made.append(FakeLane(plan, starts=self.starts))
        return self.made[-1]

    def turn(self, seconds: float = 0.2, rings: list[int] = RINGS) -> None:
        self.now_s += seconds
        for lane in self.fleet.turn(self.now_s, lambda: rings, tuple):
            self.fleet.bury(lane, self.now_s)

    def pass_(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.turn(0.25)

    @property
    def living(self) -> list[tuple[str, str]]:
        return [(name, lane.plan.node_id) for name, lane in self.fleet.lanes.items()]


def node(name: str, cpus: int = 4, used: float = 0, **more: object) -> NodeSnapshot:
    return NodeSnapshot(name, {"CPU": cpus}, {"CPU": used}, host=name, **more)


def test_a_lane_that_joins_late_is_ready_for_every_video_that_may_come():
    """Its plan names the engines that are built before it starts: one that is missing is built in the middle."""
    world = World(node("a"))
    cards = NodeSnapshot("b", {"CPU": 4, "GPU": 1}, labels={"dualface-card-bytes": str(80 << 30)}, host="b")
    large = VideoNeeds(1 << 30, 1 << 30, 80)

    def turn() -> None:
        world.now_s += LOOK_S
        world.fleet.turn(world.now_s, lambda: [large] * 2, lambda: ("landscape", "portrait"))

    turn()
    assert [lane.plan.backend for lane in world.made] == ["cpu"]
    world.nodes = [node("a", used=4), cards]
    turn()
    joined = world.made[-1].plan
    assert joined.backend == "cuda"
    assert joined.device_plan("inference").orientations == ("landscape", "portrait")
    assert joined.memory is not None
    assert joined.memory.plan.shape.inputs == 2
    alone = World(cards)
    alone.fleet.turn(alone.now_s, lambda: [large], lambda: ("portrait",))
    assert alone.made[-1].plan.device_plan("inference").orientations == ("landscape", "portrait")


def test_lanes_come_with_the_nodes_and_drain_or_are_lost_with_them():
    world = World(node("a"), node("b"))
    world.turn()
    assert world.living == [("lane-0", "a"), ("lane-1", "b")]
    assert world.fleet.slots == 4
    world.nodes = [node("a", used=4), node("b", used=4), node("c")]
    world.turn(LOOK_S)
    assert world.living[-1] == ("lane-2", "c")

    world.fleet.lanes["lane-0"].jobs["v1", 0] = None
    world.nodes = [replace(world.nodes[0], draining=True), node("b", used=4), node("c", used=4)]
    world.turn(LOOK_S)
    assert world.fleet.lanes["lane-0"].draining
    assert world.fleet.slots == 4, "a lane that drains takes nothing more"
    world.fleet.lanes["lane-0"].jobs.clear()
    world.turn()
    assert world.living == [("lane-1", "b"), ("lane-2", "c")]

    world.nodes = [node("b", used=4)]
    world.turn(LOOK_S)
    assert world.living == [("lane-1", "b")]
    assert any("its node is gone" in note for note in world.fleet.notes)
    world.pass_(20)
    assert world.living == [("lane-1", "b")], "nothing is started for a node that is gone"


def test_a_dead_lane_starts_again_at_its_place_and_nothing_else_is_planned_there():
    world = World(node("a"), node("b"))
    world.turn()
    world.made[0].die()
    world.turn(LOOK_S)
    assert world.living == [("lane-1", "b")]
    world.pass_(0.5)
    assert sorted(world.living) == [("lane-0", "a"), ("lane-1", "b")]
    assert world.made[-1].plan == world.made[0].plan


def test_a_lane_that_keeps_failing_is_out_for_a_cool_down_while_others_work():
    world = World(node("a"), node("b"), cooldown_s=30)
    world.turn()
    for _ in range(3):
        world.fleet.lanes["lane-0"].die()
        world.pass_(1)
    assert world.living == [("lane-1", "b")]
    world.pass_(25)
    assert world.living == [("lane-1", "b")], "its free cores are not given to a lane of another name either"
    assert any("stays out for 30 s" in note for note in world.fleet.notes)
    world.pass_(6)
    assert sorted(world.living) == [("lane-0", "a"), ("lane-1", "b")]
    world.fleet.finished_one(world.fleet.lanes["lane-0"])
    world.fleet.lanes["lane-0"].die()
    world.pass_(1)
    assert "lane-0" in world.fleet.lanes


def test_the_queue_hears_how_lanes_stand():
    world = World(node("a"), node("b"), cooldown_s=30)
    world.turn()
    world.fleet.lanes["lane-1"].draining = True
    world.fleet.lanes["lane-1"].jobs["v1", 0] = None
    began_s = world.now_s
    for _ in range(2):
        world.pass_(5)
        world.fleet.lanes["lane-0"].die()
        world.turn(0.25)
        assert [found.plan.lane_id for found in world.fleet.standings] == ["lane-1"], "it rests"
    world.pass_(0.5)
    drains, again = world.fleet.standings
    assert (drains.works, drains.draining, drains.wasted_s) == (True, True, 0.0)
    assert (again.works, again.draining) == (True, False)
    assert 10 < again.wasted_s <= world.now_s - began_s
    world.fleet.finished_one(world.fleet.lanes["lane-0"])
    assert world.fleet.standings[1].wasted_s == 0.0
    world.made[-1].state = LaneState.PLACING
    assert not world.fleet.standings[1].works


def test_no_restart_storm():
    """A lane that dies at once, for an hour."""
    world = World(node("a"), node("b"), cooldown_s=30)
    world.turn()
    for _ in range(4 * 3600):
        if "lane-0" in world.fleet.lanes:
            world.fleet.lanes["lane-0"].die()
        world.turn(0.25)
    assert len(world.made) < 15


def test_the_last_lane_is_waited_for_while_it_cools_down_but_not_for_ever():
    world = World(node("a"), cooldown_s=40, placement_timeout_s=60)
    world.turn()
    for _ in range(3):
        world.fleet.lanes["lane-0"].die()
        world.pass_(1)
    world.pass_(41)
    assert world.living == [("lane-0", "a")], "after its cool-down"
    world.fleet.lanes["lane-0"].die(ActorError("broken for good"))
    with pytest.raises(ActorError, match="broken for good"):
        world.pass_(70)


def test_lanes_that_never_start_end_the_job_at_once():
    world = World(node("a"), cooldown_s=30)
    world.starts = False
    with pytest.raises(ActorError, match="no such model"):
        world.pass_(10)
    assert len(world.made) == 3


def test_what_nobody_declares_is_named_at_once_unless_nodes_may_come():
    with pytest.raises(PlacementError, match="no GPU is declared"):
        World(node("a"), backend="cuda").turn()
    world = World(node("a"), backend="cuda", grows=True, placement_timeout_s=60)
    world.pass_(50)
    with pytest.raises(PlacementError, match="no GPU is declared"):
        world.pass_(20)
    world = World(node("head", cpus=0), grows=True)
    world.pass_(30)
    world.nodes.append(node("a"))
    world.pass_(3)
    assert world.living == [("lane-0", "a")]


def test_the_last_node_leaves():
    world = World(node("a"), node("head", cpus=0))
    world.turn()
    world.nodes = [node("head", cpus=0)]
    with pytest.raises(PlacementError):
        world.pass_(5)


def test_a_node_with_a_wrong_profile_is_noted_and_the_job_goes_on():
    world = World(node("a"))
    world.turn()
    world.nodes[0] = node("a", used=4)
    wrong = NodeSnapshot("g", {"CPU": 4, "GPU": 1}, labels={"dualface-profile": "rtx9999"}, host="g")
    world.nodes.append(wrong)
    world.pass_(10)
    assert world.living == [("lane-0", "a")]
    assert sum("rtx9999" in note for note in world.fleet.notes) == 1
    with pytest.raises(ProfileError):
        World(node("a"), wrong).turn()


def test_a_lane_without_room_is_taken_off_and_the_last_one_names_what_is_missing():
    world = World(node("a"), node("b"))
    world.turn()
    error = PlacementError("no room for {'CPU': 4.0} after 60 s", where="lane-0")
    world.nodes[0] = node("a", used=4)
    world.fleet.lanes["lane-0"].die(error)
    world.pass_(5)
    assert world.living == [("lane-1", "b")]
    world.fleet.lanes["lane-1"].die(error)
    with pytest.raises(PlacementError, match="no room"):
        world.turn()


def test_the_error_of_a_lane_without_room_says_who_has_taken_it():
    world = World(node("a"))
    ports = replace(world.fleet.ports, no_room=lambda plan, error: PlacementError(f"{error.what}: {plan.node_id}"))
    world.fleet.ports = ports
    world.turn()
    world.nodes[0] = node("a", used=4)
    world.fleet.lanes["lane-0"].die(PlacementError("no room"))
    with pytest.raises(PlacementError, match="no room: a"):
        world.turn()


def test_closing_closes_all():
    world = World(node("a"), node("b"))
    world.turn()
    world.fleet.close()
    assert [lane.state for lane in world.made] == [LaneState.CLOSED] * 2
    world.fleet.close()


def test_a_fleet_knows_whether_its_lanes_encode_alike():
    one = World(node("a"), node("b"))
    one.pass_(3)
    assert len(one.fleet.lanes) == 2
    assert not one.fleet.mixed
    for lane, encoder in zip(one.made, ("nvenc", "cpu"), strict=True):
        lane.plan = replace(lane.plan, encoder=encoder)
    assert one.fleet.mixed
