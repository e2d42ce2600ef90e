"""DecodeService: decodes units into the pool, under credits.

SegmentJob ─► open_source ─► session ─► slots of a ring ─► tickets ─► ChunkAssembler ─► ExaminedChunk
▲ CreditGate ◄── Credit                     └─ END, or ABORT with its cause
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from actors.messages import ActorStatus, ExaminedChunk, SegmentJob, StreamKey, StreamOpened, Work
from actors.work.sources import open_source
from dualface_ray.backends import Backend
from dualface_ray.backends.storage import ScratchStore
from dualface_ray.errors import ActorError, Cancelled, DualfaceError, ResourceError
from dualface_ray.frames import (
    ArenaHandle,
    ChunkAssembler,
    Credit,
    CreditGate,
    FrameChunk,
    FramePool,
    RingSpec,
    StreamInfo,
    WaitingGate,
    slot_stride_bytes,
)
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class DecodeLinks:
    """Where the decoder's words go."""

    opened: Callable[[StreamOpened], None]
    chunk: Callable[[ExaminedChunk], None]


class DecodeService:
    """One pool, one thread per stream; a stream decodes only what its credits allow.

    Args:
        backend: where pixels live.
        settings: of the job.
        pool_bytes: size of the arena; streams that do not fit beside the open ones wait for their turn.
        pool_slots: entries of the generation page.
        threads: decoder threads of one stream.
    """

    def __init__(self, backend: Backend, settings: Settings, *, pool_bytes: int, pool_slots: int, threads: int) -> None:
        self.backend = backend
        self.settings = settings
        self.threads = threads
        self.pool = FramePool(backend.create_arena(pool_bytes, pool_slots))
        self._room = threading.Condition()
        self._streams: dict[StreamKey, _Stream] = {}
        self._dismissed: set[StreamKey] = set()
        """Streams whose consumer wants no more; a key is used once, so these few bytes each are all that stays."""
        self.scratch = ScratchStore(settings)
        self._links: DecodeLinks | None = None
        self._moves = 0
        """Steps of all streams so far."""
        self._closed = False

    @property
    def handle(self) -> ArenaHandle:
        """What consumers need to map the pool; exported once."""
        return self.pool.arena.handle

    def seal(self) -> None:
        """Every consumer has mapped the pool: nothing of it keeps a name."""
        self.pool.arena.seal()

    def connect(self, links: DecodeLinks) -> None:
        """Tell the service its consumer; before the first ``open``."""
        self._links = links

    def open(self, job: SegmentJob) -> None:
        """Start one segment; everything that goes wrong with it arrives at its consumer as an ABORT."""
        if self._links is None:
            raise ActorError("a segment came before the consumer was known", where="decoder")
        if job.work is Work.JOIN:
            return  # nothing of it is decoded
        stream = _Stream(self, job, self._links)
        with self._room:
            if job.key in self._dismissed:  # its consumer failed at once, and said so before this call came
                return
            self._streams[job.key] = stream
        stream.thread.start()

    def prefetch(self, job: SegmentJob) -> None:
        """Fetch the source of a segment that will probably come next."""
        self.scratch.prefetch(job.origin, job.source, job.identity)

    def grant(self, credit: Credit) -> None:
        """Pass a credit to its stream; credits of finished streams are dropped."""
        stream = self._streams.get((credit.stream_id, credit.epoch))
        if stream is not None:
            stream.gate.grant(credit)

    def release(self, key: StreamKey) -> None:
        """The consumer will read no further frame of this stream: it stops and its slots come back."""
        with self._room:
            self._dismissed.add(key)
            stream = self._streams.pop(key, None)
        if stream is not None:
            stream.dismissed.set()
            stream.gate.close()
            self.wake()

    def status(self) -> ActorStatus:
        """How far each stream has come, how many are open, and what they have of the pool."""
        taken = self.handle.size_bytes - self.pool.free_bytes
        streams = dict(self._streams)
        facts = {"streams": len(streams), "pool_bytes": taken}
        return ActorStatus({key: self._mark(stream) for key, stream in streams.items()}, facts=facts)

    def close(self) -> None:
        """Stop all streams, wait for their threads and free the pool. Harmless when called twice."""
        if self._closed:
            return
        self._closed = True
        streams = list(self._streams.values())
        for key in list(self._streams):
            self.release(key)
        for stream in streams:
            stream.thread.join()
        self.scratch.close()
        self.pool.close()

    # --- for the stream threads -----------------------------------------------------------------------------------
    def claim(self, job: SegmentJob, info: StreamInfo, quota: int, dismissed: threading.Event) -> RingSpec:
        """Take a ring, waiting for other streams to end when it fits only then.

        Raises:
            ResourceError: it does not fit into the empty pool either.
            Cancelled: the stream was dismissed while it waited.
        """
        possible = quota * slot_stride_bytes(info) <= self.handle.size_bytes and quota <= self.handle.slots
        with self._room:
            while possible and not self.pool.fits(info, quota) and not dismissed.is_set():
                self._room.wait()
            if dismissed.is_set():
                raise Cancelled("dismissed while it waited for room in the pool", where=job.stream_id)
            # still under the lock: what fits one of those who waited need not fit all of them
            try:
                return self.pool.open_stream(job.stream_id, job.epoch, info, quota)
            except ResourceError as error:
                raise error.renamed(job.stream_id, job.shown) from None  # people know the file, not the stream

    def wake(self) -> None:
        """Something changed that a stream may wait for."""
        with self._room:
            self._room.notify_all()

    def moved(self) -> None:
        """One of them has done a step."""
        with self._room:
            self._moves += 1

    def _mark(self, stream: _Stream) -> int:
        if stream.fetches:
            return stream.moves + self.scratch.progress
        return stream.moves + (self._moves if stream.queues else 0)


