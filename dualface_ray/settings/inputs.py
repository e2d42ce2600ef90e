"""What may come in: limits that protect the machine from files (issue: hostile or absurd input)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualface_ray.settings.base import Group


class InputSettings(Group):
    """Limits on inputs and the policy for damaged ones."""

    max_width_px: int = Field(8192, ge=16)
    max_height_px: int = Field(8192, ge=16)
    min_side_px: int = Field(16, ge=2)
    max_streams: int = Field(64, ge=1)
    max_duration_s: float = Field(24 * 3600.0, gt=0)
    max_fps: int = Field(120, ge=1, le=1000)
    """Highest frame rate; the look-ahead in frames follows from the stream's own rate, never above this."""
    allow_symlinks: bool = False
    on_damage: Literal["conceal", "stop"] = "conceal"
    """conceal repeats the last good frame and counts it; stop fails that video."""
