"""Recovery rules: how often a piece of work is tried, and when a lane that died is started again. Pure.

a lane dies ─► its units: AttemptBook.verdict ─► again elsewhere, or given up with the cause
            └► itself:    LaneBook.died ─► at once with a smaller plan (out of device memory or encoder sessions)
                                        └► after a pause that doubles ─► out for a cool-down that doubles
a lane starts ─► LaneBook.started ─► how long its starts have come to nothing: work waits for it no longer elsewhere
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from actors.placement import LanePlan
from dualface_ray.errors import (
    ActorError,
    DeviceError,
    DualfaceError,
    EncoderSessionsExhausted,
    PlacementError,
    ResourceError,
    VramBudgetError,
)

FIRST_PAUSE_S = 0.25
"""Before a lane that died is started again; it doubles with every start after which nothing was finished."""
SHORTAGES = 8
"""Deaths of a lane for want of memory or encoder sessions that are not held against its videos: a plan shrinks at most
so often (64 videos at once are halved six times), and two cards may shrink in turn."""
LONGEST_COOLDOWN_S = 1800.0
"""Cool-downs double up to this: a machine that has been repaired is found within half an hour."""


def blames_the_lane(error: DualfaceError) -> bool:
    """Whether what ended a unit lies with its lane (then it is tried elsewhere) and not with the video."""
    return isinstance(error, (VramBudgetError, DeviceError, EncoderSessionsExhausted))


def ran_short(error: DualfaceError) -> bool:
    """Whether fewer videos at once would have helped: memory or encoder sessions were used up."""
    return isinstance(error, ResourceError) and not isinstance(error, (DeviceError, PlacementError))


@dataclass(slots=True)
class AttemptBook:
    """Counts the attempts at each unit; one that keeps taking its lane down is given up with its cause.

    A death that is known to be another unit's fault (that one stands still) is not held against a unit: each brings the
    guilty one closer to being given up, so there are only so many of them.

    Args:
        max_attempts: attempts a unit gets when its lane dies (errors of the video itself are never tried again:
            the same file gives the same error).
    """

    max_attempts: int
    _attempts: dict[str, int] = field(default_factory=dict)
    _shortages: dict[str, int] = field(default_factory=dict)
    _excused: dict[str, int] = field(default_factory=dict)
    """Deaths that were another unit's fault."""

    def begin(self, unit_id: str, earlier: int = 0) -> int:
        """Number of this attempt, from 0: the epoch of its messages.

        Args:
            unit_id: which.
            earlier: attempts that ended with the death of the job itself; counted before the first one here.
        """
        epoch = self._attempts.get(unit_id, earlier)
        self._attempts[unit_id] = epoch + 1
        return epoch

    def worn_out(self, unit_id: str, source: str, earlier: int) -> ActorError | None:
        """An error when a unit was under way so often when the job itself died that it is not begun again.

        A job dies of many things that are no video's fault (power, a restart of the machine), so this takes three times
        as many attempts as deaths of a lane, of which a video is the likeliest cause.
        """
        if unit_id in self._attempts or earlier < 3 * self.max_attempts:
            return None
        times = "once" if earlier == 1 else f"{earlier} times"
        return ActorError(
            f"given up: it was under way {times} when the whole job died",
            where=source,
            remedy="Run again to try once more; job.max_attempts sets how often.",
        )

    def attempts(self, unit_id: str) -> int:
        """Attempts begun so far."""
        return self._attempts.get(unit_id, 0)

    def verdict(self, unit_id: str, source: str, cause: DualfaceError, *, guilty: bool = True) -> ActorError | None:
        """None = try again elsewhere; an error = give the video up.

        Args:
            unit_id: which.
            source: the video, for the error.
            cause: of the lane's death.
            guilty: False = it was another unit's fault.
        """
        shortages = self._shortages.get(unit_id, 0)
        if ran_short(cause) and shortages < SHORTAGES:
            self._shortages[unit_id] = shortages = shortages + 1  # the plan's fault, and a smaller one comes
        if not guilty:
            self._excused[unit_id] = self._excused.get(unit_id, 0) + 1
        attempts = self.attempts(unit_id) - shortages - self._excused.get(unit_id, 0)
        if attempts < self.max_attempts:
            return None
        times = "once" if attempts == 1 else f"{attempts} times"
        return ActorError(
            f"given up after its lane died {times}, last: {cause}",
            where=source,
            remedy="Run again to try once more; job.max_attempts sets how often.",
        )


