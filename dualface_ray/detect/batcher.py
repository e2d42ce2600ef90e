"""Batcher: one thread that works through the queue; every item is settled exactly once, whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dualface_ray.detect.batching import BatchQueue, Part
from dualface_ray.errors import ActorError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Entry(Generic[T, R]):
    """One item and whom to tell."""

    item: T
    settled: Callable[[list[R] | Exception], None]
    missing: int
    """Places whose results are still to come."""
    results: list[R] = field(default_factory=list)
    """Of its parts so far, in order: batches are settled in the order in which they were taken."""
    error: Exception | None = None
    open: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, result: R | Exception, places: int) -> None:
        """The result of a part; the last one settles the item, with the first error where there was one."""
        with self.lock:
            if isinstance(result, Exception):
                self.error = self.error or result
            else:
                self.results.append(result)
            self.missing -= places
            last = self.missing == 0
        if last:
            self.settle(self.error or self.results)

    def settle(self, result: list[R] | Exception) -> None:
        """Tell the submitter, the first time only; its own failure must not reach the other items."""
        with self.lock:
            if not self.open:
                return
            self.open = False
        try:
            self.settled(result)
        except Exception as error:  # a faulty listener is its own problem, but not a silent one
            threading.excepthook(
                threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Begun(Generic[T, R]):
    """A batch that is being worked on."""

    parts: list[Part[_Entry[T, R]]]
    finish: Callable[[], Sequence[R | Exception]]


class Batcher(Generic[T, R]):
    """Collects items of many streams into batches and runs them on one thread of its own.

    An item takes one place of a batch or several (a run of frames of one stream) and may be divided over batches.
    ``begin`` gets a batch and starts on it; what it returns waits for the end and gives one result per part, in order.
    A result that is an exception fails that item alone. When either raises for a batch of several parts, each part is
    tried again by itself, so that only the guilty one fails.

    Args:
        begin: called on the batcher's thread, with parts of 1 to ``max_batch`` places together.
        max_batch: a batch leaves when so many places are wanted,
        wait_s: or this long after its first item came.
        per_stream_cap: places one stream may take while others wait; 0 = only the turns limit it.
        ahead: batches that may be begun before the end of an earlier one; with 1 the thread prepares a batch, and
            tells about the results of another, while the device computes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        begin: Callable[[Sequence[Part[T]]], Callable[[], Sequence[R | Exception]]],
        *,
        max_batch: int,
        wait_s: float,
        per_stream_cap: int = 0,
        ahead: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin = begin
        self._clock = clock
        self._ahead = ahead
        self._queue: BatchQueue[_Entry[T, R]] = BatchQueue(
            max_batch=max_batch, wait_s=wait_s, per_stream_cap=per_stream_cap
        )
        self._wake = threading.Condition()
        self._running: list[list[Part[_Entry[T, R]]]] = []
        self._closed = False
        self._thread: threading.Thread | None = None
        self.batches = 0
        """Batches begun so far,"""
        self.places = 0
        """and the places they had together."""

    def submit(
        self, stream: Hashable, item: T, settled: Callable[[list[R] | Exception], None], places: int = 1
    ) -> None:
        """Queue an item; ``settled`` is called exactly once, on any thread, with the results of its parts or an error.

        After ``close`` it is called at once, with an ``ActorError``.
        """
        entry: _Entry[T, R] = _Entry(item, settled, places)
        with self._wake:
            refused = self._closed
            if not refused:
                self._queue.put(stream, entry, self._clock(), places)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="batcher", daemon=True)
                    self._thread.start()
                self._wake.notify()
        if refused:
            entry.settle(_closed_error())

    def close(self, timeout_s: float = 5.0) -> None:
        """Settle all that waits with an ``ActorError`` and end the thread; harmless when called twice.

        Batches being worked on may finish; if that takes longer than ``timeout_s``, their items are settled as well.
        """
        with self._wake:
            self._closed = True
            waiting = self._queue.drain()
            self._wake.notify_all()
            thread = self._thread
        for entry in waiting:
            entry.settle(_closed_error())
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout_s)
        for batch in list(self._running):
            for part in batch:
                part.item.settle(_closed_error())

    # --- the thread -----------------------------------------------------------------------------------------------
    def _loop(self) -> None:
        begun: list[_Begun[T, R]] = []
        try:
            while True:
                parts = self._next(wait=not begun)
                if parts:
                    self._start(parts, begun)
                elif not begun:
                    return
                if begun and (not parts or len(begun) > self._ahead):
                    self._finish(begun.pop(0))
        except BaseException as error:  # the thread is told to end: nobody may wait for it for ever
            self._abandon(error)
            raise

    def _next(self, *, wait: bool) -> list[Part[_Entry[T, R]]]:
        """The next batch when it is due; nothing when none is due and ``wait`` is false, or after ``close``."""
        with self._wake:
            parts = self._queue.take(self._clock())
            while wait and not parts and not self._closed:
                due = self._queue.due_s()
                self._wake.wait(None if due is None else max(0.0, due - self._clock()))
                parts = self._queue.take(self._clock())
            if parts:
                self._running = [*self._running, parts]
        return parts

    def _start(self, parts: list[Part[_Entry[T, R]]], begun: list[_Begun[T, R]]) -> None:
        self.batches += 1
        self.places += sum(len(part) for part in parts)
        try:
            begun.append(_Begun(parts, self._begin(_inner(parts))))
        except Exception as error:  # earlier batches are finished first: results come in order
            while begun:
                self._finish(begun.pop(0))
            self._failed(parts, error)
            self._over(parts)

    def _finish(self, batch: _Begun[T, R]) -> None:
        self._collect(batch.parts, batch.finish)
        self._over(batch.parts)

    def _over(self, parts: list[Part[_Entry[T, R]]]) -> None:
        self._running = [other for other in self._running if other is not parts]

    def _collect(self, parts: list[Part[_Entry[T, R]]], finish: Callable[[], Sequence[R | Exception]]) -> None:
        try:
            results = finish()
            if len(results) != len(parts):
                raise ActorError(f"{len(results)} results for {len(parts)} items", where="batcher")
        except Exception as error:  # whatever went wrong is handed to whoever asked
            self._failed(parts, error)
            return
        for part, result in zip(parts, results, strict=True):
            part.item.take(result, len(part))

    def _failed(self, parts: list[Part[_Entry[T, R]]], error: Exception) -> None:
        """A batch failed: work on each of its parts alone."""
        if len(parts) == 1:
            parts[0].item.take(error, len(parts[0]))
            return
        for part in parts:
            self._alone(part)

    def _alone(self, part: Part[_Entry[T, R]]) -> None:
        try:
            finish = self._begin(_inner([part]))
        except Exception as error:  # the guilty one, or one of them
            part.item.take(error, len(part))
        else:
            self._collect([part], finish)

    def _abandon(self, cause: BaseException) -> None:
        """Settle everything and accept nothing more."""
        with self._wake:
            self._closed = True
            waiting = self._queue.drain()
        for entry in [*(part.item for batch in self._running for part in batch), *waiting]:
            entry.settle(ActorError(f"the batcher's thread was ended by {type(cause).__name__}", where="batcher"))


def _inner(parts: Sequence[Part[_Entry[T, R]]]) -> list[Part[T]]:
    """What was submitted, without whom to tell."""
    return [Part(part.item.item, part.start, part.stop) for part in parts]


def _closed_error() -> ActorError:
    return ActorError("the batcher was closed before this item's turn", where="batcher")
