"""OutputLock: two jobs never write to one folder, and a dead job's lock is in nobody's way.

    driver    holds the hidden file .dualface.lock of every output folder: flock + who + a time stamp renewed all along
    encoders  hold the folder itself, shared, while they write: a new job waits until those of a dead one have ended

Only the driver makes output folders, when it takes the lock: one that is deleted meanwhile stays away. A lock file that
is removed by itself, with ``rm .dualface.lock``, is made anew at the next beat: as long as nobody else has taken the
folder, to go on does no harm, while without the file a second job would be let in.

On one machine the kernel answers who lives. Between machines flock may not cross (NFS, some cluster file systems), so a
lock that another machine left is watched: if its time stamp stands still for ``STALE_S``, it is taken over.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dualface_ray.errors import OutputBusyError, OutputError
from dualface_ray.media.disk import output_error
from dualface_ray.media.filelock import FileLock, try_flock

LOCK_NAME = ".dualface.lock"
BEAT_S = 4.0
STALE_S = 20.0
"""A holder elsewhere that misses five beats is dead (or cut off, and then sees that it has lost the lock)."""
WRITERS_TIMEOUT_S = 45.0
"""How long encoders of a dead job may take to end; Ray ends them within seconds."""
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as written into it."""

    host: str
    boot: str
    """Of the machine's running kernel; containers of one machine share it."""
    pid: int
    since: str
    """In words."""
    started: str = ""
    """When the process began, in ticks since the machine did: a number used again is not the same process."""

    @staticmethod
    def here() -> Holder:
        """This process."""
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        return Holder(socket.gethostname(), _boot(), os.getpid(), since, _started(os.getpid()))

    @staticmethod
    def parse(content: bytes) -> Holder | None:
        """Read one; None for anything else."""
        try:
            record = json.loads(content)
            host, boot, pid, since = (record[name] for name in ("host", "boot", "pid", "since"))
            return Holder(str(host), str(boot), int(pid), str(since), str(record.get("started", "")))
        except (ValueError, TypeError, KeyError):
            return None

    def to_json(self) -> bytes:
        """As ``parse`` reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @property
    def on_this_machine(self) -> bool:
        """Whether the kernel that runs here also ran the holder, in this start of the machine."""
        return bool(self.boot) and self.boot == _boot()

    @property
    def gone(self) -> bool:
        """For one on this machine, in containers that see each other's processes: whether the process has ended."""
        return socket.gethostname() == self.host and _started(self.pid) != self.started

    @property
    def text(self) -> str:
        """For people."""
        return f"process {self.pid} on {self.host}, since {self.since}"


