"""WebStore: inputs from web servers, with the standard library only, so that every redirect passes our rules.

http, https only · at most MAX_REDIRECTS · never from https to http · never from a public host into this network ·
a user and password in the address go to that host and no other · identity encoding, exact sizes
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from dualface_ray.backends.storage.faults import Fault, StoreFault, fault_of
from dualface_ray.backends.storage.ports import RemoteFile

MAX_REDIRECTS = 5
_STREAM_BYTES = 1 << 20
_PROBLEMS = (OSError, http.client.HTTPException, ValueError)
"""What urllib raises; ``URLError`` is an OSError."""


class WebStore:
    """Reads over HTTP; writing is not offered.

    Args:
        timeout_s: without a byte for this long, a call fails.
    """

    writable = False

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
        ):
            self._opener.add_handler(handler)  # no file, ftp or data: such addresses reach nobody

    def stat(self, url: str) -> RemoteFile:
        """One byte is asked for: the answer says the size, and whether parts can be had."""
        with self._open(url, "bytes=0-0") as answer:
            headers = answer.headers
            ranges = answer.status == http.client.PARTIAL_CONTENT
            total = headers.get("Content-Range", "").rpartition("/")[2] if ranges else headers.get("Content-Length", "")
            size = int(total) if total.isdigit() else -1
            identity = (headers.get("ETag") or headers.get("Last-Modified") or "").strip()
        return RemoteFile(url, size, identity, ranges and size >= 0)

    def read(self, url: str, start: int, end: int) -> bytes:
        """See Store."""
        if end <= start:
            return b""
        with self._open(url, f"bytes={start}-{end - 1}") as answer:
            if answer.status != http.client.PARTIAL_CONTENT:
                raise StoreFault(Fault.REFUSED, "the server no longer gives parts", "http")
            return _whole(answer, end - start)

    def stream(self, url: str) -> Iterator[bytes]:
        """See Store."""
        with self._open(url, "") as answer:
            total = answer.headers.get("Content-Length", "")
            left = int(total) if total.isdigit() else None
            while piece := _some(answer):
                left = None if left is None else left - len(piece)
                yield piece
            if left:
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

    def _open(self, url: str, part: str) -> Any:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(urlunsplit((parts.scheme, place, parts.path or "/", parts.query, "")))  # noqa: S310 - http and https only
        request.add_header("Accept-Encoding", "identity")
        request.add_header("User-Agent", "dualface-ray")
        if part:
            request.add_header("Range", part)
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            # "unredirected": urllib does not carry it to where a redirect leads
            request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
        try:
            answer = self._opener.open(request, timeout=self._timeout_s)
        except _PROBLEMS as error:
            raise _told(error) from None
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            answer.close()
            raise StoreFault(Fault.REFUSED, "the server packs the file", "http")
        return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only where the user would have been allowed to be sent."""

    max_redirections = MAX_REDIRECTS
    max_repeats = 2

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse, or let urllib make the next request."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
            raise StoreFault(Fault.REFUSED, f"it redirects from {before.scheme} to {after.scheme or 'nothing'}", "http")
        if _inside(after.hostname) and not _inside(before.hostname):
            raise StoreFault(Fault.REFUSED, "it redirects from outside into this network", "http")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (after.scheme, after.netloc) != (before.scheme, before.netloc):
            request.remove_header("Authorization")
        return request


def _inside(host: str | None) -> bool:
    """Whether a host is this machine or on a private network; a name that nobody knows is not."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host or "", None)}
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(address).partition("%")[0]).is_global for address in found)


def _whole(answer: Any, size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := _some(answer)):
        pieces.append(piece)
        size -= len(piece)
    if size < 0:
        raise StoreFault(Fault.REFUSED, "the server sends more than it was asked for", "http")
    return b"".join(pieces)


def _some(answer: Any) -> bytes:
    try:
        return bytes(answer.read(_STREAM_BYTES))
    except _PROBLEMS as error:
        raise _told(error) from None


def _told(error: BaseException) -> StoreFault:
    """Urllib wraps what happened."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        if error.code in (301, 302, 303, 307, 308):
            return StoreFault(Fault.REFUSED, "it redirects too often, or nowhere", "http")
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return StoreFault(Fault.REFUSED, "it is empty", "http")
        return fault_of(error, "http")
    reason = getattr(error, "reason", None)
    return fault_of(reason if isinstance(reason, BaseException) else error, "http")
