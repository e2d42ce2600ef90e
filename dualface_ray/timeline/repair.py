"""PtsRepair: whatever time stamps a file carries become strictly increasing ticks, and every repair is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from dualface_ray.timeline.ticks import frame_ticks, round_fraction

_RESTART_S = Fraction(1, 4)
"""A step back by more than this is a restarted clock (joined recordings), not a frame out of place."""
_RESTART_FRAMES = 4


@dataclass(slots=True)
class ClockJoin:
    """Joins the pieces of a clock that starts again in mid-stream; plain data, picklable.

    A stamp that is more than a quarter of a second, and more than four nominal steps, behind the one before begins a
    new piece: the difference that puts it one step after the one before is added to it and to all that follow.
    """

    time_base: Fraction
    restarts: int = 0
    _last: int | None = field(default=None, repr=False)
    _offset: int = field(default=0, repr=False)

    def joined(self, raw_pts: int) -> int:
        """A stamp of the present piece on the joined clock."""
        return raw_pts + self._offset

    def restart_ticks(self, step_ticks: int) -> int:
        """The longest step back that is not a restart."""
        return max(round_fraction(_RESTART_S / self.time_base), _RESTART_FRAMES * step_ticks)

    def push(self, raw_pts: int, step_ticks: int) -> int:
        """The stamp on the joined clock; ``step_ticks``: the nominal duration of one frame or packet."""
        pts = self.joined(raw_pts)
        last = self._last
        if last is not None and last - pts > self.restart_ticks(step_ticks):
            self.restarts += 1
            self._offset += last + step_ticks - pts
            pts = last + step_ticks
        self._last = pts if last is None else max(last, pts)
        return pts


@dataclass(slots=True)
class PtsRepair:
    """A filter over the time stamps of one stream, in display order; plain data, so it can be pickled and resumed.

    Rules, in this order:

    * a missing stamp follows the one before by one nominal frame;
    * a single stamp far off (an outlier: the next one continues from the one before, and from here to there or from
      there to here would be a restart; the first is judged by the two after it, the last by how long a video may be)
      is taken for missing;
    * a restarted clock is joined (``ClockJoin``);
    * a stamp equal to or behind the one before (duplicate, backwards) goes half way into the frame that is being
      shown, so that the next good stamp is met unchanged; several in a row halve what is left;
    * any other stamp is kept exactly.

    Attributes:
        time_base: seconds per tick.
        average_rate: nominal frames per second (0 = unknown: steps of one tick).
        longest_ticks: no video lasts longer (0 = unknown); judges outliers at the ends.
        missing, duplicate, outliers: repairs so far.
    """

    time_base: Fraction
    average_rate: Fraction
    longest_ticks: int = 0
    missing: int = 0
    duplicate: int = 0
    outliers: int = 0
    _last: int | None = field(default=None, repr=False)
    _anchor: int = field(default=0, repr=False)
    _clock: ClockJoin = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._clock = ClockJoin(self.time_base)

    def push(self, raw_pts: int | None, following: Sequence[int | None] = (), *, final: bool = False) -> int:
        """The repaired stamp of the next frame, greater than every one before.

        Args:
            raw_pts: as the file says; None = it says nothing.
            following: the raw stamps of the next two frames, as far as known; without them no outlier is found.
            final: no frame follows.
        """
        step = frame_ticks(self.time_base, self.average_rate)
        last = self._last
        if raw_pts is None:
            self.missing += 1
            return self._keep(0 if last is None else last + step)
        then = [self._clock.joined(stamp) for stamp in following if stamp is not None]
        if self._is_outlier(self._clock.joined(raw_pts), then, final, step):
            self.outliers += 1
            return self._keep(self._between(then, step))
        pts = self._clock.push(raw_pts, step)
        if last is None or pts > last:
            return self._keep(pts)
        self.duplicate += 1
        room = self._anchor + step - last
        self._last = last + max(1, room // 2)
        return self._last

    def _is_outlier(self, pts: int, then: Sequence[int], final: bool, step: int) -> bool:
        last, longest = self._last, self.longest_ticks
        limit = self._clock.restart_ticks(step)
        if last is None:  # the two after it agree with each other, not with it
            agree = len(then) > 1 and 0 < then[1] - then[0] <= limit
            return agree and (pts - then[0] > limit or 0 < longest < then[0] - pts)
        if not then:
            return final and 0 < longest < abs(pts - last)
        return then[0] > last and (pts - then[0] > limit or last - pts > limit)

    def _between(self, then: Sequence[int], step: int) -> int:
        """A stamp for a frame whose own one is of no use."""
        last = self._last
        if last is None:
            return then[0] - step
        return last + (max(1, min(step, (then[0] - last) // 2)) if then else step)

    def counters(self) -> dict[str, int]:
        """Repairs by the names that reports use."""
        return {
            "pts_missing": self.missing,
            "pts_duplicate": self.duplicate,
            "pts_outliers": self.outliers,
            "pts_restarts": self._clock.restarts,
        }

    def _keep(self, pts: int) -> int:
        self._last = self._anchor = pts
        return pts
