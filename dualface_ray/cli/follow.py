"""Following a job to its end, and stopping it when somebody says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    Ctrl-C (or SIGTERM) cancels the job and waits until it has cleaned up; the exit code is then 130. A second Ctrl-C
    interrupts that, too: the caller's ``close`` has the last word.
    """
    try:
        snapshot = job.wait(on_progress=display.update)
    except KeyboardInterrupt:
        display.say("stopping: unfinished videos are discarded, finished ones stay")
        job.cancel()
        display.finish(job.snapshot())
        return INTERRUPTED
    display.finish(snapshot)
    return snapshot.exit_code


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Within this block SIGTERM and SIGHUP do what Ctrl-C does: ``kill`` or a closed terminal leave nothing behind.

    A signal that is ignored (``nohup``) stays ignored. Signals belong to the main thread; elsewhere the block changes
    nothing.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error  # what Ray's own handler for SIGTERM makes of it while Ray starts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