class _Stream:
    """The thread of one segment: open, decode under credits, end with exactly one END or ABORT.

    Its ring lives until the consumer has dismissed the stream, whatever the order of the two ends.
    """

    def __init__(self, service: DecodeService, job: SegmentJob, links: DecodeLinks) -> None:
        self._service = service
        self._job = job
        self._links = links
        self._assembler = ChunkAssembler(job.stream_id, job.epoch, service.settings.lane.chunk_frames)
        self.gate = WaitingGate(CreditGate(job.stream_id, job.epoch))
        self.dismissed = threading.Event()
        self.moves = 0
        """Steps so far."""
        self.fetches = True
        """Its file is being brought here."""
        self.queues = False
        """It waits for room that other streams have."""
        self.thread = threading.Thread(target=self._run, name=f"decode-{job.stream_id}", daemon=True)

    def _run(self) -> None:
        job = self._job
        try:
            with self._service.scratch.using(job.origin, job.source, job.identity, self.dismissed):
                counters = self._decode()
            self._send(self._assembler.finish(), counters)
        except Cancelled:
            pass  # the consumer itself said that it wants no more
        except DualfaceError as error:
            self._send(self._assembler.abort(error))
        except Exception as error:  # a fault of ours must end the stream, not leave its consumer waiting
            wrapped = ActorError(f"decoding failed: {error!r}", where=str(self._job.source))
            self._send(self._assembler.abort(wrapped))
        self.dismissed.wait()
        self._service.pool.close_stream(*self._job.key)
        self._service.wake()

    def _send(self, chunk: FrameChunk, counters: Mapping[str, int] | None = None) -> None:
        self._links.chunk(ExaminedChunk(chunk, counters=counters or {}, encoder=self._job.encoder))

    def _tick(self) -> None:
        """A sign of life while nothing is decoded."""
        if self.dismissed.is_set():
            raise Cancelled("dismissed", where=self._job.stream_id)
        self._moved()

    def _moved(self) -> None:
        self.moves += 1
        self._service.moved()

    def _decode(self) -> dict[str, int]:
        service, job = self._service, self._job
        self.fetches = False
        source = open_source(job, service.backend, service.settings, service.threads, self._tick)
        session = source.session
        try:
            info = session.info
            self.queues = True
            ring = service.claim(job, info, source.quota_frames, self.dismissed)
            self.queues = False
            name = service.backend.name
            self._links.opened(
                StreamOpened(job.stream_id, job.epoch, info, ring, name, job.encoder, source.examine, source.survey)
            )
            frame, ended = 0, False
            while not ended:
                count = min(self.gate.wait(frame), self._assembler.room)
                if count == 0:
                    raise Cancelled("dismissed", where=job.stream_id)
                batch = session.decode(service.pool.begin_many(ring, frame, count))
                tickets = service.pool.commit_many(ring, frame, batch.frames)
                frame, ended = frame + len(tickets), batch.end
                left = self.gate.allowed(frame)
                now_s = time.monotonic()
                for chunk in self._assembler.add(tickets, batch.signatures, credit_left=left, decoded_at_s=now_s):
                    self._send(chunk)
                self._moved()
            return session.counters()
        finally:
            session.close()
