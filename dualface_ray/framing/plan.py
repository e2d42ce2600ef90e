"""FramePlan: what each output picture shows of one source frame. Pure data, replayable as JSON."""

from __future__ import annotations

from dataclasses import dataclass

Rect = tuple[float, float, float, float]
"""x0, y0, x1, y1 in displayed pixels of the source, as continuous edges, always inside the frame."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """One rectangle of the source drawn into one rectangle of the canvas."""

    source_px: Rect
    x_px: int
    y_px: int
    width_px: int
    height_px: int
    """The target rectangle in canvas pixels; all four are even."""
    person: str = ""
    """"A", "B", or "" when the tile follows nobody."""


@dataclass(frozen=True, slots=True)
class CanvasPlan:
    """One output picture. What no tile covers is black."""

    width_px: int
    height_px: int
    tiles: tuple[TilePlan, ...]


@dataclass(frozen=True, slots=True)
class FramePlan:
    """All output pictures of one source frame: one canvas, or two for the layout ``separate`` (A, then B)."""

    frame_index: int
    pts_ticks: int
    canvases: tuple[CanvasPlan, ...]
