"""SharedBlock: host memory that several processes map and that cannot outlive them.

    owner: create ─ nameless file in /dev/shm, every page reserved ─► token ─ (a message) ─► consumer: attach

A nameless file (``O_TMPFILE``, open(2)) has no entry in any directory: the kernel frees it when the last process that
opened or mapped it is gone, by whatever death. Consumers reach it through the owner's ``/proc/<pid>/fd/<fd>``
(proc(5): same user, same PID namespace), so the owner must live while they attach; afterwards it need not.
Where the kernel or the mount does not allow that, ``shm_named`` stands in.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualface_ray.errors import SharedMemoryError
from dualface_ray.frames import shm_named
from dualface_ray.frames.shm_named import NamedFile

_SHM = Path("/dev/shm")  # noqa: S108 - the kernel's shared memory mount, not a scratch folder
_RESTART = "Start the lane again."


def shm_directory() -> Path:
    """Where shared memory lives: /dev/shm, or the folder for temporary files on systems without it."""
    return _SHM if _SHM.is_dir() and os.access(_SHM, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def free_bytes() -> int:
    """Bytes that can still be reserved in shared memory: free space of its mount, and no more than free memory."""
    space = os.statvfs(shm_directory())
    return min(space.f_bavail * space.f_frsize, _memory_left_bytes())


def _memory_left_bytes() -> int:
    """What the kernel says is available, in the machine (proc(5), meminfo) and in the container (cgroup v2).

    Reserving more than this would call the out-of-memory killer instead of raising an error.
    """
    left = 1 << 62
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        left = sum(int(lines[key].split()[0]) for key in ("MemAvailable", "SwapFree")) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if limit != "max":
            usage = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            left = min(left, max(0, int(limit) - int(used) + int(usage.get("inactive_file", 0))))
    except (OSError, ValueError):
        pass
    return left


class SharedBlock:
    """``size_bytes`` of zeroed memory shared by the processes of one machine and user.

    The owner's block is writable, an attached one is read-only.
    """

    def __init__(self, fd: int, size_bytes: int, token: bytes, named: NamedFile | None, writable: bool) -> None:
        self.size_bytes = size_bytes
        self.token = token
        """Plain data for ``attach`` in another process."""
        self._fd = fd
        self._named = named
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            self._map: mmap.mmap | None = mmap.mmap(fd, size_bytes, access=access)
        except OSError as error:
            os.close(fd)
            raise SharedMemoryError(
                f"cannot map {size_bytes} bytes: {error.strerror}", where="shared memory"
            ) from error

    @staticmethod
    def create(size_bytes: int, *, nameless: bool = True) -> SharedBlock:
        """Reserve memory; every page is there on return, so that no later write can fail.

        Args:
            size_bytes: at least 1.
            nameless: False forces the fallback with a name (``shm_named``), which is also taken by itself.

        Raises:
            SharedMemoryError: /dev/shm or the memory is too small (with both numbers), or cannot be used at all.
        """
        if size_bytes < 1:
            raise SharedMemoryError(f"cannot reserve {size_bytes} bytes", where="shared memory")
        free = free_bytes()
        if size_bytes > free:
            raise _too_small(size_bytes, free)
        named = None
        fd = _open_nameless() if nameless else -1
        if fd < 0:
            named = shm_named.create(shm_directory())
            fd = named.fd
        try:
            os.posix_fallocate(fd, 0, size_bytes)
        except OSError as error:
            os.close(fd)
            if named:
                named.remove()
            raise _too_small(size_bytes, free_bytes()) from error
        seen = os.fstat(fd)
        token: dict[str, int | str] = {"size": size_bytes, "dev": seen.st_dev, "ino": seen.st_ino, "pid": os.getpid()}
        token |= {"path": str(named.path)} if named else {"start": _start_time(os.getpid()), "fd": fd}
        return SharedBlock(fd, size_bytes, json.dumps(token).encode(), named, writable=True)

    @staticmethod
    def attach(token: bytes) -> SharedBlock:
        """Map the block of another process (or of this one), read-only.

        Raises:
            SharedMemoryError: its owner is gone (also when another process now has its number), runs as another
                user or in another container, or the token is damaged.
        """
        try:
            fields = json.loads(token)
            size, pid, identity = int(fields["size"]), int(fields["pid"]), (int(fields["dev"]), int(fields["ino"]))
            start = int(fields.get("start", 0))
            path = str(fields["path"]) if "path" in fields else f"/proc/{pid}/fd/{int(fields['fd'])}"
        except (ValueError, KeyError, TypeError) as error:
            raise SharedMemoryError("the token of a shared block is damaged", where="shared memory") from error
        where = f"shared memory of process {pid}"
        try:
            _require_same_process(pid, start, where)
            _require_same_file(
                Path(path).stat(), identity, size, where
            )  # before opening: a stranger's fd may be a pipe
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except PermissionError as error:
            remedy = "Run all processes as one user in one container."
            raise SharedMemoryError("this process may not open it", where=where, remedy=remedy) from error
        except OSError as error:
            raise SharedMemoryError("its owner is gone or has closed it", where=where, remedy=_RESTART) from error
        try:
            _require_same_file(os.fstat(fd), identity, size, where)
        except SharedMemoryError:
            os.close(fd)
            raise
        block = SharedBlock(fd, size, token, None, writable=False)
        block._drop_fd()  # the mapping alone keeps the memory
        return block

    def array(self, offset_bytes: int = 0, count: int | None = None) -> npt.NDArray[np.uint8]:
        """``count`` bytes from ``offset_bytes`` on, as uint8 (count,); no copy.

        Raises:
            SharedMemoryError: the block is closed, or the range leaves it.
        """
        if self._map is None:
            raise SharedMemoryError("the block is closed", where="shared memory")
        count = self.size_bytes - offset_bytes if count is None else count
        if offset_bytes < 0 or count < 0 or offset_bytes + count > self.size_bytes:
            what = f"bytes {offset_bytes} to {offset_bytes + count} lie outside a block of {self.size_bytes}"
            raise SharedMemoryError(what, where="shared memory")
        return np.frombuffer(self._map, np.uint8, count, offset_bytes)

    def seal(self) -> None:
        """Every consumer has attached: from now on nothing has a name (nothing to do for a nameless block)."""
        if self._named is not None:
            self._named.remove()
            self._named = None

    def close(self) -> None:
        """Unmap and forget; harmless when called twice.

        Arrays handed out stay valid: the mapping goes with the last of them, never under their feet.
        """
        self.seal()
        mapped, self._map = self._map, None
        if mapped is not None:
            try:
                mapped.close()
            except BufferError:  # views are alive; they keep the mapping until they are dropped
                del mapped
        self._drop_fd()

    def _drop_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _open_nameless() -> int:
    """A nameless file that other processes can reach, or -1 where this system does not offer that."""
    if not hasattr(os, "O_TMPFILE") or shm_directory() != _SHM:
        return -1
    try:
        # proc(5): the files of a process that others may not inspect belong to root instead of its own user
        if Path(f"/proc/{os.getpid()}").stat().st_uid != os.geteuid():
            return -1
        fd = os.open(_SHM, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1
    if not os.access(f"/proc/{os.getpid()}/fd/{fd}", os.R_OK):
        os.close(fd)
        return -1
    return fd


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: field 22 of /proc/<pid>/stat (proc(5))."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[19])


def _require_same_process(pid: int, start: int, where: str) -> None:
    if start and _start_time(pid) != start:
        raise SharedMemoryError("its owner is gone; another process has its number now", where=where, remedy=_RESTART)


def _require_same_file(seen: os.stat_result, identity: tuple[int, int], size: int, where: str) -> None:
    if (seen.st_dev, seen.st_ino) != identity or not stat.S_ISREG(seen.st_mode) or seen.st_size != size:
        raise SharedMemoryError("its owner has closed it and reuses the number", where=where, remedy=_RESTART)


def _too_small(size_bytes: int, free: int) -> SharedMemoryError:
    mib = 1 << 20
    return SharedMemoryError(
        f"{size_bytes / mib:.1f} MiB are needed and {max(free, 0) / mib:.1f} MiB are free",
        where=str(shm_directory()),
        remedy="Lower lane.streams or lane.pool_budget_bytes, or enlarge shared memory (docker run --shm-size).",
    )
