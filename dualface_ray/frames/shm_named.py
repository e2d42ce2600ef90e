"""NamedFile: the stand-in for nameless memory, a file that is removed as soon as it can be, whoever dies.

Three nets lie below the name, because between its making and its removal a process may be killed:
a guardian (a shell waiting for the end of a pipe that only the owner holds open) removes the file when the owner
dies; ``seal`` removes it as soon as all consumers have attached; and whoever makes the next file removes
those whose owner holds no lock on them any more, should the guardian have been killed too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.errors import SharedMemoryError

_PREFIX = "dualface-"


@dataclass(slots=True)
class NamedFile:
    """A locked file and its guardian; the descriptor belongs to the caller."""

    path: Path
    fd: int
    guardian: subprocess.Popen[bytes] | None

    def remove(self) -> None:
        """Remove the name; the memory stays with those who have it open. Harmless when called twice."""
        self.path.unlink(missing_ok=True)
        guardian, self.guardian = self.guardian, None
        if guardian is not None:
            guardian.communicate()  # closes the pipe: the guardian finds nothing left to remove and ends


def create(directory: Path) -> NamedFile:
    """Make an empty locked file under a new name, readable by this user alone.

    Raises:
        SharedMemoryError: the folder cannot be written.
    """
    sweep(directory)
    while True:
        path = directory / f"{_PREFIX}{uuid.uuid4().hex}"
        guardian = _guard(path)
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            NamedFile(path, -1, guardian).remove()
            raise SharedMemoryError(f"cannot make a file there: {error.strerror}", where=str(directory)) from error
        made = NamedFile(path, fd, guardian)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return made
        os.close(fd)  # another process swept it between the two calls: take a new name
        made.remove()


def sweep(directory: Path) -> int:
    """Remove the files of owners that are dead; returns how many."""
    removed = 0
    for path in directory.glob(f"{_PREFIX}*"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or another user's
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
        except OSError:  # its owner lives
            pass
        finally:
            os.close(fd)
    return removed


def _guard(path: Path) -> subprocess.Popen[bytes] | None:
    """A process of its own session (no Ctrl-C reaches it) that removes the file when this process is gone."""
    script = 'read -r _; rm -f -- "$0"'
    with contextlib.suppress(OSError):
        return subprocess.Popen(
            ["/bin/sh", "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None
