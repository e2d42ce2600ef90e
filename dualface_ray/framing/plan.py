"""FramePlan: what each output picture shows of one source frame. Pure data, replayable as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from dualface_ray.errors import InputError

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

    def to_json(self) -> str:
        """One line of JSON without its end, every digit kept (docs/recorded.md has the schema).

        Raises:
            ValueError: a number is not finite.
        """
        canvases = [
            {
                "width": canvas.width_px,
                "height": canvas.height_px,
                "tiles": [
                    {
                        "person": tile.person,
                        "source": tile.source_px,
                        "target": (tile.x_px, tile.y_px, tile.width_px, tile.height_px),
                    }
                    for tile in canvas.tiles
                ],
            }
            for canvas in self.canvases
        ]
        plan = {"frame": self.frame_index, "pts": self.pts_ticks, "canvases": canvases}
        return json.dumps(plan, allow_nan=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> FramePlan:
        """The plan that ``to_json`` wrote, equal to it.

        Raises:
            InputError: it is no plan.
        """
        try:
            plan = json.loads(text)
            canvases = tuple(
                CanvasPlan(_whole(canvas["width"]), _whole(canvas["height"]), tuple(map(_tile, canvas["tiles"])))
                for canvas in plan["canvases"]
            )
            return FramePlan(_whole(plan["frame"]), _whole(plan["pts"]), canvases)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(f"not the plan of a frame ({error!r})", where="frame plan") from error


def _tile(tile: dict[str, object]) -> TilePlan:
    person, source, target = tile["person"], tile["source"], tile["target"]
    if person not in ("A", "B", "") or not isinstance(source, list) or not isinstance(target, list):
        raise ValueError("a tile has person, source and target")
    x0, y0, x1, y1 = (_finite(edge) for edge in source)
    x, y, width, height = (_whole(part) for part in target)
    return TilePlan((x0, y0, x1, y1), x, y, width, height, str(person))


def _whole(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _finite(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"{value!r} is no number")
    return float(value)  # type: ignore[arg-type]
