"""What goes out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualface_ray.settings.base import Group


class EncodeSettings(Group):
    """Encoder parameters; fixed for the whole run."""

    codec: Literal["h264", "hevc", "av1"] = "h264"
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    quality: int = Field(20, ge=0, le=51)
    """CRF or CQ."""
    preset: str = "veryfast"
    gop_s: float = Field(2.0, gt=0, le=20)
    audio_bitrate_bps: int = Field(160_000, ge=16_000, le=512_000)
    """For audio that has to be encoded to AAC."""
