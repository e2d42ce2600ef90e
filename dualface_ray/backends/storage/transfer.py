"""Transfer: whole files between a place and this machine, tried again while the trouble may pass."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from dualface_ray.backends.storage.buckets import PACKAGES, BucketStore
from dualface_ray.backends.storage.faults import CHANGED_TEXT, Fault, StoreFault, again, input_fault, output_fault
from dualface_ray.backends.storage.ports import RemoteFile, Store
from dualface_ray.backends.storage.web import WebStore
from dualface_ray.errors import AddressError, Cancelled, InputError, LimitExceededError
from dualface_ray.media import AtomicFile, require_free, scheme_of, shown_address
from dualface_ray.settings import Settings

T = TypeVar("T")
_BLOCK_BYTES = 16 << 20
_FIRST_BLOCK_BYTES = 1 << 20
_QUICK_S = 2.0
"""Blocks that come quicker grow; on a slow line they stay small, so that progress shows and a retry is cheap."""
_ROUNDS = 3
"""A file that is replaced while it is fetched is begun again; one that changes so often is still being written."""


def open_store(url: str, settings: Settings) -> Store:
    """The place an address leads to; nothing is asked of it yet.

    Raises:
        AddressError: an unknown protocol, or the package for it is not installed.
    """
    scheme = scheme_of(url)
    try:
        if scheme in ("http", "https"):
            return _web(settings.storage.timeout_s)
        if scheme in PACKAGES:
            return _bucket(scheme)
    except AddressError as error:
        raise AddressError(error.what, where=shown_address(url), remedy=error.remedy) from error
    known = ", ".join(f"{name}://" for name in ("s3", "gs", "https", "http", "file"))
    raise AddressError(f"unknown protocol {scheme!r}", where=shown_address(url), remedy=f"Known are {known}.")


@cache
def _web(timeout_s: float) -> WebStore:
    return WebStore(timeout_s)


@cache
def _bucket(scheme: str) -> BucketStore:
    return BucketStore(scheme)


def examine(url: str, settings: Settings) -> RemoteFile:
    """Describe a remote input, within the limits.

    Raises:
        InputError: it cannot be had, or is too large; see ``faults.input_fault``.
    """
    try:
        return _examined(url, settings, time.sleep)
    except StoreFault as fault:
        raise input_fault(fault, url) from None


def _examined(url: str, settings: Settings, pause: Callable[[float], object]) -> RemoteFile:
    found = again(partial(open_store(url, settings).stat, url), settings.storage.attempts, pause)
    _check_size(found, settings)
    return found


def fetch(
    url: str,
    target: Path,
    settings: Settings,
    *,
    identity: str = "",
    stop: threading.Event | None = None,
    arrived: Callable[[int], None] = lambda _bytes: None,
) -> None:
    """Bring a remote file here: complete under its name, or not there at all.

    Args:
        url: the file.
        target: where it goes; its folder must exist.
        settings: limits, time-outs, attempts.
        identity: the file's identity when the job was made; another one now is an error. Empty = any.
        stop: ends it early.
        arrived: is told of bytes as they come.

    Raises:
        InputError: it cannot be had, has changed, or is too large.
        DiskFullError, OutputError: it does not fit, or cannot be written.
        Cancelled: ``stop`` was set.
    """
    one = _Fetch(url, target, settings, identity, stop or threading.Event(), arrived)
    try:
        again(one.whole, min(_ROUNDS, settings.storage.attempts), one.pause, Fault.CHANGED)
    except StoreFault as fault:
        raise input_fault(fault, url) from None


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One file on its way here; see ``fetch`` for what the fields are."""

    url: str
    target: Path
    settings: Settings
    identity: str
    stop: threading.Event
    arrived: Callable[[int], None]

    def whole(self) -> None:
        """All of it from the beginning.

        Raises:
            StoreFault: CHANGED when it was replaced meanwhile; what had come of it is gone.
            InputError, OutputError, Cancelled: see ``fetch``.
        """
        found = _examined(self.url, self.settings, self.pause)
        if self.identity and found.identity != self.identity:
            raise InputError(
                "has changed since the job began", where=shown_address(self.url), remedy="Run the same command again."
            )
        self._require_free(max(0, found.size_bytes))
        store = open_store(self.url, self.settings)
        if found.ranges:
            self._write(store, found, self._blocks(store, found))
        else:  # all in one go, or again from the beginning
            self._again(lambda: self._write(store, found, store.stream(self.url, found)))

    def pause(self, seconds: float) -> None:
        """Between attempts; ends early when nobody wants it any more."""
        if self.stop.wait(seconds):
            raise self._cancelled()

    def _blocks(self, store: Store, found: RemoteFile) -> Iterator[bytes]:
        """All of it in order; each block is tried again by itself."""
        place, size = 0, min(_BLOCK_BYTES, _FIRST_BLOCK_BYTES)
        while place < found.size_bytes:
            end = min(found.size_bytes, place + size)
            began_s = time.monotonic()
            try:
                yield self._again(partial(_exactly, store, found, place, end))
            except StoreFault as fault:
                raise _changed(store, found) or fault from None
            quick = time.monotonic() - began_s < _QUICK_S
            place, size = end, min(_BLOCK_BYTES, size * 2) if quick else max(_FIRST_BLOCK_BYTES, size // 2)

    def _write(self, store: Store, found: RemoteFile, pieces: Iterator[bytes]) -> None:
        total = 0
        with AtomicFile(self.target, make_folder=True) as file, file.part.open("wb") as out:
            for piece in pieces:
                if self.stop.is_set():
                    raise self._cancelled()
                total += len(piece)
                _check_size(RemoteFile(self.url, total, ""), self.settings)
                if total % _BLOCK_BYTES < len(piece):
                    self._require_free(0)
                out.write(piece)
                self.arrived(len(piece))
            self._confirm(store, found, total)

    def _confirm(self, store: Store, found: RemoteFile, total: int) -> None:
        """It is still what it was at first, and all of it has come."""
        try:
            now = self._again(partial(store.stat, self.url))
        except StoreFault as fault:
            # each answer has said what it is from; a signature in the address may have run out with the last one
            if not (store.tells and found.marks and fault.kind in (Fault.DENIED, Fault.MISSING)):
                raise
            now = found
        if found.differs(now) or found.differs(RemoteFile(self.url, total, "")):
            raise StoreFault(Fault.CHANGED, CHANGED_TEXT, scheme_of(self.url))

    def _again(self, call: Callable[[], T]) -> T:
        return again(call, self.settings.storage.attempts, self.pause)

    def _require_free(self, more_bytes: int) -> None:
        require_free(self.target.parent, more_bytes + self.settings.job.min_free_disk_bytes)

    def _cancelled(self) -> Cancelled:
        return Cancelled("cancelled", where=shown_address(self.url))


def _exactly(store: Store, found: RemoteFile, start: int, end: int) -> bytes:
    """A block that came short or long is trouble that may pass."""
    block = store.read(found.url, start, end, found)
    if len(block) != end - start:
        text = f"{end - start} bytes were asked for, {len(block)} came"
        raise StoreFault(Fault.PASSING, text, scheme_of(found.url))
    return block


def _changed(store: Store, found: RemoteFile) -> StoreFault | None:
    """Whether that is why a block could not be had."""
    with contextlib.suppress(StoreFault):
        if found.differs(store.stat(found.url)):
            return StoreFault(Fault.CHANGED, CHANGED_TEXT, scheme_of(found.url))
    return None


def publish(source: Path, url: str, settings: Settings, *, sent: Callable[[int], None] = lambda _bytes: None) -> None:
    """Upload a result: complete under its name, or not there; ``sent`` is told of bytes on their way.

    Raises:
        OutputError: it cannot be delivered.
    """
    _writing(url, settings, lambda store: store.put(source, url, sent))


def publish_bytes(content: bytes, url: str, settings: Settings) -> None:
    """Upload a small result, as ``publish``."""
    _writing(url, settings, lambda store: store.put_bytes(content, url))


def withdraw(url: str, settings: Settings) -> None:
    """Remove a remote file; harmless when it is not there.

    Raises:
        OutputError: it cannot be removed.
    """
    _writing(url, settings, lambda store: store.remove(url))


def _writing(url: str, settings: Settings, call: Callable[[Store], object]) -> None:
    store = open_store(url, settings)
    try:
        again(lambda: call(store), settings.storage.attempts)
    except StoreFault as fault:
        raise output_fault(fault, url) from None


def _check_size(found: RemoteFile, settings: Settings) -> None:
    limit = settings.storage.max_file_bytes
    if found.size_bytes > limit:
        raise LimitExceededError(
            f"its {found.size_bytes} bytes are more than {limit}",
            where=shown_address(found.url),
            remedy="Raise storage.max_file_bytes.",
        )
