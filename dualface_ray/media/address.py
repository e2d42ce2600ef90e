"""Addresses: inputs and outputs that are URLs rather than paths; how they are taken apart, joined and shown."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dualface_ray.errors import AddressError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\")]*")
_WEB = ("http", "https")


def is_address(text: str | os.PathLike[str]) -> bool:
    """Whether this is a URL (``scheme://...``) rather than a path; a ``Path`` never is."""
    return isinstance(text, str) and _ADDRESS.match(text) is not None


def scheme_of(address: str) -> str:
    """``s3`` of ``s3://bucket/talk.mp4``, in lower case."""
    return address.partition("://")[0].lower()


def local_path(address: str) -> Path | None:
    """The path that a ``file://`` address means, or None for any other.

    Raises:
        AddressError: it names another machine, or no absolute path.
    """
    if scheme_of(address) != "file":
        return None
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost"):
        raise AddressError("a file address names another machine", where=address, remedy="Write file:///path.")
    path = unquote(parts.path, errors="surrogateescape")
    if not path.startswith("/") or "\0" in path:
        raise AddressError("a file address needs an absolute path", where=address, remedy="Write file:///path.")
    return Path(path)


def address_parts(address: str) -> tuple[str, ...]:
    """The place (``s3://bucket``), folders and name of an address; what could lead out of a folder is left out.

    Raises:
        AddressError: it names no file.
    """
    scheme = scheme_of(address)
    rest = address.partition("://")[2]
    if scheme in _WEB:
        rest = unquote(re.split(r"[?#]", rest, maxsplit=1)[0], errors="replace")
    place, *folders = rest.split("/")
    place = place.rpartition("@")[2]
    if not folders or folders[-1] in ("", ".", ".."):
        raise AddressError("the address names no file", where=shown_address(address), remedy="Name a video.")
    kept = [part.replace("\0", "_") for part in folders if part not in ("", ".", "..")]
    return (f"{scheme}://{place}", *kept)


def join_address(folder: str, *names: str) -> str:
    """The address of something below a folder; each of the names may hold slashes."""
    return "/".join((folder.rstrip("/"), *(name.strip("/") for name in names if name.strip("/"))))


def shown_address(text: str) -> str:
    """An address fit for messages, logs and reports: user, password and query string are blotted out.

    Signed URLs carry their secret in the query. What is no address is taken for a text (see ``shown_text``).
    """
    if not is_address(text):
        return shown_text(text)
    scheme, _, rest = text.partition("://")
    end = next((index for index, letter in enumerate(rest) if letter in "/?#"), len(rest))
    _, at, host = rest[:end].rpartition("@")
    kept, mark, _ = rest[end:].partition("?")
    if scheme.lower() in _WEB:
        kept = kept.partition("#")[0]
    return f"{scheme}://{'***@' if at else ''}{host}{kept}{'?***' if mark else ''}"


def shown_text(text: str) -> str:
    """The same for all URLs in a text; one is taken to end at white space or a quotation mark."""
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1***@", text))
