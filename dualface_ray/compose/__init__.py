"""Compose: executes a FramePlan.

    slot + FramePlan ─► crop ─► resample (luma, chroma) ─► tile ─► canvas

Takes no decisions; the arithmetic lives in the backends, the reference in NumPy here.
"""

from __future__ import annotations

from dualface_ray.compose.ports import Compositor

__all__ = ["Compositor"]
