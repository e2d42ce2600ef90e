"""One process at a time: a file lock that dies with its process, so it cannot be left behind locked."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def one_at_a_time(path: Path, work: str, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file at ``path``; while another process holds it, say so once and wait.

    Args:
        path: of the lock file; created when it is missing, and left there.
        work: what the other process does, for the line: "fetches the same model".
        progress: gets that line.
    """
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that {work}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