class OutputLock:
    """Holds a job's output folders from ``take`` to ``release``, or until its process dies.

    Args:
        folders: every folder that gets files; made when they are missing.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = sorted(set(folders))
        self._locks = [FileLock(folder / LOCK_NAME) for folder in self._folders]
        self._signature = Holder.here().to_json()
        self._doubtful: list[FileLock] = []
        """Taken, but perhaps another machine's."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = ""
        """Set when another job has taken a folder over, as it may when this machine was cut off: then stop."""
        self.gone: Path | None = None
        """Set to the folder that was deleted, when none of the folders is left: then stop, too."""
        self.notes: list[str] = []
        """What else has been done to the folders that their user should know of; it only grows."""

    def take(self) -> None:
        """Take all of them, or none.

        Raises:
            OutputBusyError: another job holds one, or encoders of a dead one do not end.
            OutputError: a folder cannot be made or written.
        """
        try:
            for lock in self._locks:
                if self._take_one(lock):
                    self._doubtful.append(lock)
                else:
                    self._sign(lock)  # at once: an empty file would tell other machines that nobody holds it
            self._watch(self._doubtful)
            for lock in self._locks:
                self._sign(lock)
            self._doubtful = []
            for lock in self._locks:
                if not await_writers(lock.path.parent, WRITERS_TIMEOUT_S):
                    raise OutputBusyError(
                        "processes of a job that is gone still write to this folder",
                        where=str(lock.path.parent),
                        remedy="Find and end them (`fuser` shows who has the folder open), "
                        "or name another folder with -o.",
                    )
        except BaseException:
            self.release()
            raise
        self._thread = threading.Thread(target=self._beat, name="output-lock", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """See now, and not at the next beat, which folders are still there; ``gone`` and ``notes`` say it."""
        absent = [folder for folder in self._folders if is_gone(folder)]
        if absent and len(absent) == len(self._folders):
            common = Path(os.path.commonpath([folder.absolute() for folder in absent]))
            self.gone = self.gone or (common if len(absent) > 1 and is_gone(common) else absent[0])
            return
        for folder in absent:
            self._note(f"{folder}: this folder was deleted, and what was in it is lost; the other videos go on")

    def release(self) -> None:
        """Let go and remove the lock files. Harmless when called twice."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for lock in self._locks:
            lock.release(remove=not self.lost and lock not in self._doubtful)

    def _take_one(self, lock: FileLock) -> bool:
        """True = the kernel does not know whether its last holder lives."""
        folder = lock.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not lock.take():
                raise busy(str(folder), _holder(lock.path))
        except OSError as error:
            raise output_error(error, lock.path) from error
        before = Holder.parse(lock.read())
        return before is not None and not (lock.enforced and before.on_this_machine)

    def _sign(self, lock: FileLock) -> None:
        try:
            lock.write(self._signature)
        except OSError as error:
            raise output_error(error, lock.path) from error

    def _watch(self, doubtful: list[FileLock]) -> None:
        """Wait long enough to see a living holder's beat."""
        seen = {lock.path: _stamp(lock.path) for lock in doubtful}
        deadline_s = time.monotonic() + STALE_S
        while seen and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
            for path, stamp in seen.items():
                if _stamp(path) != stamp:
                    raise busy(str(path.parent), _holder(path))

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            for lock in self._locks:
                with contextlib.suppress(OSError):  # a disk that does not answer now may do so at the next beat
                    if not self._renew(lock):
                        self.lost = f"{lock.path.parent}: another job has taken this folder over"
                        return
            self.look()

    def _renew(self, lock: FileLock) -> bool:
        """False = another job has it now.

        Raises:
            OSError: it cannot be said.
        """
        # where locks do not cross, two machines may have taken one file: the last to sign it has it
        if (lock.touch() and lock.read() == self._signature) or is_gone(lock.path.parent):
            return True
        if not _is_missing(lock.path):
            return False
        lock.release()
        if not lock.take():
            return False
        lock.write(self._signature)
        self._note(f"{lock.path}: was removed and has been made anew, for it keeps other jobs out of this folder")
        return True

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Held by a process while it writes results to a folder.

    Where the file system knows no locks on folders (NFS), it does nothing.

    Raises:
        OutputError: the folder is gone or cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise (folder_gone(folder) if is_gone(folder) else output_error(error, folder)) from error
    try:
        # A new job looks for an instant whether anybody writes here. Whoever holds the folder for longer is no job but
        # some other program; then it is right to go on without. The lock keeps no writers apart (attempts write to
        # files of their own, and names are given by renaming); it only makes the next job wait for writers of a dead
        # one, which Ray ends long before that job's own lanes are up. To wait longer would keep nobody out either:
        # whoever waits is let in at the end, and the new job does not look again.
        for _ in range(20):
            if try_flock(descriptor, shared=True) is not False:
                break
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def await_writers(folder: Path, timeout_s: float) -> bool:
    """Wait until no process of this machine writes to the folder; False = one still does after ``timeout_s`` seconds.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline_s = time.monotonic() + timeout_s
        while try_flock(descriptor) is False:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.1)
    finally:
        os.close(descriptor)
    return True


def is_gone(folder: Path) -> bool:
    """Whether a folder is for certain not there; a disk that does not answer now says nothing."""
    return _is_missing(f"{folder}/.")  # which a file in its place has not


def folder_gone(folder: Path) -> OutputError:
    """The error of an output folder that was deleted or emptied while a job held it."""
    return OutputError(
        "the output folder is gone: it was deleted, or emptied, while the job was writing to it",
        where=str(folder),
        remedy="Run the same command again, and leave the folder alone until it has ended.",
    )


def busy(folder: str, holder: Holder | None) -> OutputBusyError:
    """The error of a folder that another job holds."""
    who = holder.text if holder is not None else "it does not say which"
    return OutputBusyError(
        f"another job writes to this folder ({who})",
        where=folder,
        remedy="Wait for its end or stop it, or name another folder with -o.",
    )


def _is_missing(path: str | Path) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - a Path would lose the dot
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        return error.errno == errno.ESTALE  # NFS: it was deleted on another machine
    return False


def _holder(path: Path) -> Holder | None:
    try:
        return Holder.parse(path.read_bytes()[:4096])
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, int]:
    """Inode and time of change; opened anew each time, which makes NFS ask the server."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def _started(pid: int) -> str:
    """Field 22 of the process's state, counted behind its name, which may hold anything; "" = no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
