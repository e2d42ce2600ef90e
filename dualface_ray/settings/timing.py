"""Time stamps of the output."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import field_validator, model_validator

from dualface_ray.settings.base import Group


class TimingSettings(Group):
    """source keeps every time stamp; cfr resamples to a constant rate."""

    mode: Literal["source", "cfr"] = "source"
    rate: str = ""
    """Frames per second for cfr as a fraction such as 30000/1001; empty = the source's average rate."""

    @field_validator("rate")
    @classmethod
    def _is_fraction(cls, value: str) -> str:
        if value:
            try:
                positive = Fraction(value) > 0
            except (ValueError, ZeroDivisionError) as error:
                raise ValueError(f"not a fraction: {value!r}; write for example 30000/1001") from error
            if not positive:
                raise ValueError("must be positive")
        return value

    @model_validator(mode="after")
    def _rate_needs_cfr(self) -> TimingSettings:
        if self.rate and self.mode != "cfr":
            raise ValueError("timing.rate is used only with timing.mode=cfr")
        return self
