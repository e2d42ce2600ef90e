"""WebStore: inputs from web servers. What they say of sizes and parts is checked, and believed only then.

stat: one byte ─► size, marks, whether there are parts      read, stream: each answer held against them
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from dualface_ray.backends.storage.faults import CHANGED_TEXT, Fault, StoreFault
from dualface_ray.backends.storage.ports import RemoteFile
from dualface_ray.backends.storage.wire import FIRST_BYTE, Wire

_STREAM_BYTES = 256 << 10
_PART = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


class WebStore:
    """Reads over HTTP; writing is not offered.

    Args:
        timeout_s: without a byte for this long, a call fails; see also ``Wire``.
    """

    writable = False
    tells = True

    def __init__(self, timeout_s: float) -> None:
        self._wire = Wire(timeout_s)

    def stat(self, url: str) -> RemoteFile:
        """One byte is asked for: the answer says the size, and whether parts can be had."""
        with self._wire.ask(url, FIRST_BYTE) as answer:
            return _described(url, answer)

    def read(self, url: str, start: int, end: int, known: RemoteFile | None = None) -> bytes:
        """See Store."""
        if end <= start:
            return b""
        with self._wire.ask(url, f"bytes={start}-{end - 1}") as answer:
            _compare(known, _described(url, answer))
            if answer.status != http.client.PARTIAL_CONTENT:
                raise StoreFault(Fault.REFUSED, "the server no longer gives parts", "http")
            part = _PART.fullmatch(answer.headers.get("Content-Range", "").strip())
            if part is None or int(part[1]) != start or int(part[2]) >= end:
                raise StoreFault(Fault.REFUSED, "the server gives another part than it was asked for", "http")
            return b"".join(_pieces(answer, end - start))

    def stream(self, url: str, known: RemoteFile | None = None) -> Iterator[bytes]:
        """See Store."""
        with self._wire.ask(url) as answer:
            described = _described(url, answer)
            _compare(known, described)
            announced = described.size_bytes if described.size_bytes >= 0 or known is None else known.size_bytes
            total = 0
            for piece in _pieces(answer, announced):
                total += len(piece)
                yield piece
            if total < announced:
                raise StoreFault(Fault.PASSING, "the connection ended early", "http")

    def find(self, pattern: str) -> list[str]:
        """The web has no folders."""
        return [pattern]

    def listing(self, folder: str) -> Mapping[str, int]:
        """See Store."""
        raise StoreFault(Fault.REFUSED, f"the web cannot be listed or written ({urlsplit(folder).scheme})", "http")

    def put(self, source: Path, url: str, sent: Callable[[int], None]) -> None:
        """See Store."""
        sent(len(self.listing(url)))

    def put_bytes(self, content: bytes, url: str, *, fresh: bool = False) -> bool:
        """See Store."""
        return bool(self.listing(url)) and fresh and bool(content)

    def remove(self, url: str) -> None:
        """See Store."""
        self.listing(url)


def _described(url: str, answer: http.client.HTTPResponse) -> RemoteFile:
    """What the head of an answer says of the file."""
    headers, ranges = answer.headers, answer.status == http.client.PARTIAL_CONTENT
    part = _PART.fullmatch(headers.get("Content-Range", "").strip()) if ranges else None
    size = int(part[3]) if part is not None and part[3] != "*" else -1
    if not ranges and answer.length is not None:  # of an answer in chunks it is None, whatever was announced
        size = answer.length
    tag, date = (headers.get(name, "").strip() for name in ("ETag", "Last-Modified"))
    marks = {"ETag": tag.removeprefix("W/")} if tag else {}
    if date and (not tag or tag.startswith("W/")):  # a weak tag leaves room for another content
        marks["Last-Modified"] = date
    return RemoteFile(url, size, tag or date, ranges and size >= 0, marks)


def _compare(known: RemoteFile | None, now: RemoteFile) -> None:
    if known is not None and known.differs(now):
        raise StoreFault(Fault.CHANGED, CHANGED_TEXT, "http")


def _pieces(answer: http.client.HTTPResponse, most: int) -> Iterator[bytes]:
    """The body as it comes; more than ``most`` bytes are a fault (-1 = any number)."""
    total, length = 0, answer.length
    # Python 3.10 does not count down by itself: it would wait for servers that keep the connection open all the same.
    while (length is None or total < length) and (piece := answer.read1(_STREAM_BYTES)):
        total += len(piece)
        if 0 <= most < total:
            raise StoreFault(Fault.REFUSED, "the server sends more than it was asked for", "http")
        yield piece
