"""Where the camera looks and how the tiles lie."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dualface_ray.settings.base import Group, conflict

Layout = Literal["side_by_side", "stacked", "separate"]

_MIN_SIDE_PX = 128
"""A canvas of two tiles below this shows nothing, and some encoders refuse it."""


class FramingSettings(Group):
    """Layout and camera path."""

    layout: Layout = "side_by_side"
    """Two tiles beside each other, above each other, or one video per person."""
    width_px: int = Field(0, ge=0, le=8192)
    """Canvas width; 0 = the layout's own (1920 side by side, 1080 stacked, 960 separate)."""
    height_px: int = Field(0, ge=0, le=8192)
    """Canvas height; 0 = the layout's own (1080 side by side, 1920 stacked, 1080 separate)."""
    tile_by: Literal["person", "position"] = "person"
    """person keeps A in the left or upper tile for the whole video; position lets the tile follow the side. With
    layout=separate the file A is the left tile: by position it shows who is on the left, or the only one there."""
    lookahead_s: float = Field(1.0, ge=0.1, le=10)
    """How far the camera path looks into the future; frames wait this long in their slots."""
    face_height_share: float = Field(0.33, gt=0.05, lt=0.9)
    """Height of the face over the height of its tile."""
    head_room_share: float = Field(0.38, gt=0.1, lt=0.9)
    """Centre of the face below the tile's upper edge, over the tile's height."""
    dead_zone_share: float = Field(0.25, ge=0, le=2)
    """A face may wander this far from its place, over its own width, before the camera moves."""
    zoom_range: float = Field(1.3, ge=1, le=4)
    """The face may grow or shrink by this factor before the zoom of the shot changes."""
    max_speed_share: float = Field(0.9, gt=0, le=20)
    """Fastest calm camera move in tile heights (of the crop) per second; only keeping a face in its tile may be
    faster."""
    max_upscale: float = Field(4.0, ge=1, le=32)
    """No crop is enlarged more than this, unless the whole frame is that small."""
    absent_hold_s: float = Field(1.5, ge=0, le=60)
    """How long the tile of an absent person keeps its last framing before it eases to a wide shot."""
    empty_tile: Literal["wide", "other"] = "wide"
    """Tile of a person nobody has seen yet (or ever): a wide shot, or what the other tile shows."""

    @field_validator("width_px", "height_px")
    @classmethod
    def _multiple_of_4(cls, value: int) -> int:
        if value % 4:
            raise ValueError(f"must be a multiple of 4 (two tiles of even size), not {value}")
        if 0 < value < _MIN_SIDE_PX:
            raise ValueError(f"must be 0 (the layout's own) or at least {_MIN_SIDE_PX}")
        return value

    @model_validator(mode="after")
    def _face_fits_tile(self) -> FramingSettings:
        """The face is centred ``head_room_share`` below the upper edge: half of it must fit above and below."""
        room = 2 * min(self.head_room_share, 1 - self.head_room_share)
        if self.face_height_share > room:
            raise conflict(
                "framing.face_height_share",
                f"a face of {self.face_height_share} of the tile's height, centred at framing.head_room_share="
                f"{self.head_room_share}, would reach over the tile's edge",
                f"Use at most {room:.2f}, or move framing.head_room_share towards 0.5.",
            )
        return self
