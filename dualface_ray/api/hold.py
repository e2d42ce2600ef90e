"""Hold: the output folders of a job, from before its first file until nothing writes to them any more.

take ─► nobody else writes there ─► trouble: taken over, deleted │ notes: what else was done to them ─► sweep ─► release
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from dualface_ray.backends.storage import RemoteLock
from dualface_ray.errors import OutputBusyError, OutputError
from dualface_ray.media import (
    OutputLock,
    await_writers,
    folder_gone,
    remove_half_named,
    remove_leftovers,
    remove_workspace,
)
from dualface_ray.report import VideoState, VideoTask
from dualface_ray.settings import Settings

WRITERS_TIMEOUT_S = 10.0
"""How long processes that Ray has ended may take until nothing of theirs is written any more."""


class Hold:
    """Keeps other jobs out of every folder that a job will write to; a job with nothing to do needs none.

    Args:
        tasks: of the job.
        settings: of the job.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings) -> None:
        self._busy = [task for task in tasks if task.state is not VideoState.SKIPPED]
        self._overwrite = settings.job.overwrite
        root = next((task.outputs.publish_root for task in self._busy), "")
        self._lock = RemoteLock(root, settings) if root else OutputLock({task.outputs.folder for task in self._busy})

    @property
    def notes(self) -> Sequence[str]:
        """What has been done to the folders that their user should know of; it only grows."""
        return self._lock.notes if isinstance(self._lock, OutputLock) else ()

    @property
    def trouble(self) -> OutputBusyError | OutputError | None:
        """Why the job cannot go on: another one has taken a folder over, or none of them is there any more."""
        if self._lock.lost:
            return OutputBusyError(self._lock.lost, remedy="Run the same command again when that job has ended.")
        folder = self._lock.gone if isinstance(self._lock, OutputLock) else None
        return None if folder is None else folder_gone(folder)

    def take(self) -> None:
        """Take all folders, or none.

        Raises:
            OutputBusyError: another job has one.
            OutputError, AddressError: one cannot be made, reached or written.
        """
        self._lock.take()

    def look(self) -> None:
        """See now, and not within seconds, what has become of the folders."""
        if isinstance(self._lock, OutputLock):
            self._lock.look()

    def sweep(self, *, discard: bool) -> None:
        """Remove what is unfinished, when the job could not do so itself; whoever wrote it has been ended, or will be.

        Args:
            discard: finished parts of unfinished videos, too; else the next run goes on with them.
        """
        for folder in {task.outputs.folder for task in self._busy}:
            with contextlib.suppress(OSError):
                await_writers(folder, WRITERS_TIMEOUT_S)
        for task in self._busy:
            with contextlib.suppress(OSError):  # the next run meets it, too, and says so
                if not self._overwrite:
                    remove_half_named(task.outputs)
                (remove_workspace if discard else remove_leftovers)(task.outputs)

    def release(self) -> None:
        """Let go. Harmless when called twice."""
        self._lock.release()
