"""Few videos: what waits is dealt to all lanes at once; lanes show their speed before they have finished anything."""

from __future__ import annotations

import random

import pytest

from actors.backlog.deal import Deal, Seat
from actors.backlog.runner import Kind, Runner
from actors.backlog.schedule import Schedule
from actors.backlog.speeds import LOOK_WEIGHT, Speeds


def seat(lane: str, speed: float, slots: int = 1, busy_s: float = 0.0) -> Seat:
    return Seat(lane, speed, [busy_s] * slots, busy_s)


def dealt(deal: Deal, lane: str, by: float = 0.0) -> list[str]:
    found = []
    while (one := deal.pick(lane, by)) is not None:
        found.append(one[0])
    return found


def descending(*costs: float) -> list[tuple[str, float]]:
    return [(f"v{number}", cost) for number, cost in enumerate(sorted(costs, reverse=True))]


def test_each_goes_where_it_ends_soonest():
    deal = Deal(descending(600, 500, 90, 15), [seat("fast", 10), seat("slow", 1)], 0.0)
    assert dealt(deal, "fast", 1e9) == ["v0", "v1"]
    assert dealt(deal, "slow") == ["v2"], "the next one begins later"
    assert deal.pick("slow", 89.0) is None
    assert deal.pick("slow", 90.0) == ("v3", 15)
    assert deal.pick("nobody", 1e9) is None


def test_a_lane_that_will_be_free_soon_is_better_than_a_slow_one_that_is():
    deal = Deal(descending(600), [seat("fast", 10, busy_s=30), seat("slow", 1)], 100.0)
    assert deal.pick("slow", 1e9) is None
    assert deal.pick("fast", 129.0) is None
    assert deal.pick("fast", 130.0) == ("v0", 600)


def test_equal_lanes_get_equal_work_and_not_one_the_long_videos():
    """Videos of a lane share what it can do."""
    costs = dict(descending(*range(50, 1050, 50)))
    deal = Deal(costs.items(), [seat(name, 1, 5) for name in "abcd"], 0.0)
    work = [sum(costs[video] for video in dealt(deal, name)) for name in "abcd"]
    assert sum(work) == sum(costs.values())
    assert max(work) < 1.1 * min(work)


def test_what_ends_long_after_all_else_has_less_beside_it():
    def beside(end_s: float) -> int:
        """How many begin at once with the longest."""
        deal = Deal(descending(4000, *[400] * 12), [seat(name, 1, 4) for name in "ab"], 0.0, end_s)
        return next(len(videos) for videos in (dealt(deal, "a"), dealt(deal, "b")) if "v0" in videos)

    assert beside(end_s=8800 / 8) == 2
    assert beside(end_s=2500) == 4, "it ends about with the others"


def test_nobody_is_dealt_to_where_nobody_is():
    assert Deal(descending(1), [], 0.0).pick("a", 1e9) is None


def runner(guess: float = 1.0, slots: int = 1) -> Runner:
    return Runner("lane", Kind(guess, guess, guess), slots)


def test_a_running_video_shows_its_speed_within_seconds():
    lane = runner(guess=1.0)
    lane.begin("v", 1000.0, now=0.0)
    assert lane.look("v", 0.0, 1.0) is None, "nothing has come out yet"
    assert lane.look("v", 0.01, 3.0) is None, "until now it was opened"
    assert lane.look("v", 0.01, 8.0) is None, "it stands still"
    assert lane.look("v", 0.02, 5.0) is None, "too soon"
    assert lane.look("v", 0.06, 8.0) == pytest.approx(1000 / (8 + 940 / 10)), "10 a second, and 3 s for the opening"
    assert lane.free_in(8.0) == pytest.approx(94)
    assert lane.kind.left(8.0) == pytest.approx(940)
    assert lane.look("v", 1.0, 500.0) is None, "its end is told otherwise"
    lane.stop("v")
    assert lane.kind.busy_cost == 0


