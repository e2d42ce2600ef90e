"""Small real clips, encoded on the fly: the pictures carry their number, flashes and clicks mark moments in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

CELL_ROWS = 4
CELL_BITS = 12
WHITE, BLACK, GREY = 235, 16, 90


@dataclass(frozen=True)
class Audio:
    """One audio stream: near silence with a click (10 ms of tone) at each given time on the source's clock."""

    codec: str = "aac"
    rate_hz: int = 48000
    layout: str = "stereo"
    start_s: float = 0.0
    duration_s: float | None = None
    clicks_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Clip:
    """A recipe; ``write`` makes the file. The suffix of the path names the container."""

    frames: int = 12
    width_px: int = 96
    height_px: int = 64
    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None
    pts_ticks: tuple[int, ...] | None = None
    """Time stamps in ``time_base``; None = regular from 0."""
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    b_frames: int = 0
    gop: int = 12
    flashes: tuple[int, ...] = ()
    """Frames that are white all over."""
    audio: tuple[Audio, ...] = ()
    rotation_deg: int = 0
    """Clockwise, as a player has to turn it."""
    mirrored: bool = False
    """To be flipped left to right by a player, after turning."""
    sample_aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int] = (2, 2, 2)
    """Matrix, primaries, transfer."""
    full_range: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    format: str | None = None

    @property
    def base(self) -> Fraction:
        return self.time_base or 1 / self.rate

    @property
    def pts(self) -> tuple[int, ...]:
        if self.pts_ticks is not None:
            return self.pts_ticks
        return tuple(round(n / self.rate / self.base) for n in range(self.frames))

    def write(self, path: Path) -> Path:
        """Encode the clip; returns the path."""
        options = dict(self.container_options)
        if path.suffix in (".mp4", ".mov"):
            scale = str(self.base.denominator)
            options = {"video_track_timescale": scale, "movie_timescale": "90000", **options}
        with av.open(str(path), "w", format=self.format, container_options=options) as out:
            out.metadata.update(self.metadata)
            video = self._video_stream(out)
            sounds = [self._audio_stream(out, spec) for spec in self.audio]
            packets = [(p.dts * p.time_base, p) for p in self._video_packets(video)]
            for stream, spec in zip(sounds, self.audio, strict=True):
                packets += [(p.dts * p.time_base, p) for p in self._audio_packets(stream, spec)]
            for _, packet in sorted(packets, key=lambda item: item[0]):
                out.mux(packet)
        return path

    def _video_stream(self, out: Any) -> Any:
        stream = out.add_stream(self.codec, rate=self.rate, options={**_QUIET.get(self.codec, {}), **self.options})
        stream.width, stream.height, stream.pix_fmt = self.width_px, self.height_px, self.pixel_format
        stream.time_base = stream.codec_context.time_base = self.base
        context = stream.codec_context
        context.thread_count = 1
        context.gop_size = self.gop
        context.max_b_frames = self.b_frames
        context.sample_aspect_ratio = self.sample_aspect
        context.colorspace, context.color_primaries, context.color_trc = self.colour
        context.color_range = 2 if self.full_range else 1
        if self.rotation_deg or self.mirrored:
            stream.set_display_rotation(-self.rotation_deg, hflip=self.mirrored)
        return stream

    def _video_packets(self, stream: Any) -> Iterator[Any]:
        reformatter = av.video.reformatter.VideoReformatter()
        spread = 2 if self.full_range else 1
        for index, pts in enumerate(self.pts):
            luma = picture(index, self.width_px, self.height_px, flash=index in self.flashes)
            frame = grey_frame(luma)
            if self.pixel_format == "gray":
                frame = VideoFrame.from_ndarray(luma, format="gray")
            elif self.pixel_format != "yuv420p":
                frame = reformatter.reformat(
                    frame, format=self.pixel_format, src_color_range=spread, dst_color_range=spread, threads=1
                )
            frame.pts, frame.time_base = pts, self.base
            yield from stream.encode(frame)
        yield from stream.encode(None)

    def _audio_stream(self, out: Any, spec: Audio) -> Any:
        stream = out.add_stream(spec.codec, rate=spec.rate_hz)
        stream.codec_context.layout = spec.layout
        if spec.codec not in ("pcm_s16le", "flac", "alac"):
            stream.codec_context.bit_rate = 96_000
        stream.codec_context.open()
        return stream

    def _audio_packets(self, stream: Any, spec: Audio) -> Iterator[Any]:
        rate = spec.rate_hz
        seconds = spec.duration_s
        if seconds is None:
            seconds = float((self.pts[-1] - self.pts[0]) * self.base + 1 / self.rate)
        start = round(spec.start_s * rate)
        sound = clicks(round(seconds * rate), rate, [c - spec.start_s for c in spec.clicks_s])
        size = stream.codec_context.frame_size or 1024
        layout = av.AudioLayout(spec.layout)
        resampler = av.AudioResampler(format=stream.format.name, layout=spec.layout, rate=rate)
        for first in range(0, len(sound), size):
            block = np.repeat(sound[None, first : first + size], layout.nb_channels, axis=0)
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=spec.layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            for part in resampler.resample(frame):
                part.pts, part.time_base = start + first, Fraction(1, rate)
                yield from stream.encode(part)
        yield from stream.encode(None)


