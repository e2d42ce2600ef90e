"""Plain data in and out: session state as JSON, without pickle and without loss.

    dataclasses, tuples, dicts, arrays ─► encode ─► JSON ─► decode ─► the same objects, bit for bit

Floats survive because JSON writes the shortest text that reads back as the same number.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

_ARRAY_TYPES = ("float32", "float64", "uint8", "int64")


def encode(value: Any) -> Any:
    """Turn a value made of dataclasses, containers, numbers, strings and arrays into JSON data.

    Raises:
        TypeError: the value holds something else.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": [value.dtype.name, list(value.shape), data]}
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: {f.name: encode(getattr(value, f.name)) for f in fields(value)}}
    raise TypeError(f"cannot be saved: {type(value).__name__}")


def decode(value: Any, types: Mapping[str, type]) -> Any:
    """The value that ``encode`` was given; only the dataclasses in ``types`` can be made.

    Raises:
        KeyError, TypeError, ValueError: the data does not come from ``encode`` or names another type.
    """
    if isinstance(value, list):
        return [decode(item, types) for item in value]
    if not isinstance(value, dict):
        return value
    ((name, body),) = value.items()
    if name == "tuple":
        return tuple(decode(item, types) for item in body)
    if name == "dict":
        return {decode(key, types): decode(item, types) for key, item in body}
    if name == "array":
        dtype, shape, data = body
        if dtype not in _ARRAY_TYPES:
            raise ValueError(f"unexpected array type {dtype!r}")
        return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
    return types[name](**{key: decode(item, types) for key, item in body.items()})