def test_what_is_overdue_takes_longer_the_longer_it_takes():
    lane = runner(guess=100.0)
    lane.begin("v", 1000.0, now=0.0)
    assert lane.free_in(9.0) == pytest.approx(1)
    assert lane.free_in(1000.0) == pytest.approx(100)


@pytest.mark.parametrize("speed", [0.0, 1e-300, 1e300, float("inf")])
def test_nothing_absurd_is_believed(speed):
    speeds = Speeds()
    kind = speeds.kind("card", 2.0)
    learned(speeds, kind, speed)
    assert 1e-4 <= kind.speed <= 1e5
    lane = runner(guess=2.0)
    lane.begin("v", 1000.0, now=0.0)
    lane.look("v", 1e-300, 1.0)
    lane.look("v", 2e-300, 7.0)
    assert 1e4 < lane.free_in(7.0) < 1e8


def learned(speeds: Speeds, kind: Kind, speed: float, weight: float = LOOK_WEIGHT) -> None:
    speeds.learn(Runner("lane", kind, 1), speed, weight)


def test_guesses_that_err_together_are_put_right_together():
    """Pictures four times as large: whoever has shown nothing yet is slower, too."""
    speeds = Speeds()
    fast, slow = speeds.kind("fast", 12.0), speeds.kind("slow", 4.0)
    learned(speeds, fast, 3.0)
    assert slow.speed == pytest.approx(1.0)
    assert speeds.kind("new", 8.0).speed == pytest.approx(2.0)


def test_a_guess_counts_for_as_much_as_it_agrees():
    speeds = Speeds()
    right, wrong = speeds.kind("right", 4.0), speeds.kind("wrong", 4.0)
    for kind, shown in ((right, 4.6), (wrong, 0.5)):
        learned(speeds, kind, shown, weight=1.0)
    assert wrong.speed == pytest.approx(0.5, rel=0.15)
    for _ in range(20):
        learned(speeds, wrong, 0.5)
        learned(speeds, right, 4.0)
    assert right.speed / wrong.speed == pytest.approx(8.0, rel=0.1)


def test_what_was_taken_while_more_was_expected_is_not_dealt_again():
    schedule = Schedule()
    for video, cost in (("v0", 100), ("v1", 150), ("v2", 200)):
        schedule.add(video, cost)
    schedule.join("a", kind="k", slots=1, speed=1)
    schedule.join("b", kind="k", slots=2, speed=2)
    begun = [schedule.next_for("a", 0.0)]
    schedule.expect(1000)
    begun.append(schedule.next_for("b", 0.1))
    schedule.expect(0)
    begun.append(schedule.next_for("b", 0.2))
    assert sorted(begun) == ["v0", "v1", "v2"]


def test_lanes_show_their_speed_before_they_take_long_videos():
    schedule = Schedule()
    for number, cost in enumerate((2000, 1900, 600, 500, 50, 40)):
        schedule.add(f"v{number}", cost)
    schedule.join("slow", kind="slow", slots=2, speed=20)  # the guesses are the wrong way round
    schedule.join("fast", kind="fast", slots=2, speed=2)
    assert [schedule.next_for("slow", 0), schedule.next_for("fast", 0)] == ["v5", "v4"]
    assert schedule.next_for("slow", 0) is schedule.next_for("fast", 0) is None
    assert schedule.prefetch_for("slow", 0) is None
    for now in (2.0, 7.5):
        schedule.moved("slow", "v5", now / 40, now)
    assert schedule.next_for("slow", 7.5) is None, "the other one's is not known yet"
    for now in (2.0, 8.0):
        schedule.moved("fast", "v4", now * 10 / 90, now)
    assert schedule.next_for("fast", 8) == "v0"
    assert schedule.next_for("slow", 8) in ("v3", None)


