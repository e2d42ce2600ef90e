"""Frame signatures on the CPU: a small gather per plane, then OpenCV on the gathered points.

The definition, and the reference these bytes equal, is ``dualface_ray.frames.reference_signature``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.frames import (
    HISTOGRAM_BINS,
    SIGNATURE_BYTES,
    SIGNATURE_COLUMNS,
    SIGNATURE_ROWS,
    PixelLayout,
    StreamInfo,
)
from dualface_ray.frames import signature_grids as grids_of

_BLOCKS = SIGNATURE_ROWS * SIGNATURE_COLUMNS
_BINS = HISTOGRAM_BINS // 3


@lru_cache(maxsize=64)
def _grids(width_px: int, height_px: int) -> tuple[npt.NDArray[np.intp], ...]:
    return grids_of(width_px, height_px)


def signature(slot: npt.NDArray[Any], info: StreamInfo, out: npt.NDArray[np.uint8]) -> None:
    """Write the signature of the frame in ``slot`` into ``out``.

    Args:
        slot: uint8 or uint16 (slot_height_px * 3 // 2, slot_width_px), rows contiguous; only read.
        info: the stream the frame belongs to.
        out: uint8 (SIGNATURE_BYTES,).
    """
    if out.shape != (SIGNATURE_BYTES,) or out.dtype != np.uint8:
        raise ValueError(f"out must be uint8 ({SIGNATURE_BYTES},), not {out.dtype} {out.shape}")
    luma_rows, luma_columns, chroma_rows, chroma_columns = _grids(info.width_px, info.height_px)
    chroma_plane = slot[info.slot_height_px :].reshape(info.slot_height_px // 2, info.slot_width_px // 2, 2)
    luma = slot[luma_rows].take(luma_columns, axis=1)
    chroma = chroma_plane[chroma_rows].take(chroma_columns, axis=1)
    if info.layout is PixelLayout.P010:
        luma, chroma = (luma >> 8).astype(np.uint8), (chroma >> 8).astype(np.uint8)
    # 16 x 8 points a block: an integer factor, so OpenCV sums integers exactly and rounds once, ties to even.
    means = cv2.resize(luma, (SIGNATURE_COLUMNS, SIGNATURE_ROWS), interpolation=cv2.INTER_AREA)
    out[:_BLOCKS] = means.ravel()
    levels = [
        _histogram(luma).reshape(_BINS, 16).sum(axis=1),
        _chroma_bins(_histogram(np.ascontiguousarray(chroma[..., 0]))),
        _chroma_bins(_histogram(np.ascontiguousarray(chroma[..., 1]))),
    ]
    counts = np.stack(levels).astype(np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    out[_BLOCKS:] = ((510 * counts + totals) // (2 * totals)).ravel()


def _histogram(points: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Counts of all 256 levels of contiguous points; float32 holds them exactly (far below 2**24)."""
    counts: npt.NDArray[np.float32] = cv2.calcHist([points], [0], None, [256], [0, 256])
    return counts.ravel()


def _chroma_bins(counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """16 bins of 8 levels from 60 on; the first and the last take everything beyond."""
    bins: npt.NDArray[np.float32] = counts[60:188].reshape(_BINS, 8).sum(axis=1)
    bins[0] += counts[:60].sum()
    bins[-1] += counts[188:].sum()
    return bins
