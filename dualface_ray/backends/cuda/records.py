"""Records that tell a kernel how to read a slot; pure NumPy, so the tests need no device."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.kernels import COMPOSE_JOB, LETTERBOX_ITEM
from dualface_ray.compose import CHROMA, LUMA, AxisMap, ColourTransform, Quality, colour_transform, tile_map
from dualface_ray.detect import Letterbox, yuv_to_rgb_matrix
from dualface_ray.frames import PixelLayout, StreamInfo
from dualface_ray.framing import TilePlan

_SNAP = 1e-6
"""As in ``dualface_ray.compose.axis_stages``: fractions that are rounding noise of the geometry."""


def letterbox_item(address: int, info: StreamInfo, box: Letterbox) -> Any:
    """One ``LETTERBOX_ITEM`` for the slot at this address."""
    item = np.zeros((), LETTERBOX_ITEM)
    item["slot"] = address
    item["pitch"] = info.slot_width_px
    item["slot_rows"] = info.slot_height_px
    item["width"] = info.width_px
    item["height"] = info.height_px
    item["content_width"], item["content_height"] = box.stored_content_px
    item["rotation"] = info.rotation_deg
    item["wide"] = info.layout is PixelLayout.P010
    item["matrix"] = yuv_to_rgb_matrix(info.colour, info.height_px).ravel()
    return item


def compose_axis(axis: AxisMap, quality: Quality, size: int) -> tuple[float | int, ...]:
    """The fields of a ``COMPOSE_AXIS``: the numbers behind ``axis_stages``, without its table of weights.

    The device makes the weights itself; on the host they would cost more than everything else a frame needs.

    Args:
        axis: the mapping.
        quality: the kernels.
        size: samples of the source axis.
    """
    decimate = 1
    if axis.step >= 4:
        decimate = 2 ** math.floor(math.log2(axis.step / 2))
    step = axis.step / decimate
    if abs(step - 1) < _SNAP / axis.count:
        step = 1.0
    lead = math.ceil(1.5 / step)
    origin = (axis.start - (decimate - 1) / 2) / decimate + 0.5 - (lead + 0.5) * step
    nearest = round(origin)
    if abs(origin - nearest) < _SNAP:
        origin = float(nearest)
    whole = math.floor(origin)
    phase, stretch = origin - whole, max(1.0, step)
    reach = 0 if stretch == 1 and phase == 0 else math.ceil(quality.lobes * stretch)
    first = whole - reach + 1 if reach else whole
    return step, phase, stretch, decimate, first, reach, lead, axis.count, size


@lru_cache(maxsize=256)
def _colour(info: StreamInfo) -> ColourTransform:
    return colour_transform(info)


def compose_job(
    slot_address: int, info: StreamInfo, tile: TilePlan, canvas_address: int, canvas_px: tuple[int, int], *, deep: bool
) -> tuple[Any, ...]:
    """One ``COMPOSE_JOB`` as a tuple: draw this tile of this slot on that canvas (width and height in pixels).

    Raises:
        ValueError: the tile cannot be drawn, see ``tile_map``.
    """
    where, colour = tile_map(info, tile), _colour(info)
    return (
        slot_address,
        canvas_address,
        compose_axis(where.luma_x, LUMA, info.width_px),
        compose_axis(where.luma_y, LUMA, info.height_px),
        compose_axis(where.chroma_x, CHROMA, info.slot_width_px // 2),
        compose_axis(where.chroma_y, CHROMA, info.slot_height_px // 2),
        colour.luma_gain,
        colour.luma_offset,
        colour.chroma_gain,
        colour.chroma_offset,
        tuple(colour.luma_mix),
        tuple(colour.chroma_mix.ravel()),
        info.slot_width_px,
        info.slot_height_px,
        info.layout is PixelLayout.P010,
        *canvas_px,
        tile.x_px,
        tile.y_px,
        tile.width_px,
        tile.height_px,
        where.turns,
        deep,
        colour.mixes,
    )


def compose_jobs(jobs: list[tuple[Any, ...]]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Jobs as an array of ``COMPOSE_JOB``."""
    return np.array(jobs, COMPOSE_JOB)
