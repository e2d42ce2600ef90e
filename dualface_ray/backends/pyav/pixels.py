"""Pixels: a decoded picture of any format, written into a slot with as few passes as possible."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from dualface_ray.backends.pyav.filters import ToneMapper
from dualface_ray.backends.pyav.opening import PROBLEMS
from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.media import HDR_TRANSFERS

Plane = npt.NDArray[Any]

_DIRECT = frozenset({"yuv420p", "yuvj420p", "nv12", "gray"})
_NEUTRAL = 128
_UNSPECIFIED = 2
_SWSCALE_MATRICES = frozenset({1, 4, 5, 6, 7, 9})
_DEFAULT_MATRIX = 5
"""libswscale's numbers for matrices equal H.273's for these; 5 is its own default."""
_SHIFT_10_TO_16 = 6
_LIMITED, _FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


class SlotWriter:
    """Copies pictures of one stream into slots.

    4:2:0 with 8 bits (by far the most common) is copied straight from the decoder's planes: luma row by row, U and V
    interleaved in one pass. Everything else (4:2:2, 4:4:4, more bits, RGB, another size) goes through one libswscale
    pass first. Range and matrix stay those of the source, except that HLG and PQ pictures of a stream that is not HDR
    itself are tone-mapped.

    Args:
        info: the stream as it lies in the slots; its size is theirs, its layout NV12 or P010.
        source: colour of the pictures, where it differs from ``info.colour``.
        mirrored: flip the pictures left to right.
        threads: of the tone mapping.
    """

    def __init__(
        self,
        info: StreamInfo,
        *,
        source: Colour | None = None,
        mirrored: bool = False,
        threads: int = 1,
    ) -> None:
        self._info = info
        self._mirrored = mirrored
        self._ten = info.layout is PixelLayout.P010
        self._reformatter = VideoReformatter()
        self._mapper: ToneMapper | None = None
        self._mixes = source is not None and {source.matrix, info.colour.matrix} <= _SWSCALE_MATRICES
        self._source = source = source or info.colour
        if source.transfer in HDR_TRANSFERS and info.colour.transfer not in HDR_TRANSFERS:
            self._mapper = ToneMapper(source, info.width_px, info.height_px, threads)

    def write(self, frame: VideoFrame, slot: Plane) -> None:
        """Fill a slot.

        Args:
            frame: a picture in host memory.
            slot: uint8 (NV12) or uint16 (P010) (slot_height_px * 3 // 2, slot_width_px), rows contiguous; every
                sample is written.

        Raises:
            UnsupportedMediaError: the pixel format cannot be converted.
        """
        info = self._info
        width, height = info.width_px, info.height_px
        if self._mapper is not None:
            frame = self._tone_mapped(self._mapper, frame)
        elif self._ten or (frame.width, frame.height) != (width, height) or frame.format.name not in _DIRECT:
            frame = self._convert(frame)
        name = frame.format.name
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
        if self._ten:
            slot <<= _SHIFT_10_TO_16
        if self._mirrored:
            _mirror(luma[:, :width], chroma.reshape(rows, columns // 2, 2), width)

    def _tone_mapped(self, mapper: ToneMapper, frame: VideoFrame) -> VideoFrame:
        try:
            return mapper.map(frame)
        except PROBLEMS as error:
            raise self._refused(frame) from error

    def _convert(self, frame: VideoFrame) -> VideoFrame:
        """One libswscale pass to the stream's size, depth, range and matrix."""
        rgb = frame.format.is_rgb
        source_full = rgb or frame.color_range == _FULL or frame.format.name.startswith(("yuvj", "gray"))
        matrix = _swscale_matrix(self._info.colour)
        # Primaries and transfer do not matter here, and libswscale refuses some values that damaged files bear.
        frame.color_primaries = frame.color_trc = _UNSPECIFIED
        try:
            return self._reformatter.reformat(
                frame,
                width=self._info.width_px,
                height=self._info.height_px,
                format="yuv420p10le" if self._ten else "nv12",
                src_colorspace=_swscale_matrix(self._source) if self._mixes else matrix,
                dst_colorspace=matrix,
                src_color_range=_FULL if source_full else _LIMITED,
                dst_color_range=_FULL if self._info.colour.full_range else _LIMITED,
                threads=1,
            )
        except PROBLEMS as error:
            raise self._refused(frame) from error

    def _refused(self, frame: VideoFrame) -> UnsupportedMediaError:
        what = f"its pixel format {frame.format.name} cannot be converted"
        return UnsupportedMediaError(what, where=self._info.stream_id, remedy="Convert it to H.264 first.")


def _swscale_matrix(colour: Colour) -> int:
    return colour.matrix if colour.matrix in _SWSCALE_MATRICES else _DEFAULT_MATRIX


def _plane(frame: VideoFrame, index: int) -> Plane:
    """A plane (rows, line size in samples) without a copy; bottom-up pictures come out the right way."""
    plane: Any = frame.planes[index]
    line_bytes = plane.line_size
    sample = np.uint16 if frame.format.name == "yuv420p10le" else np.uint8
    rows: Plane = np.frombuffer(plane, np.uint8).reshape(-1, abs(line_bytes)).view(sample)
    return rows if line_bytes > 0 else rows[::-1]


def _mirror(luma: Plane, pairs: Plane, width: int) -> None:
    """Flip a slot left to right in place.

    Chroma lies on even luma columns (``chroma_loc = left``). Turned round, that is on odd ones where the width is even:
    half way between two of them is where it belongs then.
    """
    luma[...] = cv2.flip(luma, 1)
    turned = cv2.flip(pairs, 1)
    if width % 2 == 0:
        turned[:, 1:] = cv2.addWeighted(turned[:, 1:], 0.5, turned[:, :-1], 0.5, 0)
    pairs[...] = turned


def _interleave(u: Plane, v: Plane, chroma: Plane) -> None:
    """Write U and V alternating into (rows, 2 * columns); OpenCV merges in place when the target is contiguous."""
    pairs = chroma.reshape(*u.shape, 2)
    if cv2.merge((u, v), pairs) is not pairs:
        pairs[..., 0] = u
        pairs[..., 1] = v
