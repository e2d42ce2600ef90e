"""DetectionGrid: which frames are examined on the forward way, from time stamps and cut candidates alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from dualface_ray.frames import FrameFlag, FrameTicket


class DetectionGrid:
    """Picks the first frame of every period of a fixed grid, frame 0 and every cut candidate.

    The grid counts from the first frame's time stamp, so variable frame rates get the same number of looks a second.

    Args:
        time_base: seconds per tick.
        grid_hz: looks per second.
        every_frame: examine every frame instead.
    """

    def __init__(self, time_base: Fraction, grid_hz: float, *, every_frame: bool = False) -> None:
        self._periods_per_tick = time_base * Fraction(grid_hz).limit_denominator(1_000_000)
        self._every_frame = every_frame
        self._origin_ticks: int | None = None
        self._period = -1

    def due_of(self, tickets: Sequence[FrameTicket]) -> Sequence[FrameTicket]:
        """Those of some frames that are to be examined; as ``due`` for each of them."""
        if self._every_frame:
            return tickets
        return [ticket for ticket in tickets if self.due(ticket)]

    def due(self, ticket: FrameTicket) -> bool:
        """Whether this frame is to be examined; call once per frame, in display order."""
        if self._origin_ticks is None:
            self._origin_ticks = ticket.pts_ticks
        period = (ticket.pts_ticks - self._origin_ticks) * self._periods_per_tick // 1
        first_of_period = period > self._period
        self._period = max(self._period, period)
        return self._every_frame or first_of_period or bool(ticket.flags & FrameFlag.CUT_CANDIDATE)
