"""Detect: from frames of all streams to faces.

    frames of every stream ─► Batcher ("full, or 2 ms after the first") ─► Detector ─► boxes, landmarks, scores
                                     └─ per-stream cap, every item settles exactly once

Knows letterbox geometry, post-processing and batching; may not know who the faces are or which library computes them.
"""

from __future__ import annotations

from dualface_ray.detect.ports import Detector, Embedder, FramePixels

__all__ = ["Detector", "Embedder", "FramePixels"]
