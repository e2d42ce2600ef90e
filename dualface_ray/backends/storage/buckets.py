"""BucketStore: object stores through fsspec (S3, Google Cloud Storage)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dualface_ray.backends.storage.faults import already_there, fault_of
from dualface_ray.backends.storage.ports import RemoteFile
from dualface_ray.errors import AddressError
from dualface_ray.media import scheme_of, shown_address

T = TypeVar("T")
PACKAGES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
"""By protocol: the module that speaks it, and our extra that installs it."""
_STREAM_BYTES = 8 << 20
_IDENTITY = ("ETag", "etag", "md5Hash", "LastModified", "updated", "mtime", "created")
_MARKS = ("generation", "VersionId", *_IDENTITY)


class BucketStore:
    """One protocol of fsspec; credentials come from the environment of each node, never from an address.

    Args:
        scheme: a key of ``PACKAGES``.

    Raises:
        AddressError: the package for it is not installed.
    """

    writable = True
    tells = False

    def __init__(self, scheme: str) -> None:
        module, extra = PACKAGES[scheme]
        self._scheme = scheme
        try:
            importlib.import_module(module)
            self._files: Any = importlib.import_module("fsspec").filesystem(scheme, use_listings_cache=False)
        except ImportError as error:
            raise AddressError(
                f"{scheme}:// needs the package {module}",
                remedy=f"Run `pip install 'dualface-ray[{extra}]'` on every node.",
            ) from error

    def stat(self, url: str) -> RemoteFile:
        """See Store."""
        info = self._call(lambda: self._files.info(self._key(url)))
        if info.get("type") == "directory":
            raise fault_of(IsADirectoryError("is a folder"), self._scheme)
        marks = {name: str(info[name]).strip('"') for name in _MARKS if info.get(name)}
        identity = next((marks[name] for name in _IDENTITY if name in marks), "")
        return RemoteFile(url, int(info["size"]), identity, marks=marks)

    def read(self, url: str, start: int, end: int, known: RemoteFile | None = None) -> bytes:
        """See Store; of which content these bytes are is not told."""
        return bytes(self._call(lambda: self._files.cat_file(self._key(url), start=start, end=end)))

    def stream(self, url: str, known: RemoteFile | None = None) -> Iterator[bytes]:
        """See Store."""
        place, size = 0, (known or self.stat(url)).size_bytes
        while place < size and (piece := self.read(url, place, min(size, place + _STREAM_BYTES))):
            yield piece
            place += len(piece)

    def find(self, pattern: str) -> list[str]:
        """See Store."""
        key = self._key(pattern)
        if not any(sign in key for sign in "*?["):
            pattern, key = pattern.rstrip("/") + "/*", key.rstrip("/") + "/*"
        found = self._call(lambda: self._files.glob(key, detail=True))
        names = [name for name, info in found.items() if info.get("type") != "directory"]
        return sorted(f"{scheme_of(pattern)}://{name.lstrip('/')}" for name in names)

    def listing(self, folder: str) -> Mapping[str, int]:
        """See Store."""
        root = self._key(folder).rstrip("/") + "/"
        try:
            found = self._files.find(root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:  # vendors share no base
            raise fault_of(error, self._scheme) from None
        names = {str(name): int(info.get("size") or 0) for name, info in found.items()}
        return {name[len(root) :]: size for name, size in names.items() if name.startswith(root)}

    def put(self, source: Path, url: str, sent: Callable[[int], None]) -> None:
        """See Store."""
        callback = importlib.import_module("fsspec.callbacks").Callback(hooks={"sent": _Told(sent)})
        self._call(lambda: self._files.put_file(os.fspath(source), self._key(url), callback=callback))
        there, arrived = source.stat().st_size, self.stat(url).size_bytes
        if there != arrived:
            raise fault_of(OSError(f"{there} bytes were sent, {arrived} arrived"), self._scheme)

    def put_bytes(self, content: bytes, url: str, *, fresh: bool = False) -> bool:
        """See Store."""
        key = self._key(url)
        if not fresh:
            self._call(lambda: self._files.pipe_file(key, content))
            return True
        try:
            self._files.pipe_file(key, content, mode="create")
        except Exception as error:  # vendors share no base
            if already_there(error):
                return False
            raise fault_of(error, self._scheme) from None
        return True

    def remove(self, url: str) -> None:
        """See Store."""
        try:
            self._files.rm_file(self._key(url))
        except FileNotFoundError:
            return
        except Exception as error:  # vendors share no base
            raise fault_of(error, self._scheme) from None

    def _key(self, url: str) -> str:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise AddressError(
                "an address must not hold a password",
                where=shown_address(url),
                remedy="Put credentials into the environment of each node.",
            )
        return str(self._files._strip_protocol(url))  # noqa: SLF001 - fsspec's own public name for it does not exist

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except AddressError:
            raise
        except Exception as error:  # vendors share no base; the cause may hold a signed address, so it is not kept
            raise fault_of(error, self._scheme) from None


class _Told:
    """Hook of an fsspec callback: tells what was added since the last call."""

    def __init__(self, sent: Callable[[int], None]) -> None:
        self._sent = sent
        self._before = 0

    def __call__(self, _size: int | None, value: int, **_more: Any) -> None:
        """Called by fsspec whenever bytes have gone."""
        self._sent(max(0, value - self._before))
        self._before = max(self._before, value)
