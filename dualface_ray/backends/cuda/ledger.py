"""PictureLedger: which packets became pictures; pure bookkeeping, so losses can be tested without a device.

NVDEC reports no damage: a corrupt picture comes out like any other (with a line on the process's standard output), a
picture whose headers are gone simply never comes. So every packet's time stamp is written down when it goes in and
struck out when a picture with it comes out; display order rises, so whatever lies before a picture that came is lost.

The decoder's parser gives back the time stamp of the packet a picture began in. In its first pictures it also checks
that stamps rise in display order and sorts them where they do not (files that hold only decoding times), so real
stamps go in, never packet numbers.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

ONE_PICTURE_EACH = frozenset({"h264", "hevc", "av1"})
"""Codecs whose containers hold one shown picture per packet (VP8 and VP9 hide pictures, MPEG-4 packs them)."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What was known of a packet when it went in."""

    raw_pts: int | None
    """As the container says; the decoding time where it gives no other; None = neither."""
    key: bool
    discard: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture to show, in display order; ``lost`` = the last good one stands in."""

    raw_pts: int | None
    key: bool
    lost: bool


class PictureLedger:
    """Time stamps in, what to show out.

    Args:
        one_picture_each: every packet holds exactly one shown picture, so one that never comes is lost.
        step_ticks: nominal duration of a frame, for packets without any time.
    """

    def __init__(self, *, one_picture_each: bool, step_ticks: int) -> None:
        self.counters: Counter[str] = Counter()
        self._strict = one_picture_each
        self._step = max(1, step_ticks)
        self._pending: list[int] = []
        self._fed: dict[int, deque[Fed]] = defaultdict(deque)
        self._highest = 0
        self._last: int | None = None
        self._started = False
        self.packets_since_picture = 0
        self.end_ticks: int | None = None
        """End of the last packet by its own time stamp, for the check against the header's duration."""
        self.widest_ticks = 0
        """Longest time from one time stamp to a later one: how long a slide is shown."""
        self._latest: int | None = None

    def feed(self, pts: int | None, dts: int | None, *, key: bool, discard: bool) -> int:
        """Note a packet about to be decoded.

        Returns:
            The time stamp to give it.
        """
        raw = pts if pts is not None else dts
        stamp = raw if raw is not None else self._highest + self._step
        self._highest = max(self._highest, stamp)
        heapq.heappush(self._pending, stamp)
        self._fed[stamp].append(Fed(raw, key, discard))
        self.packets_since_picture += 1
        if raw is not None:
            self.widest_ticks = max(self.widest_ticks, raw - self._latest if self._latest is not None else 0)
            self._latest = raw if self._latest is None else max(self._latest, raw)
        if raw is not None and not discard:
            end = raw + self._step
            self.end_ticks = end if self.end_ticks is None else max(self.end_ticks, end)
        return stamp

    def out(self, stamp: int) -> list[Shown]:
        """A picture came out with this stamp.

        Returns:
            Pictures lost before it, then itself, unless it is one that must not be shown (an edit list's lead-in).
        """
        self.packets_since_picture = 0
        shown = self._settle_before(stamp)
        entry = self._take(stamp)
        if entry is None:  # the parser made this stamp up, or gave the same one twice
            self.counters["stamps_unknown"] += 1
            entry = Fed(stamp, key=False, discard=False)
        self._last = stamp if self._last is None else max(self._last, stamp)
        self._started = True
        if entry.discard:
            self.counters["discarded"] += 1
            return shown
        return [*shown, Shown(entry.raw_pts, entry.key, lost=False)]

    def finish(self) -> list[Shown]:
        """The decoder is drained: whatever is still pending never came."""
        return self._settle_before(None)

    def _settle_before(self, stamp: int | None) -> list[Shown]:
        shown: list[Shown] = []
        while self._pending and (stamp is None or self._pending[0] < stamp):
            missing = heapq.heappop(self._pending)
            entry = self._take(missing, popped=True)
            if entry is None or entry.discard:
                continue
            if not self._started:
                self.counters["lost_at_start"] += 1
            elif not self._strict or (self._last is not None and missing <= self._last):
                self.counters["packets_without_picture"] += 1
            else:
                self.counters["concealed"] += 1
                shown.append(Shown(entry.raw_pts, key=False, lost=True))
        return shown

    def _take(self, stamp: int, *, popped: bool = False) -> Fed | None:
        """Strike one packet of this stamp out."""
        queue = self._fed.get(stamp)
        if not queue:
            return None
        entry = queue.popleft()
        if not queue:
            del self._fed[stamp]
        if not popped:
            if self._pending and self._pending[0] == stamp:
                heapq.heappop(self._pending)
            else:  # it lies deeper: a stamp behind one that is still missing
                self._pending.remove(stamp)
                heapq.heapify(self._pending)
        return entry
