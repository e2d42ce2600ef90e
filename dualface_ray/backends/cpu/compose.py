"""Composition on the CPU: OpenCV on the YUV planes of a slot, no RGB in between.

    slot plane ─► window ─► decimate ─► shift and prefilter ─► scale ─► turn ─► levels ─► canvas
                 (crop and reach)  resize AREA    filter2D x, y      resize CUBIC/LINEAR

The stages are those of ``dualface_ray.compose.axis_stages``. Only what the crop needs is read and filtered. OpenCV's
own threads are a global setting of the process and left to whoever owns the thread budget (``cv2.setNumThreads``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.compose import (
    BLACK,
    CHROMA,
    LUMA,
    AxisMap,
    AxisStages,
    ColourTransform,
    Quality,
    axis_stages,
    check_canvas,
    colour_transform,
    resample,
    tile_map,
)
from dualface_ray.frames import PixelLayout, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.media import HDR_TRANSFERS

Array = npt.NDArray[Any]

_ROTATIONS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}
_WORD = 256
"""A 16-bit word of P010 for each 8-bit level."""
_STEP_MIN = 1 / 64
"""Enlargements beyond this take the table of weights: the leading samples of stage 2 would outgrow the tile."""


class CpuCompositor:
    """``dualface_ray.compose.Compositor`` for slots in host memory; used by one thread at a time.

    Canvases are NV12 arrays, uint8 (height * 3 // 2, width), the compositor's own, rewritten by the next call.

    Args:
        keep_hdr: streams whose slots are HLG or PQ in P010 get P010 canvases, uint16 of the same shape.
    """

    def __init__(self, *, keep_hdr: bool = False) -> None:
        self._keep_hdr = keep_hdr
        self._canvases: dict[tuple[int, int, int], Array] = {}
        """By position in the call, width and height."""

    def compose(self, info: StreamInfo, slots: Sequence[Array], plans: Sequence[FramePlan]) -> list[list[Array]]:
        """Canvases of each plan, in order; the slots are only read, and have been read completely on return.

        Raises:
            ValueError: as many slots as plans are needed; or a plan cannot be drawn.
        """
        if len(slots) != len(plans):
            raise ValueError(f"{len(slots)} slots for {len(plans)} plans")
        colour = colour_transform(info)
        position = 0
        pictures: list[list[Array]] = []
        for slot, plan in zip(slots, plans, strict=True):
            pictures.append([])
            for canvas in plan.canvases:
                pictures[-1].append(self._draw(info, slot, canvas, colour, position))
                position += 1
        return pictures

    def close(self) -> None:
        """Free the canvases; harmless when called twice."""
        self._canvases.clear()

    def _draw(self, info: StreamInfo, slot: Array, plan: CanvasPlan, colour: ColourTransform, position: int) -> Array:
        check_canvas(plan)
        key = position, plan.width_px, plan.height_px
        ten = self._keep_hdr and info.layout is PixelLayout.P010 and info.colour.transfer in HDR_TRANSFERS
        canvas = self._canvases.get(key)
        if canvas is None or (canvas.dtype == np.uint16) != ten:
            shape = (plan.height_px * 3 // 2, plan.width_px)
            canvas = self._canvases[key] = np.empty(shape, np.uint16 if ten else np.uint8)
        if not _covered(plan):
            canvas[: plan.height_px] = BLACK[0] * (_WORD if ten else 1)
            canvas[plan.height_px :] = BLACK[1] * (_WORD if ten else 1)
        chroma = canvas[plan.height_px :].reshape(plan.height_px // 2, plan.width_px // 2, 2)
        for tile in plan.tiles:
            x, y, width, height = tile.x_px, tile.y_px, tile.width_px, tile.height_px
            _draw_tile(
                info,
                slot,
                tile,
                colour,
                canvas[y : y + height, x : x + width],
                chroma[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2],
            )
        return canvas


def _covered(plan: CanvasPlan) -> bool:
    """Whether the tiles hide the whole canvas: they do not overlap, and their areas add up to it."""
    for n, a in enumerate(plan.tiles):
        for b in plan.tiles[n + 1 :]:
            apart = (
                a.x_px + a.width_px <= b.x_px
                or b.x_px + b.width_px <= a.x_px
                or a.y_px + a.height_px <= b.y_px
                or b.y_px + b.height_px <= a.y_px
            )
            if not apart:
                return False
    return sum(t.width_px * t.height_px for t in plan.tiles) == plan.width_px * plan.height_px


def _draw_tile(
    info: StreamInfo, slot: Array, tile: TilePlan, colour: ColourTransform, luma_out: Array, chroma_out: Array
) -> None:
    """Draw one tile into views of its canvas: luma (h, w) and chroma (h / 2, w / 2, 2)."""
    where = tile_map(info, tile)
    luma = _resample(slot[: info.height_px, : info.width_px], where.luma_x, where.luma_y, LUMA)
    pairs = slot[info.slot_height_px :].reshape(info.slot_height_px // 2, info.slot_width_px // 2, 2)
    chroma = _resample(pairs, where.chroma_x, where.chroma_y, CHROMA)
    if where.turns:
        luma, chroma = cv2.rotate(luma, _ROTATIONS[where.turns]), cv2.rotate(chroma, _ROTATIONS[where.turns])
    if luma_out.dtype == np.uint16:
        luma_out[...] = _words(luma, colour.luma_gain, colour.luma_offset)
        chroma_out[...] = _words(chroma, colour.chroma_gain, colour.chroma_offset)
    elif colour.mixes:
        _mix(luma, chroma, colour, luma_out, chroma_out)
    elif colour.rescales:
        luma_out[...] = cv2.convertScaleAbs(luma, alpha=colour.luma_gain, beta=colour.luma_offset)
        chroma_out[...] = cv2.convertScaleAbs(chroma, alpha=colour.chroma_gain, beta=colour.chroma_offset)
    else:
        luma_out[...] = luma
        chroma_out[...] = chroma


def _words(plane: Array, gain: float, offset: float) -> Array:
    """P010 words to P010 words of limited range: 10 significant bits, rounded. HDR keeps its matrix: nothing mixes."""
    levels = np.rint(plane.astype(np.float32) * (gain * 4) + offset * 4)
    words: Array = np.clip(levels, 0, 1023).astype(np.uint16) << 6
    return words


def _mix(luma: Array, chroma: Array, colour: ColourTransform, luma_out: Array, chroma_out: Array) -> None:
    """Another matrix (and maybe another range): chroma goes through a 2 x 2, and adds a little to luma."""
    pairs = chroma.astype(np.float32)
    rows = np.vstack([colour.chroma_mix, colour.luma_mix])
    # rows @ (gain * c + offset - 128) + (128, 128, 0), with 7 fractional bits kept for the part that goes to luma
    shift = rows.sum(axis=1) * (colour.chroma_offset - 128) + (128, 128, 0)
    matrix = np.column_stack([rows * colour.chroma_gain, shift])
    chroma_out[...] = cv2.convertScaleAbs(cv2.transform(pairs, matrix[:2]))
    added = cv2.transform(pairs, matrix[2:])
    height, width = added.shape[:2]
    tall = cv2.resize(
        added, (width, 2 * height), interpolation=cv2.INTER_LINEAR
    )  # sited between rows, as resize has it
    wide = np.empty((2 * height, 2 * width), np.float32)
    wide[:, 0::2] = tall  # left-sited: even columns as they are, odd ones between their neighbours
    wide[:, 1:-1:2] = 0.5 * (tall[:, :-1] + tall[:, 1:])
    wide[:, -1] = tall[:, -1]
    wide += luma.astype(np.float32) * np.float32(colour.luma_gain) + np.float32(colour.luma_offset)
    np.maximum(wide, 0, out=wide)
    luma_out[...] = cv2.convertScaleAbs(wide)


def _resample(plane: Array, x: AxisMap, y: AxisMap, quality: Quality) -> Array:
    """A plane (h, w) or (h, w, 2) at the mapped positions, same type: (y.count, x.count[, 2])."""
    sx, sy = axis_stages(x, quality), axis_stages(y, quality)
    if min(sx.step, sy.step) < _STEP_MIN:
        return _by_table(plane, x, y, quality)
    picture = _window(plane, sx, sy)
    # Two calls of filter2D: it is vectorised for bytes with any kernel, sepFilter2D only with symmetric ones.
    if len(sx.kernel) > 1:
        picture = cv2.filter2D(picture, -1, sx.kernel[None, :], anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    if len(sy.kernel) > 1:
        picture = cv2.filter2D(picture, -1, sy.kernel[:, None], anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    if sx.step != 1 or sy.step != 1:
        flag = cv2.INTER_CUBIC if quality.cubic else cv2.INTER_LINEAR
        # With a factor and no size OpenCV steps by exactly 1 / factor, whatever the rounded size of the result.
        picture = cv2.resize(
            picture[: sy.length, : sx.length], None, fx=1 / sx.step, fy=1 / sy.step, interpolation=flag
        )
    return picture[sy.lead : sy.lead + sy.count, sx.lead : sx.lead + sx.count]


def _window(plane: Array, x: AxisStages, y: AxisStages) -> Array:
    """The (decimated) samples that the kernels reach; beyond the picture its edge is repeated."""
    width, height = x.length + len(x.kernel) - 1, y.length + len(y.kernel) - 1
    window = _read(plane, x.first * x.decimate, y.first * y.decimate, width * x.decimate, height * y.decimate)
    if x.decimate == 1 and y.decimate == 1:
        return window
    means: Array = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
    return means


def _read(plane: Array, left: int, top: int, width: int, height: int) -> Array:
    """A rectangle of samples, which may reach beyond the plane: a view where possible."""
    rows, columns = plane.shape[:2]
    x0, x1 = min(max(left, 0), columns - 1), max(min(left + width, columns), 1)
    y0, y1 = min(max(top, 0), rows - 1), max(min(top + height, rows), 1)
    if x1 <= x0 or y1 <= y0 or left >= columns or top >= rows or left + width <= 0 or top + height <= 0:
        along_y, along_x = np.arange(top, top + height), np.arange(left, left + width)
        return plane[np.clip(along_y, 0, rows - 1)][:, np.clip(along_x, 0, columns - 1)]
    inside = plane[y0:y1, x0:x1]
    edges = y0 - top, top + height - y1, x0 - left, left + width - x1
    if not any(edges):
        return inside
    padded: Array = cv2.copyMakeBorder(inside, *edges, cv2.BORDER_REPLICATE)
    return padded


def _by_table(plane: Array, x: AxisMap, y: AxisMap, quality: Quality) -> Array:
    """The definition itself, for crops of a few samples."""
    peak = 255 if plane.dtype == np.uint8 else 65535
    planes = [plane] if plane.ndim == 2 else [plane[..., c] for c in range(plane.shape[2])]
    levels = [np.clip(np.rint(resample(p, x, y, quality)), 0, peak).astype(plane.dtype) for p in planes]
    drawn: Array = levels[0] if plane.ndim == 2 else np.stack(levels, axis=-1)
    return drawn