def test_lanes_that_still_start_are_found_out_about_too():
    """Cores are there before cards, and must not take the longest videos because the guesses say so."""
    schedule = Schedule()
    for number, cost in enumerate((5000, 4900, 4800, 100, 90)):
        schedule.add(f"v{number}", cost)
    schedule.join("cpu", kind="cpu", slots=2, speed=2)
    schedule.join("gpu", kind="gpu", slots=2, speed=1, comes=20.0)
    assert schedule.next_for("cpu", 0) == "v4"
    for now in (1.0, 7.0):
        schedule.moved("cpu", "v4", now / 90, now)
    assert schedule.next_for("cpu", 8) is None
    assert schedule.next_for("gpu", 10) == "v3"
    for now in (11.0, 17.0):
        schedule.moved("gpu", "v3", (now - 10) / 10, now)
    assert schedule.next_for("gpu", 17) == "v0"


def test_nobody_waits_long_for_speeds():
    """Neither where nothing moves nor where the whole job takes seconds."""
    for costs, seconds in (((20_000, 19_000, 18_000, 200), 30.0), ((60, 50, 40, 1), 2.0)):
        schedule = Schedule()
        for number, cost in enumerate(costs):
            schedule.add(f"v{number}", cost)
        for name in "ab":
            schedule.join(name, kind=name, slots=2, speed=5)
        assert schedule.next_for("a", 0) == "v3"
        assert schedule.next_for("a", 0.1) is None
        assert schedule.next_for("a", seconds) is not None


def test_among_equals_nobody_waits():
    schedule = Schedule()
    for number in range(8):
        schedule.add(f"v{number}", 100 + number)
    for name in "abcd":
        schedule.join(name, kind="card", slots=2, speed=5)
    taken = [[schedule.next_for(name, 0), schedule.next_for(name, 0)] for name in "abcd"]
    assert sorted(video for pair in taken for video in pair if video) == [f"v{n}" for n in range(8)]


def test_a_single_video_goes_to_the_lane_that_should_be_faster():
    schedule = Schedule()
    schedule.add("v", 1000)
    schedule.join("cpu", kind="cpu", slots=1, speed=1)
    schedule.join("gpu", kind="gpu", slots=2, speed=10, comes=5.0)
    assert schedule.next_for("cpu", 0) is None, "a faster one will be there in a moment"
    assert schedule.next_for("gpu", 6) == "v"


def test_a_lane_that_does_not_come_is_not_waited_for():
    schedule = Schedule()
    schedule.add("v", 1000)
    schedule.join("cpu", kind="cpu", slots=1, speed=1)
    schedule.join("gpu", kind="gpu", slots=1, speed=10, comes=5.0)
    assert schedule.next_for("cpu", 64) is None
    assert schedule.next_for("cpu", 66) == "v"
    assert schedule.expected_end(66) == pytest.approx(1066)
    schedule.add("w", 100)
    assert schedule.next_for("gpu", 70) == "w", "late, but there"
    assert schedule.expected_end(70) < 200


def test_a_deal_stays_in_time():
    """Bounded by its steps, and it is kept until something happens."""
    chance = random.Random(1)
    schedule = Schedule()
    for number in range(200):
        schedule.add(f"v{number}", chance.uniform(10, 1000))
    for number in range(20):
        schedule.join(f"l{number}", kind="card", slots=4, speed=4)
    deals = []

    class Counted(Deal):
        def __init__(self, *args: object) -> None:
            deals.append(1)
            super().__init__(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.backlog.choice.Deal", Counted)
        for number in range(20):
            assert all(schedule.next_for(f"l{number}", 0.0) for _ in range(4))
        assert len(deals) == 1
        for number in range(10_000):
            schedule.add(f"w{number}", 100)
        schedule.finished("l0", next(iter(schedule._crew["l0"].running)), 50.0)
        assert schedule.next_for("l0", 50.0) is not None
        assert len(deals) == 1, "there is too much of it"
