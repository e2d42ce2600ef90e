"""Deal: what waits dealt to all lanes at once, as if everything went as expected. Pure.

videos, longest first ─► the seat that ends soonest with it ─► per lane: (moment, video), ...
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actors.backlog.runner import Runner

SOON_S = 1.0
"""What is not there or not done yet will not be before that."""
_EVEN = 0.3
"""Weight of a lane's whole load beside a video's own end. Videos of a lane share it, so that each goes faster where
fewer run: equal lanes get equal work, not one the long and one the short videos."""
_FAR = 2.0
"""With half as many beside it a video is up to so many times as fast."""
_NOW = 1e-6


@dataclass(slots=True)
class Seat:
    """What a lane can take."""

    lane: str
    speed: float
    """Of one video, in cost a second."""
    free: list[float]
    """Seconds until each of its slots is free; at least one slot."""
    work_s: float
    """That the lane needs for what it has, all slots together."""
    dealt: list[tuple[float, str, float]] = field(default_factory=list)
    """What it got: in how many seconds it begins, which video, and its cost."""
    spared: bool = False
    doubt_s: float = 0.0
    """That its last starts have taken without result."""

    @classmethod
    def of(cls, lane: Runner, now: float) -> Seat:
        """As a lane stands now."""
        there = 0.0 if lane.comes is None else max(SOON_S, lane.comes - now)
        free, work = [], there
        for seconds, pace in lane.left(now):
            free.append(max(SOON_S, seconds))
            work += max(0.0, seconds) * pace / (lane.speed * lane.slots)
        free += [there] * (lane.slots - len(free))
        heapq.heapify(free)
        return cls(lane.lane, lane.speed, free, work, doubt_s=lane.doubt)

    def spare(self, last_s: float) -> None:
        """Leave half of its slots free when one of its videos ends after that: it ends sooner with less beside it."""
        if not self.spared and len(self.free) > 1 and max(self.free) > last_s:
            self.spared = True
            self.free = sorted(self.free)[len(self.free) // 2 :]  # such a list is a heap

    def take(self, cost: float) -> float:
        """It gets a video of this cost; returns in how many seconds it begins."""
        begins, seconds = self.free[0], cost / self.speed
        heapq.heapreplace(self.free, begins + seconds)
        self.work_s += seconds / len(self.free)
        return begins


class Deal:
    """Videos dealt at one moment. Takes a time in proportion to videos times seats.

    Args:
        videos: with their costs, the longest first.
        seats: of all lanes; they are used up.
        now: the moment.
        end_s: seconds until everything is done if all lanes share it. What ends long after that, on a full lane,
            decides when the job ends: it is left almost alone.
    """

    def __init__(
        self, videos: Iterable[tuple[str, float]], seats: Sequence[Seat], now: float, end_s: float = math.inf
    ) -> None:
        self.moment = now
        self._seats = {seat.lane: seat for seat in seats}
        self._doubted = [seat for seat in seats if seat.doubt_s > 0]
        for seat in seats:
            seat.spare(_FAR * end_s)
        for video, cost in videos:
            best, least = None, 0.0
            for seat in seats:  # this line is run some thousand times, so it calls nothing
                score = seat.free[0] + cost / seat.speed * (1.0 + _EVEN / len(seat.free)) + _EVEN * seat.work_s
                if best is None or score < least:
                    best, least = seat, score
            if best is not None:
                best.dealt.append((best.take(cost), video, cost))
                best.spare(_FAR * end_s)

    def pick(self, lane: str, by: float) -> tuple[str, float] | None:
        """The first video, and its cost, that this lane is to begin by that moment; it is out of the deal then."""
        seat = self._seats.get(lane)
        for place, (begins, video, cost) in enumerate(seat.dealt if seat is not None else ()):
            if self.moment + begins <= by + _NOW:
                del self._seats[lane].dealt[place]
                return video, cost
        return None

    def rescue(self, lane: str, now: float) -> tuple[str, float] | None:
        """The longest video, and its cost, that a lane in doubt was to get and this one, with a free slot, ends sooner.

        A lane whose starts have come to nothing for some time is expected to need as long again: work waits for it no
        longer than it would take here. The video is out of the deal then.
        """
        seat = self._seats.get(lane)
        if seat is None or seat.spared:
            return None
        best: tuple[float, Seat, int] | None = None
        for other in self._doubted:
            for place, (begins, _, cost) in enumerate(other.dealt):
                there_s = self.moment + begins - now + cost / other.speed + other.doubt_s
                sooner = cost / seat.speed + seat.doubt_s < there_s
                if sooner and other is not seat and (best is None or cost > best[0]):
                    best = cost, other, place
        if best is None:
            return None
        _, video, cost = best[1].dealt.pop(best[2])
        return video, cost
