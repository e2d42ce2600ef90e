"""The one base of all settings models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """A frozen group of settings: unknown keys and wrong types are errors, units live in the field names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True, use_enum_values=False)
