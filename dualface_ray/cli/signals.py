"""Signals: Ctrl-C, SIGTERM and SIGHUP end a command in good order, whatever its libraries make of them.

    listen: every thread blocks SIGTERM and SIGHUP ─► one waits for them ─► wakes the main thread ─► its handler
    KeyboardInterrupt in the main thread ◄─ a wish to stop ─┤
                                     nothing ◄─ settled: the exit code stands, unless somebody insists

Ray has to be kept away from SIGTERM. While it connects it sets a handler below Python's that prints a stack and lets
the process abort, and when it disconnects it sets back the default: killed in the last second, a finished job had -15
for an exit code. A signal that every thread blocks meets neither.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a command to stop."""
_RELAYED = (signal.SIGTERM, signal.SIGHUP)
_WAKE = signal.SIGURG
"""Nobody minds one too many: ignored by default."""
ONE_WISH_S = 0.5
"""Signals that follow each other faster are one wish: ``timeout`` sends two, a terminal and a script one each."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: as Ctrl-C, but nobody sits there who could be asked."""


@dataclass(slots=True)
class _Heard:
    """What this process has heard so far; signals are the process's, and so is this."""

    at_s: float = -math.inf
    settled: bool = False
    late: bool = False
    """One has come after the end."""

    def is_wish(self) -> bool:
        """Whether a signal that comes now asks for something new."""
        now_s = time.monotonic()
        echo, self.at_s = now_s - self.at_s < ONE_WISH_S, now_s
        if echo:
            return False
        insists, self.late = self.late, self.settled
        return insists or not self.settled

    def begin(self) -> None:
        """A new command."""
        self.at_s, self.settled, self.late = -math.inf, False, False


_heard = _Heard()


def interrupt(number: int, _frame: FrameType | None) -> None:
    """The handler of a signal that asks to stop.

    Raises:
        KeyboardInterrupt: a wish to stop; its echo, and the first one after the end, do nothing.
    """
    if _heard.is_wish():
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def settled() -> None:
    """There is nothing left to stop: a signal changes nothing any more, unless somebody insists."""
    _heard.settled = True


@contextlib.contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Within this block SIGTERM and SIGHUP do what Ctrl-C does: ``kill`` or a closed terminal leave nothing behind.

    A signal that is ignored (``nohup``) stays ignored. Signals belong to the main thread; elsewhere the block changes
    nothing.
    """
    before = {}
    if _is_main_thread():
        _heard.begin()
        heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    except SystemExit as error:
        if not _is_main_thread():
            raise
        raise Terminated from error  # what Ray's own handler for SIGTERM makes of it while Ray starts
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def listen() -> None:
    """Take over the signals of this process; to be called once, before any other thread exists."""
    main = threading.get_ident()
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()

    def wake(_number: int, frame: FrameType | None) -> None:
        while not heard.empty():
            number = heard.get()
            handler = signal.getsignal(number)
            if callable(handler):
                handler(number, frame)

    def relay() -> None:
        while True:
            number = signal.sigwait(_RELAYED)
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
                os.kill(os.getpid(), number)
            heard.put(number)
            signal.pthread_kill(main, _WAKE)

    signal.pthread_sigmask(signal.SIG_BLOCK, _RELAYED)
    signal.signal(_WAKE, wake)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    threading.Thread(target=relay, name="signals", daemon=True).start()


def deafen() -> None:
    """For the exit of the process: what libraries do there ends by itself, and nothing changes the exit code."""
    while True:
        try:
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
        except KeyboardInterrupt:
            continue
        return


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
