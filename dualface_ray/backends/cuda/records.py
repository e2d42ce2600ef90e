"""Records that tell a kernel how to read a slot; pure NumPy, so the tests need no device."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cuda.kernels import (
    CHIP_ITEM,
    COMPOSE_JOB,
    COMPOSE_TILE,
    FACE_ITEM,
    LETTERBOX_ITEM,
    PATCH_EDGES,
    PATCH_ITEM,
)
from dualface_ray.compose import CHROMA, LUMA, AxisMap, Quality, colour_transform, tile_map
from dualface_ray.detect import (
    Letterbox,
    appearance_regions,
    chain,
    chip_transform,
    stored_transform,
    yuv_to_rgb_matrix,
)
from dualface_ray.frames import F32, FaceCrop, PixelLayout, StreamInfo
from dualface_ray.framing import TilePlan

Records = np.ndarray[tuple[int], np.dtype[np.void]]
_MOST_SAMPLES = 8
"""Points per pixel of a face chip in each direction: enough for faces eight times its size."""
_SNAP = 1e-6
"""As in ``dualface_ray.compose.axis_stages``: fractions that are rounding noise of the geometry."""
_KNOWN_STREAMS = 1024
_PACKED_JOB = struct.Struct("@QQ" + "d2f7i4x" * 4 + "10f12i")
"""``COMPOSE_JOB`` field by field: packing a flat tuple takes a third of the time of NumPy's nested ones."""
_compose_known: dict[int, tuple[StreamInfo, tuple[float, ...], tuple[int, ...]]] = {}


@lru_cache(maxsize=256)
def letterbox_of(info: StreamInfo, long_px: int, short_px: int) -> Letterbox:
    """``Letterbox.fit``, once a stream."""
    return Letterbox.fit(info, long_px, short_px)


@lru_cache(maxsize=256)
def _matrix(info: StreamInfo) -> tuple[float, ...]:
    return tuple(yuv_to_rgb_matrix(info.colour, info.height_px).ravel().tolist())


@lru_cache(maxsize=256)
def _letterbox_fields(info: StreamInfo, box: Letterbox) -> tuple[Any, ...]:
    return (
        info.slot_width_px,
        info.slot_height_px,
        info.width_px,
        info.height_px,
        *box.stored_content_px,
        info.rotation_deg,
        info.layout is PixelLayout.P010,
        _matrix(info),
    )


def letterbox_items(
    frames: Sequence[tuple[int, StreamInfo, Letterbox]],
) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """``LETTERBOX_ITEM`` records of slots at these addresses."""
    return np.array([(address, *_letterbox_fields(info, box)) for address, info, box in frames], LETTERBOX_ITEM)


def patch_items(address: int, info: StreamInfo, boxes_px: F32) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """``PATCH_ITEM`` records of the faces of one frame: head, upper body and face of each, in this order.

    The same edges as ``dualface_ray.detect.cell_edges`` on the stored rectangle of each region, for all regions at
    once.

    Args:
        address: of the slot.
        info: its stream.
        boxes_px: float32 (n, 4), displayed pixels.
    """
    regions = appearance_regions(boxes_px).astype(np.float64).reshape(-1, 4)
    turn = stored_transform(info)
    corners = np.stack([regions[:, :2], regions[:, 2:]]) @ turn[:, :2].T + turn[:, 2]
    low, high = corners.min(axis=0), corners.max(axis=0)
    steps = np.arange(PATCH_EDGES) / (PATCH_EDGES - 1)
    edges = np.round(low[..., None] + (high - low)[..., None] * steps)
    halves = np.round(low[..., None] / 2 + (high - low)[..., None] / 2 * steps)
    items = np.zeros(len(regions), PATCH_ITEM)
    items["slot"] = address
    items["pitch"], items["slot_rows"] = info.slot_width_px, info.slot_height_px
    items["wide"] = info.layout is PixelLayout.P010
    items["luma_width"], items["luma_height"] = info.width_px, info.height_px
    items["chroma_width"], items["chroma_height"] = info.slot_width_px // 2, info.slot_height_px // 2
    for name, values in (("luma", edges), ("chroma", halves)):
        within = np.clip(values, -(1 << 30), 1 << 30)
        items[f"{name}_x"], items[f"{name}_y"] = within[:, 0], within[:, 1]
    return items


