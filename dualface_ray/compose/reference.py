"""The reference compositor: what every backend's pictures are measured against (at least 45 dB PSNR).

NumPy, float64 to the end, one rounding (halves up), no shortcuts. ``sampling``, ``geometry`` and ``colour`` hold the
definitions; this module only applies them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dualface_ray.compose.colour import BLACK, chroma_at_luma, colour_transform
from dualface_ray.compose.geometry import tile_map
from dualface_ray.compose.sampling import CHROMA, LUMA, AxisMap, Quality, axis_taps
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

F64 = npt.NDArray[np.float64]


def compose_reference(info: StreamInfo, slot: npt.NDArray[np.generic], plan: FramePlan) -> list[npt.NDArray[np.uint8]]:
    """Execute a plan.

    Args:
        info: the stream the slot belongs to.
        slot: a host array of the form ``dualface_ray.media.Slot``; only read.
        plan: what to draw.

    Returns:
        One NV12 picture uint8 (height * 3 // 2, width) for each canvas.

    Raises:
        ValueError: the plan cannot be drawn (odd sizes, empty rectangles, tiles beyond their canvas).
    """
    return [_canvas(info, np.asarray(slot), canvas) for canvas in plan.canvases]


def resample(plane: npt.NDArray[np.generic], x: AxisMap, y: AxisMap, quality: Quality) -> F64:
    """One plane, float64 (y.count, x.count), by the weights of ``axis_taps``."""
    samples = plane.astype(np.float64)
    columns = _along_rows(samples.T, x, quality)
    return _along_rows(columns.T, y, quality)


def _along_rows(samples: F64, axis: AxisMap, quality: Quality) -> F64:
    first, weights = axis_taps(axis, quality)
    out = np.zeros((axis.count, samples.shape[1]))
    for tap in range(weights.shape[1]):
        rows = np.clip(first + tap, 0, len(samples) - 1)
        out += weights[:, tap, None].astype(np.float64) * samples[rows]
    return out


def _canvas(info: StreamInfo, slot: npt.NDArray[np.generic], plan: CanvasPlan) -> npt.NDArray[np.uint8]:
    check_canvas(plan)
    out = np.full((plan.height_px * 3 // 2, plan.width_px), BLACK[1], np.uint8)
    out[: plan.height_px] = BLACK[0]
    for tile in plan.tiles:
        luma, chroma = _tile(info, slot, tile)
        x, y = tile.x_px, tile.y_px
        out[y : y + tile.height_px, x : x + tile.width_px] = luma
        y = plan.height_px + y // 2
        out[y : y + tile.height_px // 2, x : x + tile.width_px] = chroma.reshape(len(chroma), -1)
    return out


def _tile(
    info: StreamInfo, slot: npt.NDArray[np.generic], tile: TilePlan
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    where, colour = tile_map(info, tile), colour_transform(info)
    luma = resample(slot[: info.height_px, : info.width_px], where.luma_x, where.luma_y, LUMA)
    pairs = slot[info.slot_height_px :].reshape(info.slot_height_px // 2, info.slot_width_px // 2, 2)
    chroma = [resample(pairs[..., c], where.chroma_x, where.chroma_y, CHROMA) for c in (0, 1)]
    luma, u, v = (np.rot90(plane, -where.turns) for plane in (luma, *chroma))

    u = colour.chroma_gain * u + colour.chroma_offset - 128
    v = colour.chroma_gain * v + colour.chroma_offset - 128
    luma = colour.luma_gain * luma + colour.luma_offset
    luma = luma + chroma_at_luma(colour.luma_mix[0] * u + colour.luma_mix[1] * v)
    mixed = np.stack([c[0] * u + c[1] * v + 128 for c in colour.chroma_mix], axis=-1)
    return _levels(luma), _levels(mixed)


def _levels(values: F64) -> npt.NDArray[np.uint8]:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def check_canvas(plan: CanvasPlan) -> None:
    """Refuse a canvas that cannot be drawn.

    Raises:
        ValueError: with the canvas or tile concerned.
    """
    if (plan.width_px | plan.height_px) & 1 or min(plan.width_px, plan.height_px) < 2:
        raise ValueError(f"a canvas must be even and not empty, not {plan.width_px}x{plan.height_px}")
    for tile in plan.tiles:
        if tile.x_px + tile.width_px > plan.width_px or tile.y_px + tile.height_px > plan.height_px:
            raise ValueError(f"a tile lies beyond its canvas of {plan.width_px}x{plan.height_px}: {tile}")
