"""Runner: a lane as the schedule knows it, with what it runs; Kind: what lanes that are about equally fast share. Pure.

    begin ─► Run ──look (how far it has come)──► its pace, its speed from beginning to end ──stop──►
               └─ sums of the kind: what is left at any moment, in a time that does not depend on how much runs

Speeds are those of one video, while as many run beside it as usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

LOOK_S = 5.0
"""Between two looks at a running video, at least."""
LOOK_AGAIN = 0.25
"""And this share of the time it has run: a long video says no more than a short one."""
OVERDUE = 0.1
"""A video takes another such share of the time that it has run, at least, whatever was expected."""
ABSURD = 1e4
"""No lane is so many times as fast, or as slow, as was thought: what says so counts as that much."""


def sane(speed: float, known: float) -> float:
    """What was measured, within reason of what was known before."""
    return min(max(speed, known / ABSURD), known * ABSURD)


@dataclass(slots=True)
class Run:
    """A video that a lane has begun."""

    whole: float
    """Cost of all of it."""
    begun: float
    ratio: float
    """Its speed over its kind's."""
    cost: float = 0.0
    """What was left of it ..."""
    moment: float = 0.0
    """... at this moment."""
    share: float = 0.0
    """Of it that was done at the last look."""
    looked: float | None = None
    """When that was; None = nothing of it has come out yet."""

    def __post_init__(self) -> None:
        self.cost, self.moment = self.whole, self.begun


@dataclass(slots=True)
class Kind:
    """Lanes that are about equally fast, and sums over them."""

    guess: float
    """Before anything is known."""
    speed: float
    """As far as is known now."""
    shown: float
    """Mean of what was measured."""
    weight: float = 0.0
    """Of all measurements."""
    known: bool = False
    """Enough was measured to choose by."""
    asked: float | None = None
    """When a lane of it first asked for a video."""
    lanes: int = 0
    """That are counted on."""
    slots: float = 0.0
    """Sum over them of slots times ratio."""
    doubted: float = 0.0
    """Of that sum, lanes in doubt."""
    doubt: float = 0.0
    """Sum over these of slots times ratio times the seconds in doubt."""
    busy: int = 0
    busy_cost: float = 0.0
    busy_ratio: float = 0.0
    busy_moment: float = 0.0
    """Sums over all that its lanes run: cost left, ratio, and ratio times the moment at which so much was left."""

    def weigh(self, slots: float, doubt: float) -> None:
        """Put a lane's slots times ratio, and its seconds in doubt, into the sums; slots below 0 take it out."""
        self.slots += slots
        if doubt:
            self.doubted += slots
            self.doubt += slots * doubt
        if not self.lanes:
            self.slots = self.doubted = self.doubt = 0.0  # no rounding is carried on

    def left(self, now: float) -> float:
        """Cost of what runs, less what must be done by now."""
        return max(0.0, self.busy_cost - self.speed * (self.busy_ratio * now - self.busy_moment))

    def put(self, run: Run) -> None:
        """Into the sums."""
        self.busy += 1
        self.busy_cost += run.cost
        self.busy_ratio += run.ratio
        self.busy_moment += run.ratio * run.moment

    def take(self, run: Run) -> None:
        """Out of the sums."""
        self.busy -= 1
        if self.busy:
            self.busy_cost -= run.cost
            self.busy_ratio -= run.ratio
            self.busy_moment -= run.ratio * run.moment
        else:
            self.busy_cost = self.busy_ratio = self.busy_moment = 0.0  # no rounding is carried on


@dataclass(slots=True, eq=False)
class Runner:
    """A lane as the schedule knows it."""

    lane: str
    kind: Kind
    slots: int
    ratio: float = 1.0
    """Its speed over its kind's."""
    running: dict[str, Run] = field(default_factory=dict)
    aside: tuple[str, float] | None = None
    """A video, and its cost, that waits for this lane."""
    comes: float | None = None
    """When it will probably be there; None = it is."""
    counted: bool = False
    """What waits is expected to be shared with it."""
    retired: bool = False
    """It takes nothing more."""
    doubt: float = 0.0
    """Seconds that its last starts have taken without result: it may well take as long again."""

    @property
    def speed(self) -> float:
        """Of one video."""
        return self.kind.speed * self.ratio

    @property
    def full(self) -> bool:
        """Whether it has no free slot."""
        return len(self.running) >= self.slots

    def begin(self, video: str, cost: float, now: float) -> None:
        """It runs this video from now on."""
        self.running[video] = run = Run(cost, now, self.ratio)
        self.kind.put(run)

    def stop(self, video: str) -> None:
        """It does not run this video any more."""
        self.kind.take(self.running.pop(video))

    def left(self, now: float) -> Iterator[tuple[float, float]]:
        """Of each running video: the seconds until it is done, as far as is known, and its speed."""
        for run in self.running.values():
            pace = run.ratio * self.kind.speed
            yield max(run.moment + run.cost / pace - now, OVERDUE * (now - run.begun)), pace

    def free_in(self, now: float) -> float:
        """Seconds until a slot is expected to be free; 0 when one is."""
        return min(seconds for seconds, _ in self.left(now)) if self.full else 0.0

    def look(self, video: str, share: float, now: float) -> float | None:
        """A running video has come so far.

        Args:
            video: one that runs here.
            share: of it that is done, from 0 to 1.
            now: the moment.

        Returns:
            its speed from beginning to end, as it seems now; None when nothing new can be said yet: it has not moved,
            or was looked at only just now.
        """
        run = self.running[video]
        if not run.share < share < 1.0:
            return None
        if run.looked is None:  # its first frames: what came before them was spent on opening it
            run.share, run.looked = share, now
            return None
        seconds = now - run.looked
        if seconds < max(LOOK_S, LOOK_AGAIN * (now - run.begun)):
            return None
        pace = sane(run.whole * (share - run.share) / seconds, self.kind.speed)
        self.kind.take(run)
        run.share, run.looked = share, now
        run.cost, run.moment, run.ratio = run.whole * (1.0 - share), now, pace / self.kind.speed
        self.kind.put(run)
        return run.whole / (now - run.begun + run.cost / pace)
