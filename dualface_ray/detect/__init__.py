"""Detect: from frames of all streams to faces.

    runs of frames of every stream ─► Batcher ("full, or 2 ms after the first") ─► Detector ─► boxes, landmarks, scores
                                     └─ per-stream cap, every item settles exactly once
    a Detector, whatever runs it: Letterbox ─► network ─► decode_outputs ─► suppress ─► back to displayed pixels

Knows letterbox geometry, post-processing and batching; may not know who the faces are or which library computes them.
"""

from __future__ import annotations

from dualface_ray.detect.alignment import chain, chip_transform, stored_transform
from dualface_ray.detect.appearance import (
    APPEARANCE_TUNING,
    PATCH_CELLS,
    appearance_regions,
    cell_edges,
    describe_appearance,
)
from dualface_ray.detect.batcher import Batcher
from dualface_ray.detect.batching import BatchQueue, Part
from dualface_ray.detect.colour import yuv_to_rgb_matrix
from dualface_ray.detect.decoding import STRIDE_PX, Candidates, decode_outputs, suppress
from dualface_ray.detect.grid import DetectionGrid
from dualface_ray.detect.letterbox import Letterbox
from dualface_ray.detect.ports import Detector, Embedder, FramePixels

__all__ = [
    "APPEARANCE_TUNING",
    "PATCH_CELLS",
    "STRIDE_PX",
    "BatchQueue",
    "Batcher",
    "Candidates",
    "DetectionGrid",
    "Detector",
    "Embedder",
    "FramePixels",
    "Letterbox",
    "Part",
    "appearance_regions",
    "cell_edges",
    "chain",
    "chip_transform",
    "decode_outputs",
    "describe_appearance",
    "stored_transform",
    "suppress",
    "yuv_to_rgb_matrix",
]
