"""CFR: which source frame is shown at each tick of a constant rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from dualface_ray.timeline.ticks import Rounding, round_fraction


@dataclass(slots=True)
class CfrClock:
    """Resamples a stream of time stamps to a constant rate, one frame at a time; plain data, picklable.

    A frame's place is its time after the first frame, times the rate, rounded to the nearest output tick (half up).
    Every output tick shows the last frame whose place is at or before it; of several frames with one place the last
    is shown and the others are dropped. Nothing is blended, and no time is stretched.
    """

    time_base: Fraction
    rate: Fraction
    duplicated: int = 0
    dropped: int = 0
    _first: int | None = None
    _place: int = 0

    def push(self, pts_ticks: int) -> int:
        """How often the frame *before* this one is emitted, now that this one has arrived (0 for the first call).

        Raises:
            ValueError: the stamps do not increase.
        """
        if self._first is None:
            self._first = pts_ticks
            return 0
        place = self._place_of(pts_ticks)
        if place < self._place:
            raise ValueError(f"time stamps must increase: {pts_ticks}")
        return self._emit(place)

    def finish(self, end_ticks: int | None = None) -> int:
        """How often the last frame is emitted: until ``end_ticks``, at least once; 0 when there was no frame."""
        if self._first is None:
            return 0
        place = self._place + 1 if end_ticks is None else max(self._place + 1, self._place_of(end_ticks))
        return self._emit(place)

    def _place_of(self, pts_ticks: int) -> int:
        first = self._first or 0
        return round_fraction((pts_ticks - first) * self.time_base * self.rate + Fraction(1, 2), Rounding.DOWN)

    def _emit(self, place: int) -> int:
        repeats = place - self._place
        self._place = place
        if repeats == 0:
            self.dropped += 1
        else:
            self.duplicated += repeats - 1
        return repeats


@dataclass(frozen=True, slots=True)
class CfrPlan:
    """The whole answer for one video.

    Attributes:
        sources: for each output tick the index of the source frame shown.
        duplicated: output frames that repeat the one before.
        dropped: source frames never shown.
    """

    sources: tuple[int, ...]
    duplicated: int
    dropped: int


def plan_cfr(pts_ticks: Iterable[int], time_base: Fraction, rate: Fraction, end_ticks: int | None = None) -> CfrPlan:
    """Resample a list of strictly increasing time stamps to a constant rate, by the rules of ``CfrClock``.

    Args:
        pts_ticks: one per source frame, in ``time_base``.
        time_base: seconds per tick.
        rate: output frames per second.
        end_ticks: when the last frame ends; without it the last frame is shown once.
    """
    clock = CfrClock(time_base, rate)
    sources: list[int] = []
    count = 0
    for index, pts in enumerate(pts_ticks):
        sources.extend([index - 1] * clock.push(pts))
        count = index + 1
    sources.extend([count - 1] * clock.finish(end_ticks))
    return CfrPlan(tuple(sources), clock.duplicated, clock.dropped)
