"""Wire: one GET, led through redirects within our rules and answered in bounded time; the standard library only.

http, https only · at most MAX_REDIRECTS · never from https to http · never from a public host into this network ·
a user and password in the address go to that host and no other · of what a server says, errors name only where it led
"""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import re
import socket
import string
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from dualface_ray.backends.storage.faults import Fault, StoreFault, fault_of, status_fault

MAX_REDIRECTS = 5
SLOWEST_BYTES_PER_S = 1000
"""An answer that comes slower than this for as long as a time-out counts as failed."""
FIRST_BYTE = "bytes=0-0"
_GOOD = (200, 203, 206)
_REDIRECTS = (301, 302, 303, 307, 308)
_PROBLEMS = (OSError, http.client.HTTPException, ValueError)
"""What urllib raises; ``URLError`` is an OSError."""
_NETLOC = re.compile(r"[A-Za-z0-9._~:\[\]-]+")
"""Nothing that urllib would read differently from us, such as escapes."""
_SPACE = re.compile(r"\s")


class Wire:
    """Asks web servers; used by any number of threads.

    Args:
        timeout_s: for a connection, for the head of an answer, and for every pause within it.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler(), _Plain(), _Secure()):
            self._opener.add_handler(handler)  # no file, ftp or data, and nobody who follows redirects by himself

    @contextmanager
    def ask(self, url: str, part: str = "") -> Iterator[http.client.HTTPResponse]:
        """The answer with the file (200), or with the part of it that was asked for (206), while it is read.

        Args:
            url: may hold a user and password.
            part: value of the header ``Range``; empty = all of it.

        Raises:
            StoreFault: there is no such answer, or reading it failed within the context; names the host that a redirect
                led to.
        """
        led_to = ""
        try:
            there, pair = _taken_apart(url)
            begun = there
            for _ in range(MAX_REDIRECTS + 1):
                at_home = (there.scheme, there.netloc) == (begun.scheme, begun.netloc)
                request = _request(there, part, pair if at_home else "")
                with closing(self._opener.open(request, timeout=self._timeout_s)) as answer:
                    if answer.status not in _REDIRECTS:
                        _check(answer, part)
                        yield answer
                        return
                    there = _following(there, answer.headers.get("Location", ""))
                    led_to = there.netloc[:100]
            raise StoreFault(Fault.REFUSED, "it redirects too often", "http")
        except StoreFault as fault:
            raise fault.redirected(led_to) from None
        except _PROBLEMS as error:
            raise _told(error).redirected(led_to) from None


class _Raw(io.RawIOBase):
    """The bytes of one answer; a server that sends a little now and then is not waited for without end.

    Args:
        inner: of the connection.
        timeout_s: until the head has come. After it, waiting is counted alone, not what our side does meanwhile: every
            byte earns some more, up to this.
    """

    def __init__(self, inner: io.RawIOBase, timeout_s: float) -> None:
        super().__init__()
        self._inner = inner
        self._timeout_s = timeout_s
        self._left_s = timeout_s
        self._head_ends_s: float | None = time.monotonic() + timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began_s = time.monotonic()
        if self._left_s < 0 or (self._head_ends_s is not None and began_s > self._head_ends_s):
            raise TimeoutError("it answers too slowly")
        count = self._inner.readinto(buffer)
        if self._head_ends_s is None:
            earned_s = (count or 0) / SLOWEST_BYTES_PER_S
            self._left_s = min(self._timeout_s, self._left_s + earned_s - (time.monotonic() - began_s))
        return count

    def body(self) -> None:
        """The head has come."""
        self._head_ends_s = None

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """As its base, but a server that keeps us waiting byte by byte is noticed."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self._raw = _Raw(self.fp.detach(), sock.gettimeout() or 0.0)
        self.fp = io.BufferedReader(self._raw)

    def begin(self) -> None:
        super().begin()
        self._raw.body()


class _PlainConnection(http.client.HTTPConnection):
    response_class = _Answer


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Answer


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PlainConnection, req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _taken_apart(url: str) -> tuple[SplitResult, str]:
    """The address without user and fragment, in ASCII, and the pair ``user:password`` ("" = none)."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    if not netloc.isascii():
        netloc = netloc.encode("idna").decode()
    if _SPACE.search(url) or not parts.hostname or parts.port == 0 or not _NETLOC.fullmatch(netloc):
        raise ValueError("no address")  # as the port does by itself when it is no number
    path, query = (quote(text, safe=string.punctuation, errors="surrogateescape") for text in (parts.path, parts.query))
    pair = "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return SplitResult(parts.scheme, netloc, path or "/", query, ""), pair


def _request(there: SplitResult, part: str, pair: str) -> urllib.request.Request:
    request = urllib.request.Request(urlunsplit(there))  # noqa: S310 - http and https only
    request.add_header("Accept-Encoding", "identity")
    request.add_header("User-Agent", "dualface-ray")
    if part:
        request.add_header("Range", part)
    if pair:
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    return request


def _following(before: SplitResult, location: str) -> SplitResult:
    """Where a redirect leads, if the user would have been allowed to be sent there."""
    try:
        named = quote(location, safe=string.punctuation, encoding="latin-1")  # as which header bytes come
        after, _ = _taken_apart(urljoin(urlunsplit(before), named))  # a user that the server names is nobody's
    except ValueError:
        after = SplitResult("", "", "", "", "")
    if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
        to = after.scheme[:20] or "nothing"
        raise StoreFault(Fault.REFUSED, f"it redirects from {before.scheme} to {to}", "http")
    if _inside(after.hostname, any) and not _inside(before.hostname, all):
        raise StoreFault(Fault.REFUSED, "it redirects from outside into this network", "http")
    return after


def _inside(host: str | None, rule: Callable[[Iterator[bool]], bool]) -> bool:
    """Whether ``any`` or ``all`` addresses of a host are on this machine or a private network; False if it has none.

    Who sends us somewhere is believed to be inside only if all of his are, and nobody is sent to where any of them is.
    """
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host or "", None)}
    except (OSError, ValueError):
        return False
    return bool(found) and rule(not ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)


def _check(answer: http.client.HTTPResponse, part: str) -> None:
    if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        what = "it is empty" if part == FIRST_BYTE else "it has no such part"
        raise StoreFault(Fault.REFUSED, what, "http")
    if answer.status not in _GOOD:
        raise status_fault(answer.status, "http")
    if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise StoreFault(Fault.REFUSED, "the server packs the file", "http")


def _told(error: BaseException) -> StoreFault:
    """What happened, in our own words where the library would repeat the server's: it may have echoed a secret."""
    reason = getattr(error, "reason", None)
    error = reason if isinstance(error, urllib.error.URLError) and isinstance(reason, BaseException) else error
    if isinstance(error, OSError):
        return fault_of(error, "http")
    if isinstance(error, http.client.IncompleteRead):
        return StoreFault(Fault.PASSING, "the connection ended early", "http")
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.InvalidURL):
        return StoreFault(Fault.PASSING, f"the server does not speak HTTP ({type(error).__name__})", "http")
    return StoreFault(Fault.REFUSED, "it is no web address (a space is written %20)", "http")
