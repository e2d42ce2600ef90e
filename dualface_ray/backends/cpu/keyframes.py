"""CpuKeyFrameSession: single key frames of a video, each decoded by itself; for a quick look over all of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from av.codec.context import ThreadType
from av.video.frame import VideoFrame

from dualface_ray.backends.cpu.decode import slot_info
from dualface_ray.backends.cpu.signature import signature
from dualface_ray.backends.pyav import PROBLEMS, Demuxer, SlotWriter, input_error, probe
from dualface_ray.errors import DamagedInputError
from dualface_ray.frames import SIGNATURE_BYTES, FrameFlag, StreamInfo
from dualface_ray.media import DecodedBatch, DecodedFrame, Slot
from dualface_ray.settings import Settings


class CpuKeyFrameSession:
    """The ``DecodeSession`` port over a list of key frames; used by one thread at a time.

    Counted are pictures of another size than the first frame's (``resolution_changes``) and interlaced ones.

    Args:
        path: the video.
        stream_id: its name in messages.
        settings: limits.
        threads: of the decoder.
        keys_pts_ticks: time stamps of the key frames, ascending.

    Raises:
        InputError: it cannot be opened or exceeds a limit.
    """

    def __init__(
        self, path: Path, stream_id: str, settings: Settings, threads: int, keys_pts_ticks: Sequence[int]
    ) -> None:
        self._path = path
        self._keys = list(keys_pts_ticks)
        found = probe(path, settings, stream_id)
        self._info = slot_info(found, settings)
        self._counters = {"resolution_changes": 0, "interlaced": 0}
        self._demuxer = Demuxer(path, settings.input.max_width_px * settings.input.max_height_px)
        try:
            self._decoder = self._demuxer.context
            self._decoder.thread_count = max(1, threads)
            self._decoder.thread_type = ThreadType.SLICE
            self._writer = SlotWriter(self._info, source=found.video.colour, mirrored=found.mirrored, threads=threads)
        except BaseException:
            self._demuxer.close()
            raise
        self._next = 0

    @property
    def info(self) -> StreamInfo:
        """The stream's properties."""
        return self._info

    def decode(self, slots: Sequence[Slot]) -> DecodedBatch:
        """The next key frames; see the port.

        Raises:
            DamagedInputError: one of them cannot be decoded.
            SeamError: one of them is not found again.
        """
        keys = self._keys[self._next : self._next + len(slots)]
        signatures = np.empty((len(keys), SIGNATURE_BYTES), np.uint8)
        frames = []
        for slot, key, out in zip(slots, keys, signatures, strict=False):
            picture = self._picture(key)
            if (picture.width, picture.height) != (self._info.width_px, self._info.height_px):
                self._counters["resolution_changes"] += 1
            self._counters["interlaced"] += picture.interlaced_frame
            self._writer.write(picture, slot)
            signature(slot, self._info, out)
            frames.append(DecodedFrame(key, FrameFlag.KEY | FrameFlag.CUT_CANDIDATE))
        self._next += len(keys)
        return DecodedBatch(tuple(frames), signatures, self._next == len(self._keys))

    def counters(self) -> dict[str, int]:
        """What a span could not do alone; absent = none."""
        return {name: count for name, count in self._counters.items() if count}

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._demuxer.close()

    def _picture(self, key: int) -> VideoFrame:
        self._demuxer.begin_at(key)
        packet: Any = self._demuxer.next_packet()
        try:
            self._decoder.flush_buffers()
            pictures = [*self._decoder.decode(packet), *self._decoder.decode(None)]
        except PROBLEMS as error:
            raise input_error(error, self._path, opened=True) from error
        found = next((picture for picture in pictures if picture.pts == key and not picture.is_corrupt), None)
        if found is None:
            raise DamagedInputError(f"is damaged (the key frame at {key} does not decode)", where=str(self._path))
        return found
