"""FileLock: one holder, or many readers, of a file; the kernel lets go when a process dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

_HELD = {errno.EWOULDBLOCK, errno.EAGAIN}
_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF}
"""What file systems without locks answer (EBADF: NFS, about a lock alone on something opened to be read)."""


class FileLock:
    """``flock`` on a file that may be removed and made anew while others wait for it. Never blocks.

    Args:
        path: of the lock file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.enforced = False
        """Whether the kernel vouches for it; False where the file system knows no locks."""
        self._descriptor = -1

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor >= 0

    def take(self, *, shared: bool = False) -> bool:
        """Take it, alone or beside other readers; False = somebody else has it.

        Raises:
            OSError: the file cannot be opened.
        """
        while not self.held:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                locked = try_flock(descriptor, shared=shared)
                if locked is not False and _same_file(descriptor, self.path):
                    self._descriptor, descriptor = descriptor, -1
                    self.enforced = locked is True
                elif locked is False:
                    return False
            finally:
                if descriptor >= 0:  # held by another, or removed by its last holder: then once more, a fresh one
                    os.close(descriptor)
        return True

    def read(self) -> bytes:
        """The content of the held file."""
        return os.pread(self._descriptor, 4096, 0)

    def write(self, content: bytes) -> None:
        """Replace the content of the held file."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def touch(self) -> bool:
        """Renew the time stamp; False = the file under this name is not, or no longer, the one that is held."""
        if not self.held:
            return False
        os.utime(self._descriptor)
        return _same_file(self._descriptor, self.path)

    def release(self, *, remove: bool = False) -> None:
        """Let go; harmless when it is not held.

        Args:
            remove: take the file away too; only for whoever holds it alone.
        """
        if not self.held:
            return
        if remove and _same_file(self._descriptor, self.path):
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def try_flock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Lock an open file or folder without waiting: True, False when another has it, None where there are no locks.

    Raises:
        OSError: anything else.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in _UNKNOWN:
            return None
        raise
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))  # noqa: PTH116
    except OSError:
        return False
