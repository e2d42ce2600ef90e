"""Layout: which canvases there are and where the tiles lie on them."""

from __future__ import annotations

from dataclasses import dataclass

from dualface_ray.framing.plan import CanvasPlan, FramePlan, Rect, TilePlan
from dualface_ray.settings import Settings

_DEFAULTS = {"side_by_side": (1920, 1080), "stacked": (1080, 1920), "separate": (960, 1080)}


@dataclass(frozen=True, slots=True)
class TileSlot:
    """A tile's place: canvas index and even target rectangle in canvas px."""

    canvas: int
    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class LayoutShape:
    """All canvases (width, height) and the two tiles, A's (or the left, upper one) first."""

    canvases: tuple[tuple[int, int], ...]
    tiles: tuple[TileSlot, TileSlot]

    @property
    def aspect(self) -> float:
        """Width over height of a tile; both have the same size."""
        return self.tiles[0].width_px / self.tiles[0].height_px


def layout_shape(settings: Settings) -> LayoutShape:
    """The shape that the settings describe."""
    f = settings.framing
    width, height = _DEFAULTS[f.layout]
    width, height = f.width_px or width, f.height_px or height
    if f.layout == "side_by_side":
        half = width // 2
        tiles = TileSlot(0, 0, 0, half, height), TileSlot(0, half, 0, half, height)
        return LayoutShape(((width, height),), tiles)
    if f.layout == "stacked":
        half = height // 2
        tiles = TileSlot(0, 0, 0, width, half), TileSlot(0, 0, half, width, half)
        return LayoutShape(((width, height),), tiles)
    tiles = TileSlot(0, 0, 0, width, height), TileSlot(1, 0, 0, width, height)
    return LayoutShape(((width, height), (width, height)), tiles)


def plan_of(
    shape: LayoutShape, frame_index: int, pts_ticks: int, crops: tuple[Rect, Rect], order: tuple[int, int]
) -> FramePlan:
    """The plan of one frame: crops of A and B, and whom the first and second tile show (0 = A, 1 = B)."""
    tiles: list[list[TilePlan]] = [[] for _ in shape.canvases]
    for slot, person in zip(shape.tiles, order, strict=True):
        tiles[slot.canvas].append(
            TilePlan(crops[person], slot.x_px, slot.y_px, slot.width_px, slot.height_px, "AB"[person])
        )
    canvases = tuple(
        CanvasPlan(width, height, tuple(row)) for (width, height), row in zip(shape.canvases, tiles, strict=True)
    )
    return FramePlan(frame_index, pts_ticks, canvases)
