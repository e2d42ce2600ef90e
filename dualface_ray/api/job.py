"""Job: a running job in the hands of whoever started it.

Hold: its output folders ─► Contact: its process ─► snapshots ─► final │ cancelled │ an error, and nothing half-written
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

from dualface_ray.api.connection import connect
from dualface_ray.api.contact import Contact
from dualface_ray.api.hold import Hold
from dualface_ray.errors import ActorError, Cancelled, DualfaceError, RequestError
from dualface_ray.report import (
    JobSnapshot,
    Preview,
    Tracks,
    VideoProgress,
    VideoState,
    VideoTask,
    preview,
    read_tracks,
    write_failure,
)
from dualface_ray.request import refused, settle
from dualface_ray.settings import Settings

POLL_S = 0.25
CANCEL_TIMEOUT_S = 20.0


class Job:
    """A running job; it ends with its process. Usable as a context manager: leaving it cancels what still runs.

    Where every video is done already, or cannot even be opened, it has ended at once and Ray is not started.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, address: str | None = None) -> None:
        self.tasks = tuple(tasks)
        self.settings = settings
        self._contact: Contact | None = None
        self._error: DualfaceError | None = None
        """What ended it."""
        self._cancelling = self._closed = False
        self._notes: dict[str, None] = {}
        """In the order in which they were heard."""
        self._hold = Hold(self.tasks, settings)
        self._hold.take()
        try:
            self.tasks = settle(self.tasks, settings)
            for task, error in refused(self.tasks, settings):
                write_failure(task, error, settings)
            done = all(task.state.final for task in self.tasks)
            self._last = JobSnapshot(tuple(task.initial_progress() for task in self.tasks), final=done)
            if done:
                self._hold.release()
            else:
                self._contact = self._started(address)
        except BaseException:
            self._hold.release()
            raise

    def snapshot(self) -> JobSnapshot:
        """The job as it stands now.

        Raises:
            ActorError: the job's own process died.
            OutputBusyError: another job has taken the output folder over, as it may when this machine was cut off.
            OutputError: the output folder was deleted.
        """
        if self._error is not None:
            raise self._error
        if self._contact is None or self._last.final:
            return self._last
        self._check_folders(self._last)
        try:
            found = self._contact.snapshot()
        except ActorError as error:
            self._fail(error)
            raise
        if found.final:
            self._hold.look()
            if found.exit_code == 1:
                self._check_folders(found)  # it may have made the videos fail
            self._hold.release()
        self._notes.update(dict.fromkeys((*found.notes, *self._hold.notes)))
        self._last = replace(found, notes=tuple(self._notes))
        return self._last

    def wait(
        self, timeout_s: float | None = None, on_progress: Callable[[JobSnapshot], None] | None = None
    ) -> JobSnapshot:
        """Wait for the end, or at most ``timeout_s`` seconds; ``on_progress`` sees a snapshot a few times a second."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            snapshot = self.snapshot()
            if on_progress is not None:
                on_progress(snapshot)
            if snapshot.final or (deadline_s is not None and time.monotonic() >= deadline_s):
                return snapshot
            time.sleep(POLL_S)

    @property
    def progress(self) -> JobSnapshot:
        """The job as it stands now; shows itself in a notebook. Raises what ``snapshot`` raises."""
        return self.snapshot()

    def result(self, timeout_s: float | None = None) -> JobSnapshot:
        """The job at its end, waited for as by ``wait``; shows itself in a notebook.

        Raises:
            RequestError: it has not ended within ``timeout_s`` seconds; it runs on.
        """
        found = self.wait(timeout_s)
        if not found.final:
            remedy = "Wait longer, or look at progress."
            raise RequestError(f"the job has not ended within {timeout_s:g} s", where="result", remedy=remedy)
        return found

    def tracks(self, index: int = 0) -> Tracks:
        """Where A and B were in every frame of a finished video; shows itself in a notebook as a timeline.

        Args:
            index: of the video, in the order of the request.

        Raises:
            RequestError: there is no such video, it is not done, or its results lie in a store.
            InputError: the tracks cannot be read.
        """
        return read_tracks(self._done(index, "tracks").outputs.tracks)

    def preview(self, index: int = 0, *, pictures: int = 6) -> Preview:
        """A contact sheet of a finished video; shows itself in a notebook.

        Args:
            index: of the video, in the order of the request.
            pictures: frames on it.

        Raises:
            RequestError: as of ``tracks``, or the source is no local file.
            InputError: the source or the tracks cannot be read.
        """
        task = self._done(index, "preview")
        if task.origin:
            remedy = "Fetch it, and use dualface_ray.report.preview."
            raise RequestError("the source of this video is no local file", where=task.shown, remedy=remedy)
        return preview(self.tracks(index), task.source, settings=self.settings, pictures=pictures)

    def __repr__(self) -> str:
        last = self._last
        done = sum(video.state.final for video in last.videos)
        return f"<Job: {done} of {len(last.videos)} videos ended{', final' if last.final else ''}>"

    def _repr_html_(self) -> str:
        """As its progress was when it was last looked at; a notebook must not wait for a cluster to draw this."""
        return self._last._repr_html_()

    def cancel(self) -> None:
        """Stop what is not finished and wait until nothing of it is left."""
        if self._contact is None or self._ended:
            return
        self._cancelling = True
        self._contact.cancel()
        try:
            if not self.wait(CANCEL_TIMEOUT_S).final:
                self._stop()
        except DualfaceError:
            return  # it ended otherwise, which snapshot() says

    def close(self) -> None:
        """End the job; cancels it when it still runs, unless that was begun and interrupted: then it ends at once.

        Harmless when called twice.
        """
        if self._closed or self._contact is None:
            return
        self._closed = True
        try:
            if not self._cancelling:
                self.cancel()
        finally:
            if not self._ended:
                self._stop()
            elif self._error is None:
                self._contact.end(lanes=False)
            self._hold.release()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- how it ends ----------------------------------------------------------------------------------------------
    def _done(self, index: int, where: str) -> VideoTask:
        videos = self._last.videos if self._last.final or self._error else self.snapshot().videos
        if not 0 <= index < len(videos):
            raise RequestError(
                f"there is no video {index}", where=where, remedy=f"The job has {len(videos)}, counted from 0."
            )
        state, task = videos[index].state, self.tasks[index]
        if state not in (VideoState.DONE, VideoState.SKIPPED):
            remedy = "Look at progress: each video says why it failed." if state.final else "Wait for it: result()."
            raise RequestError(f"this video is {state.value}", where=task.shown, remedy=remedy)
        if task.publish:
            remedy = "Fetch its files, and use dualface_ray.report.read_tracks."
            raise RequestError("the results of this video lie in a store", where=task.shown, remedy=remedy)
        return task

    @property
    def _ended(self) -> bool:
        return self._last.final or self._error is not None

    def _started(self, address: str | None) -> Contact:
        connect(self.settings, address)
        return Contact(self.tasks, self.settings)

    def _check_folders(self, snapshot: JobSnapshot) -> None:
        """A job that has lost its folders stops at once, and leaves whatever is there now to others.

        Raises:
            OutputBusyError, OutputError: it has.
        """
        trouble = self._hold.trouble
        wanted = snapshot.exit_code or not all(video.state.final for video in snapshot.videos)
        if trouble is not None and wanted and self._contact is not None:
            self._error = trouble
            self._contact.end(lanes=True)
            self._hold.release()
            raise trouble

    def _fail(self, error: ActorError) -> None:
        """Its process cannot be relied on any more: end what is left of it; the next run goes on with what is done."""
        self._error = error
        if self._contact is not None:
            self._contact.end(lanes=True)
        self._hold.sweep(discard=False)
        self._hold.release()

    def _stop(self) -> None:
        """It could not be cancelled in time, or nobody wants to wait for that: end it, and clear away for it."""
        if self._contact is not None:
            self._contact.end(lanes=True)
        self._hold.sweep(discard=True)
        self._hold.release()
        self._last = replace(self._last, videos=tuple(_cancelled(video) for video in self._last.videos), final=True)


def _cancelled(video: VideoProgress) -> VideoProgress:
    if video.state.final:
        return video
    error = Cancelled("cancelled")
    return replace(video, state=VideoState.CANCELLED, fps=0.0, eta_s=None, error=str(error), error_code=error.code)
