"""Speeds: how fast lanes are, from a first guess to what they have shown, and how much of what they run is left. Pure.

    first guess of a kind ─┐
    running videos, looked at ─► speed of the kind (all its lanes) x ratio of the lane (beside its kind)
    finished videos ───────┘

Speeds are those of one video, while as many run beside it as usual. Sums over what runs are kept up to date, so what is
left at any moment is found in a time that depends on the number of kinds alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

LANE_MEMORY = 0.3
"""Weight of the newest measurement in how a lane compares with its kind."""
KIND_MEMORY = 0.02
"""Least weight of a measurement in the speed of a kind; the first ones weigh as in a plain average."""
LOOK_S = 5.0
"""Between two looks at a running video, at least."""
LOOK_AGAIN = 0.25
"""And this share of the time it has run: a long video says no more than a short one."""
LOOK_WEIGHT = 0.25
"""Of what a running video shows, beside a finished one."""
TRIES = 3
"""Videos that are looked at before the speed of a kind counts as known; fewer when fewer have begun."""
TRUST = 0.25
"""Weight of a first guess that agrees with what is measured."""
DOUBT = 0.3
"""How far off (logarithm of the factor) a guess counts half as much."""
ABSURD = 1e4
"""No lane is so many times as fast, or as slow, as was thought: what says so counts as that much."""
OVERDUE = 0.1
"""A video takes another such share of the time that it has run, at least, whatever was expected."""


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
    busy: int = 0
    busy_cost: float = 0.0
    busy_ratio: float = 0.0
    busy_moment: float = 0.0
    """Sums over all that its lanes run: cost left, ratio, and ratio times the moment at which so much was left."""

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
        pace = _sane(run.whole * (share - run.share) / seconds, self.kind.speed)
        self.kind.take(run)
        run.share, run.looked = share, now
        run.cost, run.moment, run.ratio = run.whole * (1.0 - share), now, pace / self.kind.speed
        self.kind.put(run)
        return run.whole / (now - run.begun + run.cost / pace)


class Speeds:
    """All kinds of lanes. Averages are geometric: one absurd value moves them little."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._asked: float | None = None

    def kind(self, name: str, guess: float) -> Kind:
        """The kind of this name; a new one begins with the guess, in cost a second of one video."""
        if name not in self._kinds:
            self._kinds[name] = Kind(guess, guess, guess)
            self._settle()
        return self._kinds[name]

    def learn(self, lane: Runner, speed: float, weight: float = 1.0) -> None:
        """A lane has shown this speed for one video."""
        kind = lane.kind
        speed = _sane(speed, kind.speed)
        kind.weight += weight
        kind.known = kind.known or kind.weight >= LOOK_WEIGHT * min(kind.busy, TRIES)
        kind.shown *= (speed / kind.shown) ** max(weight / kind.weight, weight * KIND_MEMORY)
        self._settle()
        before = lane.ratio
        lane.ratio *= (speed / (kind.speed * lane.ratio)) ** (weight * LANE_MEMORY)
        if lane.counted:
            kind.slots += lane.slots * (lane.ratio - before)

    @property
    def several(self) -> bool:
        """Whether lanes of more than one kind are counted on."""
        return sum(kind.lanes > 0 for kind in self._kinds.values()) > 1

    def ask(self, kind: Kind, now: float) -> None:
        """A lane of this kind asks for a video."""
        if self._asked is None:
            self._asked = now
        if kind.asked is None:
            kind.asked = now

    def awaited(self, since: float) -> bool:
        """Whether the speed of a kind is not known yet that has begun to ask after that moment.

        One that has not asked yet, for its lanes still start, counts from the first question of anybody.
        """
        begun = [kind.asked if kind.asked is not None else self._asked for kind in self._unknown]
        return any(moment is not None and moment > since for moment in begun)

    @property
    def all_known(self) -> bool:
        """Whether no kind has to be found out about."""
        return not any(True for _ in self._unknown)

    @property
    def fastest(self) -> float:
        """Speed of the fastest kind; infinite without lanes."""
        return max((kind.speed for kind in self._kinds.values() if kind.lanes), default=math.inf)

    @property
    def total(self) -> float:
        """Of all lanes and their slots together."""
        return sum(kind.speed * kind.slots for kind in self._kinds.values() if kind.lanes)

    def left(self, now: float) -> float:
        """Cost of all that runs, less what must be done by now."""
        return sum(kind.left(now) for kind in self._kinds.values())

    @property
    def _unknown(self) -> Iterator[Kind]:
        return (kind for kind in self._kinds.values() if not kind.known and kind.lanes > 0)

    def _settle(self) -> None:
        """Set the speeds of all kinds.

        Guesses err together, for the same reason (larger pictures, another codec): that is taken out of them first. One
        that agrees then with what was measured makes up for how little that is; one that is far off hardly counts.
        """
        kinds = self._kinds.values()
        errors = [math.log(kind.shown / kind.guess) for kind in kinds if kind.weight]
        error = math.exp(sum(errors) / len(errors)) if errors else 1.0
        for kind in kinds:
            kind.speed = kind.guess * error
            if kind.weight:
                apart = math.log(kind.shown / kind.speed)
                trust = TRUST / (1.0 + (apart / DOUBT) ** 2)
                kind.speed *= math.exp(apart * kind.weight / (kind.weight + trust))


def _sane(speed: float, known: float) -> float:
    return min(max(speed, known / ABSURD), known * ABSURD)
