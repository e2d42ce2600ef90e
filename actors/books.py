"""Books: what a job knows of its videos and keeps of them, in three places that must not contradict one another.

begun, moved, waits ─► Board: what users see
done, failed, ended ─► Board + Manifest (durable: the next run reads it) + Folders (files beside the results)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from actors.backlog.board import Board
from actors.backlog.manifest import Manifest, manifest_path
from actors.backlog.unit import Unit
from actors.folders import Folders
from actors.messages import SegmentJob
from actors.placement import LanePlan
from dualface_ray.errors import DualfaceError, OutputError, RequestError
from dualface_ray.media import shown_address
from dualface_ray.report import VideoState, VideoTask
from dualface_ray.settings import Settings


class Books:
    """Kept by the job's thread; ``board.snapshot`` may be asked for from any.

    Args:
        tasks: what to do; those already done or refused come with a final state and are only reported.
        settings: of the job.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings) -> None:
        self.board = Board(tasks, settings)
        self.todo = tuple(self.board.task(name) for name in self.board.unfinished)
        """Videos that were unfinished at the start."""
        self._folders = Folders(self.todo, tasks, self.board.note, overwrite=settings.job.overwrite)
        self._manifest = _manifest(tasks)

    def begin(self) -> None:
        """Clear away what earlier runs have left, before anything is written."""
        self._folders.begin()

    def turn(self) -> None:
        """Bring to the disk what is new."""
        self._manifest.flush()
        self.board.note(*self._manifest.notes)

    def close(self) -> None:
        """Nobody writes any more. Each step is taken whatever became of the others: the driver waits for the board."""
        with ExitStack() as stack:  # in reverse
            stack.callback(self.board.close)
            stack.callback(self._manifest.close)
            stack.callback(self._folders.clear_away)

    # --- units ----------------------------------------------------------------------------------------------------
    def earlier(self, unit_id: str) -> int:
        """How often earlier jobs have begun this unit."""
        return self._manifest.attempts(unit_id)

    def gone(self, name: str) -> OutputError | None:
        """The error of a video whose output folder somebody has deleted; None = it is there."""
        return self._folders.gone(self.board.task(name))

    def unit(self, unit: Unit, state: VideoState, attempts: int, plan: LanePlan) -> None:
        """A unit was begun, is done or has failed on this lane."""
        self._manifest.unit(unit.unit_id, unit.video, unit.work.value, state, attempts, plan.lane_id, plan.node_id)

    def abandoned(self, job: SegmentJob) -> None:
        """Its lane died: nobody writes its partial files any more."""
        self._folders.drop_partials(job)

    # --- how videos end -------------------------------------------------------------------------------------------
    def done(self, name: str, frames: int) -> None:
        """Its results are complete."""
        self.board.done(name, frames)
        self._manifest.video(name, VideoState.DONE)
        self._folders.discard(self.board.task(name))

    def failed(self, name: str, error: DualfaceError, attempts: int, *, keep: bool = False) -> None:
        """It is given up, with a report, unless its folder is gone: nothing may make that anew.

        Args:
            name: of the video.
            error: why.
            attempts: how often it was tried.
            keep: finished parts stay for the next run, for it was not the video's own fault.
        """
        gone = self.gone(name)
        if gone is None:
            self.board.failed(name, error, attempts)
        else:
            self.board.stopped(name, VideoState.FAILED, gone)
        self._manifest.video(name, VideoState.FAILED, str(gone or error))
        if keep:
            self._folders.keep(name)
        else:
            self._folders.discard(self.board.task(name))

    def end_rest(self, error: DualfaceError, state: VideoState) -> None:
        """The job ends before its videos do: nobody writes any more, and what was unfinished is failed or cancelled."""
        for name in self.board.unfinished:
            if state is VideoState.FAILED:
                self._folders.keep(name)
            if state is VideoState.FAILED and not isinstance(error, RequestError):
                self.failed(name, error, self.board.progress(name).attempts, keep=True)
            else:
                self.board.stopped(name, state, error)
                self._manifest.video(name, state, str(error))


def _manifest(tasks: Sequence[VideoTask]) -> Manifest:
    """The manifest of the output folder, with the videos of this job taken in."""
    if not tasks:
        return Manifest(None)
    folders = [task.outputs.report.parent.absolute() for task in tasks]
    key = shown_address(tasks[0].outputs.publish_root) or os.path.commonpath(folders)
    manifest = Manifest.open(manifest_path(key), key)
    manifest.begin(tasks)
    return manifest
