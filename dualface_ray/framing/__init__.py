"""Framing: where the camera looks.

    TrackedFrame (A, B) ─► look-ahead ─► camera path per person ─► layout ─► FramePlan

Pure and replayable; may not know pixels or files. It decides everything that ``compose`` then executes.
"""

from __future__ import annotations

from dualface_ray.framing.plan import CanvasPlan, FramePlan, Rect, TilePlan

__all__ = ["CanvasPlan", "FramePlan", "Rect", "TilePlan"]
