"""WorkQueue: units that are ready, and which of them a lane begins next. Pure.

small ones (survey, bridge, join: more waits for them) ─► any lane, at once
whole videos and spans ─► Schedule ─► the lane that ends soonest with them
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actors.backlog.schedule import Schedule
from actors.backlog.unit import Unit
from actors.placement import LanePlan

START_S = 20.0
"""A lane that has just been placed probably works so much later: processes start, models are loaded."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a lane stands."""

    plan: LanePlan
    works: bool
    """False = it still starts."""
    draining: bool = False
    """It finishes what it has and takes nothing more."""
    wasted_s: float = 0.0
    """That its last starts have taken without result."""


class WorkQueue:
    """Knows of each unit whether it waits or runs, and since when."""

    def __init__(self) -> None:
        self._schedule = Schedule()
        self._small: deque[str] = deque()
        self._lanes: set[str] = set()
        self._began_s: dict[str, float] = {}
        self._ahead: dict[str, str] = {}
        """What each lane was last told to fetch ahead."""

    @property
    def running(self) -> int:
        """Units that lanes have begun."""
        return len(self._began_s)

    def add(self, units: Iterable[Unit]) -> None:
        """These are ready."""
        for unit in units:
            if unit.small:
                self._small.append(unit.unit_id)
            else:
                self._schedule.add(unit.unit_id, unit.cost)

    def next_for(self, plan: LanePlan, now_s: float) -> str | None:
        """The unit that this lane begins now; it counts as running from here on."""
        self._know(plan)
        unit_id = self._small.popleft() if self._small else self._schedule.next_for(plan.lane_id, now_s)
        if unit_id is not None:
            self._began_s[unit_id] = now_s
        return unit_id

    def ahead_for(self, plan: LanePlan, now_s: float) -> str | None:
        """The unit that this lane will probably begin next; named once."""
        self._know(plan)
        unit_id = self._schedule.prefetch_for(plan.lane_id, now_s)
        if unit_id is None or self._ahead.get(plan.lane_id) == unit_id:
            return None
        self._ahead[plan.lane_id] = unit_id
        return unit_id

    def moved(self, lane_id: str, unit_id: str, share: float, now_s: float) -> None:
        """So much of a running unit is done, from 0 to 1: that shows how fast the lane is."""
        self._schedule.moved(lane_id, unit_id, share, now_s)

    def expect(self, cost: float) -> None:
        """Units of so much cost will be ready later."""
        self._schedule.expect(cost)

    def finished(self, lane_id: str, unit_id: str, now_s: float) -> None:
        """A unit has ended on this lane, one way or the other."""
        self._schedule.finished(lane_id, unit_id, now_s - self._began_s.pop(unit_id, now_s))

    def lane_died(self, lane_id: str, units: Sequence[Unit]) -> None:
        """A lane is gone; what it had begun waits again, before others of its kind."""
        self._schedule.lane_died(lane_id)
        self._lanes.discard(lane_id)
        self._ahead.pop(lane_id, None)
        for unit in units:
            self._began_s.pop(unit.unit_id, None)
            if unit.small:
                self._small.appendleft(unit.unit_id)

    def follow(self, lanes: Iterable[Standing], now_s: float) -> None:
        """Count on these lanes and no others for what waits.

        Args:
            lanes: all that live, also those that start.
            now_s: monotonic clock.
        """
        living = {lane.plan.lane_id: lane for lane in lanes}
        for lane_id in [lane_id for lane_id in self._lanes if lane_id not in living]:
            self.lane_died(lane_id, ())  # it has drained: had it died, its units would have been given back by now
        for lane_id, lane in living.items():
            if lane.draining:
                self._schedule.retire(lane_id)
                continue
            self._know(lane.plan, None if lane.works else now_s + START_S)
            self._schedule.doubt(lane_id, lane.wasted_s)
            if lane.works:
                self._schedule.hear(lane_id, now_s)

    def drop(self, unit_ids: Iterable[str]) -> None:
        """These are not wanted any more, wherever they are."""
        for unit_id in unit_ids:
            self._schedule.drop(unit_id)
            self._began_s.pop(unit_id, None)
            if unit_id in self._small:
                self._small.remove(unit_id)

    def left_s(self, now_s: float) -> float:
        """Until all that is known is expected to be done; infinite without lanes."""
        return self._schedule.expected_end(now_s) - now_s

    def _know(self, plan: LanePlan, comes_s: float | None = None) -> None:
        if plan.lane_id not in self._lanes:
            self._lanes.add(plan.lane_id)
            self._schedule.join(plan.lane_id, kind=plan.kind, slots=plan.streams, speed=plan.speed, comes=comes_s)
