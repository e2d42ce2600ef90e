"""Batcher: one thread that works through the queue; every item is settled exactly once, whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dualface_ray.detect.batching import BatchQueue
from dualface_ray.errors import ActorError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Entry(Generic[T, R]):
    """One item and whom to tell."""

    item: T
    settled: Callable[[R | Exception], None]
    open: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, result: R | Exception) -> None:
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


class Batcher(Generic[T, R]):
    """Collects items of many streams into batches and runs them on one thread of its own.

    ``work`` gets a batch and returns one result per item, in order; a result that is an exception fails that item
    alone. When ``work`` raises for a batch of several, each item is tried again by itself, so that only the guilty one
    fails.

    Args:
        work: called on the batcher's thread, with 1 to ``max_batch`` items.
        max_batch: a batch leaves when so many items wait,
        wait_s: or this long after its first item came.
        per_stream_cap: places one stream may take while others wait; 0 = only the turns limit it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        max_batch: int,
        wait_s: float,
        per_stream_cap: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._clock = clock
        self._queue: BatchQueue[_Entry[T, R]] = BatchQueue(
            max_batch=max_batch, wait_s=wait_s, per_stream_cap=per_stream_cap
        )
        self._wake = threading.Condition()
        self._running: list[_Entry[T, R]] = []
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, stream: Hashable, item: T, settled: Callable[[R | Exception], None]) -> None:
        """Queue an item; ``settled`` is called exactly once with its result or an exception, on any thread.

        After ``close`` it is called at once, with an ``ActorError``.
        """
        entry: _Entry[T, R] = _Entry(item, settled)
        with self._wake:
            refused = self._closed
            if not refused:
                self._queue.put(stream, entry, self._clock())
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="batcher", daemon=True)
                    self._thread.start()
                self._wake.notify()
        if refused:
            entry.settle(_closed_error())

    def discard(self, stream: Hashable) -> None:
        """Settle what waits for one stream with an ``ActorError``; items already being worked on go on."""
        with self._wake:
            entries = self._queue.remove(stream)
        for entry in entries:
            entry.settle(ActorError("the stream has ended", where="batcher"))

    def close(self, timeout_s: float = 5.0) -> None:
        """Settle all that waits with an ``ActorError`` and end the thread; harmless when called twice.

        A batch being worked on may finish; if it takes longer than ``timeout_s``, its items are settled as well.
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
        for entry in list(self._running):
            entry.settle(_closed_error())

    # --- the thread -----------------------------------------------------------------------------------------------
    def _loop(self) -> None:
        while True:
            with self._wake:
                self._running = []
                batch = self._queue.take(self._clock())
                while not batch and not self._closed:
                    due = self._queue.due_s()
                    self._wake.wait(None if due is None else max(0.0, due - self._clock()))
                    batch = self._queue.take(self._clock())
                if not batch:
                    return
                self._running = batch
            try:
                self._run(batch)
            except BaseException as error:  # the thread is told to end: nobody may wait for it for ever
                self._abandon(batch, error)
                raise

    def _abandon(self, batch: list[_Entry[T, R]], cause: BaseException) -> None:
        """Settle everything and accept nothing more."""
        with self._wake:
            self._closed = True
            waiting = self._queue.drain()
        for entry in [*batch, *waiting]:
            entry.settle(ActorError(f"the batcher's thread was ended by {type(cause).__name__}", where="batcher"))

    def _run(self, batch: list[_Entry[T, R]]) -> None:
        """Work on a batch; on failure on each of its items alone."""
        try:
            results = self._work([entry.item for entry in batch])
            if len(results) != len(batch):
                raise ActorError(f"{len(results)} results for {len(batch)} items", where="batcher")
        except Exception as error:  # whatever went wrong is handed to whoever asked
            if len(batch) == 1:
                batch[0].settle(error)
                return
            for entry in batch:
                self._run([entry])
            return
        for entry, result in zip(batch, results, strict=True):
            entry.settle(result)


def _closed_error() -> ActorError:
    return ActorError("the batcher was closed before this item's turn", where="batcher")
