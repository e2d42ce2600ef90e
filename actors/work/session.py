"""Session: one unit of work on the encoder's side. No threads, no Ray.

StreamOpened, ExaminedChunk, Reply ─► StreamSession ─► WholeSession, SpanSession, BridgeSession, SurveySession
(nothing)                          ─► JoinSession
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.messages import ExaminedChunk, Reply, Request, SegmentJob, StreamOpened, StreamStatus
from actors.work.places import publish_results, remove_replaced
from dualface_ray.backends import Backend
from dualface_ray.backends.storage import Patience
from dualface_ray.errors import Cancelled, DualfaceError
from dualface_ray.frames import Credit, PoolReader
from dualface_ray.models import Provenance
from dualface_ray.report import Quantiles, VideoState
from dualface_ray.settings import Settings

Message = StreamOpened | ExaminedChunk | Reply


@dataclass(frozen=True, slots=True)
class SessionLinks:
    """Where a session's words go."""

    credit: Callable[[SegmentJob, Credit], None]
    release: Callable[[SegmentJob], None]
    request: Callable[[Request], None]


@dataclass(frozen=True, slots=True)
class SessionTools:
    """What a session works with."""

    backend: Backend
    settings: Settings
    readers: Mapping[str, PoolReader]
    """By pool."""
    links: SessionLinks
    encode_threads: int
    discard: bool
    """Benchmarks only: nothing is encoded or written."""
    provenance: Provenance


class Session(ABC):
    """What the encoder's service knows of any unit.

    ``handle`` takes messages and returns when all that they made possible is done. ``done`` becomes true when no
    further message is needed; ``finalise`` then makes the files. Any error goes to ``fail``.
    """

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        self.job = job
        self.tools = tools
        self.done = False
        self.cancelled = threading.Event()
        self.ticks = 0
        """Signs of life while no frame is counted."""
        self.frames_done = 0
        """Encoded; counted on the encoders' thread."""
        self.frames_aside = 0
        """Decided on, for others to encode."""
        self.frames_total = 0
        self._state = VideoState.RUNNING
        self._error: DualfaceError | None = None
        self._began_s = time.monotonic()
        self._upload = Patience(tools.settings)

    def status(self) -> StreamStatus:
        """How far it has come; safe from any thread."""
        done = self.frames_done + self.frames_aside
        total = done if self._state is VideoState.DONE else max(done, self.frames_total)
        return StreamStatus(self.job.stream_id, self.job.epoch, self._state, done, total, self._error)

    @property
    def elapsed_s(self) -> float:
        """Since it was given to this actor."""
        return round(time.monotonic() - self._began_s, 3)

    @property
    def progress(self) -> int:
        """Grows with everything that is done, beside ``frames_done``."""
        return self.ticks + self._upload.value

    def latency(self) -> Mapping[str, Quantiles]:
        """Durations so far by stage; they grow while the session runs."""
        return {}

    def tick(self) -> None:
        """Something goes on.

        Raises:
            Cancelled: nobody wants it any more.
        """
        self.ticks += 1
        if self.cancelled.is_set():
            raise Cancelled("cancelled", where=str(self.job.source))

    @abstractmethod
    def handle(self, message: Message) -> None:
        """Take one message in.

        Raises:
            DualfaceError: the stream was aborted, or something failed here; the session is then to be failed.
        """

    def finalise(self) -> None:
        """Make the files; the one that says that all of them are complete comes last.

        Raises:
            OutputError: one of them cannot be written.
        """
        self._state = VideoState.FINISHING
        self._finalise()
        if self.job.publish:
            with self._upload.active():
                publish_results(self.job, self.tools.settings, self.tick, self._upload.moved)
        remove_replaced(self.job, self.tools.settings)
        self._state = VideoState.DONE

    def fail(self, error: DualfaceError) -> None:
        """Give up: nothing half-written stays."""
        try:
            self._discard()
        finally:  # what stays is cleared away when the job ends; that it has failed must be known now
            self._error = error.renamed(str(self.job.source), self.job.shown) if self.job.origin else error
            self._state = VideoState.FAILED

    @abstractmethod
    def _finalise(self) -> None:
        """See ``finalise``."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove what was begun; harmless when there is nothing."""
