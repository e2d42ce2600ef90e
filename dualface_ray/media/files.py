"""Files: what may be opened as an input, before any library touches it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dualface_ray.errors import InputMissingError, NotAVideoError

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def check_input(path: Path, *, allow_symlinks: bool = False) -> int:
    """Make sure that a path is a plain, readable, non-empty file.

    Args:
        path: as the user gave it.
        allow_symlinks: follow a symbolic link in the last component; what it leads to must still be a plain file.

    Returns:
        Its size in bytes.

    Raises:
        InputMissingError: it does not exist, cannot be read, or is a directory, device, pipe, socket or (unless
            allowed) a symbolic link.
        NotAVideoError: it is empty.
    """
    where = str(path)
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            if not allow_symlinks:
                remedy = "Name the file itself, or set input.allow_symlinks=true."
                raise InputMissingError("is a symbolic link", where=where, remedy=remedy)
            status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputMissingError("no such file", where=where, remedy="Check the path.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputMissingError(f"cannot be examined ({reason})", where=where, remedy="Check the path.") from error
    for matches, kind in _KINDS:
        if matches(status.st_mode):
            raise InputMissingError(f"is {kind}, not a video file", where=where, remedy="Name a file.")
    if not os.access(path, os.R_OK):
        raise InputMissingError("cannot be read", where=where, remedy="Check its permissions.")
    if status.st_size == 0:
        raise NotAVideoError("the file is empty", where=where, remedy="Copy it again.")
    return status.st_size