@dataclass(frozen=True, slots=True)
class Restart:
    """What becomes of a lane that died."""

    plan: LanePlan
    pause_s: float
    text: str
    """The same in words."""
    cooling: bool = False
    """It is out for a cool-down: it has failed too often in a row."""


@dataclass(slots=True)
class _Slot:
    barren: int = 0
    """Starts in a row after which nothing was finished."""
    cooldowns: int = 0
    since_s: float | None = None
    """When the first of them began."""
    wasted_s: float = 0.0
    """From then to the last one; that may still come to something."""


@dataclass(slots=True)
class LaneBook:
    """The circuit breaker of each lane.

    Args:
        cooldown_s: how long a lane stays out the first time that it has failed too often in a row.
        max_barren_starts: starts in a row without one finished unit after which it is out. After a cool-down it
            has one start to prove itself.
    """

    cooldown_s: float
    max_barren_starts: int = 3
    _slots: dict[str, _Slot] = field(default_factory=dict)

    def started(self, lane_id: str, now_s: float) -> None:
        """It is started, for the first time or again."""
        slot = self._slots.setdefault(lane_id, _Slot())
        if slot.since_s is None:
            slot.since_s = now_s
        slot.wasted_s = now_s - slot.since_s

    def wasted_s(self, lane_id: str) -> float:
        """How long its starts have come to nothing, up to the last one; 0 when it has finished something since."""
        slot = self._slots.get(lane_id)
        return 0.0 if slot is None else slot.wasted_s

    def died(self, plan: LanePlan, cause: DualfaceError) -> Restart:
        """Take note of a death; lane ids stay the same over restarts."""
        if plan.smaller is not None and ran_short(cause):
            return _with_less(plan, plan.smaller, cause)
        slot = self._slots.setdefault(plan.lane_id, _Slot())
        slot.barren += 1
        if slot.barren < self.max_barren_starts:
            return Restart(plan, FIRST_PAUSE_S * 2 ** (slot.barren - 1), "it is started again")
        pause_s = min(self.cooldown_s * 2**slot.cooldowns, max(self.cooldown_s, LONGEST_COOLDOWN_S))
        slot.cooldowns += 1
        slot.barren = self.max_barren_starts - 1
        starts = self.max_barren_starts if slot.cooldowns == 1 else 1
        return Restart(plan, pause_s, f"it stays out for {pause_s:g} s: {_starts(starts)} without result", cooling=True)

    def finished_one(self, lane_id: str) -> None:
        """A unit was finished there: the lane is healthy."""
        self._slots.pop(lane_id, None)

    def forget(self, lane_id: str) -> None:
        """The lane is gone for good."""
        self._slots.pop(lane_id, None)


def _with_less(plan: LanePlan, smaller: LanePlan, cause: DualfaceError) -> Restart:
    short_of = "encoder sessions" if isinstance(cause, EncoderSessionsExhausted) else "device memory"
    less = f"{smaller.streams} videos at once instead of {plan.streams}"
    note = (
        f"a lane ran out of {short_of} and went on with {less if smaller.streams < plan.streams else 'a smaller plan'}"
    )
    notes = smaller.notes if len(smaller.notes) > len(plan.notes) else (*plan.notes, note)
    again = replace(smaller, lane_id=plan.lane_id, node_id=plan.node_id, notes=tuple(dict.fromkeys(notes)))
    return Restart(again, FIRST_PAUSE_S, "it is started again with its next smaller plan")


def _starts(count: int) -> str:
    return "one start" if count == 1 else f"{count} starts in a row"
