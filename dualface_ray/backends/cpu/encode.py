"""CpuEncodeSession: canvases encoded by x264 (or x265, SVT-AV1) through libav."""

from __future__ import annotations

import os
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from dualface_ray.backends.pyav import PROBLEMS, encode_error
from dualface_ray.errors import EncodeError
from dualface_ray.media import Canvas, EncodeSpec, Packet

_ENCODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
_BITS = {"h264": (8,), "hevc": (8, 10), "av1": (8,)}
_SHIFT_16_TO_10 = 6
_AV1_PRESETS = {
    "ultrafast": "12",
    "superfast": "11",
    "veryfast": "10",
    "faster": "9",
    "fast": "8",
    "medium": "7",
    "slow": "5",
    "slower": "4",
    "veryslow": "3",
    "placebo": "2",
}
"""x264's names on SVT-AV1's scale of 0..13; a number is taken as it is."""
_STEPS = {
    "p1": "superfast",
    "p2": "veryfast",
    "p3": "fast",
    "p4": "medium",
    "p5": "slow",
    "p6": "slower",
    "p7": "veryslow",
}
"""NVENC's scale in x264's names, as lanes with NVENC read those: a job may have lanes of both kinds."""

_QUALITY_MAX, _AV1_QUALITY_MAX = 51, 63
"""Ends of the quality scales: H.264's and HEVC's, on which the setting is given, and AV1's."""


