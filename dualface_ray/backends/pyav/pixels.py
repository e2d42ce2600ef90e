"""Pixels: a decoded picture of any format, written into an NV12 slot with as few passes as possible."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from dualface_ray.backends.pyav.opening import PROBLEMS
from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import StreamInfo

U8 = npt.NDArray[np.uint8]

_DIRECT = frozenset({"yuv420p", "yuvj420p", "nv12", "gray"})
_NEUTRAL = 128
_UNSPECIFIED = 2
_SWSCALE_MATRICES = frozenset({1, 4, 5, 6, 7})
_DEFAULT_MATRIX = 5
"""libswscale's numbers for matrices equal H.273's for these; 5 is its own default."""
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


class SlotWriter:
    """Copies pictures of one stream into slots.

    4:2:0 with 8 bits (by far the most common) is copied straight from the decoder's planes: luma row by row, U and V
    interleaved in one pass. Everything else (4:2:2, 4:4:4, more bits, RGB, another size) goes through one libswscale
    pass to NV12 first. Range and matrix stay those of ``info.colour``.

    Args:
        info: the stream; its size is the slots'.
    """

    def __init__(self, info: StreamInfo) -> None:
        self._info = info
        self._reformatter = VideoReformatter()

    def write(self, frame: VideoFrame, slot: U8) -> None:
        """Fill a slot.

        Args:
            frame: a picture in host memory.
            slot: uint8 (slot_height_px * 3 // 2, slot_width_px), rows contiguous; every byte is written.

        Raises:
            UnsupportedMediaError: the pixel format cannot be converted.
        """
        info = self._info
        width, height = info.width_px, info.height_px
        name = frame.format.name
        if (frame.width, frame.height) != (width, height) or name not in _DIRECT:
            frame = self._convert(frame)
            name = "nv12"
        luma = slot[: info.slot_height_px]
        chroma = slot[info.slot_height_px :]
        np.copyto(luma[:height, :width], _plane(frame, 0)[:height, :width])
        columns, rows = info.slot_width_px, info.slot_height_px // 2
        if name == "nv12":
            np.copyto(chroma, _plane(frame, 1)[:rows, :columns])
        elif name == "gray":
            chroma.fill(_NEUTRAL)
        else:
            _interleave(_plane(frame, 1)[:rows, : columns // 2], _plane(frame, 2)[:rows, : columns // 2], chroma)
        if width & 1:
            luma[:height, width] = luma[:height, width - 1]
        if height & 1:
            luma[height] = luma[height - 1]

    def _convert(self, frame: VideoFrame) -> VideoFrame:
        """One libswscale pass to NV12 of the stream's size and range; the matrix stays unless the source is RGB."""
        rgb = frame.format.is_rgb
        source_full = rgb or frame.color_range == _FULL or frame.format.name.startswith(("yuvj", "gray"))
        matrix = self._info.colour.matrix if self._info.colour.matrix in _SWSCALE_MATRICES else _DEFAULT_MATRIX
        # Primaries and transfer do not matter here, and libswscale refuses some values that damaged files bear.
        frame.color_primaries = frame.color_trc = _UNSPECIFIED
        try:
            return self._reformatter.reformat(
                frame,
                width=self._info.width_px,
                height=self._info.height_px,
                format="nv12",
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=_FULL if source_full else _LIMITED,
                dst_color_range=_FULL if self._info.colour.full_range else _LIMITED,
                threads=1,
            )
        except PROBLEMS as error:
            what = f"its pixel format {frame.format.name} cannot be converted"
            raise UnsupportedMediaError(
                what, where=self._info.stream_id, remedy="Convert it to H.264 first."
            ) from error


def _plane(frame: VideoFrame, index: int) -> U8:
    """A plane as uint8 (rows, line size) without a copy; bottom-up pictures come out the right way."""
    plane: Any = frame.planes[index]
    line_bytes = plane.line_size
    rows = np.frombuffer(plane, np.uint8).reshape(-1, abs(line_bytes))
    return rows if line_bytes > 0 else rows[::-1]


def _interleave(u: U8, v: U8, chroma: U8) -> None:
    """Write U and V alternating into (rows, 2 * columns); OpenCV merges in place when the target is contiguous."""
    pairs = chroma.reshape(*u.shape, 2)
    if cv2.merge((u, v), pairs) is not pairs:
        pairs[..., 0] = u
        pairs[..., 1] = v
