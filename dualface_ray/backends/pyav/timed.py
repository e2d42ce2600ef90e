"""TimedPictures: the pictures of a video with final time stamps, holes filled and fields joined.

PictureSource ─► PtsRepair ─► SteadyRate (holes: repeats) ─► Deinterlacer ─► TimedPicture
               two ahead
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace

from av.video.frame import VideoFrame

from dualface_ray.backends.pyav.filters import Deinterlacer
from dualface_ray.backends.pyav.opening import PROBLEMS
from dualface_ray.backends.pyav.pictures import Picture, PictureSource
from dualface_ray.frames import StreamInfo
from dualface_ray.settings import Settings
from dualface_ray.timeline import PtsRepair, SteadyRate

_AHEAD = 2
"""Pictures whose stamps help to judge the one before them."""


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """One picture to show; ``frame`` is None where the last good one stands in."""

    frame: VideoFrame | None
    pts_ticks: int
    key: bool = False


class TimedPictures:
    """Reads a source to its end, three pictures ahead at most.

    Args:
        source: at its beginning; owned by the caller.
        info: of its stream.
        settings: the limits, and what to do about damage and interlacing.
        threads: of the deinterlacer.
    """

    def __init__(self, source: PictureSource, info: StreamInfo, settings: Settings, threads: int) -> None:
        limits = settings.input
        self._source = source
        self._threads = threads
        self._conceal = limits.on_damage == "conceal"
        self._deinterlace = limits.deinterlace == "auto"
        longest = int(limits.max_duration_s / float(info.time_base))
        self._repair = PtsRepair(info.time_base, info.average_rate, longest)
        self._steady = SteadyRate(info.time_base)
        self._filter: Deinterlacer | None = None
        self._counters: Counter[str] = Counter()
        self._waiting: deque[TimedPicture] = deque()
        self._ready: deque[TimedPicture] = deque()
        self._ahead: deque[Picture] = deque()
        self._over = False

    def next(self) -> TimedPicture | None:
        """The next picture in display order, or None when the video is over.

        Raises:
            DamagedInputError: see ``PictureSource.next``.
        """
        while not self._ready and not self._over:
            self._advance()
        return self._ready.popleft() if self._ready else None

    def counters(self) -> dict[str, int]:
        """Repairs and losses so far, by name; also zeros."""
        found = {**self._source.counters, **self._counters, **self._repair.counters()}
        filled = self._counters["gaps_filled"]
        return {**found, "concealed": self._source.counters["concealed"] + filled}

    def _advance(self) -> None:
        while len(self._ahead) <= _AHEAD and (picture := self._source.next()) is not None:
            self._ahead.append(picture)
        if not self._ahead:
            self._over = True
            self._finish()
            return
        current = self._ahead.popleft()
        following = [picture.raw_pts for picture in self._ahead]
        pts = self._repair.push(current.raw_pts, following, final=not following)
        for missing in self._steady.push(pts, lossy=self._conceal and current.lossy):
            self._counters["gaps_filled"] += 1
            self._take(TimedPicture(None, missing))
        self._take(TimedPicture(current.frame, pts, current.key))

    def _take(self, picture: TimedPicture) -> None:
        frame = picture.frame
        if self._filter is None and self._deinterlace and frame is not None and frame.interlaced_frame:
            self._filter = Deinterlacer(self._threads)
        if self._filter is None:
            self._ready.append(picture)
            return
        self._waiting.append(picture)
        if frame is None:
            return
        interlaced = frame.interlaced_frame
        try:
            done = self._filter.push(frame)
        except PROBLEMS:  # a picture it cannot work on (far too small): combs are better than no picture
            self._finish()
            self._filter, self._deinterlace = None, False
            return
        self._counters["deinterlaced"] += interlaced
        for frame in done:
            self._settle(frame)

    def _settle(self, frame: VideoFrame) -> None:
        """A picture has come out of the filter: it is the first waiting one that has pixels."""
        while self._waiting:
            head = self._waiting.popleft()
            self._ready.append(head if head.frame is None else replace(head, frame=frame))
            if head.frame is not None:
                return

    def _finish(self) -> None:
        if self._filter is not None:
            for frame in self._filter.finish():
                self._settle(frame)
        self._ready.extend(self._waiting)
        self._waiting.clear()
