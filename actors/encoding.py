"""EncodeService: one session and one thread per unit.

SegmentJob ─► open_session ─► _Worker: inbox ─► Session.handle ... done ─► release ─► finalise
"""

from __future__ import annotations

import queue
import threading
from contextlib import ExitStack

from actors.messages import ActorStatus, SegmentJob, StreamKey
from actors.work.places import places_of
from actors.work.session import Message, Session, SessionLinks, SessionTools
from actors.work.sessions import open_session
from dualface_ray.backends import Backend
from dualface_ray.backends.storage import ScratchStore
from dualface_ray.errors import ActorError, Cancelled, DualfaceError
from dualface_ray.frames import ArenaHandle, PoolReader
from dualface_ray.models import Provenance
from dualface_ray.report import Quantiles
from dualface_ray.settings import Settings


class EncodeService:
    """Holds a video session per stream; each works in its own thread on its own inbox.

    Args:
        backend: where pixels live.
        settings: of the job.
        encode_threads: threads of one encoder.
        discard: benchmarks only: nothing is encoded or written.
    """

    def __init__(self, backend: Backend, settings: Settings, *, encode_threads: int, discard: bool = False) -> None:
        self._backend = backend
        self._settings = settings
        self._encode_threads = encode_threads
        self._discard = discard
        self._readers: dict[str, PoolReader] = {}
        self._links: SessionLinks | None = None
        self._provenance = Provenance()
        self._workers: dict[StreamKey, _Worker] = {}
        self._scratch = ScratchStore(settings)

    def attach(self, handle: ArenaHandle) -> None:
        """Map a decoder's pool; once each, before the first stream."""
        self._readers[handle.pool_id] = PoolReader(self._backend.attach_arena(handle))

    def connect(self, links: SessionLinks, provenance: Provenance) -> None:
        """Tell the service its peers and what computes there (for the reports); before the first stream."""
        self._links = links
        self._provenance = provenance

    def open(self, job: SegmentJob) -> None:
        """A segment will come; its outputs are known from here on."""
        if self._links is None or not self._readers:
            raise ActorError("a segment came before the pool was attached", where="encoder")
        tools = SessionTools(
            backend=self._backend,
            settings=self._settings,
            readers=self._readers,
            links=self._links,
            encode_threads=self._encode_threads,
            discard=self._discard,
            provenance=self._provenance,
        )
        worker = _Worker(open_session(job, tools), self._links, self._scratch)
        self._workers[job.key] = worker
        worker.thread.start()

    def post(self, message: Message) -> None:
        """Pass a message to its session; those for streams that are over vanish."""
        worker = self._workers.get(message.key)
        if worker is not None:
            worker.inbox.put(message)

    def forget(self, key: StreamKey) -> None:
        """The segment's end has been noted, or nobody wants it any more: then it is given up."""
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.cancel()

    def status(self) -> ActorStatus:
        """How far each segment has come."""
        workers = dict(self._workers)
        streams = tuple(worker.session.status() for worker in workers.values())
        return ActorStatus({key: worker.mark for key, worker in workers.items()}, streams=streams)

    def latency(self) -> dict[str, dict[str, float]]:
        """Durations of each stage over all segments it knows, summarised (seconds)."""
        merged: dict[str, Quantiles] = {}
        for worker in list(self._workers.values()):
            for stage, quantiles in worker.session.latency().items():
                merged.setdefault(stage, Quantiles()).merge(quantiles)
        return {stage: quantiles.summary() for stage, quantiles in merged.items()}

    def close(self) -> None:
        """Give up what still runs, remove its partial files and unmap the pool. Harmless when called twice."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        for worker in workers:
            worker.thread.join()
        self._workers.clear()
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


class _Worker:
    """The thread of one session; whatever happens in it ends as the session's final state."""

    def __init__(self, session: Session, links: SessionLinks, scratch: ScratchStore) -> None:
        self.session = session
        self.inbox: queue.SimpleQueue[Message | Cancelled] = queue.SimpleQueue()
        self._links = links
        self._scratch = scratch
        self._handled = 0
        """Messages so far."""
        self._fetches = True
        """The files it needs are being brought here."""
        self.thread = threading.Thread(target=self._run, name=f"encode-{session.job.stream_id}", daemon=True)

    @property
    def mark(self) -> int:
        """How far it has come; safe from any thread."""
        steps = self._handled + self.session.progress + self.session.status().frames_done
        return steps + (self._scratch.progress if self._fetches else 0)

    def cancel(self) -> None:
        """Jump the queue: the session looks for it between any two frames."""
        self.session.cancelled.set()
        self.inbox.put(Cancelled("cancelled", where=str(self.session.job.source)))

    def _run(self) -> None:
        session, job = self.session, self.session.job
        with ExitStack() as stack:
            try:
                places = places_of(job, self._scratch, session.cancelled, writes=not session.tools.discard)
                stack.enter_context(places)
                self._fetches = False
                while not session.done:
                    message = self.inbox.get()
                    if isinstance(message, Cancelled):
                        raise message
                    session.handle(message)
                    self._handled += 1
                self._links.release(job)
                session.finalise()
            except DualfaceError as error:
                session.fail(error)
            except Exception as error:  # a fault of ours must end the video, not leave the job waiting
                session.fail(ActorError(f"encoding failed: {error!r}", where=str(job.source)))
            finally:
                self._links.release(job)
