"""Framing: where the camera looks.

    TrackedFrame (A, B) ─► look-ahead ─► camera path per person ─► layout ─► FramePlan
                                    Director: identity and framing of one video as one session

Pure and replayable; may not know pixels or files. It decides everything that ``compose`` then executes.
"""

from __future__ import annotations

from dualface_ray.framing.director import DirectedFrame, Director, Step
from dualface_ray.framing.layout import LayoutShape, TileSlot, layout_shape
from dualface_ray.framing.plan import CanvasPlan, FramePlan, Rect, TilePlan

__all__ = [
    "CanvasPlan",
    "DirectedFrame",
    "Director",
    "FramePlan",
    "LayoutShape",
    "Rect",
    "Step",
    "TilePlan",
    "TileSlot",
    "layout_shape",
]
