"""What may come in: limits that protect the machine from files, and the policy for damaged ones."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dualface_ray.settings.base import Group, conflict


class InputSettings(Group):
    """Limits on inputs and the policy for damaged ones."""

    max_width_px: int = Field(8192, ge=16, le=16384)
    """Wider videos are refused."""
    max_height_px: int = Field(8192, ge=16, le=16384)
    """Taller videos are refused."""
    min_side_px: int = Field(16, ge=2, le=4096)
    """Videos narrower or lower than this are refused."""
    max_streams: int = Field(64, ge=1, le=4096)
    """Files with more streams (video, audio, subtitles, data) are refused."""
    max_duration_s: float = Field(24 * 3600.0, gt=0)
    """Longer videos are refused."""
    max_decoded_bytes: int = Field(1 << 46, ge=1 << 20)
    """Videos that decode to more pixels than this are refused or stopped (64 TiB: a day of 4K at 60 Hz)."""
    max_fps: int = Field(120, ge=1, le=1000)
    """Highest frame rate; the look-ahead in frames follows from the stream's own rate, never above this."""
    allow_symlinks: bool = False
    """Follow symbolic links given as inputs; otherwise they are refused."""
    on_damage: Literal["conceal", "stop"] = "conceal"
    """conceal repeats the last good frame and counts it; stop fails that video."""

    deinterlace: Literal["auto", "off"] = "auto"
    """auto turns pictures that are marked as interlaced into whole ones, one for one; off leaves their combs."""

    @model_validator(mode="after")
    def _some_size_passes(self) -> InputSettings:
        if self.min_side_px > min(self.max_width_px, self.max_height_px):
            raise conflict(
                "input.min_side_px",
                f"{self.min_side_px} is more than input.max_width_px={self.max_width_px} or input.max_height_px="
                f"{self.max_height_px}: no video would pass",
                "Lower it.",
            )
        return self
