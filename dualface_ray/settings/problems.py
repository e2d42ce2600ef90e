"""From a failed validation to one line: the key, the value, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dualface_ray.errors import SettingsError
from dualface_ray.settings.keys import allowed, leaf_keys, suggestion, unit_of
from dualface_ray.settings.root import Settings


def unknown_key(name: str, origin: str = "") -> SettingsError:
    """The error of a key that no setting has, with the nearest one there is."""
    near = suggestion(name, leaf_keys(Settings))
    unit = unit_of(near)
    if near:
        remedy = f"Did you mean {near}{f' (in {unit})' if unit else ''}?"
    else:
        remedy = f"Groups are {', '.join(Settings.model_fields)}; docs/settings.md lists every key."
    return SettingsError("unknown setting", where=at(name, origin), remedy=remedy)


def ambiguous_key(name: str, candidates: list[str], origin: str = "") -> SettingsError:
    """The error of a short name that several settings share."""
    return SettingsError(
        "this short name fits several settings", where=at(name, origin), remedy=f"Write one of {', '.join(candidates)}."
    )


def at(key: str, origin: str) -> str:
    """Where a value came from: ``framing.layout (talk.yaml line 3)``."""
    return f"{key} ({origin})" if origin else key


def translate(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    """The first problem of a failed validation in full, the keys of the others by name.

    Args:
        error: what pydantic says.
        origins: where the value of each dotted key came from; defaults are missing here.
    """
    fields = leaf_keys(Settings)
    problems = [_problem(detail, fields, origins) for detail in error.errors(include_url=False)]
    first = problems[0]
    others = [problem.where for problem in problems[1:]]
    if not others:
        return first
    return SettingsError(
        first.what, where=first.where, remedy=f"{first.remedy} Also wrong: {', '.join(others)}.".strip()
    )


def _problem(detail: Any, fields: Mapping[str, FieldInfo], origins: Mapping[str, str]) -> SettingsError:
    context = detail.get("ctx", {})
    if detail["type"] == "conflict":
        key = context["key"]
        return SettingsError(context["what"], where=at(key, origins.get(key, "")), remedy=context["remedy"])
    key = ".".join(str(part) for part in detail["loc"])
    where = at(key, origins.get(key, ""))
    shown = _show(detail["input"])
    if detail["type"] == "value_error":
        return SettingsError(f"{shown}: {context['error']}", where=where)
    remedy = f"Allowed: {allowed(key, fields[key])}." if key in fields else "Allowed: a group of keys."
    return SettingsError(f"{shown} {_verdict(detail['type'])}", where=where, remedy=remedy)


_VERDICTS = {
    "literal_error": "is not one of the choices",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "string_type": "is not text",
    "finite_number": "is not a finite number",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
}


def _verdict(kind: str) -> str:
    return _VERDICTS.get(kind, "does not fit")


def _show(value: Any) -> str:
    if value is None:
        return "an empty value"
    text = repr(value) if isinstance(value, str) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
