"""Probe: what a file holds, checked against the limits, before anything is planned for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dualface_ray.backends.pyav.limits import check_decoded, check_duration, check_size, check_streams
from dualface_ray.backends.pyav.opening import PROBLEMS, input_error, open_input
from dualface_ray.errors import LimitExceededError, NotAVideoError, UnsupportedMediaError
from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.media import check_input
from dualface_ray.settings import Settings
from dualface_ray.timeline import Rounding, round_fraction

_PROBE_PACKETS = 600
"""Video packets to look at for the first picture; beyond that the stream counts as undecodable."""
DURATION_GUESSED = frozenset({"mpeg", "mpegts"})
"""Demuxers of formats that state no duration: libav takes the last time stamp minus the first."""
_SANE_RATE = Fraction(1000)
_DEFAULT_RATE = Fraction(25)
_RANGE_LIMITED, _RANGE_FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """One audio stream."""

    index: int
    """Position among all streams of the file."""
    codec: str
    channels: int
    layout: str
    rate_hz: int
    start_s: Fraction | None
    best: bool
    """The one that is used by default."""


@dataclass(frozen=True, slots=True)
class MediaProbe:
    """What a file holds."""

    path: Path
    container: str
    """Name of the demuxer, for example ``mov,mp4,m4a,3gp,3g2,mj2``."""
    size_bytes: int
    video: StreamInfo
    """The best video stream; cover art never counts."""
    video_index: int
    pixel_format: str
    """FFmpeg's name of the decoded pixels; the slots are NV12 whatever this is."""
    bits: int
    """Bits per sample of the source."""
    interlaced: bool
    mirrored: bool
    """To be flipped left to right before ``video.rotation_deg`` is applied. A decoder that fills slots does that."""
    start_ticks: int | None
    """First time stamp by the container, in the video's time base; None = unknown."""
    audio: tuple[AudioInfo, ...]
    subtitles: int
    chapters: int
    data_streams: int
    """Streams of any other kind, cover art included."""

    @property
    def best_audio(self) -> AudioInfo | None:
        """The audio stream used by default, if there is one."""
        return next((stream for stream in self.audio if stream.best), None)


def probe(
    path: Path, settings: Settings, stream_id: str = "", *, content: Any = None, size_bytes: int = 0
) -> MediaProbe:
    """Examine a file: open it restricted, check the limits, decode its first picture.

    Args:
        path: the file.
        settings: ``settings.input`` holds the limits.
        stream_id: goes into ``video.stream_id``; the path when empty.
        content: read this (a file opened in Python) instead; the path only names it then.
        size_bytes: of ``content``.

    Raises:
        InputMissingError, NotAVideoError, UnsupportedMediaError, LimitExceededError: see their classes.
    """
    if content is None:
        size_bytes = check_input(path, allow_symlinks=settings.input.allow_symlinks)
    limits = settings.input
    container = open_input(path, limits.max_width_px * limits.max_height_px, content)
    try:
        return _examine(container, path, settings, stream_id or str(path), size_bytes)
    except PROBLEMS as error:
        raise input_error(error, path) from error
    finally:
        container.close()


def best_video(container: InputContainer, path: Path) -> VideoStream:
    """The video stream to use: libav's choice, unless that is cover art.

    Raises:
        NotAVideoError: there is none.
    """
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        raise NotAVideoError("holds no video stream", where=str(path), remedy="Check the file in a player.")
    best = container.streams.best("video")
    return next((stream for stream in moving if best is not None and stream.index == best.index), moving[0])


