"""Waiting: calls that wait for disks or servers, a few at once; who waits long is told what for."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

_LEAVE_S = 2.0
"""How long those who fetch get to take away what they have begun."""
_QUIET_S = 2.0
"""Who waits longer than this is told what for."""
_TELL_S = 1.0
"""From then on, between two words."""
_T = TypeVar("_T")


def alone(call: Callable[[], _T], looking: Callable[[str], None], line: str) -> _T:
    """The result of one call that may have to wait for a server; ``looking`` gets the line while it does."""
    return in_threads([call], 1, threading.Event(), lambda _first, _done: looking(line))[0]


def in_threads(
    calls: Sequence[Callable[[], _T]], most: int, stop: threading.Event, tell: Callable[[int, int], None]
) -> list[_T]:
    """Their results in order. The first error, or Ctrl-C, ends it: ``stop`` is set; who waits for a server is left.

    Args:
        calls: what to do.
        most: threads.
        stop: those that go on for long look at it.
        tell: gets now and then the first call that is not done, and how many are.
    """
    waiting = deque(range(len(calls)))
    outcomes: queue.SimpleQueue[tuple[int, _T | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        while not stop.is_set():
            try:
                index = waiting.popleft()
            except IndexError:
                return
            try:
                outcomes.put((index, calls[index]()))
            except BaseException as error:
                outcomes.put((index, error))

    threads = [threading.Thread(target=work, name="examine", daemon=True) for _ in range(min(most, len(calls)))]
    known: dict[int, _T | BaseException] = {}
    results: list[_T] = []
    tell_s = time.monotonic() + _QUIET_S
    try:
        for thread in threads:
            thread.start()
        for index in range(len(calls)):
            while index not in known:
                with suppress(queue.Empty):
                    known.update([outcomes.get(timeout=max(0.0, tell_s - time.monotonic()))])
                if time.monotonic() >= tell_s and index not in known:
                    tell(index, len(results) + len(known))
                    tell_s = time.monotonic() + _TELL_S
            outcome = known.pop(index)
            if isinstance(outcome, BaseException):
                raise outcome
            results.append(outcome)
    except BaseException:
        stop.set()
        end_s = time.monotonic() + _LEAVE_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, end_s - time.monotonic()))
        raise
    return results
