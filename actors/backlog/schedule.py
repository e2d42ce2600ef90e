"""Schedule: which video a lane takes next, so that all lanes end at about the same time. Pure.

    add(video, cost) ─► shelf (waiting, by cost) ──next_for(lane, now)──► running ──finished, lane_died──► speeds
                              └──prefetch_for(lane, now)──► set aside for that lane; taken back when it dies or is idle

Longest first, as in list scheduling on machines of different speed (Graham 1969: LPT), with one rule beside it: a lane
takes only what it would finish before everything else is expected to be finished. A slow lane so takes shorter videos
near the end, and none at all when the others will be done sooner without it. Every decision looks at a fixed number of
cost classes and sums that are kept up to date, so its time does not depend on how many videos or lanes there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from actors.backlog.shelf import Shelf

_LANE_MEMORY = 0.3
"""Weight of the newest measurement in how a lane compares with its kind."""
_KIND_MEMORY = 0.02
"""Least weight of a measurement in the speed of a kind; the first ones weigh as in a plain average."""
_SLACK = 1.02
"""A lane may end this much after the expected end: estimates are no better than that."""
_CAUTION = 0.8
"""A slower lane takes the longest video that it would finish within this share of the time left."""
_PLENTY = 4
"""While so many videos wait for each slot, a lane of a kind that has shown nothing yet begins with a short one."""
_WEAK = 0.75
"""A lane that reaches less than this share of its kind's speed is not trusted with the longest videos."""


@dataclass(slots=True)
class _Kind:
    """Lanes that are about equally fast, and sums over them that give the work left at any moment."""

    speed: float
    """Cost a second of one video, while as many run beside it as usual."""
    samples: int = 0
    lanes: int = 0
    slots: float = 0.0
    """Sum over its lanes of slots times ratio."""
    busy: int = 0
    busy_cost: float = 0.0
    busy_ratio: float = 0.0
    busy_moment: float = 0.0
    """Sums over its running videos: cost, ratio, and ratio times the moment of their beginning."""

    def left(self, now: float) -> float:
        """Cost of what runs, less what must be done by now."""
        return max(0.0, self.busy_cost - self.speed * (self.busy_ratio * now - self.busy_moment))


@dataclass(slots=True)
class _Run:
    cost: float
    ratio: float
    begun: float


@dataclass(slots=True)
class _Lane:
    kind: _Kind
    slots: int
    ratio: float = 1.0
    """Its speed over its kind's."""
    running: dict[str, _Run] = field(default_factory=dict)
    aside: tuple[str, float] | None = None
    retired: bool = False

    @property
    def speed(self) -> float:
        return self.kind.speed * self.ratio

    def free_in(self, now: float) -> float:
        """Seconds until a slot is expected to be free; 0 when one is, or should be."""
        if len(self.running) < self.slots:
            return 0.0
        return max(0.0, min(run.begun + run.cost / self.speed for run in self.running.values()) - now)


