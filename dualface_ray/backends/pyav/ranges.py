"""RangeSession: exactly the frames of one range, from any decoder that begins at its key frame.

A range is decoded like the middle of the whole video, or not at all: anything that the whole video's decoding would
have to repair (damage, time stamps, fields, another size) may need what lies outside of the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dualface_ray.errors import SeamError
from dualface_ray.frames import StreamInfo
from dualface_ray.media import DecodedBatch, DecodeSession, FrameRange, Slot

_HARMLESS = frozenset({"tone_mapped", "frames_decoded_on_cpu", "interlaced", "discarded"})
"""Counters of what is done to each frame by itself."""


class RangeSession:
    """The ``DecodeSession`` port over another session that has begun at the range's first frame.

    Args:
        inner: owned by this one.
        wanted: the range.
        path: of the video, for errors.
    """

    def __init__(self, inner: DecodeSession, wanted: FrameRange, path: Path) -> None:
        self._inner = inner
        self._wanted = wanted
        self._where = str(path)
        self._frames = 0
        self._last_ticks: int | None = None

    @property
    def info(self) -> StreamInfo:
        """The whole stream's properties."""
        return self._inner.info

    def decode(self, slots: Sequence[Slot]) -> DecodedBatch:
        """Decode up to ``len(slots)`` frames of the range; see the port.

        Raises:
            SeamError: the range cannot be decoded by itself.
        """
        left = self._wanted.frames - self._frames
        batch = self._inner.decode(slots[:left])
        repaired = sorted(name for name, count in self._inner.counters().items() if count and name not in _HARMLESS)
        if repaired:
            raise self._wrong(f"it needs repair ({', '.join(repaired)})")
        for frame in batch.frames:
            expected = self._last_ticks is not None or frame.pts_ticks == self._wanted.first_pts_ticks
            if not expected or (self._last_ticks is not None and frame.pts_ticks <= self._last_ticks):
                raise self._wrong(f"a frame at {frame.pts_ticks} is not the one expected")
            self._last_ticks = frame.pts_ticks
        self._frames += len(batch.frames)
        if self._frames == self._wanted.frames:
            return DecodedBatch(batch.frames, batch.signatures, end=True)
        if batch.end:
            raise self._wrong(f"it ends after {self._frames} of {self._wanted.frames} frames")
        return batch

    def counters(self) -> dict[str, int]:
        """As the inner session's; pictures before the range do not count."""
        found = self._inner.counters()
        return {name: count for name, count in found.items() if name != "discarded" or not self._wanted.first_frame}

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._inner.close()

    def _wrong(self, what: str) -> SeamError:
        return SeamError(f"from frame {self._wanted.first_frame} on: {what}", where=self._where)
