"""Sampling a slot around its faces for the appearance descriptor."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cpu.letterbox import Plane, planes_of
from dualface_ray.detect import PATCH_CELLS, FramePixels, appearance_regions, cell_edges, describe_appearance
from dualface_ray.frames import F32

_SAMPLES = 8
"""Enough pixels of a cell in each direction: large cells are thinned out to about this many before averaging."""


def appearance(frame: FramePixels, boxes_px: F32) -> F32:
    """Descriptors float32 (n, DESCRIPTOR_SIZE) of the faces in these boxes (n, 4), in displayed pixels."""
    info = frame.info
    luma, chroma = planes_of(frame.slot, info)
    scale = 1.0 if luma.dtype == np.uint8 else 1.0 / 256.0
    patches = np.full((len(boxes_px), 3, PATCH_CELLS, PATCH_CELLS, 3), np.nan, np.float32)
    for face, regions in enumerate(appearance_regions(boxes_px)):
        for index, region in enumerate(regions):
            x0, y0, x1, y1 = info.stored_rect((float(region[0]), float(region[1]), float(region[2]), float(region[3])))
            patch = np.empty((PATCH_CELLS, PATCH_CELLS, 3), np.float32)
            patch[..., 0] = cell_means(luma, (x0, y0, x1, y1))
            patch[..., 1:] = cell_means(chroma, (x0 / 2, y0 / 2, x1 / 2, y1 / 2))
            patch[np.isnan(patch).any(axis=2)] = np.nan
            patches[face, index] = np.rot90(patch, -(info.rotation_deg // 90)) * scale
    return describe_appearance(patches, full_range=info.colour.full_range)


def cell_means(plane: Plane, region_px: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
    """Means of a plane over the cells of a region, float32 (PATCH_CELLS, PATCH_CELLS) or (..., 2).

    Cells that are not wholly inside the plane are NaN.
    """
    columns, rows = cell_edges(region_px)
    result = np.full((PATCH_CELLS, PATCH_CELLS, *plane.shape[2:]), np.nan, np.float32)
    inside_x = _inside(columns, plane.shape[1])
    inside_y = _inside(rows, plane.shape[0])
    if inside_x.stop <= inside_x.start or inside_y.stop <= inside_y.start:
        return result
    left, right = int(columns[inside_x.start]), int(max(columns[inside_x.stop], columns[inside_x.start] + 1))
    top, bottom = int(rows[inside_y.start]), int(max(rows[inside_y.stop], rows[inside_y.start] + 1))
    step_x = max(1, (right - left) // (_SAMPLES * (inside_x.stop - inside_x.start)))
    step_y = max(1, (bottom - top) // (_SAMPLES * (inside_y.stop - inside_y.start)))
    part = np.ascontiguousarray(plane[top:bottom:step_y, left:right:step_x])
    size = (inside_x.stop - inside_x.start, inside_y.stop - inside_y.start)
    result[inside_y, inside_x] = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return result


def _inside(edges: npt.NDArray[np.int64], limit: int) -> slice:
    """The cells that lie wholly within 0..limit."""
    fits = np.nonzero((edges[:-1] >= 0) & (edges[1:] <= limit) & (edges[:-1] < limit))[0]
    return slice(int(fits[0]), int(fits[-1]) + 1) if len(fits) else slice(0, 0)
