"""Choice: which of the videos that wait a lane takes, or that it is better to take none now. Pure.

    speeds are not known yet ─► a short video to find out, others wait some seconds
    much waits               ─► the longest that it would finish before everything else is expected to be finished
    little waits             ─► what it gets when all of it is dealt to all lanes (``Deal``)

Longest first, as in list scheduling on machines of different speed (Graham 1969: LPT). Where much waits, a decision
looks at a fixed number of cost classes and sums that are kept up to date, so its time does not depend on how many
videos or lanes there are. Where little waits, each video counts, and dealing them costs videos times lanes: it is done
up to a bound, and again only after something has changed.

A lane whose starts have come to nothing is in doubt: it may try what nobody else has begun, but what waits for it waits
no longer than it would take the lane that asks.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.backlog.crew import Crew
from actors.backlog.deal import Deal, Seat
from actors.backlog.runner import Runner
from actors.backlog.shelf import Shelf
from actors.backlog.speeds import TRIES

SLACK = 1.02
"""A lane may end this much after the expected end: estimates are no better than that."""
CAUTION = 0.8
"""A slower lane takes the longest video that it would finish within this share of the time left."""
PLENTY = 4
"""While so many videos wait for each slot, a lane of an unknown kind begins with short ones, and nobody waits."""
WEAK = 0.75
"""A lane that reaches less than this share of its kind's speed is not trusted with the longest videos."""
DEAL_STEPS = 4096
"""Videos times lanes that are dealt at most: that takes less than a millisecond."""
DEAL_SLOTS = 512
"""Of all lanes, at most, for the same reason."""
DEAL_AGAIN_S = 1.0
"""A deal counts so long while nothing happens: what should have ended by then has not."""
HOLD_S = 30.0
"""The speed of a kind is waited for so long at most, after its first question ..."""
HOLD_SHARE = 0.1
"""... and no longer than this share of the time that everything is expected to take."""
TRY_SHARE = 0.5
"""A video that a kind is tried with is at most such a part as long as those that wait are on average."""

Found = tuple[str, float]
"""A video and its cost."""


class Choice:
    """Decides; what it decides on is kept by others.

    Args:
        crew: all lanes.
        waiting: what anybody may take.
        aside: what waits for one lane each.
        give_back: lets anybody have what waits for a lane.
    """

    def __init__(self, crew: Crew, waiting: Shelf, aside: Shelf, give_back: Callable[[Runner], None]) -> None:
        self._crew, self._waiting, self._aside = crew, waiting, aside
        self._give_back = give_back
        self._speeds = crew.speeds
        self.more = 0.0
        """Cost of what will be added later."""
        self._deal: Deal | None = None
        """None = something has happened since."""

    def changed(self) -> None:
        """Something has happened: videos or lanes came or went, or a lane has shown its speed."""
        self._deal = None

    def next(self, lane: Runner, now: float) -> Found | None:
        """What this lane, which has a free slot, begins now."""
        if self._must_wait(lane, now):
            return None
        own = lane.aside
        if own is not None and (self._waiting.size or not self._few):
            if self._helps(lane, own[1], now):
                return own
            self._give_back(lane)  # or it would get nothing else either: what is dealt to it comes after its own
        if self._is_unknown(lane):
            shortest = self._waiting.shortest()
            if shortest is not None and self._may_try(lane, shortest[1]):
                self.changed()  # it was dealt to somebody
                return shortest
        if self._few:
            deal = self._dealt(now)
            return deal.pick(lane.lane, now) or deal.rescue(lane.lane, now)
        return self._fitting(self._waiting, lane, now) or self._fitting(self._aside, lane, now)

    def ahead(self, lane: Runner, now: float, by: float) -> Found | None:
        """What this lane will probably begin by that moment, of what anybody may take."""
        if self._is_unknown(lane) or self._must_wait(lane, now):
            return None
        if self._few:
            return self._dealt(now).pick(lane.lane, by) if lane.full else None
        return self._fitting(self._waiting, lane, now)

    def expected_end(self, now: float) -> float:
        """When everything would be done if all lanes shared what is left; infinite without lanes."""
        return now + self._speeds.until(self._left(now))

    # --- much waits -----------------------------------------------------------------------------------------------
    def _fitting(self, shelf: Shelf, lane: Runner, now: float) -> Found | None:
        """The longest video that it would finish before everything else, or the shortest if that helps."""
        if not shelf.size:
            return None
        if self._is_fastest(lane):
            return shelf.longest()
        found = shelf.longest(lane.speed * (self.expected_end(now) - now) * CAUTION)
        if found is None:
            found = shelf.shortest()
            if found is not None and not self._helps(lane, found[1], now):
                return None
        return found

    def _helps(self, lane: Runner, cost: float, now: float) -> bool:
        """Whether a video of this cost ends sooner on this lane than if it were left to the others."""
        if self._is_fastest(lane):
            return True
        left, took = self._left(now), cost / lane.speed
        if took <= self._speeds.until(left) * SLACK:
            return True
        return took <= self._speeds.until(left, without=lane) + cost / self._speeds.fastest

    def _is_fastest(self, lane: Runner) -> bool:
        return lane.ratio >= WEAK and lane.kind.speed >= self._speeds.fastest / SLACK

    def _left(self, now: float) -> float:
        """Cost of all that waits, runs or comes, less what running videos must have done by now."""
        return self.more + self._waiting.cost + self._aside.cost + self._speeds.left(now)

    # --- little waits ---------------------------------------------------------------------------------------------
    @property
    def _few(self) -> bool:
        """Whether all that waits, and will, can be dealt at once."""
        return (
            not self.more
            and self._crew.slots <= DEAL_SLOTS
            and (self._waiting.size or self._aside.size) * len(self._crew) <= DEAL_STEPS
        )

    def _dealt(self, now: float) -> Deal:
        if self._deal is None or now - self._deal.moment > DEAL_AGAIN_S:
            seats = [Seat.of(other, now) for other in self._crew.counted]
            if self._waiting.size:  # what is set aside is left to its lanes while anything else waits
                for seat in seats:
                    own = self._crew[seat.lane].aside
                    if own is not None:
                        seat.take(own[1])
            shelf = self._waiting if self._waiting.size else self._aside
            self._deal = Deal(shelf.longest_first(), seats, now, self.expected_end(now) - now)
        return self._deal

    # --- speeds are not known yet ---------------------------------------------------------------------------------
    def _is_unknown(self, lane: Runner) -> bool:
        """Whether its speed is not known, and matters: among equals any guess is right."""
        return not lane.kind.known and self._speeds.several

    @property
    def _plenty(self) -> bool:
        return self._crew.slots * PLENTY <= self._waiting.size

    def _must_wait(self, lane: Runner, now: float) -> bool:
        """Whether to know all speeds first: that takes seconds, and what a lane begins it has to finish."""
        if self._speeds.all_known or not self._speeds.several or self._plenty:
            return False
        if not self._speeds.awaited(now - min(HOLD_S, HOLD_SHARE * (self.expected_end(now) - now))):
            return False
        if lane.kind.known:
            return True
        shortest = self._waiting.shortest()
        if shortest is not None and self._may_try(lane, shortest[1]):
            return False
        return lane.kind.busy > 0 or self.more > 0

    def _may_try(self, lane: Runner, cost: float) -> bool:
        """Whether a video is short enough to find out with; a few lanes of a kind do, with one video each."""
        if self._plenty:
            return True
        if lane.running or lane.kind.busy >= min(TRIES, lane.kind.slots / 2):
            return False
        return cost <= TRY_SHARE * self._waiting.cost / self._waiting.size