class CpuEncodeSession:
    """The ``EncodeSession`` port over libav's software encoders; used by one thread at a time.

    Fixed policy: constant quality, no B-frames, closed groups of exactly ``gop_frames`` (no key frame at scene cuts:
    frames of one GOP stay together whatever is in them, as on hardware encoders), parameter sets in ``extradata``.

    x264 takes NV12 as it lies in the canvas and copies it while it is being called, so nothing is copied before. x265
    and SVT-AV1 take planes: one pass splits the chroma. HEVC takes 10 bits too, from P010.

    Args:
        spec: what to encode; the size must be even.

    Raises:
        EncodeError: unknown codec or preset, or a size the encoder refuses.
    """

    def __init__(self, spec: EncodeSpec) -> None:
        self.spec = spec
        if spec.codec not in _ENCODERS:
            raise EncodeError(f"unknown codec {spec.codec!r}", remedy=f"Use one of {', '.join(_ENCODERS)}.")
        if spec.width_px % 2 or spec.height_px % 2:
            raise EncodeError(f"the size {spec.width_px}x{spec.height_px} is odd", remedy="Use even sizes.")
        if spec.bits not in _BITS[spec.codec]:
            raise EncodeError(f"{spec.codec} is not written with {spec.bits} bits", remedy="Use encode.codec=hevc.")
        self._sample: Any = np.uint8 if spec.bits == 8 else np.uint16
        self._planar: VideoFrame | None = None
        if spec.codec != "h264":
            self._planar = VideoFrame(spec.width_px, spec.height_px, _planar_format(spec))
        try:
            self._context: Any = _open(spec)
        except PROBLEMS as error:
            raise encode_error(error, None, f"the {spec.codec} encoder cannot be opened") from error
        self._last_pts: int | None = None
        self._finished = False

    @property
    def name(self) -> str:
        """As FFmpeg calls it, and its threads."""
        threads = max(1, self.spec.threads)
        return f"{_ENCODERS[self.spec.codec]}, {threads} thread{'s' if threads > 1 else ''}"

    @property
    def extradata(self) -> bytes:
        """SPS and PPS (Annex B), VPS too for HEVC, the sequence header for AV1; known from opening on."""
        return b"" if self._context is None else bytes(self._context.extradata or b"")

    def encode(self, canvas: Canvas, pts_ticks: int) -> list[Packet]:
        """Encode one picture; it has been read completely on return.

        Args:
            canvas: uint8 (height_px * 3 // 2, width_px), NV12, rows contiguous; uint16, P010, for 10 bits.
            pts_ticks: in ``spec.time_base``, greater than the one before.

        Raises:
            EncodeError: wrong shape or order, or the encoder failed.
        """
        if self._context is None or self._finished:
            raise EncodeError("the encoder is closed")
        if self._last_pts is not None and pts_ticks <= self._last_pts:
            raise EncodeError(f"time stamps must increase: {pts_ticks} after {self._last_pts}")
        self._last_pts = pts_ticks
        frame = self._frame_of(canvas)
        frame.pts = pts_ticks
        frame.time_base = self.spec.time_base
        return self._run(frame)

    def finish(self) -> list[Packet]:
        """Drain; no ``encode`` may follow.

        Raises:
            EncodeError: the encoder failed.
        """
        if self._context is None or self._finished:
            return []
        self._finished = True
        return self._run(None)

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._context = None
        self._planar = None

    def _run(self, frame: VideoFrame | None) -> list[Packet]:
        try:
            return [Packet(bytes(p), p.pts, p.dts, p.is_keyframe) for p in self._context.encode(frame)]
        except PROBLEMS as error:
            raise encode_error(error, None, f"the {self.spec.codec} encoder failed") from error

    def _frame_of(self, canvas: Canvas) -> VideoFrame:
        width, height = self.spec.width_px, self.spec.height_px
        dense = canvas.strides[1] == canvas.dtype.itemsize
        if canvas.shape != (height * 3 // 2, width) or canvas.dtype != self._sample or not dense:
            wanted = f"{np.dtype(self._sample)} ({height * 3 // 2}, {width})"
            raise EncodeError(f"a canvas must be {wanted}, not {canvas.dtype} {canvas.shape}")
        if self._sample == np.uint16:
            canvas = canvas >> _SHIFT_16_TO_10
        if self._planar is not None:
            chroma = canvas[height:].reshape(height // 2, width // 2, 2)
            for plane, pixels in enumerate((canvas[:height], chroma[..., 0], chroma[..., 1])):
                _fill(self._planar, plane, pixels)
            return self._planar
        if height % 4 == 0:
            return VideoFrame.from_numpy_buffer(canvas, format="nv12")
        # PyAV wraps NV12 only where the rows of all planes divide by six; other heights are copied.
        frame = VideoFrame(width, height, "nv12")
        _fill(frame, 0, canvas[:height])
        _fill(frame, 1, canvas[height:])
        return frame


def _fill(frame: VideoFrame, index: int, pixels: np.ndarray[Any, np.dtype[Any]]) -> None:
    plane: Any = frame.planes[index]
    rows, columns = pixels.shape
    np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size).view(pixels.dtype)[:rows, :columns] = pixels


def _planar_format(spec: EncodeSpec) -> str:
    return "yuv420p" if spec.bits == 8 else "yuv420p10le"


def _open(spec: EncodeSpec) -> VideoCodecContext:
    context = av.CodecContext.create(_ENCODERS[spec.codec], "w")
    if not isinstance(context, VideoCodecContext):
        raise EncodeError(f"{spec.codec} is no video codec")
    context.width, context.height = spec.width_px, spec.height_px
    context.pix_fmt = "nv12" if spec.codec == "h264" else _planar_format(spec)
    context.time_base = spec.time_base
    context.framerate = spec.rate
    context.gop_size = spec.gop_frames
    context.max_b_frames = 0
    context.thread_count = max(1, spec.threads)
    context.color_primaries = spec.colour_primaries
    context.color_trc = spec.colour_transfer
    context.colorspace = spec.colour_matrix
    context.color_range = 2 if spec.full_range else 1
    context.flags |= Flags.global_header | Flags.closed_gop
    context.options = _options(spec)
    context.open()
    return context


def _options(spec: EncodeSpec) -> dict[str, str]:
    gop, threads = spec.gop_frames, max(1, spec.threads)
    preset = _STEPS.get(spec.preset.lower(), spec.preset)
    if spec.codec == "h264":
        return {
            "preset": preset,
            "crf": str(max(1, spec.quality)),  # 0 would be lossless, which High profile does not have
            "profile": "high",
            "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0",
        }
    if spec.codec == "hevc":
        pools = f"pools={threads}:frame-threads={1 if threads == 1 else 2}"
        return {
            "preset": preset,
            "crf": str(spec.quality),
            "x265-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0:log-level=none:{pools}",
        }
    os.environ.setdefault("SVT_LOG", "1")  # the library writes its banner to stderr otherwise
    return {
        "preset": _AV1_PRESETS.get(preset, preset),
        "crf": str(round(spec.quality * _AV1_QUALITY_MAX / _QUALITY_MAX)),
        "svtav1-params": f"keyint={gop}:scd=0:pred-struct=1:lp={threads}",
    }
