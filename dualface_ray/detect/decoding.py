"""Decoding: from CenterFace's four maps to boxes; the reference for every backend's kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualface_ray.frames import F32

STRIDE_PX = 4
"""Input pixels per cell of the maps."""
_LOG_SIZE_LIMIT = 8.0  # exp(8) cells are 12,000 px: more than any input; keeps a broken map from overflowing

BLEND_CELLS = 2
"""Neighbours up to so many cells away have a say in a face."""
BLEND_SCORE = 0.2
"""A neighbour whose score is so much below the peak's has none. Both were chosen on demo scenes of 960x540: between
frames, a box shakes by a third less than with the peak's cell alone, and noise of 0.002 in the heatmap (more than half
precision makes) moves it by 0.23 px at most instead of 7.8, when the peak jumps to the next cell."""
_BLEND_SIZE_SHARE = np.float32(0.25)  # of a face, so that small ones do not mix with their neighbours
_REACH = range(-BLEND_CELLS, BLEND_CELLS + 1)
_AROUND = np.array([(row, column) for row in _REACH for column in _REACH])


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Faces in pixels of the detector's input, best score first.

    Attributes:
        boxes_px: float32 (n, 4): x0, y0, x1, y1.
        landmarks_px: float32 (n, 5, 2): x, y of the eyes, nose and mouth corners, image left first.
        scores: float32 (n,).
    """

    boxes_px: F32
    landmarks_px: F32
    scores: F32

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Candidates:
        """These rows, in this order."""
        return Candidates(self.boxes_px[index], self.landmarks_px[index], self.scores[index])


def decode_outputs(heatmap: F32, log_size: F32, offset: F32, landmarks: F32, min_score: float) -> Candidates:
    """Faces at the peaks of one picture's heatmap.

    A cell is a peak when its score is above ``min_score`` and no neighbour of the eight is higher. With row r, column
    c, size (h, w) = 4 exp(log_size) and offset (dr, dc), the box of a cell is centred at (4 (c + dc + 1/2),
    4 (r + dr + 1/2)); its landmark j lies at (x0 + w lx_j, y0 + h ly_j) with the map holding ly, lx alternately
    (CenterFace, section 3 of arXiv:1911.03599, and its published post-processing).

    A face is the mean over its peak and the cells around it, weighted by score - (peak's score - ``BLEND_SCORE``):
    beside a clear peak nothing else has weight, while a face between two cells, whose scores are nearly equal, lies
    between their boxes instead of jumping from one to the other. Ours; the published decoding takes the peak's cell.

    Args:
        heatmap: float32 (rows, columns), 0..1.
        log_size: float32 (2, rows, columns): log of height and of width, in cells.
        offset: float32 (2, rows, columns): of row and of column, in cells.
        landmarks: float32 (10, rows, columns).
        min_score: lowest score kept, exclusive.
    """
    rows, columns = np.nonzero(_peaks(heatmap, min_score))
    scores = heatmap[rows, columns]
    order = np.argsort(-scores, kind="stable")
    peaks, scores = np.stack([rows, columns], axis=1)[order], scores[order]
    cells = peaks[:, None] + _AROUND  # (face, neighbour, row or column)
    inside = (cells >= 0).all(axis=2) & (cells < heatmap.shape).all(axis=2)
    y, x = np.moveaxis(np.clip(cells, 0, np.array(heatmap.shape) - 1), 2, 0)
    size = np.exp(np.fmin(log_size[:, y, x], _LOG_SIZE_LIMIT)) * STRIDE_PX  # height, width
    own = size[:, :, len(_AROUND) // 2] * (_BLEND_SIZE_SHARE / STRIDE_PX)
    small = (np.abs(_AROUND) <= np.moveaxis(own, 0, 1)[:, None]).all(axis=2)
    weights = np.where(inside & small, np.fmax(heatmap[y, x] - scores[:, None] + np.float32(BLEND_SCORE), 0), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    y0 = (y + offset[0, y, x] + np.float32(0.5)) * STRIDE_PX - size[0] / 2
    x0 = (x + offset[1, y, x] + np.float32(0.5)) * STRIDE_PX - size[1] / 2
    boxes = np.stack([x0, y0, x0 + size[1], y0 + size[0]], axis=-1)
    marks = landmarks[:, y, x].reshape(5, 2, *y.shape)  # (point, y or x, face, neighbour)
    points = np.stack([marks[:, 1] * size[1] + x0, marks[:, 0] * size[0] + y0], axis=-1)
    heard = weights[..., None] > 0  # elsewhere the maps may hold anything
    return Candidates(
        np.einsum("fn,fnk->fk", weights, np.where(heard, boxes, 0)).astype(np.float32),
        np.einsum("fn,pfnk->fpk", weights, np.where(heard, points, 0)).astype(np.float32),
        scores.astype(np.float32),
    )


def _peaks(heatmap: F32, min_score: float) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Mask of cells above the threshold that are the largest of their 3x3 neighbourhood."""
    mask = heatmap > min_score
    if not mask.any():
        return mask
    padded = np.pad(heatmap, 1, constant_values=-np.inf)
    wide = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    highest = np.maximum(np.maximum(wide[:-2], wide[1:-1]), wide[2:])
    return np.asarray(mask & (heatmap >= highest))


def suppress(candidates: Candidates, max_iou: float, max_faces: int) -> Candidates:
    """Greedy non-maximum suppression: of boxes that overlap by more than ``max_iou``, the best one stays.

    Args:
        candidates: best score first.
        max_iou: highest intersection over union two kept boxes may have.
        max_faces: at most so many are kept.
    """
    if not len(candidates):
        return candidates
    boxes = candidates.boxes_px.astype(np.float64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), np.bool_)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == max_faces:
            break
        low = np.maximum(boxes[index, :2], boxes[:, :2])
        high = np.minimum(boxes[index, 2:], boxes[:, 2:])
        common = np.prod(np.maximum(high - low, 0.0), axis=1)
        alive &= common <= max_iou * (area + area[index] - common)
    return candidates.take(np.array(kept, np.intp))
