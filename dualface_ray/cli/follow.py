"""Following a job to its end, and stopping it when somebody says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

from dualface_ray.cli.faults import INTERRUPTED
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


def follow(job: Followed, display: Display) -> int:
    """Show the job until it ends and return its exit code.

    Ctrl-C (or SIGTERM) cancels the job and waits until it has cleaned up; the exit code is then 130, unless there was
    nothing left to discard. A second Ctrl-C interrupts that, too: the caller's ``close`` has the last word.
    """
    seen: JobSnapshot | None = None

    def show(snapshot: JobSnapshot) -> None:
        nonlocal seen
        seen = snapshot
        display.update(snapshot)

    try:
        snapshot = job.wait(on_progress=show)
    except KeyboardInterrupt:
        if seen is None or not _all_ended(seen):
            display.say("stopping: unfinished videos are discarded, finished ones stay")
        job.cancel()
        snapshot = job.snapshot()
    with suppress(KeyboardInterrupt), undisturbed():
        display.finish(snapshot)
    return snapshot.exit_code if _all_ended(snapshot) else INTERRUPTED


def _all_ended(snapshot: JobSnapshot) -> bool:
    return all(video.state.final for video in snapshot.videos)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within this block the first Ctrl-C, SIGTERM or SIGHUP does nothing, for the end is near; a second one interrupts.

    As for ``terminated_is_interrupted``: what is ignored stays ignored, and only the main thread is concerned.
    """
    noted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted:
            raise KeyboardInterrupt
        noted = True

    with _handled(note, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Within this block SIGTERM and SIGHUP do what Ctrl-C does: ``kill`` or a closed terminal leave nothing behind.

    A signal that is ignored (``nohup``) stays ignored. Signals belong to the main thread; elsewhere the block changes
    nothing.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        try:
            yield
        except SystemExit as error:
            if not _is_main_thread():
                raise
            raise KeyboardInterrupt from error  # what Ray's own handler for SIGTERM makes of it while Ray starts


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Within this block these signals go to the handler, but for those that are ignored."""
    before = {}
    if _is_main_thread():
        heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
