"""Framing: where the camera looks.

    TrackedFrame (A, B) ─► look-ahead ─► camera path per person ─► layout ─► FramePlan
                                    Director: identity and framing of one video as one session
    coda, overture (of two spans) ─► check_seam ─► blend ─► DirectedFrame

Pure and replayable; may not know pixels or files. It decides everything that ``compose`` then executes.
"""

from __future__ import annotations

from dualface_ray.framing.director import DirectedFrame, Director, Step
from dualface_ray.framing.layout import LayoutShape, TileSlot, layout_shape
from dualface_ray.framing.path import PathPoint
from dualface_ray.framing.plan import CanvasPlan, FramePlan, Rect, TilePlan
from dualface_ray.framing.seam import blend, check_seam, shot_offset

__all__ = [
    "CanvasPlan",
    "DirectedFrame",
    "Director",
    "FramePlan",
    "LayoutShape",
    "PathPoint",
    "Rect",
    "Step",
    "TilePlan",
    "TileSlot",
    "blend",
    "check_seam",
    "layout_shape",
    "shot_offset",
]
