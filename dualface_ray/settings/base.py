"""The one base of all settings models."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Group(BaseModel):
    """A frozen group of settings: unknown keys and wrong types are errors, units live in the field names.

    The text below a field is its description; the settings page and ``default.yaml`` are made from it (``describe``
    reads the source for it: pydantic's own way searches all loaded modules at every import).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        validate_default=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plain_types(cls, value: Any, info: ValidationInfo) -> Any:
        """Python takes True for 1, which is a slip in a setting, and a path for no text, which is meant as one."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if wanted in (int, float) and isinstance(value, bool):
            raise ValueError("a number is expected, not true or false")
        if wanted is str and isinstance(value, os.PathLike):
            return os.fspath(value)
        return value


def conflict(key: str, what: str, remedy: str) -> PydanticCustomError:
    """The error of a combination that cannot work.

    Args:
        key: the dotted key to name first.
        what: one sentence without a full stop.
        remedy: what to change.
    """
    context = {"key": key, "what": what, "remedy": remedy}
    return PydanticCustomError("conflict", "{what}", context)
