"""Simulation: lanes of several speeds, videos of mixed length and deaths on a virtual clock."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from dualface_ray.bench.bound import lower_bound
from dualface_ray.bench.firstcome import Queue
from dualface_ray.bench.outcome import Decisions, ScheduleBench

KINDS = (("gpu", 0.3, 15.0, 8), ("small-gpu", 0.3, 6.0, 4), ("cpu", 0.4, 1.2, 1))
"""Simulated lanes: name, share of all lanes, seconds of video a second with all slots busy, videos at once."""
GUESS = 5.0
"""What the schedule is told of every lane's speed: the same wrong figure, so that it has to learn."""
RESTART_S = 60.0
"""A lane that died is back after this long."""
SEGMENT_S = 300.0
"""Seconds of video after which what a lane has done is kept; a death costs what lies after the last such moment."""
LOOK_S = 5.0
"""How long after its beginning a lane first tells how far a video has come; then after twice as long, and so on."""
AHEAD_S = 60.0
"""How long before a slot is expected to be free a lane asks what to prefetch."""
NOISE = 0.15
"""Standard deviation of the logarithm of a video's real cost over its estimate."""
HUNGRY = 16
"""Refused lanes that ask again after each event."""
STEPS = 120
"""Points of the curves in the picture."""


@dataclass(slots=True)
class _SimLane:
    name: str
    kind: str
    slots: int
    rate: float
    """Of one slot, in seconds of video a second."""
    alive: bool = True
    life: int = 0
    """Grows with every death, so that ends of an earlier life are recognised."""
    begun: dict[str, float] = field(default_factory=dict)
    """Video -> moment."""


