"""Demuxer: the packets of one video stream, for a decoder of any kind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from dualface_ray.backends.pyav.opening import PROBLEMS, input_error, open_input, reading
from dualface_ray.backends.pyav.probe import DURATION_GUESSED, best_video
from dualface_ray.errors import SeamError, UnsupportedMediaError
from dualface_ray.timeline import round_fraction

_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb", "vvc": "vvc_mp4toannexb"}

_GENERATE_PTS = 0x0001  # AVFMT_FLAG_GENPTS, which PyAV sets on every container
_NO_PRESENTATION_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo"})
"""Demuxers of formats that store frames in decoding order with, at most, the time of decoding."""
_WITHOUT_INDEX = frozenset({"asf", "flv", "matroska,webm", "mpeg", "mpegts", "nut", "ogg", "wtv"})
"""Demuxers that search for the next packet after unreadable bytes: what lay between is gone without a trace. Formats
with an index of all frames (MP4, MOV, AVI, MXF) deliver every packet, readable or not."""
_BACK_S = (0, 1, 5, 30)
"""How far before a key frame to land when a seek to its own time leads past it; at last the beginning of the file."""


@dataclass(frozen=True, slots=True)
class SourcePacket:
    """One compressed picture as the container holds it, in decoding order."""

    data: bytes
    pts_ticks: int | None
    dts_ticks: int | None
    key: bool
    discard: bool
    """Needed for decoding, but not to be shown (before the start of an edit list)."""
    corrupt: bool
    """The container knows that bytes are missing."""


class Demuxer:
    """Reads the best video stream of a file; restricted as ``open_input`` says.

    Args:
        path: a checked file.
        max_pixels: decoders made from this demuxer refuse larger pictures; 0 = no limit.

    Raises:
        InputError: it cannot be opened, or holds no video.
    """

    def __init__(self, path: Path, max_pixels: int = 0) -> None:
        self.path = path
        self._container: InputContainer | None = open_input(path, max_pixels)
        try:
            self._stream: Any = best_video(self._container, path)
        except BaseException:
            self.close()
            raise
        # libav would make up presentation times for containers that have none, and gets reordered ones wrong.
        self.decoding_times_only = self._container.format.name in _NO_PRESENTATION_TIMES
        if self.decoding_times_only:
            self._container.flags &= ~_GENERATE_PTS
        self.loses_silently = self._container.format.name in _WITHOUT_INDEX
        self.codec: str = "" if self._stream.codec_context is None else self._stream.codec_context.name
        self.time_base = Fraction(self._stream.time_base or 1)
        self.start_ticks: int = self._stream.start_time or 0
        guessed = self._container.format.name in DURATION_GUESSED
        self.duration_ticks: int = 0 if guessed else _own_duration_ticks(self._stream)
        self._packets: Iterator[Any] = self._container.demux(self._stream)

    @property
    def context(self) -> VideoCodecContext:
        """The software decoder set up for this stream; not opened yet.

        Raises:
            UnsupportedMediaError: there is none.
        """
        context = self._stream.codec_context
        if context is None:
            raise UnsupportedMediaError("its video codec is unknown", where=str(self.path), remedy="Convert it first.")
        found: VideoCodecContext = context
        return found

    def begin_at(self, key_pts_ticks: int) -> None:
        """Go to the key frame with exactly this time stamp: it is the next packet.

        A seek only has to lead anywhere before it; from there on every packet is read, so that a container's index
        need not be exact. May be called again, for any other key frame.

        Raises:
            SeamError: no packet is that key frame.
            DamagedInputError: the container cannot be read.
        """
        found = None
        with reading(self.path):
            for back_s in _BACK_S:
                found = self._search(key_pts_ticks, key_pts_ticks - round_fraction(back_s / self.time_base))
                if found is not None:
                    break
            else:
                found = self._search(key_pts_ticks, min(self.start_ticks, 0))
        if found is None:
            raise SeamError(f"the key frame at {key_pts_ticks} is not found again", where=str(self.path))
        self._packets = chain([found], self._packets)

    def _search(self, key_pts_ticks: int, from_ticks: int) -> Any:
        if self._container is None:
            return None
        with contextlib.suppress(*PROBLEMS):  # before the beginning of some formats
            self._container.seek(from_ticks, stream=self._stream, backward=True, any_frame=False)
        self._packets = self._container.demux(self._stream)
        while (packet := self.next_packet()) is not None:
            if packet.pts == key_pts_ticks and packet.is_keyframe and not packet.is_discard:
                return packet
            if packet.dts is not None and packet.dts > key_pts_ticks:
                return None
        return None

    def next_packet(self) -> av.Packet[Any] | None:
        """The next non-empty packet in PyAV's own form, or None at the end of the file.

        Raises:
            DamagedInputError: the container cannot be read further.
        """
        with reading(self.path), contextlib.suppress(IndexError):  # PyAV's end of file, when a stream appeared late
            for packet in self._packets:
                if packet.size:
                    return packet  # type: ignore[no-any-return]
        return None

    def packets(self, *, annex_b: bool = False) -> Iterator[SourcePacket]:
        """All remaining packets as plain data.

        Args:
            annex_b: give H.264, HEVC and VVC as a byte stream with start codes and parameter sets in band (what
                hardware decoders take); other codecs are left as they are.

        Raises:
            DamagedInputError: the container cannot be read further.
        """
        name = _ANNEX_B.get(self.context.codec.canonical_name, "") if annex_b else ""
        bsf = BitStreamFilterContext(name, self._stream) if name else None
        while (packet := self.next_packet()) is not None:
            flags = (packet.is_discard, packet.is_corrupt)
            try:
                filtered = bsf.filter(packet) if bsf else [packet]
            except PROBLEMS as error:
                raise input_error(error, self.path, opened=True) from error
            for part in filtered:
                yield SourcePacket(bytes(part), part.pts, part.dts, part.is_keyframe, *flags)

    def close(self) -> None:
        """Close the file; harmless when called twice."""
        container, self._container = self._container, None
        if container is not None:
            self._packets = iter(())
            container.close()


def _own_duration_ticks(stream: Any) -> int:
    """Duration of this stream, not of the file: from its header, or Matroska's statistics tag; 0 = unknown."""
    if stream.duration and stream.duration > 0:
        return int(stream.duration)
    text = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, rest = text.split(":")
        whole = int(hours) * 3600 + int(minutes) * 60 + Fraction(rest)
    except (ValueError, ZeroDivisionError):
        return 0
    # Some muxers write the time of the end there, some the length: taken as the former, no healthy file looks cut off.
    ticks = int(whole / stream.time_base) - max(0, stream.start_time or 0)
    return max(0, ticks)
