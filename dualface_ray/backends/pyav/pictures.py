"""Pictures: packets in, decoded pictures out in display order, with every loss noticed and stood in for."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from av.codec.context import ThreadType
from av.video.frame import VideoFrame

from dualface_ray.backends.pyav.delivery import HOPELESS_PACKETS, damaged
from dualface_ray.backends.pyav.demux import Demuxer
from dualface_ray.backends.pyav.opening import PROBLEMS
from dualface_ray.errors import DamagedInputError, DualfaceError
from dualface_ray.timeline import round_fraction

_SUSPECT_PACKETS = 64
"""For so many packets after a proven fault, a packet without a picture counts as lost: more than the reordering of
any codec and the delay of its threads. Without a fault nearby such packets are normal (fields, hidden frames)."""
_SHORT_S = Fraction(1)
_SHORT_SHARE = 50
"""An end up to a second, or a fiftieth of the duration, early is what rounded headers look like."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to show; ``frame`` is None when its pixels were lost (the last good ones stand in)."""

    frame: VideoFrame | None
    raw_pts: int | None
    """As the file says, not repaired."""
    key: bool = False
    lossy: bool = False
    """Pictures may have been lost before this one without a trace: a fault was near, or such is the container."""


class PictureSource:
    """Drives one software decoder over one demuxer.

    A picture counts as lost when the decoder raises, or marks its result as corrupt, or gives nothing for a packet
    near such a fault; it then appears as a Picture without a frame at its own time, so that sync and the number of
    frames hold. Losses before the first good picture are only counted.

    Args:
        demuxer: at its beginning; owned by the caller.
        threads: of the decoder; 1 = none beside the caller's.
        conceal: False = raise at the first loss.
        begin_pts_ticks: of the key frame that the demuxer stands at, when that is not the beginning of the video:
            pictures to be shown before it are not this source's, whatever becomes of them.

    Raises:
        UnsupportedMediaError: there is no decoder.
    """

    def __init__(self, demuxer: Demuxer, threads: int, *, conceal: bool, begin_pts_ticks: int | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._demuxer = demuxer
        self._conceal = conceal
        self._begin_ticks = begin_pts_ticks
        self._decoder = demuxer.context
        self._decoder.thread_count = max(1, threads)
        self._decoder.thread_type = ThreadType.AUTO if threads > 1 else ThreadType.SLICE
        self._ready: deque[Picture] = deque()
        self._pending: list[int] = []
        self._by_dts = demuxer.decoding_times_only
        self._suspect = 0
        self._started = False
        self._ended = False
        self._barren = 0
        self._last_pts: int | None = None
        self._latest: int | None = None
        self._widest = 0
        self._end_ticks = 0

    def next(self) -> Picture | None:
        """The next picture in display order, or None when the video is over.

        Raises:
            DamagedInputError: something was lost and the policy is to stop, or nothing more can be decoded.
        """
        while not self._ready and not self._ended:
            self._advance()
        return self._ready.popleft() if self._ready else None

    def _advance(self) -> None:
        packet = self._read()
        if packet is None:
            self._ended = True
            self._take(self._decode(None))
            if self._suspect:
                self._lost_before(None)
            self._check_length()
            return
        if packet.is_corrupt:
            self._fault("packets_damaged", "a packet is incomplete")
        pts = packet.dts if self._by_dts else packet.pts
        if pts is not None:
            self._note_end(pts, packet.duration or 0)
            if not packet.is_discard and not self._is_lead(pts):
                heapq.heappush(self._pending, pts)
        self._barren += 1
        self._take(self._decode(packet))
        self._suspect = max(0, self._suspect - 1)
        if self._barren > HOPELESS_PACKETS:
            raise self._damage("nothing more can be decoded")

    def _read(self) -> Any:
        try:
            return self._demuxer.next_packet()
        except DualfaceError as error:
            self._fault("read_errors", error.what)
            return None

    def _decode(self, packet: Any) -> list[VideoFrame]:
        try:
            return self._decoder.decode(packet)
        except EOFError:
            return []
        except PROBLEMS as error:
            self._fault("decode_errors", str(getattr(error, "strerror", None) or error))
            if self._by_dts and self._started and self._pending:
                self._show(Picture(None, heapq.heappop(self._pending)))
            return []

    def _take(self, frames: list[VideoFrame]) -> None:
        for frame in frames:
            self._barren = 0
            if self._is_lead(frame.pts):
                continue
            pts = self._time_of(frame)
            if frame.interlaced_frame:
                self.counters["interlaced"] += 1
            good = True
            if frame.is_corrupt:
                self._fault("frames_damaged", "a picture is damaged")
                good = not self._started
            self._show(Picture(frame if good else None, pts, frame.key_frame))
            self._started = True

    def _time_of(self, frame: VideoFrame) -> int | None:
        """When to show a frame; settles the packets that should have become pictures before it.

        A container that knows times of decoding only: the frames, in display order, take these times in their order.
        """
        if self._by_dts:
            return heapq.heappop(self._pending) if self._pending else None
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is not None:
            self._lost_before(pts)
        return pts

    def _lost_before(self, pts: int | None) -> None:
        """Settle the packets that should have become pictures before ``pts`` (None = at the end)."""
        while self._pending and (pts is None or self._pending[0] <= pts):
            missing = heapq.heappop(self._pending)
            if missing == pts or (self._last_pts is not None and missing <= self._last_pts):
                continue
            if not self._suspect:
                self.counters["packets_without_picture"] += 1
            elif not self._started:
                self.counters["lost_at_start"] += 1
            else:
                self._show(Picture(None, missing))

    def _show(self, picture: Picture) -> None:
        if picture.raw_pts is not None:
            self._last_pts = picture.raw_pts
        if picture.frame is None:
            self.counters["concealed"] += 1
        lossy = self._suspect > 0 or self._demuxer.loses_silently
        self._ready.append(replace(picture, lossy=lossy))

    def _is_lead(self, pts: int | None) -> bool:
        """Whether a picture is shown before the one that decoding began with, and may lack what it refers to."""
        return self._begin_ticks is not None and pts is not None and pts < self._begin_ticks

    def _fault(self, name: str, what: str) -> None:
        if self._begin_ticks is not None and not self._started:
            return  # a leading picture; whatever else it may be shows as a picture missing at the beginning
        self.counters[name] += 1
        self._suspect = _SUSPECT_PACKETS
        if not self._conceal:
            raise self._damage(what)

    def _note_end(self, pts: int, duration: int) -> None:
        if self._latest is not None:
            self._widest = max(self._widest, pts - self._latest)
        self._latest = pts if self._latest is None else max(self._latest, pts)
        self._end_ticks = max(self._end_ticks, pts + duration)

    def _check_length(self) -> None:
        """Notice a file that ends well before its own header says; slow slides do not count as an early end."""
        if ends_early(self._demuxer, self._end_ticks, self._widest):
            self._fault("truncated", "it ends early")

    def _damage(self, what: str) -> DamagedInputError:
        return damaged(what, self._demuxer.path)


def ends_early(demuxer: Demuxer, end_ticks: int, widest_ticks: int) -> bool:
    """Whether a file read to its end holds clearly less than its header says.

    Args:
        demuxer: of the file.
        end_ticks: where its last packet ends.
        widest_ticks: longest time that a frame is shown.
    """
    duration = demuxer.duration_ticks
    missing = duration - (end_ticks - demuxer.start_ticks)
    allowed = max(round_fraction(_SHORT_S / demuxer.time_base), duration // _SHORT_SHARE, 2 * widest_ticks)
    return bool(duration) and missing > allowed
