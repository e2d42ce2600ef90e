"""CpuDecodeSession: a video file decoded by libav into NV12 slots of host memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from dualface_ray.backends.cpu.signature import signature
from dualface_ray.backends.pyav import Demuxer, Picture, PictureSource, SlotWriter, probe
from dualface_ray.errors import LimitExceededError, NotAVideoError
from dualface_ray.frames import SIGNATURE_BYTES, CutCandidates, FrameFlag, StreamInfo
from dualface_ray.media import DecodedBatch, DecodedFrame, Slot
from dualface_ray.settings import Settings
from dualface_ray.timeline import PtsRepair


class CpuDecodeSession:
    """The ``DecodeSession`` port over software decoding; used by one thread at a time.

    Pictures of more than 8 bits become 8-bit NV12. A change of resolution in mid-stream is scaled to the first size
    and counted. Two frames are held beyond the slots at most: the last good one (to stand in for losses) and those
    the decoder gave with it.

    Args:
        path: the video.
        stream_id: its name in messages.
        settings: limits and the damage policy.
        threads: of the decoder.

    Raises:
        InputError: it cannot be opened or exceeds a limit.
    """

    def __init__(self, path: Path, stream_id: str, settings: Settings, threads: int) -> None:
        self._path = path
        self.probe = probe(path, settings, stream_id)
        self._info = self.probe.video
        limits = settings.input
        self._max_ticks = limits.max_duration_s / float(self._info.time_base)
        self._demuxer = Demuxer(path, limits.max_width_px * limits.max_height_px)
        try:
            self._source = PictureSource(self._demuxer, threads, conceal=limits.on_damage == "conceal")
        except BaseException:
            self._demuxer.close()
            raise
        self._writer = SlotWriter(self._info)
        self._repair = PtsRepair(self._info.time_base, self._info.average_rate)
        self._cuts = CutCandidates()
        self._last: VideoFrame | None = None
        self._size = (self._info.width_px, self._info.height_px)
        self._first_pts: int | None = None
        self._frames = 0
        self._resized = 0
        self._ended = False

    @property
    def info(self) -> StreamInfo:
        """The stream's properties, known from opening on."""
        return self._info

    def decode(self, slots: Sequence[Slot]) -> DecodedBatch:
        """Fill the slots in display order; see the port.

        Raises:
            DamagedInputError: something was lost and ``input.on_damage`` is ``stop``.
            LimitExceededError: the time stamps run beyond ``input.max_duration_s``.
            NotAVideoError: there is not one picture to show.
        """
        frames: list[DecodedFrame] = []
        signatures = np.empty((len(slots), SIGNATURE_BYTES), np.uint8)
        for slot in slots:
            picture = None if self._ended else self._source.next()
            if picture is None:
                self._ended = True
                break
            frames.append(self._deliver(picture, slot, signatures[len(frames)]))
        if self._ended and not self._frames:
            raise NotAVideoError("not one frame can be decoded", where=str(self._path), remedy="Check the file.")
        return DecodedBatch(tuple(frames), signatures[: len(frames)], self._ended)

    def counters(self) -> dict[str, int]:
        """Repairs and losses so far, by name; absent = none."""
        found = {**self._source.counters, **self._repair.counters(), "resolution_changes": self._resized}
        return {name: count for name, count in sorted(found.items()) if count}

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._ended = True
        self._last = None
        self._demuxer.close()

    def _deliver(self, picture: Picture, slot: Slot, out: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> DecodedFrame:
        flags = FrameFlag.KEY if picture.key else FrameFlag.NONE
        frame = picture.frame
        if frame is None:
            flags |= FrameFlag.CONCEALED
            frame = self._last
        if frame is None:  # the source never starts with a lost picture
            raise NotAVideoError("its first frame is lost", where=str(self._path), remedy="Check the file.")
        self._last = frame
        if (frame.width, frame.height) != self._size:
            self._size = (frame.width, frame.height)
            self._resized += 1
        self._writer.write(frame, slot)
        signature(slot, self._info, out)
        if self._cuts.push(out) or not self._frames:
            flags |= FrameFlag.CUT_CANDIDATE
        self._frames += 1
        return DecodedFrame(self._stamp(picture.raw_pts), flags)

    def _stamp(self, raw_pts: int | None) -> int:
        pts = self._repair.push(raw_pts)
        if self._first_pts is None:
            self._first_pts = pts
        if pts - self._first_pts > self._max_ticks:
            raise LimitExceededError(
                "its time stamps run beyond input.max_duration_s",
                where=str(self._path),
                remedy="Raise the limit if you trust the file.",
            )
        return pts
