"""SteadyRate: a hole in the time stamps of a stream that has run at a constant rate, and what would have filled it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

from dualface_ray.timeline.ticks import round_fraction

_HISTORY = 12
_TOLERANCE = 4
"""The rate is constant when each of the last steps is within a quarter of their mean: clocks of milliseconds wobble
by 3 % at 30 frames a second, dropped frames change a step by 100 %."""
_HOLE = Fraction(3, 2)
_LONGEST_S = 10
"""A longer hole is a pause somebody made rather than a loss: nothing is filled in."""


@dataclass(slots=True)
class SteadyRate:
    """Watches strictly increasing time stamps of one stream; plain data, picklable.

    A step of more than one and a half mean steps, after twelve that were constant, is a hole of whole frames: their
    stamps are returned, evenly spread. A stream whose rate varies has no holes, only long steps.

    Attributes:
        time_base: seconds per tick.
        holes: found so far.
    """

    time_base: Fraction
    holes: int = 0
    _steps: deque[int] = field(default_factory=lambda: deque(maxlen=_HISTORY), repr=False)
    _last: int | None = field(default=None, repr=False)

    def push(self, pts_ticks: int, *, lossy: bool) -> list[int]:
        """Stamps of the frames that are missing between the one before and this.

        Args:
            pts_ticks: of the next frame.
            lossy: frames may have been lost here; otherwise a long step is what the source meant.
        """
        last, self._last = self._last, pts_ticks
        if last is None:
            return []
        step = pts_ticks - last
        count = self._missing(step) if lossy else 0
        if count == 0:
            self._steps.append(step)
            return []
        self.holes += 1
        return [last + round_fraction(Fraction(step * n, count + 1)) for n in range(1, count + 1)]

    def _missing(self, step: int) -> int:
        if len(self._steps) < _HISTORY or step * self.time_base > _LONGEST_S:
            return 0
        mean = Fraction(sum(self._steps), len(self._steps))
        if any(abs(known - mean) * _TOLERANCE > mean for known in self._steps) or step <= _HOLE * mean:
            return 0
        return round_fraction(step / mean) - 1