class Simulation:
    """One job: events in virtual time, handed to a schedule whose answers are timed.

    Args:
        lanes: how many.
        videos: how many.
        rate: deaths of one lane in a virtual hour.
        seed: of everything random.
        prefetch: also ask for each lane's next video ahead.
        clock: for timing decisions.
        schedule: the one that decides.
    """

    def __init__(
        self,
        lanes: int,
        videos: int,
        rate: float,
        seed: int,
        prefetch: bool,
        clock: Callable[[], float],
        schedule: Queue,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._result = ScheduleBench(lanes, videos, rate, seed)
        self._prefetch, self._clock = prefetch, clock
        self._schedule = schedule
        self._cost: dict[str, float] = {}
        self._estimate: dict[str, float] = {}
        for number in range(videos):
            estimate = min(10800.0, max(10.0, self._random.lognormvariate(math.log(480.0), 0.9)))
            self._cost[f"v{number}"] = estimate * self._random.lognormvariate(-NOISE * NOISE / 2, NOISE)
            self._estimate[f"v{number}"] = estimate
            self._schedule.add(f"v{number}", estimate)
        self._all = tuple(self._cost.values())
        self._total = sum(self._all)
        self._lanes = [self._lane(number, lanes) for number in range(lanes)]
        self._events: list[tuple[float, int, str, _SimLane, str, int]] = []
        self._number = 0
        self._changes: list[tuple[float, float]] = []
        """(moment, change of the capacity alive), for the lower bound."""
        self._work: list[tuple[float, float, str, float]] = []
        """(begin, end, kind, rate) of every stretch of work, for the picture."""
        self._hungry: set[int] = set()
        self._timings: list[float] = []
        self._done = 0

    def _lane(self, number: int, lanes: int) -> _SimLane:
        place, below = (number + 0.5) / lanes, 0.0
        for kind, share, speed, slots in KINDS:
            below += share
            if place < below or kind == KINDS[-1][0]:
                rate = speed / slots * self._random.uniform(0.95, 1.05)
                return _SimLane(f"lane-{number}", kind, slots, rate)
        raise AssertionError("the shares of KINDS cover every lane")

    def run(self) -> ScheduleBench:
        """Until every video is done."""
        began = self._clock()
        result, now = self._result, 0.0
        for lane in self._lanes:
            self._rise(lane, now)
        for lane in self._lanes:
            self._feed(lane, now)
        while self._done < result.videos:
            now, _, what, lane, video, life = heapq.heappop(self._events)
            if what == "end" and life == lane.life:
                self._end(lane, video, now)
            elif what == "death" and life == lane.life:
                self._die(lane, now)
            elif what == "rise":
                self._rise(lane, now)
                self._feed(lane, now)
            elif what == "ahead" and life == lane.life:
                self._schedule.prefetch_for(lane.name, now)
            elif what == "look" and life == lane.life and video in lane.begun:
                self._look(lane, video, now)
            self._feed_hungry(now)
        result.makespan_s = now
        places = [lane.rate for lane in self._lanes for _ in range(lane.slots)]
        result.lower_bound_s = max(self._bound(), lower_bound(self._all, places))
        times = sorted(self._timings)
        result.decisions = Decisions(
            len(times), times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6, times[-1] * 1e6
        )
        result.left_over = self._schedule.waiting + self._schedule.running
        self._curves(now)
        result.wall_s = self._clock() - began
        return result

    # --- events ---------------------------------------------------------------------------------------------------
    def _push(self, moment: float, what: str, lane: _SimLane, video: str = "") -> None:
        self._number += 1
        heapq.heappush(self._events, (moment, self._number, what, lane, video, lane.life))

    def _rise(self, lane: _SimLane, now: float) -> None:
        lane.alive = True
        self._changes.append((now, lane.slots * lane.rate))
        self._schedule.join(lane.name, kind=lane.kind, slots=lane.slots, speed=GUESS)
        if self._result.deaths_per_lane_hour > 0:
            self._push(now + self._random.expovariate(self._result.deaths_per_lane_hour / 3600.0), "death", lane)

    def _die(self, lane: _SimLane, now: float) -> None:
        lane.alive = False
        lane.life += 1
        self._hungry.discard(int(lane.name[5:]))
        self._changes.append((now, -lane.slots * lane.rate))
        left = {}
        for video, since in lane.begun.items():
            done = (now - since) * lane.rate
            kept = done // SEGMENT_S * SEGMENT_S
            self._result.lost_work_s += done - kept
            self._work.append((since, now, lane.kind, kept / (now - since) if kept else 0.0))
            # the frames that are left are known; what they cost is as uncertain as before
            left[video] = self._estimate[video] * (1.0 - kept / self._cost[video])
            self._cost[video] -= kept
            self._estimate[video] = left[video]
        orphans = self._schedule.lane_died(lane.name, left)
        lane.begun.clear()
        self._result.deaths += 1
        self._result.begun_again += len(orphans)
        self._push(now + RESTART_S, "rise", lane)

    def _end(self, lane: _SimLane, video: str, now: float) -> None:
        since = lane.begun.pop(video)
        self._schedule.finished(lane.name, video, now - since)
        self._work.append((since, now, lane.kind, lane.rate))
        self._done += 1
        self._feed(lane, now)

    def _look(self, lane: _SimLane, video: str, now: float) -> None:
        """Tell how far a video has come; the next time after twice as long."""
        age, seconds = now - lane.begun[video], self._cost[video] / lane.rate
        self._schedule.moved(lane.name, video, age / seconds, now)
        if 2 * age < seconds:
            self._push(now + age, "look", lane, video)

    def _feed(self, lane: _SimLane, now: float) -> None:
        """Give a lane all that it takes now; one that is refused asks again when something has changed."""
        while len(lane.begun) < lane.slots:
            began = self._clock()
            video = self._schedule.next_for(lane.name, now)
            self._timings.append(self._clock() - began)
            if video is None:
                if self._schedule.waiting:
                    self._hungry.add(int(lane.name[5:]))
                return
            lane.begun[video] = now
            self._push(now + self._cost[video] / lane.rate, "end", lane, video)
            self._push(now + LOOK_S, "look", lane, video)
            if self._prefetch:
                self._push(now + max(0.0, self._estimate[video] / lane.rate - AHEAD_S), "ahead", lane)
        self._hungry.discard(int(lane.name[5:]))

    def _feed_hungry(self, now: float) -> None:
        """Some refused lanes ask again after each event: the polling of a real job, without its idle turns."""
        if not self._schedule.waiting:
            self._hungry.clear()
        for number in list(islice(self._hungry, HUNGRY)):
            self._hungry.discard(number)
            self._feed(self._lanes[number], now)

    # --- results --------------------------------------------------------------------------------------------------
    def _bound(self) -> float:
        """The earliest moment by which the capacity that was alive could have done all the work, none of it twice."""
        left, capacity, since = self._total, 0.0, 0.0
        for moment, change in sorted(self._changes):
            if capacity * (moment - since) >= left:
                break
            left -= capacity * (moment - since)
            capacity, since = capacity + change, moment
        return since + left / capacity

    def _curves(self, end: float) -> None:
        capacity = sum(lane.slots * lane.rate for lane in self._lanes)
        width = end / STEPS
        busy = [0.0] * STEPS
        done = {kind: [0.0] * STEPS for kind, *_ in KINDS}
        for since, until, kind, rate in self._work:
            for step in range(int(since / width), min(STEPS, int(until / width) + 1)):
                overlap = min(until, (step + 1) * width) - max(since, step * width)
                busy[step] += max(0.0, overlap) * rate
                done[kind][step] += max(0.0, overlap) * rate
        self._result.busy_share = tuple(value / (capacity * width) for value in busy)
        for kind, values in done.items():
            sums, curve = 0.0, []
            for value in values:
                sums += value
                curve.append(sums / self._total)
            self._result.done_share[kind] = tuple(curve)
