"""What goes out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dualface_ray.settings.base import Group, conflict

_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
"""Names of x264 and x265, fastest first; with ``p1`` to ``p7``, NVENC's scale, every encoder knows what is meant."""
_AV1_PRESETS = tuple(str(i) for i in range(14))
"""SVT-AV1's, slowest first. x264 would take the lower ones for places in its own list, fastest first."""
_ALL_PRESETS = frozenset((*_PRESETS, *(f"p{i}" for i in range(1, 8)), *_AV1_PRESETS))


class EncodeSettings(Group):
    """Encoder parameters; fixed for the whole run."""

    codec: Literal["h264", "hevc", "av1"] = "h264"
    """Video codec of the output."""
    container: Literal["mp4", "mkv", "mov"] = "mp4"
    """File format of the output; it is also the end of its name."""
    quality: int = Field(20, ge=0, le=51)
    """Constant quality (CRF of x264, CQ of NVENC): lower is better and larger."""
    preset: str = "veryfast"
    """Speed against size: ultrafast to placebo (x264's names), or p1 to p7 (NVENC's); both are understood by every
    encoder, each in its own way. With AV1 also 0 to 13 (SVT-AV1's, 13 is the fastest)."""
    gop_s: float = Field(2.0, gt=0, le=20)
    """Longest distance between two key frames."""
    hdr: Literal["tonemap", "keep"] = "tonemap"
    """tonemap turns HLG and PQ sources into BT.709; keep writes them as 10-bit HEVC with their tags."""
    audio_bitrate_bps: int = Field(160_000, ge=16_000, le=512_000)
    """For audio that has to be encoded to AAC."""

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str) -> str:
        if value not in _ALL_PRESETS:
            raise ValueError(f"no such preset; use one of {', '.join(_PRESETS)}, p1 to p7 or 0 to 13")
        return value

    @model_validator(mode="after")
    def _keeping_hdr_needs_ten_bits(self) -> EncodeSettings:
        if self.hdr == "keep" and self.codec != "hevc":
            raise conflict(
                "encode.hdr",
                f"keep needs 10-bit HEVC, but encode.codec is {self.codec}",
                "Set encode.codec=hevc or encode.hdr=tonemap.",
            )
        return self

    @model_validator(mode="after")
    def _numbers_are_for_av1(self) -> EncodeSettings:
        if self.preset in _AV1_PRESETS and self.codec != "av1":
            raise conflict(
                "encode.preset",
                f"{self.preset} is on SVT-AV1's scale, but encode.codec is {self.codec}",
                f"Use one of {', '.join(_PRESETS)} or p1 to p7, or set encode.codec=av1.",
            )
        return self

    @model_validator(mode="after")
    def _codec_fits_container(self) -> EncodeSettings:
        if self.codec == "av1" and self.container == "mov":
            raise conflict("encode.container", "the mov format does not carry AV1", "Use encode.container=mp4 or mkv.")
        return self
