"""Transfer: whole files between a place and this machine, tried again while the trouble may pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from dualface_ray.backends.storage.buckets import PACKAGES, BucketStore
from dualface_ray.backends.storage.faults import Fault, StoreFault, again, input_fault, output_fault
from dualface_ray.backends.storage.ports import RemoteFile, Store
from dualface_ray.backends.storage.web import WebStore
from dualface_ray.errors import AddressError, Cancelled, InputError, LimitExceededError
from dualface_ray.media import AtomicFile, require_free, scheme_of, shown_address
from dualface_ray.settings import Settings

_BLOCK_BYTES = 16 << 20
_FIRST_BLOCK_BYTES = 1 << 20
_QUICK_S = 2.0
"""Blocks that come quicker grow; on a slow line they stay small, so that progress shows and a retry is cheap."""


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
    store = open_store(url, settings)
    try:
        found = again(partial(store.stat, url), settings.storage.attempts)
    except StoreFault as fault:
        raise input_fault(fault, url) from None
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
    found = examine(url, settings)
    if identity and found.identity != identity:
        raise InputError(
            "has changed since the job began", where=shown_address(url), remedy="Run the same command again."
        )
    require_free(target.parent, max(0, found.size_bytes) + settings.job.min_free_disk_bytes)
    store = open_store(url, settings)
    attempts = settings.storage.attempts
    try:
        if found.ranges:
            with AtomicFile(target) as file, file.part.open("wb") as out:
                for block in _blocks(store, found, attempts):
                    _take(block, out.write, url, stop, arrived)
        else:
            again(partial(_stream, store, url, target, settings, stop, arrived), attempts)
    except StoreFault as fault:
        raise input_fault(fault, url) from None


def _blocks(store: Store, found: RemoteFile, attempts: int) -> Iterator[bytes]:
    """All of a file in order; each block is tried again by itself."""
    place, size = 0, min(_BLOCK_BYTES, _FIRST_BLOCK_BYTES)
    while place < found.size_bytes:
        end = min(found.size_bytes, place + size)
        began_s = time.monotonic()
        yield again(partial(_exactly, store, found.url, place, end), attempts)
        quick = time.monotonic() - began_s < _QUICK_S
        place, size = end, min(_BLOCK_BYTES, size * 2) if quick else max(_FIRST_BLOCK_BYTES, size // 2)


def _exactly(store: Store, url: str, start: int, end: int) -> bytes:
    """A block that came short or long is trouble that may pass."""
    block = store.read(url, start, end)
    if len(block) != end - start:
        raise StoreFault(Fault.PASSING, f"{end - start} bytes were asked for, {len(block)} came", scheme_of(url))
    return block


def _stream(
    store: Store,
    url: str,
    target: Path,
    settings: Settings,
    stop: threading.Event | None,
    arrived: Callable[[int], None],
) -> None:
    """From a server that gives no parts: all in one go, or again from the beginning."""
    total = 0
    with AtomicFile(target) as file, file.part.open("wb") as out:
        for piece in store.stream(url):
            total += len(piece)
            _check_size(RemoteFile(url, total, ""), settings)
            if total % _BLOCK_BYTES < len(piece):
                require_free(target.parent, settings.job.min_free_disk_bytes)
            _take(piece, out.write, url, stop, arrived)


def _take(
    piece: bytes,
    write: Callable[[bytes], object],
    url: str,
    stop: threading.Event | None,
    arrived: Callable[[int], None],
) -> None:
    if stop is not None and stop.is_set():
        raise Cancelled("cancelled", where=shown_address(url))
    write(piece)
    arrived(len(piece))


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
