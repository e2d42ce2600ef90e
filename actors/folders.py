"""Folders: what of a job lies in its output folders while it runs, and what is cleared away before and after.

begin: leftovers of earlier runs go ─► lanes write parts ─► discard: a video is complete, or given up
                                          └─ a lane died: its partial files go
clear_away: what nobody finished goes, except finished parts that the next run goes on with
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from actors.backlog.pieces import with_leftovers
from actors.messages import SegmentJob
from dualface_ray.errors import OutputError
from dualface_ray.media import (
    folder_gone,
    is_gone,
    remove_half_named,
    remove_leftovers,
    remove_partials,
    remove_workspace,
)
from dualface_ray.report import VideoState, VideoTask


class Folders:
    """The files of a job's videos beside their results.

    Args:
        todo: those of the job's videos that are still to be done.
        tasks: all of them.
        say: told of what cannot be removed; the other videos go on.
        overwrite: results that are there are to be replaced; files that a killed run had named already stay until then.
    """

    def __init__(
        self,
        todo: Sequence[VideoTask],
        tasks: Sequence[VideoTask],
        say: Callable[[str], None],
        *,
        overwrite: bool,
    ) -> None:
        self._todo = todo
        ours = {task.outputs.folder for task in todo}
        self._held = {folder for folder in ours if not is_gone(folder)}
        """Made by the driver, and by nobody else; results on their way to an object store lie elsewhere."""
        self._skipped = [t for t in tasks if t.state is VideoState.SKIPPED and t.outputs.folder in ours]
        """Done before, in folders that this job holds: nobody else works on them now."""
        self._say = say
        self._overwrite = overwrite
        self._kept: set[str] = set()

    def begin(self) -> None:
        """Clear away what earlier runs have left, before anything is written."""
        for task in with_leftovers(self._todo):
            if not self._overwrite:
                self._remove(remove_half_named, task.outputs)
            self._remove(remove_leftovers, task.outputs)
        for task in with_leftovers(self._skipped):  # a run that was killed right after it had written the report
            self._remove(remove_workspace, task.outputs)

    def keep(self, name: str) -> None:
        """Finished parts of this video stay for the next run: it was the job that failed, now or before."""
        self._kept.add(name)

    def discard(self, task: VideoTask) -> None:
        """The parts of this video are not wanted any more."""
        self._remove(remove_workspace, task.outputs)

    def drop_partials(self, job: SegmentJob) -> None:
        """Its lane died: nobody writes its partial files any more."""
        self._remove(remove_partials, job.outputs, job.piece)

    def clear_away(self) -> None:
        """Nobody writes any more."""
        for task in with_leftovers(self._todo):
            self._remove(remove_leftovers if task.stream_id in self._kept else remove_workspace, task.outputs)

    def gone(self, task: VideoTask) -> OutputError | None:
        """The error of a video whose output folder somebody has deleted while the job ran; None = it is there.

        Nothing makes the folder anew, not even the report of this failure. The other videos go on; where no folder is
        left at all, the driver ends the job.
        """
        folder = task.outputs.folder
        return folder_gone(folder) if folder in self._held and is_gone(folder) else None

    def _remove(self, remove: Callable[..., None], *what: Any) -> None:
        """Clear away; where that is impossible the user is told, and the other videos go on."""
        try:
            remove(*what)
        except OSError as error:
            self._say(f"unfinished files stay where they are: {error}")