def average_rate(stream: VideoStream) -> Fraction:
    """Nominal frames per second; 25 when the container says nothing sensible."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= _SANE_RATE:
            return Fraction(rate)
    return _DEFAULT_RATE


def _examine(container: InputContainer, path: Path, settings: Settings, stream_id: str, size: int) -> MediaProbe:
    check_streams(len(container.streams), settings, path)
    stream = best_video(container, path)
    if stream.codec_context is None:
        raise UnsupportedMediaError("its video codec is unknown", where=str(path), remedy="Convert it first.")
    check_size(stream.codec_context.width, stream.codec_context.height, settings, path)
    if stream.time_base is None:
        raise NotAVideoError("its video has no clock", where=str(path), remedy="Convert it first.")
    duration = _duration_ticks(container, stream)
    try:
        check_duration(duration, stream.time_base, settings, path)
    except LimitExceededError:
        if container.format.name not in DURATION_GUESSED:
            raise
        duration = 0  # one wild time stamp makes such a guess; decoding holds the real ones against the limit
    best = container.streams.best("audio")
    audio = tuple(_audio_info(s, best is not None and s.index == best.index) for s in container.streams.audio)
    start, chapters, name = stream.start_time, len(container.chapters()), container.format.name
    subtitles = len(container.streams.subtitles)
    others = len(container.streams) - len(audio) - subtitles - 1
    info = StreamInfo(
        stream_id=stream_id,
        width_px=stream.codec_context.width,
        height_px=stream.codec_context.height,
        time_base=Fraction(stream.time_base),
        average_rate=average_rate(stream),
        layout=PixelLayout.NV12,
        sample_aspect=_sane_aspect(stream.sample_aspect_ratio),
        frame_count_estimate=stream.frames or _frames_in(duration, stream),
        duration_ticks=duration,
        codec=stream.codec_context.name,
    )
    frame = _first_frame(container, stream)
    if frame is None:
        raise NotAVideoError("not one frame can be decoded", where=str(path), remedy="Check the file in a player.")
    check_size(frame.width, frame.height, settings, path)
    rotation_deg, mirrored = _orientation(frame)
    info = replace(
        info,
        width_px=frame.width,
        height_px=frame.height,
        rotation_deg=rotation_deg,
        colour=_colour_of(frame),
    )
    check_decoded(info.slot_bytes * info.frame_count_estimate, settings, path)
    return MediaProbe(
        path=path,
        container=name,
        size_bytes=size,
        video=info,
        video_index=stream.index,
        pixel_format=frame.format.name,
        bits=max((component.bits for component in frame.format.components), default=8),
        interlaced=frame.interlaced_frame,
        mirrored=mirrored,
        start_ticks=start,
        audio=audio,
        subtitles=subtitles,
        chapters=chapters,
        data_streams=others,
    )


def _first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    """The first picture that decodes; errors before it are what a damaged start looks like."""
    stream.codec_context.thread_count = 1
    packets = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = stream.codec_context.decode(packet if packet.size else None)
            except PROBLEMS:
                frames = []
            if frames:
                return frames[0]
            packets += 1
            if packets > _PROBE_PACKETS:
                return None
    except PROBLEMS:
        return None
    return None


def _audio_info(stream: Any, best: bool) -> AudioInfo:
    context = stream.codec_context
    start = None if stream.start_time is None else Fraction(stream.start_time * stream.time_base)
    if context is None:
        return AudioInfo(stream.index, "unknown", 0, "", 0, start, best)
    layout = context.layout
    return AudioInfo(
        stream.index,
        context.codec.canonical_name,
        layout.nb_channels,
        layout.name,
        context.sample_rate or 0,
        start,
        best,
    )


def _colour_of(frame: VideoFrame) -> Colour:
    """Code points of the decoded picture; ``yuvj`` formats are full range by definition, untagged grey by custom."""
    name = frame.format.name
    full = frame.color_range == _RANGE_FULL or name.startswith("yuvj")
    full = full or (name.startswith("gray") and frame.color_range != _RANGE_LIMITED)  # as libswscale takes it
    matrix = int(frame.colorspace)
    if matrix == 0 or frame.format.is_rgb:  # RGB becomes NV12 in BT.709 or BT.601, limited range: see pixels
        matrix, full = (1 if frame.height > 576 else 6), False
    return Colour(matrix, int(frame.color_primaries), int(frame.color_trc), full)


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Nearest clockwise quarter turn of the display matrix, and whether a flip left to right comes before it.

    The matrix takes stored (x, y) to displayed (a x + c y, b x + d y); 16.16 fixed point, rows a b u, c d v, x y w
    (ISO/IEC 14496-12, 6.2.2). With a negative determinant it mirrors; undoing a flip of x leaves a plain turn.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(float) / 65536
    mirrored = bool(a * d - b * c < 0)
    if mirrored:
        a, b = -a, -b
    if not math.hypot(a, b) or not math.isfinite(a + b):
        return 0, False
    return round(math.degrees(math.atan2(b, a)) / 90) % 4 * 90, mirrored


def _sane_aspect(aspect: Fraction | None) -> Fraction:
    if not aspect or aspect <= 0 or not Fraction(1, 16) <= aspect <= 16:
        return Fraction(1)
    return Fraction(aspect)


def _duration_ticks(container: InputContainer, stream: VideoStream) -> int:
    if stream.duration and stream.duration > 0:
        return stream.duration
    if container.duration and container.duration > 0 and stream.time_base:
        return round_fraction(Fraction(container.duration, 1_000_000) / stream.time_base)
    return 0


def _frames_in(duration_ticks: int, stream: VideoStream) -> int:
    if not duration_ticks or stream.time_base is None:
        return 0
    return round_fraction(duration_ticks * stream.time_base * average_rate(stream), Rounding.UP)