class Schedule:
    """The queue of a job.

    Costs are the caller's estimates in any one unit, such as seconds of video; speeds are in that unit a second. All
    moments come from one monotonic clock, in seconds. Calls come from one thread.

    Args:
        ahead_s: how long before a slot is expected to be free the lane's next video is named for prefetching.
    """

    def __init__(self, ahead_s: float = 60.0) -> None:
        self._ahead_s = ahead_s
        self._waiting, self._aside = Shelf(), Shelf()
        self._costs: dict[str, float] = {}
        self._owners: dict[str, str] = {}
        self._aside_of: dict[str, str] = {}
        self._lanes: dict[str, _Lane] = {}
        self._kinds: dict[str, _Kind] = {}
        self._slots = 0

    # --- videos ---------------------------------------------------------------------------------------------------
    def add(self, video: str, cost: float) -> None:
        """Put a video into the queue.

        Raises:
            ValueError: it is known already, or its cost is not a positive number.
        """
        if video in self._costs:
            raise ValueError(f"{video} is scheduled already")
        if not 0 < cost < math.inf:
            raise ValueError(f"a cost is a positive number, not {cost}")
        self._costs[video] = cost
        self._waiting.put(video, cost)

    def drop(self, video: str) -> None:
        """Forget a video, wherever it is: cancelled, or given up."""
        cost = self._costs.pop(video, None)
        if cost is None:
            return
        self._waiting.remove(video, cost)
        if self._aside.remove(video, cost):
            self._lanes[self._aside_of.pop(video)].aside = None
        owner = self._owners.pop(video, None)
        if owner is not None:
            self._stop(self._lanes[owner], video)

    @property
    def waiting(self) -> int:
        """Videos that no lane has begun."""
        return self._waiting.size + self._aside.size

    @property
    def running(self) -> int:
        """Videos that lanes have begun."""
        return len(self._owners)

    def waiting_videos(self) -> Iterator[str]:
        """Those that no lane has begun, in no particular order."""
        yield from self._waiting
        yield from self._aside

    # --- lanes ----------------------------------------------------------------------------------------------------
    def join(self, lane: str, *, kind: str, slots: int, speed: float) -> None:
        """A lane is ready.

        Args:
            lane: its id.
            kind: lanes of one kind are about equally fast: a new one begins with what the others have shown. There
                should be few kinds.
            slots: videos at once.
            speed: first guess for all its slots together; counts until a lane of the kind has finished something.

        Raises:
            ValueError: the lane is here already, or the numbers are not positive.
        """
        if lane in self._lanes:
            raise ValueError(f"{lane} has joined already")
        if slots < 1 or not 0 < speed < math.inf:
            raise ValueError(f"slots={slots} and speed={speed} must be positive")
        known = self._kinds.setdefault(kind, _Kind(speed / slots))
        known.lanes += 1
        known.slots += slots
        self._lanes[lane] = _Lane(known, slots)
        self._slots += slots

    def lane_died(self, lane: str, left: Mapping[str, float] | None = None) -> tuple[str, ...]:
        """A lane is gone; its videos wait again, before others of their length.

        Args:
            lane: its id; unknown ones are no matter.
            left: what is still to do of a video whose finished segments are kept; the whole video when missing.

        Returns:
            the videos it had begun.
        """
        gone = self._lanes.pop(lane, None)
        if gone is None:
            return ()
        orphans = tuple(gone.running)
        for video in orphans:
            self._stop(gone, video)
            del self._owners[video]
            remains = (left or {}).get(video, math.inf)
            if 0 < remains < self._costs[video]:
                self._costs[video] = remains
            self._waiting.put(video, self._costs[video], first=True)
        self._leave(gone)
        return orphans

    def retire(self, lane: str) -> None:
        """A lane finishes what it has and takes nothing more: what waits is left to the others."""
        known = self._lanes.get(lane)
        if known is not None:
            self._leave(known)

    def speed_of(self, lane: str) -> float:
        """What is known of a lane's speed, all its slots together, in cost a second."""
        known = self._lanes[lane]
        return known.slots * known.speed

    # --- decisions ------------------------------------------------------------------------------------------------
    def next_for(self, lane: str, now: float) -> str | None:
        """The video that this lane begins now; None when it has no free slot or the others finish sooner without it.

        A lane that got None asks again later: its answer changes when other lanes die or prove slower. While anything
        waits and nothing runs, no lane gets None.
        """
        asking = self._lanes[lane]
        if asking.retired or len(asking.running) >= asking.slots:
            return None
        found = self._choose(asking, now)
        if found is None:
            return None
        video, cost = found
        if not self._waiting.remove(video, cost):
            self._aside.remove(video, cost)
            self._lanes[self._aside_of.pop(video)].aside = None
        asking.running[video] = run = _Run(cost, asking.ratio, now)
        self._owners[video] = lane
        kind = asking.kind
        kind.busy += 1
        kind.busy_cost += cost
        kind.busy_ratio += run.ratio
        kind.busy_moment += run.ratio * now
        return video

    def prefetch_for(self, lane: str, now: float) -> str | None:
        """The video that this lane will probably begin next, set aside for it, so that its input can be fetched.

        Nothing is set aside until a slot of the lane is expected to be free soon (``ahead_s``), or a long video would
        wait beside idle lanes; nor when fewer videos wait than there are lanes: then any of them may be free first.
        Other lanes take what is set aside only when nothing else waits, or when this lane dies.
        """
        asking = self._lanes[lane]
        if asking.retired:
            return None
        if asking.aside is None and self._waiting.size >= len(self._lanes) and asking.free_in(now) <= self._ahead_s:
            found = self._from(self._waiting, asking, now)
            if found is not None:
                self._waiting.remove(*found)
                self._aside.put(*found)
                self._aside_of[found[0]] = lane
                asking.aside = found
        return asking.aside[0] if asking.aside is not None else None

    def finished(self, lane: str, video: str, seconds: float, *, cost: float | None = None) -> None:
        """A video is done, or has failed for good, after so many seconds on this lane.

        A message from a lane that does not have this video (any more) changes nothing.

        Args:
            lane: where.
            video: which.
            seconds: it took; 0 or less when that says nothing about the lane's speed.
            cost: what it turned out to be, where that is known better now.
        """
        if self._owners.get(video) != lane:
            return
        done = self._lanes[lane]
        del self._owners[video]
        estimate = self._costs.pop(video)
        self._stop(done, video)
        if seconds > 0:
            _learn(done, (cost or estimate) / seconds)

    def expected_end(self, now: float) -> float:
        """When everything would be done if all lanes shared what is left; infinite without lanes."""
        left, speed = self._left(now), self._total_speed()
        return now + left / speed if speed > 0 else math.inf if left > 0 else now

    # --- inside ---------------------------------------------------------------------------------------------------
    def _leave(self, lane: _Lane) -> None:
        """Nothing that waits is counted on this lane any more."""
        if lane.retired:
            return
        lane.retired = True
        if lane.aside is not None:
            del self._aside_of[lane.aside[0]]
            self._aside.remove(*lane.aside)
            self._waiting.put(*lane.aside, first=True)
            lane.aside = None
        self._slots -= lane.slots
        lane.kind.lanes -= 1
        lane.kind.slots = lane.kind.slots - lane.slots * lane.ratio if lane.kind.lanes else 0.0

    def _choose(self, asking: _Lane, now: float) -> tuple[str, float] | None:
        if asking.aside is not None and self._helps(asking, asking.aside[1], now):
            return asking.aside
        found = self._from(self._waiting, asking, now) or self._from(self._aside, asking, now)
        if found is None and not self._owners:
            return self._waiting.shortest() or self._aside.shortest()  # somebody has to
        return found

    def _from(self, shelf: Shelf, asking: _Lane, now: float) -> tuple[str, float] | None:
        if not shelf.size:
            return None
        if not asking.kind.samples and self._slots * _PLENTY <= shelf.size and self._several_kinds():
            return shelf.shortest()  # a wrong first guess must not put the longest video on the slowest lane
        if self._is_fastest(asking):
            return shelf.longest()
        found = shelf.longest(asking.speed * (self.expected_end(now) - now) * _CAUTION)
        if found is None:
            found = shelf.shortest()
            if found is not None and not self._helps(asking, found[1], now):
                return None
        return found

    def _helps(self, asking: _Lane, cost: float, now: float) -> bool:
        """Whether a video of this cost ends sooner on this lane than if it were left to the others."""
        if self._is_fastest(asking):
            return True
        total, left = self._total_speed(), self._left(now)
        took = cost / asking.speed
        if took <= left / total * _SLACK:
            return True
        others = total - asking.speed
        return others <= 0 or took <= left / others + cost / self._fastest()

    def _is_fastest(self, asking: _Lane) -> bool:
        return asking.ratio >= _WEAK and asking.kind.speed >= self._fastest() / _SLACK

    def _several_kinds(self) -> bool:
        return sum(kind.lanes > 0 for kind in self._kinds.values()) > 1

    def _fastest(self) -> float:
        return max((kind.speed for kind in self._kinds.values() if kind.lanes), default=math.inf)

    def _total_speed(self) -> float:
        return sum(kind.speed * kind.slots for kind in self._kinds.values() if kind.lanes)

    def _left(self, now: float) -> float:
        """Cost of all that waits or runs, less what running videos must have done by now."""
        return self._waiting.cost + self._aside.cost + sum(kind.left(now) for kind in self._kinds.values())

    def _stop(self, lane: _Lane, video: str) -> None:
        """Take a running video out of the sums."""
        run, kind = lane.running.pop(video), lane.kind
        kind.busy -= 1
        if kind.busy:
            kind.busy_cost -= run.cost
            kind.busy_ratio -= run.ratio
            kind.busy_moment -= run.ratio * run.begun
        else:
            kind.busy_cost = kind.busy_ratio = kind.busy_moment = 0.0  # no rounding is carried on


def _learn(lane: _Lane, speed: float) -> None:
    """A lane has shown this speed for one video. Averages are geometric: one absurd value moves them little."""
    kind = lane.kind
    kind.samples += 1
    kind.speed *= (speed / kind.speed) ** max(1.0 / kind.samples, _KIND_MEMORY)
    before = lane.ratio
    lane.ratio *= (speed / (kind.speed * lane.ratio)) ** _LANE_MEMORY
    if not lane.retired:
        kind.slots += lane.slots * (lane.ratio - before)