def face_items(infos: Sequence[StreamInfo]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """``FACE_ITEM`` records of faces, each given by its stream."""
    rows = [(info.rotation_deg // 90, 0.0 if info.colour.full_range else 16.0) for info in infos]
    return np.array(rows, FACE_ITEM)


def chip_item(address: int, info: StreamInfo, crop: FaceCrop, template_px: npt.NDArray[np.float64]) -> tuple[Any, ...]:
    """One ``CHIP_ITEM`` as a tuple: the face of ``crop`` aligned to the landmarks of an embedding's input."""
    to_shown = chip_transform(crop.landmarks_px, crop.box_px, template_px)
    to_stored = chain(stored_transform(info), to_shown)
    scale = float(np.hypot(to_stored[:, 0], to_stored[:, 1]).max())
    return (
        address,
        info.slot_width_px,
        info.slot_height_px,
        info.layout is PixelLayout.P010,
        info.width_px,
        info.height_px,
        min(_MOST_SAMPLES, max(1, math.ceil(scale))) if math.isfinite(scale) else 1,
        0.0 if info.colour.full_range else 16.0,
        tuple(np.nan_to_num(to_stored).ravel().tolist()),
        _matrix(info),
    )


def chip_items(items: Sequence[tuple[Any, ...]]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Chips as an array of ``CHIP_ITEM``."""
    return np.array(list(items), CHIP_ITEM)


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
    lobes = quality.shift_lobes if step <= 1 else quality.shrink_lobes
    reach = 0 if stretch == 1 and phase == 0 else math.ceil(lobes * stretch)
    first = whole - reach + 1 if reach else whole
    return step, phase, stretch, decimate, first, reach, lobes, lead, axis.count, size


@lru_cache(maxsize=256)
def _compose_fields(info: StreamInfo) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """What a job says of its stream alone: the colours; pitch, rows, width of a sample, mixing or not."""
    colour = colour_transform(info)
    levels = (colour.luma_gain, colour.luma_offset, colour.chroma_gain, colour.chroma_offset)
    mixes = (*colour.luma_mix.tolist(), *colour.chroma_mix.ravel().tolist())
    sizes = (info.slot_width_px, info.slot_height_px, int(info.layout is PixelLayout.P010), int(colour.mixes))
    return (*levels, *mixes), sizes


def _compose_stream(info: StreamInfo) -> tuple[StreamInfo, tuple[float, ...], tuple[int, ...]]:
    """The fields by identity, as ``facts.KnownStreams``: hashing a ``StreamInfo`` for every tile would cost more."""
    found = _compose_known.get(id(info))
    if found is None:
        if len(_compose_known) >= _KNOWN_STREAMS:
            _compose_known.clear()
        # The object is kept beside its fields, so nobody else can get its identity.
        found = _compose_known[id(info)] = info, *_compose_fields(info)
    return found


def compose_job(
    slot_address: int, info: StreamInfo, tile: TilePlan, canvas_address: int, canvas_px: tuple[int, int], *, deep: bool
) -> tuple[Any, ...]:
    """One ``COMPOSE_JOB``, field by field: draw this tile of this slot on that canvas (width and height in pixels).

    Raises:
        ValueError: the tile cannot be drawn, see ``tile_map``.
    """
    where = tile_map(info, tile)
    _, colours, (pitch, rows, wide, mixes) = _compose_stream(info)
    return (
        slot_address,
        canvas_address,
        *compose_axis(where.luma_x, LUMA, info.width_px),
        *compose_axis(where.luma_y, LUMA, info.height_px),
        *compose_axis(where.chroma_x, CHROMA, pitch // 2),
        *compose_axis(where.chroma_y, CHROMA, rows // 2),
        *colours,
        pitch,
        rows,
        wide,
        *canvas_px,
        tile.x_px,
        tile.y_px,
        tile.width_px,
        tile.height_px,
        where.turns,
        deep,
        mixes,
    )


def compose_jobs(jobs: Sequence[tuple[Any, ...]]) -> Records:
    """Jobs as an array of ``COMPOSE_JOB``."""
    pack = _PACKED_JOB.pack
    return np.frombuffer(b"".join([pack(*job) for job in jobs]), COMPOSE_JOB)


def compose_words(records: Records) -> int:
    """Words of four bytes that ``compose_rows`` writes for a job, the most of these: see ``rows_of``."""
    words = np.zeros(len(records), np.int64)
    for name, more in (("luma_x", 4), ("luma_y", 4), ("chroma_x", 2), ("chroma_y", 2)):
        axis = records[name]
        parts = np.maximum(2 * axis["reach"], 1) + more
        words += -(-axis["count"] // COMPOSE_TILE) * COMPOSE_TILE * parts
    return int(words.max())


def rescale_job(
    luma_address: int, pitch_bytes: int, width_px: int, height_px: int, info: StreamInfo, slot_address: int
) -> Records:
    """One ``COMPOSE_JOB`` that scales a decoder's surface of any size to a stream's slot; levels stay as they are.

    Args:
        luma_address: of the surface; its chroma plane follows ``height_px`` rows later.
        pitch_bytes: of the surface's rows.
        width_px: of the surface's picture.
        height_px: of the surface's picture.
        info: the stream the slot belongs to; same layout as the surface.
        slot_address: where to draw.
    """
    wide = info.layout is PixelLayout.P010
    unit = 1 / 256 if wide else 1.0

    def axis(size: int, count: int, quality: Quality) -> tuple[float | int, ...]:
        step = size / count
        return compose_axis(AxisMap(0.5 * step - 0.5, step, count), quality, size)

    job = (
        luma_address,
        slot_address,
        *axis(width_px, info.slot_width_px, LUMA),
        *axis(height_px, info.slot_height_px, LUMA),
        *axis((width_px + 1) // 2, info.slot_width_px // 2, CHROMA),
        *axis((height_px + 1) // 2, info.slot_height_px // 2, CHROMA),
        unit,
        0.0,
        unit,
        0.0,
        *(0.0, 0.0),
        *(1.0, 0.0, 0.0, 1.0),
        pitch_bytes >> wide,
        height_px,
        wide,
        info.slot_width_px,
        info.slot_height_px,
        0,
        0,
        info.slot_width_px,
        info.slot_height_px,
        0,
        wide,
        False,
    )
    return compose_jobs([job])