_QUIET = {
    "libx264": {"preset": "ultrafast", "crf": "18"},
    "libx265": {"preset": "ultrafast", "crf": "18", "x265-params": "log-level=none:pools=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "1M"},
    "mpeg4": {"qscale": "2"},
}


def picture(index: int, width_px: int, height_px: int, *, flash: bool = False) -> np.ndarray:
    """Luma uint8 (height, width) of frame ``index``: its number as 12 cells across the top, a moving bar below."""
    image = np.full((height_px, width_px), WHITE if flash else GREY, np.uint8)
    if not flash:
        band = max(1, height_px // CELL_ROWS)
        for bit in range(CELL_BITS):
            left, right = bit * width_px // CELL_BITS, (bit + 1) * width_px // CELL_BITS
            image[:band, left:right] = WHITE if index >> bit & 1 else BLACK
        column = index * 5 % width_px
        image[band:, column : column + max(2, width_px // 12)] = 200
    return image


def grey_frame(luma: np.ndarray) -> VideoFrame:
    """A yuv420p frame with this luma and neutral chroma."""
    height, width = luma.shape
    frame = VideoFrame(width, height, "yuv420p")
    for index, plane in enumerate(frame.planes):
        pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        if index == 0:
            pixels[:height, :width] = luma
        else:
            pixels[:] = 128
    return frame


def read_number(luma: np.ndarray) -> int | None:
    """The frame number in a picture made by ``picture`` (any scale), or None for a flash."""
    height, width = luma.shape
    if luma.mean() > 215:
        return None
    row = luma[height // CELL_ROWS // 2].astype(int)
    centres = [(2 * bit + 1) * width // (2 * CELL_BITS) for bit in range(CELL_BITS)]
    return sum(1 << bit for bit, column in enumerate(centres) if row[column] > (WHITE + BLACK) // 2)


def clicks(samples: int, rate_hz: int, times_s: Sequence[float]) -> np.ndarray:
    """Float32 (samples,): silence with 10 ms of a 2 kHz tone from each time on."""
    sound = np.zeros(samples, np.float32)
    tone = 0.8 * np.sin(2 * np.pi * 2000 * np.arange(rate_hz // 100) / rate_hz).astype(np.float32)
    for time in times_s:
        first = round(time * rate_hz)
        if 0 <= first < samples:
            part = tone[: samples - first]
            sound[first : first + len(part)] = part
    return sound


def heard_clicks_s(path: Path) -> list[float]:
    """Times of the clicks in a file's first audio stream as a player places them, in seconds of its own clock."""
    heard: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            sound = np.abs(frame.to_ndarray().astype(np.float64))
            if frame.format.name.startswith("s16"):
                sound /= 32768
            planar = frame.format.is_planar
            level = sound.max(axis=0) if planar else sound.reshape(-1, len(frame.layout.channels)).max(axis=1)
            start = float(frame.pts * frame.time_base)
            for position in np.flatnonzero(level > 0.25):
                time = start + position / frame.sample_rate
                if not heard or time - heard[-1] > 0.1:
                    heard.append(time)
    return heard


def seen_flashes_s(path: Path) -> list[float]:
    """Times of the white frames in a file's first video stream, in seconds of its own clock."""
    with av.open(str(path)) as container:
        return [
            float(frame.pts * frame.time_base)
            for frame in container.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 215
        ]


def video_pts(path: Path) -> list[Fraction]:
    """Exact presentation times of all frames, in display order."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]
