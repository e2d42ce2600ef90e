"""First come, first served, which the schedule is compared with; and what a simulation asks of either."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Protocol

from actors.backlog.unit import Unit
from actors.backlog.workqueue import Standing
from actors.placement import LanePlan


class Queue(Protocol):
    """What the simulation asks of a schedule."""

    @property
    def waiting(self) -> int:
        """Videos that no lane has begun."""

    @property
    def running(self) -> int:
        """Videos that lanes have begun."""

    def add(self, video: str, cost: float) -> None:
        """A video."""

    def join(self, lane: str, *, kind: str, slots: int, speed: float) -> None:
        """A lane."""

    def lane_died(self, lane: str, left: Mapping[str, float] | None = None) -> tuple[str, ...]:
        """It is gone."""

    def next_for(self, lane: str, now: float) -> str | None:
        """What it begins."""

    def prefetch_for(self, lane: str, now: float) -> str | None:
        """What it may begin next."""

    def moved(self, lane: str, video: str, share: float, now: float) -> None:
        """It has come so far."""

    def finished(self, lane: str, video: str, seconds: float) -> None:
        """It is done."""


class FirstCome:
    """First come, first served: what the schedule is compared with."""

    def __init__(self) -> None:
        self._queue: deque[str] = deque()
        self._running: dict[str, set[str]] = {}

    @property
    def waiting(self) -> int:
        """Videos that no lane has begun."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Videos that lanes have begun."""
        return sum(len(videos) for videos in self._running.values())

    def add(self, video: str, cost: float) -> None:
        """Last in the queue."""
        self._queue.append(video)

    def join(self, lane: str, *, kind: str, slots: int, speed: float) -> None:
        """A lane."""
        self._running[lane] = set()

    def lane_died(self, lane: str, left: Mapping[str, float] | None = None) -> tuple[str, ...]:
        """Its videos go to the front."""
        orphans = tuple(sorted(self._running.pop(lane)))
        self._queue.extendleft(orphans)
        return orphans

    def next_for(self, lane: str, now: float) -> str | None:
        """The first in the queue."""
        if not self._queue:
            return None
        self._running[lane].add(self._queue[0])
        return self._queue.popleft()

    def prefetch_for(self, lane: str, now: float) -> str | None:
        """Nothing: nobody knows who comes first."""
        return None

    def moved(self, lane: str, video: str, share: float, now: float) -> None:
        """Nothing follows from that."""

    def finished(self, lane: str, video: str, seconds: float) -> None:
        """It is done."""
        self._running[lane].discard(video)


class FirstUnits:
    """The same for units; small ones, which others wait for, go first here, too."""

    def __init__(self) -> None:
        self._small: deque[str] = deque()
        self._rest: deque[str] = deque()

    def add(self, units: Iterable[Unit]) -> None:
        """Last in the queue."""
        for unit in units:
            (self._small if unit.small else self._rest).append(unit.unit_id)

    def expect(self, cost: float) -> None:
        """Nothing follows from that."""

    def follow(self, lanes: Iterable[Standing], now_s: float) -> None:
        """Nothing follows from that."""

    def next_for(self, plan: LanePlan, now_s: float) -> str | None:
        """The first in the queue."""
        queue = self._small or self._rest
        return queue.popleft() if queue else None

    def ahead_for(self, plan: LanePlan, now_s: float) -> str | None:
        """Nothing: nobody knows who comes first."""
        return None

    def moved(self, lane_id: str, unit_id: str, share: float, now_s: float) -> None:
        """Nothing follows from that."""

    def finished(self, lane_id: str, unit_id: str, now_s: float) -> None:
        """Nothing follows from that."""
