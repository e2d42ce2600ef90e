"""Patience: how long transfers may stand still before those who watch for progress may call it a hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dualface_ray.backends.storage.faults import MAX_PAUSE_S
from dualface_ray.settings import Settings

_STEP_BYTES = 1 << 16


class Patience:
    """A number that grows while bytes move, and also while a transfer waits within its own limits.

    A server that does not answer is waited for, and tried again, for a bounded time: that is no hang of this process.

    Args:
        settings: attempts and time-outs.
        clock: monotonic seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = settings.storage.attempts * (settings.storage.timeout_s + MAX_PAUSE_S)
        self._clock = clock
        self._lock = threading.Lock()
        self._active = 0
        self._bytes = 0
        self._waited_s = 0.0
        self._moved_at_s = 0.0

    @property
    def value(self) -> int:
        """The number."""
        with self._lock:
            return self._bytes // _STEP_BYTES + int(self._waited_s + self._waiting_s())

    def moved(self, size_bytes: int) -> None:
        """So many bytes have come or gone."""
        with self._lock:
            self._bytes += size_bytes
            self._settle()

    @contextmanager
    def active(self) -> Iterator[None]:
        """A transfer is on."""
        with self._lock:
            if not self._active:
                self._moved_at_s = self._clock()
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._settle()
                self._active -= 1

    def _waiting_s(self) -> float:
        return min(self._limit_s, self._clock() - self._moved_at_s) if self._active else 0.0

    def _settle(self) -> None:
        self._waited_s += self._waiting_s()
        self._moved_at_s = self._clock()
