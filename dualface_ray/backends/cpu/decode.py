"""CpuDecodeSession: a video file decoded by libav into NV12 slots of host memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from dualface_ray.backends.cpu.signature import signature
from dualface_ray.backends.pyav import (
    Delivery,
    Demuxer,
    MediaProbe,
    PictureSource,
    RangeSession,
    SlotWriter,
    TimedPicture,
    TimedPictures,
    probe,
)
from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import SIGNATURE_BYTES, Colour, PixelLayout, StreamInfo
from dualface_ray.media import (
    HDR_TRANSFERS,
    DecodedBatch,
    DecodedFrame,
    DecodeSession,
    FrameRange,
    Slot,
    kept_colour,
)
from dualface_ray.settings import Settings

_BT709 = Colour(1, 1, 1)
_ICTCP = 14


def slot_info(found: MediaProbe, settings: Settings) -> StreamInfo:
    """The stream as this session puts it into slots.

    HLG and PQ become 8-bit BT.709 of limited range, or stay in P010 where ``encode.hdr`` is ``keep`` (with BT.2020's
    matrix, and its primaries where none are said); everything else becomes 8-bit NV12 of its own matrix and range.

    Raises:
        UnsupportedMediaError: HDR in ICtCp that is to be tone-mapped.
    """
    colour = found.video.colour
    if colour.transfer not in HDR_TRANSFERS:
        return found.video
    if settings.encode.hdr == "keep":
        return replace(found.video, layout=PixelLayout.P010, colour=kept_colour(colour))
    if colour.matrix == _ICTCP:
        raise UnsupportedMediaError(
            "its HDR is in ICtCp, which cannot be tone-mapped",
            where=str(found.path),
            remedy="Convert it first, or set encode.hdr=keep and encode.codec=hevc.",
        )
    return replace(found.video, colour=_BT709)


def open_decoder(
    path: Path, stream_id: str, settings: Settings, threads: int, only: FrameRange | None = None
) -> DecodeSession:
    """A whole video, or one range of it; errors as of the session, and ``SeamError`` of a range."""
    if only is None:
        return CpuDecodeSession(path, stream_id, settings, threads)
    begin = only.first_pts_ticks if only.first_frame else None
    return RangeSession(CpuDecodeSession(path, stream_id, settings, threads, begin), only, path)


class CpuDecodeSession:
    """The ``DecodeSession`` port over software decoding; used by one thread at a time.

    See ``slot_info`` for what lies in the slots. A change of resolution in mid-stream is scaled to the first size and
    counted. A few frames are held beyond the slots: the last good one (to stand in for losses), two looked ahead at,
    one in the deinterlacer, and those the decoder gave with them.

    Args:
        path: the video.
        stream_id: its name in messages.
        settings: limits and the damage policy.
        threads: of the decoder.
        begin_pts_ticks: begin with the key frame of this time stamp; None = with the video.

    Raises:
        InputError: it cannot be opened or exceeds a limit.
        SeamError: there is no such key frame.
    """

    def __init__(
        self, path: Path, stream_id: str, settings: Settings, threads: int, begin_pts_ticks: int | None = None
    ) -> None:
        self._path = path
        self.probe = probe(path, settings, stream_id)
        self._info = info = slot_info(self.probe, settings)
        limits = settings.input
        self._demuxer = Demuxer(path, limits.max_width_px * limits.max_height_px)
        try:
            if begin_pts_ticks is not None:
                self._demuxer.begin_at(begin_pts_ticks)
            source = PictureSource(
                self._demuxer, threads, conceal=limits.on_damage == "conceal", begin_pts_ticks=begin_pts_ticks
            )
        except BaseException:
            self._demuxer.close()
            raise
        self._pictures = TimedPictures(source, info, settings, threads)
        self._writer = SlotWriter(
            info,
            source=self.probe.video.colour,
            mirrored=self.probe.mirrored,
            threads=threads,
        )
        self._delivery = Delivery(info, settings, path)
        self._last: VideoFrame | None = None
        self._size = (self._info.width_px, self._info.height_px)
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
            picture = None if self._ended else self._pictures.next()
            if picture is None:
                self._ended = True
                break
            frames.append(self._deliver(picture, slot, signatures[len(frames)]))
        if self._ended:
            self._delivery.end()
        return DecodedBatch(tuple(frames), signatures[: len(frames)], self._ended)

    def counters(self) -> dict[str, int]:
        """Repairs and losses so far, by name; absent = none."""
        hdr = self.probe.video.colour.transfer in HDR_TRANSFERS and self._info.colour.transfer not in HDR_TRANSFERS
        tone_mapped = self._delivery.frames if hdr else 0
        found = {**self._pictures.counters(), "resolution_changes": self._resized, "tone_mapped": tone_mapped}
        return {name: count for name, count in sorted(found.items()) if count}

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._ended = True
        self._last = None
        self._demuxer.close()

    def _deliver(
        self, picture: TimedPicture, slot: Slot, out: np.ndarray[tuple[int], np.dtype[np.uint8]]
    ) -> DecodedFrame:
        frame = picture.frame if picture.frame is not None else self._last
        if frame is None:  # the source never starts with a lost picture
            raise self._delivery.nothing("its first frame is lost")
        self._last = frame
        if (frame.width, frame.height) != self._size:
            self._size = (frame.width, frame.height)
            self._resized += 1
        self._writer.write(frame, slot)
        signature(slot, self._info, out)
        return self._delivery.frame(picture.pts_ticks, out, key=picture.key, lost=picture.frame is None)
