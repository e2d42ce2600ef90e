"""Speeds: how fast lanes are, from a first guess to what they have shown. Pure.

first guess of a kind ─┐
running videos, looked at ─► speed of the kind (all its lanes) x ratio of the lane (beside its kind)
finished videos ───────┘
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from actors.backlog.runner import Kind, Runner, sane

LANE_MEMORY = 0.3
"""Weight of the newest measurement in how a lane compares with its kind."""
KIND_MEMORY = 0.02
"""Least weight of a measurement in the speed of a kind; the first ones weigh as in a plain average."""
LOOK_WEIGHT = 0.25
"""Of what a running video shows, beside a finished one."""
TRIES = 3
"""Videos that are looked at before the speed of a kind counts as known; fewer when fewer have begun."""
TRUST = 0.25
"""Weight of a first guess that agrees with what is measured."""
DOUBT = 0.3
"""How far off (logarithm of the factor) a guess counts half as much."""


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
        speed = sane(speed, kind.speed)
        kind.weight += weight
        kind.known = kind.known or kind.weight >= LOOK_WEIGHT * min(kind.busy, TRIES)
        kind.shown *= (speed / kind.shown) ** max(weight / kind.weight, weight * KIND_MEMORY)
        self._settle()
        before = lane.ratio
        lane.ratio *= (speed / (kind.speed * lane.ratio)) ** (weight * LANE_MEMORY)
        if lane.counted:
            kind.weigh(lane.slots * (lane.ratio - before), lane.doubt)

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

    def until(self, cost: float, without: Runner | None = None) -> float:
        """Seconds until so much is done if all lanes share it, or all but one slot of a lane; infinite without lanes.

        A lane in doubt is expected to begin only after as long as it has been in doubt. The earlier of two ends counts,
        with such lanes and without them: the right one is no later than either.
        """
        total = doubted = doubt = 0.0
        for kind in self._kinds.values():
            if kind.lanes:
                total += kind.speed * kind.slots
                if kind.doubted:
                    doubted += kind.speed * kind.doubted
                    doubt += kind.speed * kind.doubt
        if without is not None:
            total -= without.speed
            if without.doubt:
                doubted -= without.speed
                doubt -= without.speed * without.doubt
        if total <= 0:
            return math.inf if cost > 0 else 0.0
        if not doubted:
            return cost / total
        all_of_them, sure = (cost + doubt) / total, total - doubted
        return min(all_of_them, cost / sure) if sure > 0 else all_of_them

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
