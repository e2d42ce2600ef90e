"""Outbox: fire-and-forget calls whose results are kept and checked, or errors would vanish."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import ray
import ray.exceptions

from dualface_ray.errors import ActorError


class Outbox:
    """Keeps the references of calls to one peer until they have finished and remembers the first that failed.

    Args:
        peer: name of the peer for error texts.

    References are checked in order whenever ``check`` is called; a call to a live peer is over within microseconds of
    its turn, so a few hundred open references mean a peer that stands still, which the lane's watchdog notices.
    """

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._open: deque[Any] = deque()
        self._lock = threading.Lock()
        self._failure: Exception | None = None

    def sent(self, reference: Any) -> None:
        """Remember a call's reference; every so many calls the finished ones are checked."""
        with self._lock:
            self._open.append(reference)
            due = len(self._open) % 32 == 0
        if due:
            self.check()

    def check(self) -> Exception | None:
        """Drop what has finished; returns the first failure of all time, None when there was none."""
        with self._lock:
            if self._open:
                done, rest = ray.wait(list(self._open), num_returns=len(self._open), timeout=0)
                self._open = deque(rest)
                for reference in done:
                    self._settle(reference)
            return self._failure

    def _settle(self, reference: Any) -> None:
        try:
            ray.get(reference, timeout=0)
        except ray.exceptions.RayTaskError as error:
            self._failure = self._failure or ActorError(f"a call failed: {error.cause!r}", where=self._peer)
        except ray.exceptions.RayError as error:
            self._failure = self._failure or ActorError(f"the actor died ({type(error).__name__})", where=self._peer)
