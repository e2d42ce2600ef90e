"""Following a job's log line by line, through lost connections, without ever blocking whoever listens."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator

from dualface_ray.errors import ContactLostError, NoSuchJobError
from dualface_ray.submission.cluster import Cluster

PATIENCE_S = 120.0
"""How long the cluster may stay away: a head that is restarted, a laptop that slept."""
_RETRY_S = 1.0
_TICK_S = 0.25
_MAX_BROKEN = 5
"""After so many broken connections the log is asked for instead of listened to."""


class Tail:
    """The lines of a job's log, in order, each once, until the job has ended.

    A thread holds the connection, so that Ctrl-C reaches the listener at once, and a notebook's own event loop is left
    alone. After a lost connection the log comes again from its beginning; what was said already is skipped.
    """

    def __init__(
        self, cluster: Cluster, job_id: str, clock: Callable[[], float] = time.monotonic, patience_s: float = PATIENCE_S
    ) -> None:
        self._cluster = cluster
        self._job_id = job_id
        self._clock = clock
        self._patience_s = patience_s
        self._queue: queue.Queue[str | BaseException | None] = queue.Queue()
        self._closed = threading.Event()
        self._seen = 0

    def lines(self, timeout_s: float | None = None) -> Iterator[str | None]:
        """Lines without their end; None a few times a second while nothing is said.

        Raises:
            ContactLostError: the cluster has not answered for a while.
        """
        thread = threading.Thread(target=self._run, name=f"log of {self._job_id}", daemon=True)
        thread.start()
        end_s = None if timeout_s is None else self._clock() + timeout_s
        rest = ""
        try:
            while end_s is None or self._clock() < end_s:
                try:
                    item = self._queue.get(timeout=_TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    break
                *whole, rest = (rest + item).split("\n")
                yield from whole
            if rest:
                yield rest
        finally:
            self._closed.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._follow())
            self._queue.put(None)
        except BaseException as error:  # whatever it is, the listener is the one to know
            self._queue.put(error)

    async def _follow(self) -> None:
        last_s, broken = self._clock(), 0
        while not self._closed.is_set():
            lost: Exception | None = None
            try:
                if broken < _MAX_BROKEN:
                    await self._tail()
                else:  # something on the way lets no web socket through
                    self._say(await asyncio.to_thread(self._cluster.logs, self._job_id), 0)
            except NoSuchJobError:
                raise
            except Exception as error:  # aiohttp, Ray or the system: the connection is gone, for now
                lost, broken = error, broken + 1
            try:
                ended = (await asyncio.to_thread(self._cluster.info, self._job_id)).status.is_terminal()
                last_s = self._clock()
            except ContactLostError as error:
                lost, ended = error, False
            if ended and lost is None:
                return
            if self._clock() - last_s > self._patience_s:
                raise ContactLostError(
                    f"the cluster has not answered for {self._patience_s:g} s; the job goes on if the cluster does",
                    where=self._cluster.address,
                    remedy=f"Later: dualface submit --follow {self._job_id} --address {self._cluster.address}.",
                ) from lost
            await asyncio.sleep(_RETRY_S)

    async def _tail(self) -> None:
        place = 0
        async for text in self._cluster.tail(self._job_id):
            self._say(text, place)
            place += len(text)
            if self._closed.is_set():
                return

    def _say(self, text: str, place: int) -> None:
        """Hand on what is new in a piece of the log that begins at ``place``."""
        if place + len(text) > self._seen:
            self._queue.put(text[max(0, self._seen - place) :])
            self._seen = place + len(text)
