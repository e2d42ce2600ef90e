"""The dotted keys of all settings: finding them by short name, suggesting near ones, saying what they allow."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from dualface_ray.settings.base import Group

UNITS = {
    "px": "pixels",
    "s": "seconds",
    "bytes": "bytes",
    "hz": "per second",
    "bps": "bits per second",
    "fps": "frames per second",
    "frames": "frames",
    "share": "a share; 1 is the whole",
    "iou": "a share; 1 is the whole",
}
"""Meaning of the last part of a key."""

_OTHER_UNITS = {"ms", "us", "ns", "sec", "secs", "seconds", "min", "minutes", "h", "hours", "kb", "mb", "gb", "kib"}
_OTHER_UNITS |= {"mib", "gib", "pixels", "percent", "pct", "kbps", "mbps", "hertz", "khz", *UNITS}


def group_of(field: FieldInfo) -> type[Group] | None:
    """The model below a field, or None when the field is a single value."""
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Group) else None


def leaf_keys(model: type[Group], prefix: str = "") -> dict[str, FieldInfo]:
    """Every single setting below ``model`` by its dotted key, in the order of declaration."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        below = group_of(field)
        if below is None:
            found[prefix + name] = field
        else:
            found.update(leaf_keys(below, f"{prefix}{name}."))
    return found


def matches(name: str, keys: Iterable[str]) -> list[str]:
    """Dotted keys that a user may mean by ``name``: the key itself, or every key whose end it is."""
    keys = list(keys)
    return [name] if name in keys else [key for key in keys if key.endswith("." + name)]


def suggestion(name: str, keys: Iterable[str]) -> str:
    """The known key nearest to an unknown one, or an empty string.

    A key of the same meaning in another unit (``lookahead_ms`` for ``lookahead_s``) counts as nearest of all, then
    a misspelt one, looked at with and without its group.
    """
    keys = list(keys)
    last = name.rpartition(".")[2]
    same = [key for key in keys if _stem(key) == _stem(name)] or matches(last, keys)
    if same:
        return same[0]
    near = difflib.get_close_matches(name, keys, n=1, cutoff=0.75)
    if near:
        return near[0]
    leaves = {key.rpartition(".")[2]: key for key in keys}
    near = difflib.get_close_matches(last, list(leaves), n=1, cutoff=0.7)
    return leaves[near[0]] if near else ""


def _stem(key: str) -> str:
    """The last part of a key without its unit."""
    last = key.rpartition(".")[2]
    head, _, unit = last.rpartition("_")
    return head if head and unit in _OTHER_UNITS else last


def unit_of(key: str) -> str:
    """The unit that a key's name states, in words, or an empty string."""
    return UNITS.get(key.rpartition(".")[2].rpartition("_")[2], "") if "_" in key else ""


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values of a setting that takes one of a few words."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def allowed(key: str, field: FieldInfo) -> str:
    """What a setting takes, in words: the choices, or the type with its bounds and unit."""
    words = choices(field)
    if words:
        return ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else str(words[0])
    if field.annotation is bool:
        return "true or false"
    if field.annotation is str:
        return "text"
    kind = "a whole number" if field.annotation is int else "a number"
    unit = unit_of(key)
    text = " ".join(filter(None, (kind, _bounds(field))))
    return f"{text} ({unit})" if unit else text


def _bounds(field: FieldInfo) -> str:
    limits: dict[str, Any] = {}
    for item in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(item, name, None) is not None:
                limits[name] = getattr(item, name)
    low = _one(limits, {"ge": "from", "gt": "above"})
    high = _one(limits, {"le": "to" if "ge" in limits else "up to", "lt": "below"})
    return f"{low} and {high}" if "gt" in limits and high else f"{low} {high}".strip()


def _one(limits: Mapping[str, Any], words: Mapping[str, str]) -> str:
    return next((f"{word} {limits[name]}" for name, word in words.items() if name in limits), "")
