"""Average precision of one set of detections against another: the measure behind ``max_ap_loss``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualface_ray.frames import F32


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a detector found in one picture: ``boxes_px`` float32 (n, 4) x0, y0, x1, y1 and ``scores`` float32 (n,)."""

    boxes_px: F32
    scores: F32


def iou_matrix(first: F32, second: F32) -> F32:
    """Intersection over union of every pair, float32 (len(first), len(second)); empty boxes give 0."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-12), 0).astype(np.float32)


def average_precision(truth: Sequence[F32], found: Sequence[Found], *, min_iou: float = 0.5) -> float:
    """Area under the precision-recall curve, every point interpolated (the PASCAL VOC measure since 2010).

    Detections of all pictures are taken in falling order of score; each may claim the best still unclaimed true box
    of its picture, if they overlap by ``min_iou`` or more.

    Args:
        truth: true boxes of each picture, float32 (n, 4).
        found: detections of the same pictures, in the same order.
        min_iou: overlap from which a detection counts as that face.

    Returns:
        0..1; 1 when there is no true box and nothing was found, 0 when there is none and something was.

    Raises:
        ValueError: the two sequences differ in length.
    """
    if len(truth) != len(found):
        raise ValueError(f"{len(truth)} pictures with truth, {len(found)} with detections")
    total = sum(len(boxes) for boxes in truth)
    order = sorted(
        ((float(score), picture, row) for picture, one in enumerate(found) for row, score in enumerate(one.scores)),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    if total == 0:
        return 0.0 if order else 1.0
    overlaps = [iou_matrix(one.boxes_px, boxes) for one, boxes in zip(found, truth, strict=True)]
    claimed = [np.zeros(len(boxes), bool) for boxes in truth]
    hits = np.zeros(len(order), bool)
    for rank, (_, picture, row) in enumerate(order):
        candidates = np.where(claimed[picture], 0.0, overlaps[picture][row])
        if candidates.size and candidates.max() >= min_iou:
            claimed[picture][int(candidates.argmax())] = True
            hits[rank] = True
    true = np.cumsum(hits)
    recall = np.concatenate([[0.0], true / total, [1.0]])
    precision = np.concatenate([[0.0], true / np.arange(1, len(order) + 1), [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))
