"""ScratchStore: remote inputs on this node's own disk, fetched once, ahead of their turn, and gone after use.

    root/in/<key>/talk.mp4                a fetched input, its entry held by every process that uses it
    root/out/<key>/talk.dualface.mp4      results on their way to a remote folder
    root/in/<key>.lock  .fetching         who uses the entry (shared), who fetches it (alone)

The kernel drops the locks of a process that dies, so an entry that nobody holds is a dead job's and may be swept away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dualface_ray.backends.storage.patience import Patience
from dualface_ray.backends.storage.transfer import fetch
from dualface_ray.errors import Cancelled, DualfaceError, OutputError
from dualface_ray.media import FileLock, output_error, shown_address
from dualface_ray.settings import Settings

_LOOK_S = 0.1
_KEY_DIGITS = 20
_ENTRY_LOCK = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS}}}\.lock")


def scratch_root(settings: Settings) -> Path:
    """The scratch folder of a job; nothing is created."""
    if settings.storage.scratch_dir:
        return Path(settings.storage.scratch_dir)
    return Path(tempfile.gettempdir()).absolute() / f"dualface-{os.getuid()}"


def scratch_input(root: Path, url: str, identity: str, name: str) -> Path:
    """Where an input is fetched to: by its address and content, under its own name."""
    return root / "in" / _key(url, identity) / name


def scratch_outputs(root: Path, url: str) -> Path:
    """The folder in which results for a remote folder lie until they are uploaded."""
    return root / "out" / _key(url.rstrip("/"))


@dataclass(slots=True)
class _Held:
    """One entry that this process uses or has fetched ahead."""

    lock: FileLock
    users: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    """Nobody waits any more for what is being fetched ahead."""


class ScratchStore:
    """Fetched inputs and outgoing results of one process; entries are shared with the node's other processes.

    Args:
        settings: of the job.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._held: dict[Path, _Held] = {}
        self._ahead: OrderedDict[Path, None] = OrderedDict()
        """Entries fetched, or being fetched, ahead of use; oldest first."""
        self._threads: set[threading.Thread] = set()
        """Those that fetch ahead, forgotten ones too."""
        self._closed = False
        self._patience = Patience(settings)

    @property
    def progress(self) -> int:
        """Grows while something is fetched: for those who watch whether this process still moves."""
        return self._patience.value

    @contextlib.contextmanager
    def using(self, origin: str, path: Path, identity: str = "", stop: threading.Event | None = None) -> Iterator[Path]:
        """The input at ``path`` while it is used, fetched from ``origin`` if it is not there; local files pass through.

        Args:
            origin: its address; empty = a local file.
            path: see ``scratch_input``.
            identity: what the address meant when the job was made.
            stop: ends the fetch.

        Raises:
            InputError, OutputError, Cancelled: see ``transfer.fetch``.
        """
        if not origin:
            yield path
            return
        with self.holding(path.parent):
            self.forget(path.parent, stop=False)
            self._bring(origin, path, identity, stop)
            yield path

    @contextlib.contextmanager
    def holding(self, entry: Path) -> Iterator[None]:
        """Keep an entry, such as ``scratch_outputs``, while it is used; the last one to let go takes it away.

        Raises:
            OutputError: it cannot be made.
        """
        self._hold(entry)
        try:
            yield
        finally:
            self._drop(entry)

    def prefetch(self, origin: str, path: Path, identity: str = "") -> None:
        """Fetch an input ahead of its turn; returns at once, and trouble waits for ``using`` to meet it.

        At most ``storage.prefetch_files`` wait here: the one that has waited longest gives way.
        """
        limit = self._settings.storage.prefetch_files
        if not limit or self._closed:
            return
        if not origin:
            _read_ahead(path, self._settings.storage.probe_bytes)
            return
        entry = path.parent
        with self._lock:
            if entry in self._held:
                return
        try:
            held = self._hold(entry)
        except OutputError:
            return
        self._hold(entry)  # the thread's own: whoever forgets the entry does not wait until it has left
        thread = threading.Thread(
            target=self._fetch_ahead, args=(origin, path, identity, held), name=f"prefetch-{path.name}", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
            self._ahead[entry] = None
            old = list(self._ahead)[:-limit]
        thread.start()
        for other in old:
            self.forget(other)

    def forget(self, entry: Path, *, stop: bool = True) -> None:
        """An input fetched ahead will not be used here, or (without ``stop``) is being used from now on."""
        with self._lock:
            if entry not in self._ahead:
                return
            del self._ahead[entry]
            if stop:
                self._held[entry].stop.set()
        self._drop(entry)

    def sweep(self) -> int:
        """Remove what dead jobs left on this node; returns the number of entries.

        A scratch folder that is not ours alone is left as it is: another could have us remove what is not scratch.
        """
        removed, root = 0, scratch_root(self._settings)
        try:
            if not _is_private(root):
                return 0
        except OSError:  # there is none, most likely
            return 0
        for kind in ("in", "out"):
            folder = root / kind
            for path in folder.glob("*.lock") if folder.is_dir() and not folder.is_symlink() else ():
                if _ENTRY_LOCK.fullmatch(path.name):
                    with contextlib.suppress(OSError):
                        removed += _remove_unless_held(path.with_suffix(""))
        return removed

    def close(self) -> None:
        """Stop fetching ahead and give it back. Harmless when called twice."""
        self._closed = True
        for entry in list(self._ahead):
            self.forget(entry)
        for thread in list(self._threads):
            thread.join()

    # --- inside ---------------------------------------------------------------------------------------------------
    def _hold(self, entry: Path) -> _Held:
        """Count one more user of an entry; the first one takes its lock."""
        with self._lock:
            held = self._held.get(entry)
            if held is None:
                held = _Held(FileLock(entry.parent / f"{entry.name}.lock"))
                make_private(entry.parent.parent, entry.parent)
                try:
                    while not held.lock.take(shared=True):  # somebody is just removing it
                        time.sleep(_LOOK_S)
                    entry.mkdir(mode=0o700, exist_ok=True)
                except OSError as error:
                    held.lock.release()
                    raise output_error(error, entry) from error
                self._held[entry] = held
            held.users += 1
            return held

    def _drop(self, entry: Path) -> None:
        """Count one user less; the last one on this node takes the entry away."""
        with self._lock:
            held = self._held[entry]
            held.users -= 1
            if not held.users:
                del self._held[entry]
                held.lock.release()
                with contextlib.suppress(OSError):
                    _remove_unless_held(entry)

    def _bring(self, origin: str, path: Path, identity: str, stop: threading.Event | None) -> None:
        """Make sure that the file is there; one process of the node, and one thread of it, fetches it at a time."""
        gate, arrived, seen_bytes = _gate(path.parent), self._patience.moved, 0
        try:
            with self._patience.active():
                while not path.exists():
                    if stop is not None and stop.is_set():
                        raise Cancelled("cancelled", where=shown_address(origin))
                    if not gate.take():
                        time.sleep(_LOOK_S)
                        there_bytes = _size_bytes(path.parent)
                        if there_bytes > seen_bytes:  # whoever fetches it goes on, and so do we
                            arrived(there_bytes - seen_bytes)
                            seen_bytes = there_bytes
                    elif not path.exists():
                        fetch(origin, path, self._settings, identity=identity, stop=stop, arrived=arrived)
        except OSError as error:
            raise output_error(error, path) from error
        finally:
            gate.release(remove=True)

    def _fetch_ahead(self, origin: str, path: Path, identity: str, held: _Held) -> None:
        try:
            with contextlib.suppress(DualfaceError):  # whoever uses it meets the same trouble, and says so
                self._bring(origin, path, identity, held.stop)
        finally:
            self._drop(path.parent)
            with self._lock:
                self._threads.discard(threading.current_thread())


def make_private(root: Path, folder: Path) -> None:
    """Make a folder below the scratch root, and refuse a root that is somebody else's.

    Raises:
        OutputError: it cannot be made, or another user could write to it.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(root):
            raise OutputError(
                "the scratch folder belongs to, or can be written by, somebody else",
                where=str(root),
                remedy="Name another one with storage.scratch_dir.",
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from error


def _is_private(folder: Path) -> bool:
    """Whether nobody else could put anything there."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _gate(entry: Path) -> FileLock:
    return FileLock(entry.parent / f"{entry.name}.fetching")


def _size_bytes(entry: Path) -> int:
    """What has arrived there so far."""
    total = 0
    for path in entry.glob("*"):
        with contextlib.suppress(OSError):  # it has just got its name, or is begun again
            total += path.stat().st_size
    return total


def _remove_unless_held(entry: Path) -> int:
    lock = FileLock(entry.parent / f"{entry.name}.lock")
    if not lock.take():
        return 0
    shutil.rmtree(entry, ignore_errors=True)
    _gate(entry).path.unlink(missing_ok=True)
    lock.release(remove=True)
    return 1


def _read_ahead(path: Path, size_bytes: int) -> None:
    """A local or shared file: ask the kernel to have its beginning ready."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.posix_fadvise(descriptor, 0, size_bytes, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _key(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogateescape")).hexdigest()[:_KEY_DIGITS]
