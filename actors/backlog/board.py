"""Board: how every video of a job stands, for whoever asks from another thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dualface_ray.errors import DualfaceError, OutputError
from dualface_ray.report import JobSnapshot, RateMeter, VideoProgress, VideoState, VideoTask, write_failure
from dualface_ray.settings import Settings

MOST_NOTES = 500


@dataclass(slots=True)
class _Video:
    task: VideoTask
    progress: VideoProgress
    meter: RateMeter


class Board:
    """Progress of the videos and what the user should know besides. The job's thread writes, any thread reads.

    Args:
        tasks: all videos, also those that were refused or done before.
        settings: of the job, for the reports of failures.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._videos = {task.stream_id: _Video(task, task.initial_progress(), RateMeter()) for task in tasks}
        self._unfinished = {name for name, video in self._videos.items() if not video.progress.state.final}
        self._notes: list[str] = []
        self._began_s = time.monotonic()
        self._ended_s: float | None = None

    @property
    def unfinished(self) -> list[str]:
        """Stream ids of the videos that are not in a final state."""
        return sorted(self._unfinished)

    def counts(self) -> dict[str, int]:
        """How many videos are in each state."""
        found = dict.fromkeys((state.value for state in VideoState), 0)
        for video in self._videos.values():
            found[video.progress.state.value] += 1
        return found

    @property
    def tasks(self) -> list[VideoTask]:
        """Of all videos."""
        return [video.task for video in self._videos.values()]

    def task(self, name: str) -> VideoTask:
        """Of one video."""
        return self._videos[name].task

    def progress(self, name: str) -> VideoProgress:
        """Of one video."""
        return self._videos[name].progress

    def note(self, *texts: str) -> None:
        """Say this to the user once; beyond a number that anybody would read, nothing more is said."""
        with self._lock:
            for text in texts:
                if text not in self._notes and len(self._notes) < MOST_NOTES:
                    self._notes.append(text)

    def begun(self, name: str, attempts: int) -> None:
        """A unit of it has been given to a lane, for the so many-th time."""
        attempts = max(attempts, self._videos[name].progress.attempts)
        self._update(name, state=VideoState.RUNNING, attempts=attempts)

    def moved(self, name: str, state: VideoState, frames_done: int, frames_total: int) -> None:
        """It has come so far."""
        fps = self._videos[name].meter.push(time.monotonic(), frames_done)
        left = frames_total - frames_done
        eta_s = left / fps if fps > 0 and left > 0 else None
        self._update(name, state=state, fps=fps, eta_s=eta_s, frames_done=frames_done, frames_total=frames_total)

    def waits(self, name: str, frames_done: int) -> None:
        """Nothing of it runs any more, and it is not done."""
        self._update(name, state=VideoState.WAITING, fps=0.0, eta_s=None, frames_done=frames_done)

    def done(self, name: str, frames: int) -> None:
        """Its results are complete."""
        video = self._videos[name]
        video.meter.push(time.monotonic(), frames)
        average = frames / video.meter.seconds if video.meter.seconds > 0 else 0.0
        self._end(name, VideoState.DONE, fps=average, frames_done=frames, frames_total=frames)

    def failed(self, name: str, error: DualfaceError, attempts: int) -> None:
        """It has no results; a report says why."""
        try:
            write_failure(self.task(name), error, self._settings, max(1, attempts))
        except OutputError as other:
            self.note(f"the report of this failure cannot be written: {other}")
        self._end(name, VideoState.FAILED, error=str(error), error_code=error.code, fps=0.0)

    def stopped(self, name: str, state: VideoState, error: DualfaceError) -> None:
        """It was not its own fault: no report is left."""
        self._end(name, state, error=str(error), error_code=error.code, fps=0.0)

    def close(self) -> None:
        """The job is over."""
        with self._lock:
            self._ended_s = time.monotonic()

    def snapshot(self, lanes: Sequence[str], queued: int, running: int) -> JobSnapshot:
        """Everything at this moment."""
        with self._lock:
            return JobSnapshot(
                videos=tuple(video.progress for video in self._videos.values()),
                lanes=tuple(lanes),
                elapsed_s=(self._ended_s or time.monotonic()) - self._began_s,
                final=self._ended_s is not None,
                notes=tuple(self._notes),
                units_waiting=queued,
                units_running=running,
            )

    def _end(self, name: str, state: VideoState, **changes: object) -> None:
        self._unfinished.discard(name)
        self._update(name, state=state, eta_s=None, **changes)

    def _update(self, name: str, **changes: object) -> None:
        with self._lock:
            video = self._videos[name]
            video.progress = replace(video.progress, **changes)  # type: ignore[arg-type]
