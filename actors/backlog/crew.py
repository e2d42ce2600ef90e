"""Crew: the lanes that what waits is shared with: those that are there, and those that will be soon. Pure.

join ─► comes ──hear──► there ──leave──► finishes what it has
          └─ a minute late: not counted on until it is heard of
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from actors.backlog.runner import Runner
from actors.backlog.speeds import Speeds

LATE_S = 60.0
"""A lane that has not asked so long after it was expected is not counted on until it does."""


class Crew:
    """Lanes by id, with their speeds."""

    def __init__(self) -> None:
        self.speeds = Speeds()
        self.slots = 0
        """Of the lanes that are counted on."""
        self._lanes: dict[str, Runner] = {}
        self._coming: deque[tuple[float, Runner]] = deque()
        """Until when a lane is waited for, in the order in which they joined."""

    def __getitem__(self, lane: str) -> Runner:
        return self._lanes[lane]

    def __contains__(self, lane: str) -> bool:
        return lane in self._lanes

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def counted(self) -> Iterator[Runner]:
        """Those that what waits is shared with."""
        return (lane for lane in self._lanes.values() if lane.counted)

    @property
    def expects(self) -> bool:
        """Whether a lane is to come, and not late."""
        return any(lane.comes is not None for lane in self.counted)

    def join(self, lane: str, kind: str, slots: int, speed: float, comes: float | None) -> None:
        """A new one; see ``Schedule.join``."""
        self._lanes[lane] = new = Runner(lane, self.speeds.kind(kind, speed / slots), slots, comes=comes)
        if comes is not None:
            self._coming.append((comes + LATE_S, new))
        self._count(new)

    def hear(self, lane: Runner, now: float) -> bool:
        """This lane is there; others may be late by now. Returns whether anything is different for that."""
        different = lane.comes is not None
        lane.comes = None
        if different:
            self._count(lane)
        while self._coming and (self._coming[0][1].comes is None or self._coming[0][0] <= now):
            _, late = self._coming.popleft()
            if late.comes is not None and late.counted:
                self._uncount(late)
                different = True
        return different

    def leave(self, lane: Runner) -> None:
        """It takes nothing more."""
        lane.retired, lane.comes = True, None
        self._uncount(lane)

    def doubt(self, lane: Runner, seconds: float) -> bool:
        """Its last starts have taken so long without result. Returns whether anything is different for that."""
        if lane.doubt == seconds:
            return False
        counted = lane.counted
        if counted:
            self._uncount(lane)
        lane.doubt = seconds
        if counted:
            self._count(lane)
        return True

    def remove(self, lane: str) -> Runner | None:
        """It is gone; None = nobody knows it."""
        gone = self._lanes.pop(lane, None)
        if gone is not None:
            self.leave(gone)
        return gone

    def _count(self, lane: Runner) -> None:
        if lane.counted or lane.retired:
            return
        lane.counted = True
        self.slots += lane.slots
        lane.kind.lanes += 1
        lane.kind.weigh(lane.slots * lane.ratio, lane.doubt)

    def _uncount(self, lane: Runner) -> None:
        if not lane.counted:
            return
        lane.counted = False
        self.slots -= lane.slots
        lane.kind.lanes -= 1
        lane.kind.weigh(-lane.slots * lane.ratio, lane.doubt)
