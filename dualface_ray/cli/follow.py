"""Following a job to its end, and stopping it when somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from dualface_ray.cli.faults import INTERRUPTED
from dualface_ray.cli.signals import settled
from dualface_ray.report import JobSnapshot


class Followed(Protocol):
    """What following needs of a job (``dualface_ray.api.Job`` has it)."""

    def wait(
        self, timeout_s: float | None = None, on_progress: Callable[[JobSnapshot], None] | None = None
    ) -> JobSnapshot:
        """Wait for the end, calling back a few times a second."""

    def cancel(self) -> None:
        """Stop what is not finished."""

    def snapshot(self) -> JobSnapshot:
        """The job as it stands."""


class Display(Protocol):
    """Something that shows a job."""

    def update(self, snapshot: JobSnapshot) -> None:
        """Show how the job stands now."""

    def say(self, line: str) -> None:
        """Show one line for the user."""

    def finish(self, snapshot: JobSnapshot) -> None:
        """Show how the job ended; the last call."""


def follow(job: Followed, display: Display, unread: Callable[[], bool] = lambda: False) -> int:
    """Show the job until it ends and return its exit code.

    Ctrl-C (or SIGTERM) cancels the job and waits until it has cleaned up; the exit code is then 130, unless there was
    nothing left to discard. A second Ctrl-C interrupts that, too: the caller's ``close`` has the last word.

    Args:
        job: that runs.
        display: shows it.
        unread: whether somebody who was to read the output has left (``| head``); that cancels the job, too.
    """
    seen: JobSnapshot | None = None

    def show(snapshot: JobSnapshot) -> None:
        nonlocal seen
        seen = snapshot
        if _all_ended(snapshot):
            settled()
        display.update(snapshot)
        if unread() and not _all_ended(snapshot):
            raise BrokenPipeError

    try:
        snapshot = job.wait(on_progress=show)
    except (KeyboardInterrupt, BrokenPipeError):
        if seen is None or not _all_ended(seen):
            display.say("stopping: unfinished videos are discarded, finished ones stay")
        job.cancel()
        snapshot = job.snapshot()
        if _all_ended(snapshot):
            settled()
    with suppress(KeyboardInterrupt):
        display.finish(snapshot)
    return snapshot.exit_code if _all_ended(snapshot) else INTERRUPTED


def _all_ended(snapshot: JobSnapshot) -> bool:
    return all(video.state.final for video in snapshot.videos)
