"""Time stamps of the output."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dualface_ray.settings.base import Group, conflict

_MAX_RATE = 1000
"""The same bound as ``input.max_fps``."""


class TimingSettings(Group):
    """When each output frame is shown."""

    mode: Literal["source", "cfr"] = "source"
    """source keeps every time stamp; cfr resamples to a constant rate."""
    rate: str = Field("", max_length=32)
    """Frames per second for cfr as a fraction such as 30000/1001; empty = the source's average rate."""

    @field_validator("rate")
    @classmethod
    def _is_fraction(cls, value: str) -> str:
        if value:
            try:
                fits = 0 < Fraction(value) <= _MAX_RATE
            except (ValueError, ZeroDivisionError) as error:
                raise ValueError("not a fraction; write for example 30000/1001") from error
            if not fits:
                raise ValueError(f"must be above 0 and at most {_MAX_RATE} frames per second")
        return value

    @model_validator(mode="after")
    def _rate_needs_cfr(self) -> TimingSettings:
        if self.rate and self.mode != "cfr":
            raise conflict(
                "timing.rate",
                f"a rate of {self.rate} needs timing.mode=cfr, but the mode is source",
                "Set timing.mode=cfr or leave the rate out.",
            )
        return self
