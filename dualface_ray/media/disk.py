"""Disk: free space before, and what a full disk looks like during, a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from dualface_ray.errors import DiskFullError, OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def free_bytes(path: Path) -> int:
    """Bytes an ordinary user may still write where ``path`` is or will be (its nearest existing parent).

    Raises:
        OutputError: no parent can be examined.
    """
    place = next((p for p in (path, *path.parents) if p.exists()), None)
    if place is None:
        raise OutputError("no such folder", where=str(path))
    try:
        status = os.statvfs(place)
    except OSError as error:
        raise OutputError(f"cannot be examined ({error.strerror})", where=str(path)) from error
    return status.f_bavail * status.f_frsize


def require_free(path: Path, needed_bytes: int) -> None:
    """Raise DiskFullError when less than ``needed_bytes`` are free where ``path`` will lie."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise DiskFullError(
            f"only {_human(free)} are free, {_human(needed_bytes)} are needed",
            where=str(path),
            remedy="Free some space or choose another output folder.",
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error (also a vendor's, by its ``errno``) or one of its causes means that the disk is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DiskFullError) or getattr(seen, "errno", None) in _FULL:
            return True
        seen = seen.__cause__
    return False


def output_error(error: BaseException, path: Path) -> OutputError:
    """Translate an error met while writing: DiskFullError when the disk (or quota) is full, else OutputError."""
    if isinstance(error, OutputError):
        return error
    if is_disk_full(error):
        remedy = "Free some space and start again; finished videos are kept."
        return DiskFullError("no space left on the disk", where=str(path), remedy=remedy)
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"cannot be written ({reason})", where=str(path), remedy="Check the output folder.")


def _human(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
