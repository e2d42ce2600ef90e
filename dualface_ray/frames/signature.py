"""The frame signature: 624 bytes that say whether two frames show the same shot.

All arithmetic is in integers and defined here, so that every backend gives the same bytes and a recorded run replays
the same cuts. With W x H the stored size of the picture (not of the slot), a sample is the stored byte for 8-bit
layouts and the upper byte of the word for 10-bit ones (``word >> 8``); range and matrix are left as they are, because
signatures are compared within one stream only.

*Sampling.* n grid points on an axis of s samples lie at ``((2 i + 1) s) // (2 n)``, i = 0..n-1 (small pictures repeat
samples). Luma is read on a grid of 144 rows x 512 columns; U and V on a grid of 72 rows x 128 columns of the chroma
plane, whose size is (H + 1) // 2 x (W + 1) // 2.

*Bytes 0..575*: 18 x 32 block means of the luma grid, row by row. A block is 8 rows x 16 columns = 128 points; its mean
is the nearest integer, ties to even.

*Bytes 576..623*: three histograms of 16 bins: luma in bins of 16 levels (``v >> 4``), then U, then V in bins of 8
levels around neutral (``clip((v - 60) >> 3, 0, 15)``: finer than luma because chroma of real pictures stays near 128,
and with 128 in the middle of a bin so that noise on grey does not flip it). A bin of count c out of n points is
stored as ``(510 c + n) // (2 n)``, i.e. 255 c / n rounded, halves up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dualface_ray.frames.stream import PixelLayout, StreamInfo
from dualface_ray.frames.ticket import HISTOGRAM_BINS, SIGNATURE_BYTES, SIGNATURE_COLUMNS, SIGNATURE_ROWS

POINTS_PER_BLOCK_ROWS = 8
POINTS_PER_BLOCK_COLUMNS = 16
LUMA_GRID = (SIGNATURE_ROWS * POINTS_PER_BLOCK_ROWS, SIGNATURE_COLUMNS * POINTS_PER_BLOCK_COLUMNS)
"""Rows and columns of the luma sampling grid."""
CHROMA_GRID = (72, 128)
"""Rows and columns of the chroma sampling grid."""
BINS_PER_CHANNEL = HISTOGRAM_BINS // 3
BLOCKS = SIGNATURE_ROWS * SIGNATURE_COLUMNS
"""Bytes of the picture part of a signature; the histograms follow."""


def grid_positions(size: int, points: int) -> npt.NDArray[np.intp]:
    """Sample indices of ``points`` grid points on an axis of ``size`` samples, intp (points,)."""
    return ((2 * np.arange(points, dtype=np.int64) + 1) * size // (2 * points)).astype(np.intp)


def signature_grids(width_px: int, height_px: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Grid of a stored picture: luma rows (144,) and columns (512,), chroma rows (72,) and columns (128,)."""
    return (
        grid_positions(height_px, LUMA_GRID[0]),
        grid_positions(width_px, LUMA_GRID[1]),
        grid_positions((height_px + 1) // 2, CHROMA_GRID[0]),
        grid_positions((width_px + 1) // 2, CHROMA_GRID[1]),
    )


def luma_bin(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Histogram bin 0..15 of luma bytes."""
    bins: npt.NDArray[np.uint8] = np.right_shift(values, np.uint8(4))
    return bins


def chroma_bin(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Histogram bin 0..15 of U or V bytes."""
    bins: npt.NDArray[np.int16] = np.clip((values.astype(np.int16) - 60) >> 3, 0, BINS_PER_CHANNEL - 1)
    return bins.astype(np.uint8)


def scale_counts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Counts of one channel's bins as bytes, 255 for all of the points in one bin."""
    total = int(counts.sum())
    scaled: npt.NDArray[np.int64] = (510 * counts + total) // (2 * total)
    return scaled.astype(np.uint8)


def reference_signature(slot: npt.NDArray[np.generic], info: StreamInfo) -> npt.NDArray[np.uint8]:
    """The signature of the frame in ``slot`` (a host array of the form ``dualface_ray.media.Slot``).

    Slow and plain; backends reproduce it byte for byte.

    Returns:
        uint8 (SIGNATURE_BYTES,).
    """
    frame = np.asarray(slot)
    if info.layout is PixelLayout.P010:
        frame = (frame.astype(np.uint16) >> 8).astype(np.uint8)
    luma_rows, luma_columns, chroma_rows, chroma_columns = signature_grids(info.width_px, info.height_px)
    luma = frame[luma_rows][:, luma_columns]
    planes = frame[info.slot_height_px :].reshape(info.slot_height_px // 2, info.slot_width_px // 2, 2)
    chroma = planes[chroma_rows][:, chroma_columns]

    points = POINTS_PER_BLOCK_ROWS * POINTS_PER_BLOCK_COLUMNS
    blocks = luma.reshape(SIGNATURE_ROWS, POINTS_PER_BLOCK_ROWS, SIGNATURE_COLUMNS, POINTS_PER_BLOCK_COLUMNS)
    sums = blocks.sum(axis=(1, 3), dtype=np.int64)
    floor = sums // points
    means = (sums + points // 2 - 1 + (floor & 1)) // points  # to nearest, ties to even

    histograms = [
        np.bincount(bins.ravel(), minlength=BINS_PER_CHANNEL)
        for bins in (luma_bin(luma), chroma_bin(chroma[..., 0]), chroma_bin(chroma[..., 1]))
    ]
    out = np.empty(SIGNATURE_BYTES, np.uint8)
    out[:BLOCKS] = means.ravel()
    out[BLOCKS:] = np.concatenate([scale_counts(counts) for counts in histograms])
    return out
