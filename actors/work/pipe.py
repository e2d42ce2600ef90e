"""Pipe: one thread that works off tasks in order, a bounded number of them waiting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Task = Callable[[], None]


class Pipe:
    """Runs tasks one after another on a thread of its own, so that the next piece is prepared meanwhile.

    The first task that fails ends the work: its error is raised by the next call, later tasks are dropped.

    Args:
        name: of the thread.
        depth: tasks that may be waiting or running; ``put`` blocks while there are so many.
    """

    def __init__(self, name: str, depth: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._places = threading.Semaphore(depth)
        self._failure: Exception | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def reserve(self) -> None:
        """Wait for a place; what ``depth`` places share (a buffer each) is free from here on.

        Raises:
            Exception: the one a task failed with.
        """
        self._places.acquire()
        if self._failure is not None:
            self._places.release()
            raise self._failure

    def put(self, task: Task) -> None:
        """Queue a task in the place that was reserved for it."""
        self._tasks.put(task)

    def drain(self) -> None:
        """Wait until all tasks are done, and end the thread.

        Raises:
            Exception: the one a task failed with.
        """
        self._tasks.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Drop the tasks that wait, let the running one end, and end the thread. Harmless when called twice."""
        self._stopped = True
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._work_off(task)

    def _work_off(self, task: Task) -> None:
        try:
            if self._failure is None and not self._stopped:
                task()
        except Exception as error:  # handed to whoever puts the next task, or drains
            self._failure = error
        finally:
            self._places.release()
