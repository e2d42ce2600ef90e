"""How fast a folder's disk reads, with the page cache kept out as far as the file system allows; bounded in time.

    the largest file that is there, else in a scratch folder one of our own ─► O_DIRECT, or fadvise DONTNEED ─► bytes/s

Nothing but that one file is ever written, and it has no name left before its first byte.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualface_ray.hardware.facts import DiskFacts, Maybe, Unknown

_BLOCK = 4 << 20
_LEAST_BYTES = 8 << 20
"""A shorter file says more about latency than about speed."""
_MOST_BYTES = 1 << 30
_OWN_BYTES = 256 << 20
_MOST_ENTRIES = 5000
_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})
_MOUNTS = Path("/proc/self/mounts")


def measure(tell: Callable[[Any], None], folder: str, seconds: float, scratch: bool) -> DiskFacts:
    """Read for ``seconds`` at most.

    Args:
        tell: unused; what every part gets.
        folder: what is asked about; only a ``scratch`` folder is written to (one file, removed again).
        seconds: of reading.
        scratch: a file may be made there.
    """
    path = Path(folder).absolute()
    kind = filesystem(path)
    free: Maybe[int]
    try:
        state = os.statvfs(path)
        free = state.f_frsize * state.f_bavail
    except OSError as error:
        why = Unknown(error.strerror or str(error))
        return DiskFacts(str(path), kind, why, free_bytes=why)
    handle = -1
    try:
        source = largest(path)
        if source is None and scratch:
            handle, method = _make(path, min(_OWN_BYTES, free // 4), seconds)
        elif source is None:
            least = f"no file of at least {_LEAST_BYTES >> 20} MiB is there to read"
            return DiskFacts(str(path), kind, Unknown(least), free_bytes=free)
        else:
            handle, method = _open(source)
        speed, count = _read(handle, seconds)
    except OSError as error:
        return DiskFacts(str(path), kind, Unknown(error.strerror or str(error)), free_bytes=free)
    finally:
        if handle >= 0:
            os.close(handle)
    if kind in _MEMORY:
        method = f"{kind} is memory: there is no disk behind it"
    return DiskFacts(str(path), kind, speed, method, count, free)


def largest(folder: Path) -> Path | None:
    """The largest plain file of the folder and those right below it; None when all are too small."""
    best, size = None, _LEAST_BYTES - 1
    seen = 0
    waiting = [(folder, 0)]
    while waiting and seen < _MOST_ENTRIES:
        here, depth = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except OSError:
            if depth == 0:
                raise
            continue
        for entry in entries:
            seen += 1
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth < 1:
                        waiting.append((Path(entry.path), depth + 1))
                elif entry.is_file(follow_symlinks=False) and entry.stat().st_size > size:
                    best, size = Path(entry.path), entry.stat().st_size
            except OSError:
                continue
    return best


def filesystem(path: Path, mounts: Path = _MOUNTS) -> Maybe[str]:
    """Kind of the file system a path lies on, as ``/proc/self/mounts`` names it."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
        real = path.resolve()
    except OSError as error:
        return Unknown(error.strerror or str(error))
    best, kind = -1, ""
    for line in lines:
        words = line.split()
        if len(words) < 3:
            continue
        point = Path(words[1].replace("\\040", " "))
        if (real == point or point in real.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), words[2]
    return kind or Unknown("no mount point fits")


def _open(path: Path) -> tuple[int, str]:
    """The file for reading past the page cache, and by which means."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_DIRECT), "O_DIRECT"
    except OSError:
        return os.open(path, flags), "posix_fadvise(DONTNEED)"


def _make(folder: Path, size_bytes: int, seconds: float) -> tuple[int, str]:
    """A file of random bytes on the disk itself (zeros might be compressed away), as large as time allows."""
    block = os.urandom(_BLOCK)
    writer, name = tempfile.mkstemp(prefix=".dualface-probe-", dir=folder)
    try:
        reader, method = _open(Path(name))
    except OSError:
        os.close(writer)
        raise
    finally:
        Path(name).unlink()
    try:
        deadline = time.monotonic() + seconds
        written = 0
        while written < size_bytes and (written < _LEAST_BYTES or time.monotonic() < deadline):
            written += os.write(writer, block)
        os.fsync(writer)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return reader, method


def _read(handle: int, seconds: float) -> tuple[float, int]:
    """Bytes per second and bytes read."""
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    buffer = mmap.mmap(-1, _BLOCK)  # page-aligned, as O_DIRECT wants it
    count, started = 0, time.monotonic()
    with buffer:
        while count < _MOST_BYTES and time.monotonic() - started < seconds:
            got = os.readv(handle, [buffer])
            if got <= 0:
                break
            count += got
    return count / max(time.monotonic() - started, 1e-6), count
