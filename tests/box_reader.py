"""A reader of MP4 and MOV that knows nothing but ISO/IEC 14496-12; independent of libav."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """(type, first byte of the content, end) of the boxes that fill a range exactly."""
    at, end = start, len(data) if end is None else end
    while at < end:
        size, name = struct.unpack(">I4s", data[at : at + 8])
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", data[at + 8 : at + 16])[0], 16
        assert head <= size <= end - at, "boxes must tile the file"
        yield name.decode("latin-1"), at + head, at + size
        at += size


def find(data: bytes, path: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Ranges of all boxes at a path such as ``moov/trak``."""
    name, _, rest = path.partition("/")
    here = [(a, b) for kind, a, b in boxes(data, start, end) if kind == name]
    return [found for a, b in here for found in find(data, rest, a, b)] if rest else here


def table(data: bytes, span: tuple[int, int], form: str) -> list[tuple[int, ...]]:
    """Entries of a full box with a count."""
    (count,) = struct.unpack(">I", data[span[0] + 4 : span[0] + 8])
    size = struct.calcsize(form)
    return [struct.unpack(form, data[span[0] + 8 + n * size :][:size]) for n in range(count)]
