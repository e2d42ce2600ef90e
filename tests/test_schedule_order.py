"""Which video a lane takes: longest first, short ones for slow lanes, none twice, none lost."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.backlog.schedule import Schedule
from actors.backlog.shelf import Shelf


def filled(**costs: float) -> Schedule:
    schedule = Schedule()
    for video, cost in costs.items():
        schedule.add(video, cost)
    return schedule


def shown(schedule: Schedule, **speeds: float) -> Schedule:
    """Lanes of one slot and a kind each, that have done a video at this speed; since the moment 0 there is no more."""
    for lane, speed in speeds.items():
        schedule.join(lane, kind=lane, slots=1, speed=speed)
        schedule.add(f"first of {lane}", 1.0)
        assert schedule.next_for(lane, -1 / speed) == f"first of {lane}"
        schedule.finished(lane, f"first of {lane}", 1 / speed)
    return schedule


def test_the_longest_goes_first_and_equals_in_their_order():
    schedule = filled(a=10, b=30, c=10, d=20)
    schedule.join("x", kind="gpu", slots=4, speed=1)
    assert [schedule.next_for("x", 0) for _ in range(4)] == ["b", "d", "a", "c"]
    assert schedule.next_for("x", 0) is None


def test_a_lane_takes_no_more_than_its_slots():
    schedule = filled(a=1, b=1)
    schedule.join("x", kind="gpu", slots=1, speed=1)
    assert schedule.next_for("x", 0) == "a"
    assert schedule.next_for("x", 0) is None
    schedule.finished("x", "a", 1.0)
    assert schedule.next_for("x", 1) == "b"


def test_a_slow_lane_leaves_the_longest_video_to_a_fast_one():
    schedule = filled(long=600, short=60, other=300)
    schedule.join("cpu", kind="cpu", slots=1, speed=1)
    schedule.join("gpu", kind="gpu", slots=1, speed=10)
    assert schedule.next_for("cpu", 0) == "short", "600 on it would outlast everything else"
    assert schedule.next_for("gpu", 0) == "long"


def test_a_slow_lane_waits_rather_than_hold_the_last_video():
    schedule = shown(Schedule(), cpu=1, gpu=10)
    for video in "ab":
        schedule.add(video, 600)
    assert schedule.next_for("gpu", 0) == "a"
    assert schedule.next_for("cpu", 0) is None, "the fast lane has both done in 120 s, this one needs 600"
    assert schedule.lane_died("gpu") == ("a",)
    assert schedule.next_for("cpu", 1) == "a", "now nobody else will"


def test_nothing_is_left_for_a_lane_that_takes_nothing_more():
    schedule = shown(Schedule(), cpu=1, gpu=10)
    for video, cost in (("a", 600), ("b", 600), ("c", 500)):
        schedule.add(video, cost)
    assert schedule.next_for("gpu", 0) == "a"
    assert schedule.prefetch_for("gpu", 0) == "b"
    assert schedule.next_for("cpu", 0) is None
    schedule.retire("gpu")
    schedule.retire("gpu")
    assert schedule.prefetch_for("gpu", 0) is schedule.next_for("gpu", 0) is None
    assert schedule.next_for("cpu", 0) == "b", "what was set aside for it, too"
    schedule.finished("gpu", "a", 60.0)
    assert schedule.expected_end(60) == pytest.approx(60 + 540 + 500), "the speed that is left is the slow lane's"
    assert schedule.lane_died("gpu") == ()
    schedule.join("gpu", kind="gpu", slots=1, speed=10)
    assert schedule.next_for("gpu", 60) == "c"


def test_a_slow_lane_helps_where_that_ends_sooner():
    schedule = shown(Schedule(), cpu=1, gpu=10)
    for video, cost in (("a", 600), ("b", 600), ("c", 60)):
        schedule.add(video, cost)
    assert schedule.next_for("gpu", 0) == "a"
    assert schedule.next_for("cpu", 0) == "c"


def test_speeds_are_learned():
    """Both are said to be equal; one proves ten times faster and gets the longest of what is left."""
    schedule = filled(**{f"v{n}": 100.0 for n in range(40)}, long=2000)
    for lane in ("fast", "slow"):
        schedule.join(lane, kind=lane, slots=1, speed=1)
    for lane, seconds in (("fast", 10.0), ("slow", 100.0)):
        video = schedule.next_for(lane, 0)
        assert video != "long", "nobody knows yet who is fast"
        schedule.finished(lane, video, seconds)
    assert schedule.speed_of("fast") == pytest.approx(10.0, rel=0.05)
    assert schedule.speed_of("slow") == pytest.approx(1.0, rel=0.05)
    assert schedule.next_for("slow", 100) != "long"
    assert schedule.next_for("fast", 100) == "long"


def test_one_absurd_measurement_is_soon_forgotten():
    schedule = filled(**{f"v{n}": 100.0 for n in range(40)})
    schedule.join("x", kind="gpu", slots=1, speed=1)
    for number in range(30):
        schedule.finished("x", schedule.next_for("x", number), 0.001 if number == 3 else 10.0)
    assert schedule.speed_of("x") == pytest.approx(10.0, rel=0.5)


def test_a_new_lane_begins_with_what_its_kind_has_shown():
    schedule = filled(**{f"v{n}": 100.0 for n in range(40)})
    schedule.join("one", kind="gpu", slots=2, speed=1)
    schedule.finished("one", schedule.next_for("one", 0), 20.0)
    schedule.join("two", kind="gpu", slots=2, speed=1)
    assert schedule.speed_of("two") == pytest.approx(10.0)


def test_the_videos_of_a_dead_lane_come_first_among_their_like():
    schedule = filled(a=100, b=100, c=100)
    schedule.join("x", kind="gpu", slots=2, speed=1)
    schedule.join("y", kind="gpu", slots=1, speed=1)
    assert [schedule.next_for("x", 0), schedule.next_for("x", 0)] == ["a", "b"]
    assert sorted(schedule.lane_died("x")) == ["a", "b"]
    assert schedule.lane_died("x") == ()
    assert schedule.next_for("y", 5) in ("a", "b")
    assert schedule.waiting == 2


def test_only_what_is_left_of_a_video_counts_after_a_death():
    schedule = filled(a=100, b=50)
    schedule.join("x", kind="gpu", slots=1, speed=1)
    schedule.join("y", kind="gpu", slots=1, speed=1)
    assert schedule.next_for("x", 0) == "a"
    schedule.lane_died("x", {"a": 10.0})
    assert schedule.next_for("y", 90) == "b"


def test_late_news_from_a_dead_lane_changes_nothing():
    schedule = filled(a=100)
    schedule.join("x", kind="gpu", slots=1, speed=1)
    schedule.join("y", kind="gpu", slots=1, speed=1)
    schedule.next_for("x", 0)
    schedule.lane_died("x")
    schedule.finished("x", "a", 1.0)
    assert schedule.next_for("y", 1) == "a"
    schedule.finished("x", "a", 1.0)
    assert schedule.running == 1
    schedule.finished("y", "a", 1.0)
    assert (schedule.running, schedule.waiting) == (0, 0)


def test_prefetching_names_the_next_and_keeps_it():
    schedule = filled(a=400, b=300, c=200, d=100)
    for lane in ("x", "y"):
        schedule.join(lane, kind="gpu", slots=1, speed=1)
    assert [schedule.next_for("x", 0), schedule.next_for("y", 0)] == ["a", "b"]
    assert schedule.prefetch_for("x", 0) is None, "400 s are too long ahead"
    assert schedule.prefetch_for("y", 250) == "c"
    assert schedule.prefetch_for("y", 251) == "c"
    assert schedule.waiting == 2
    schedule.finished("y", "b", 300)
    assert schedule.next_for("y", 300) == "c"
    assert schedule.next_for("y", 300) is None


def test_what_is_set_aside_is_taken_when_nothing_else_is_left_or_its_lane_dies():
    schedule = filled(a=400, b=300, c=290, d=280)
    for lane in ("x", "y"):
        schedule.join(lane, kind="gpu", slots=1, speed=1)
    schedule.next_for("x", 0)
    schedule.next_for("y", 0)
    assert schedule.prefetch_for("y", 290) == "c"
    schedule.lane_died("x")
    schedule.join("z", kind="gpu", slots=3, speed=1)
    assert [schedule.next_for("z", 291) for _ in range(3)] == ["a", "d", "c"]
    schedule.finished("y", "b", 300)
    assert schedule.next_for("y", 300) is None
    assert schedule.waiting == 0


def test_a_lane_that_leaves_what_is_set_aside_for_it_takes_something_else():
    """The fast lane stands still. Until that is noticed the slow one had neither begun its own video nor another."""
    schedule = shown(Schedule(), slow=1, fast=10)
    for video, cost in (("a", 1000), ("b", 90)):
        schedule.add(video, cost)
    assert [schedule.next_for(lane, 0) for lane in ("fast", "slow")] == ["a", "b"]
    for video, cost in (("u", 2000), ("v", 2000), ("own", 60)):
        schedule.add(video, cost)
    assert schedule.prefetch_for("slow", 80) == "own"
    for video in "uv":  # cancelled
        schedule.drop(video)
    for video, cost in (("long", 300), ("short", 12)):
        schedule.add(video, cost)
    schedule.finished("slow", "b", 90.0)
    assert schedule.next_for("slow", 110) == "short", "the other two end sooner on the fast lane, if it ends its own"
    assert schedule.prefetch_for("slow", 110) is None, "its own waits for anybody"
    schedule.finished("fast", "a", 120.0)
    assert [schedule.next_for("fast", 120), schedule.next_for("slow", 120)] == ["long", None]
    assert schedule.waiting == 1


def test_a_dropped_video_is_gone_wherever_it_is():
    schedule = filled(a=400, b=300, c=290, d=280)
    for lane in ("x", "y"):
        schedule.join(lane, kind="gpu", slots=1, speed=1)
    schedule.next_for("x", 0)
    schedule.next_for("y", 0)
    assert schedule.prefetch_for("y", 290) == "c"
    for video in "abcd":
        schedule.drop(video)
        schedule.drop(video)
    assert (schedule.waiting, schedule.running) == (0, 0)
    assert schedule.next_for("x", 300) is None
    assert schedule.expected_end(300) == 300


@pytest.mark.parametrize("cost", [0, -1, float("inf"), float("nan")])
def test_costs_are_positive_numbers(cost):
    with pytest.raises(ValueError, match="positive"):
        Schedule().add("a", cost)


def test_names_are_used_once():
    schedule = filled(a=1)
    with pytest.raises(ValueError, match="scheduled already"):
        schedule.add("a", 1)
    schedule.join("x", kind="gpu", slots=1, speed=1)
    with pytest.raises(ValueError, match="joined already"):
        schedule.join("x", kind="gpu", slots=1, speed=1)
    with pytest.raises(ValueError, match="must be positive"):
        schedule.join("y", kind="gpu", slots=0, speed=1)


def test_the_shelf_finds_the_longest_below_a_bound():
    shelf = Shelf()
    costs = {f"v{n}": 1.5**n for n in range(-20, 51)}
    for video, cost in costs.items():
        shelf.put(video, cost)
    for bound in (1e-9, 0.01, 1.0, 500.0, 1e30):
        found = shelf.longest(bound)
        best = max((cost for cost in costs.values() if cost <= bound), default=None)
        assert (found is None) == (best is None)
        if found is not None and best is not None:
            assert best <= found[1] <= bound * 1.03 or found[1] < 0.002
    assert shelf.longest() == ("v50", costs["v50"])


class Machine(RuleBasedStateMachine):
    """Any sequence of calls: each video is begun by one lane at a time, and all of them end."""

    @initialize()
    def begin(self):
        self.schedule, self.now = Schedule(), 0.0
        self.left: dict[str, float] = {}
        self.running: dict[str, tuple[str, float]] = {}
        self.lanes: dict[str, float] = {}
        self.number = 0

    @rule(cost=st.floats(0.01, 1e5))
    def add(self, cost):
        self.number += 1
        self.left[f"v{self.number}"] = cost
        self.schedule.add(f"v{self.number}", cost)

    @rule(
        kind=st.sampled_from(["gpu", "cpu"]),
        slots=st.integers(1, 3),
        speed=st.floats(0.1, 100),
        comes=st.none() | st.floats(0, 100),
    )
    def join(self, kind, slots, speed, comes):
        self.number += 1
        self.lanes[f"l{self.number}"] = speed / slots
        comes = None if comes is None else self.now + comes
        self.schedule.join(f"l{self.number}", kind=kind, slots=slots, speed=speed, comes=comes)

    @rule(cost=st.floats(0, 1e4) | st.just(0))
    def expect(self, cost):
        self.schedule.expect(cost)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data(), seconds=st.floats(0, 1e4) | st.just(0))
    def doubt(self, data, seconds):
        self.schedule.doubt(data.draw(st.sampled_from(sorted(self.lanes))), seconds)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data())
    def retire(self, data):
        self.schedule.retire(data.draw(st.sampled_from(sorted(self.lanes))))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0, 1), seconds=st.floats(0, 100))
    def move(self, data, share, seconds):
        video = data.draw(st.sampled_from(sorted(self.running)))
        self.now += seconds
        self.schedule.moved(self.running[video][0], video, share, self.now)

    @precondition(lambda self: self.lanes)
    @rule(data=st.data(), ahead=st.booleans())
    def ask(self, data, ahead):
        lane = data.draw(st.sampled_from(sorted(self.lanes)))
        if ahead:
            video = self.schedule.prefetch_for(lane, self.now)
            assert video is None or (video in self.left and video not in self.running)
            return
        video = self.schedule.next_for(lane, self.now)
        if video is not None:
            assert video in self.left
            assert video not in self.running
            self.running[video] = lane, self.now

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.floats(0.0, 1000))
    def finish(self, data, seconds):
        video = data.draw(st.sampled_from(sorted(self.running)))
        lane, _ = self.running.pop(video)
        self.now += seconds
        self.schedule.finished(lane, video, seconds)
        del self.left[video]

    @precondition(lambda self: self.lanes)
    @rule(data=st.data())
    def die(self, data):
        lane = data.draw(st.sampled_from(sorted(self.lanes)))
        del self.lanes[lane]
        mine = {video for video, (owner, _) in self.running.items() if owner == lane}
        assert set(self.schedule.lane_died(lane)) == mine
        for video in mine:
            del self.running[video]

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def drop(self, data):
        video = data.draw(st.sampled_from(sorted(self.left)))
        self.schedule.drop(video)
        del self.left[video]
        self.running.pop(video, None)

    @invariant()
    def counts_agree(self):
        assert self.schedule.running == len(self.running)
        assert self.schedule.waiting == len(self.left) - len(self.running)
        assert set(self.schedule.waiting_videos()) == set(self.left) - set(self.running)
        assert self.schedule.expected_end(self.now) >= self.now

    def teardown(self):
        """Whatever happened: with a lane that asks, everything comes to an end."""
        if not hasattr(self, "schedule"):
            return
        self.expect(0)
        self.join("cpu", 1, 1.0, None)  # the others may take nothing more
        for _ in range(2 * len(self.left) + 2):
            for video, (lane, _) in list(self.running.items()):
                self.schedule.finished(lane, video, 1.0)
                del self.running[video], self.left[video]
            for lane in self.lanes:
                video = self.schedule.next_for(lane, self.now)
                if video is not None:
                    self.running[video] = lane, self.now
        assert not self.left
        assert self.schedule.waiting == 0
        for held in ("_costs", "_owners", "_aside_of"):
            assert not getattr(self.schedule, held), "nothing of a finished video is kept"


TestAnySequence = Machine.TestCase
TestAnySequence.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
