"""Compose: executes a FramePlan.

    slot + FramePlan ─► geometry (displayed ─► stored axes) ─► sampling (shift, prefilter, scale: luma, chroma)
                     ─► turn ─► colour (range, matrix, 8 bit) ─► tile on the canvas

Takes no decisions; the arithmetic lives in the backends, the definitions and the NumPy reference here. May not know
who planned the picture, what is in it or who encodes it.
"""

from __future__ import annotations

from dualface_ray.compose.colour import BLACK, ColourTransform, colour_transform, output_colour
from dualface_ray.compose.geometry import TileMap, tile_map
from dualface_ray.compose.ports import Compositor
from dualface_ray.compose.reference import check_canvas, compose_reference, resample
from dualface_ray.compose.sampling import CHROMA, LUMA, AxisMap, AxisStages, Quality, axis_stages, axis_taps

__all__ = [
    "BLACK",
    "CHROMA",
    "LUMA",
    "AxisMap",
    "AxisStages",
    "ColourTransform",
    "Compositor",
    "Quality",
    "TileMap",
    "axis_stages",
    "axis_taps",
    "check_canvas",
    "colour_transform",
    "compose_reference",
    "output_colour",
    "resample",
    "tile_map",
]
