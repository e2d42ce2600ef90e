"""InferenceService: one central batcher over all streams of a lane; InferenceActor: its Ray shell."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import ray

from actors.messages import ActorStatus, ExaminedChunk, Reply, Request, Spent, StreamKey, StreamOpened
from actors.outbox import Outbox
from actors.placement import LanePlan
from actors.steps import lines_of
from dualface_ray.backends import Backend, limit_library_threads, load_backend
from dualface_ray.detect import Batcher, DetectionGrid, Detector, Embedder, FramePixels, Part
from dualface_ray.errors import ActorError, StaleFrameError
from dualface_ray.frames import (
    F32,
    Answer,
    ArenaHandle,
    Detections,
    FaceCrop,
    Faces,
    FaceTable,
    FrameTicket,
    PoolReader,
    Reading,
    RingReader,
    StreamEnd,
)
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class InferenceLinks:
    """Where the inference's words go."""

    opened: Callable[[StreamOpened], None]
    chunk: Callable[[ExaminedChunk], None]
    reply: Callable[[Reply], None]


@dataclass(slots=True, eq=False)
class _Stream:
    opened: StreamOpened
    grid: DetectionGrid
    frames: RingReader[FramePixels] | None = None
    """Made when the first frame is read: its pool is attached by then."""
    spent: Spent = field(default_factory=Spent)
    """Written by the batchers' threads: detection and embedding each touch their own two numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Frames of one stream to examine together, or one face in each of them to embed: one item for a batcher."""

    stream: _Stream
    tickets: Sequence[FrameTicket]
    crops: Sequence[FaceCrop] = ()


@dataclass(slots=True, eq=False)
class _Both:
    """Joins the two halves of a request; ``done`` is called once, by whoever comes last."""

    missing: int
    done: Callable[[dict[str, Any], Exception | None], None]
    results: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, name: str, result: list[Any] | Exception) -> None:
        """Take one half in."""
        with self.lock:
            if isinstance(result, Exception):
                self.error = self.error or result
            else:
                self.results[name] = result
            self.missing -= 1
            last = self.missing == 0
        if last:
            self.done(self.results, self.error)


class InferenceService:
    """Examines what the grid or a session asks for, in batches over all streams.

    The embedder is loaded when the first face is to be embedded: many videos never need it.
    """

    def __init__(self, backend: Backend, settings: Settings, *, threads: int, streams: int) -> None:
        self._backend = backend
        self._settings = settings
        self._threads = threads
        self._detector: Detector = backend.load_detector(settings, threads)
        self._embedder: Embedder | None = None
        self._readers: dict[str, PoolReader] = {}
        self._links: InferenceLinks | None = None
        self._streams: dict[StreamKey, _Stream] = {}
        batch = min(self._detector.max_batch, settings.detect.batch_max or self._detector.max_batch)
        # Twice a fair share, and never less than a message: a run that is cut in two costs twice.
        cap = min(batch, max(2 * -(-batch // max(1, streams)), settings.lane.chunk_frames))
        wait_s, ahead = settings.detect.batch_wait_s, self._detector.ahead
        self._looks: Batcher[_Run, FaceTable] = Batcher(
            self._examine, max_batch=batch, wait_s=wait_s, per_stream_cap=cap, ahead=ahead
        )
        self._embeds: Batcher[_Run, F32] = Batcher(self._embed, max_batch=batch, wait_s=wait_s, per_stream_cap=cap)
        self._spent = Spent()
        self._examined_s = 0.0
        """When the last batch of frames had ended."""
        self._ledger = threading.Lock()

    def attach(self, handle: ArenaHandle) -> None:
        """Map a decoder's pool; once each, before the first stream."""
        self._readers[handle.pool_id] = PoolReader(self._backend.attach_arena(handle))

    def connect(self, links: InferenceLinks) -> None:
        """Tell the service its consumer; before the first stream."""
        self._links = links

    def opened(self, message: StreamOpened) -> None:
        """A stream begins; the word is passed on ahead of its chunks."""
        detect = self._settings.detect
        grid = DetectionGrid(message.info.time_base, detect.grid_hz, every_frame=detect.every_frame)
        self._streams[message.key] = _Stream(message, grid)
        self._linked().opened(message)

    def chunk(self, message: ExaminedChunk) -> None:
        """Examine the grid frames of a chunk and pass it on when all of them are done."""
        stream = self._streams.get(message.key)
        due = () if stream is None or not stream.opened.examine else stream.grid.due_of(message.chunk.tickets)
        finish = partial(self._chunk_done, message, due)
        if stream is None or not due:
            finish([])
            return
        self._looks.submit(message.key, _Run(stream, due), finish, len(due))

    def request(self, message: Request) -> None:
        """Examine or embed exactly these frames and reply to the session that asked."""
        stream = self._streams.get(message.key)
        if stream is None:
            error = ActorError("a request for a stream that is not open", where=message.stream_id)
            self._linked().reply(Reply(message.stream_id, message.epoch, None, error, encoder=message.encoder))
            return
        ask = message.ask
        both = _Both(bool(ask.detect) + bool(ask.embed), partial(self._request_done, message))
        if ask.detect:
            run = _Run(stream, [message.tickets[frame] for frame in ask.detect])
            self._looks.submit(message.key, run, partial(both.settle, "detect"), len(ask.detect))
        if ask.embed:
            run = _Run(stream, [message.tickets[crop.frame_index] for crop in ask.embed], ask.embed)
            self._embeds.submit(message.key, run, partial(both.settle, "embed"), len(ask.embed))

    def forget(self, key: StreamKey) -> None:
        """The stream is over."""
        self._streams.pop(key, None)

    def describe(self) -> dict[str, str]:
        """Names and hashes of what computes here."""
        return {"detector": self._settings.detect.model, "backend": self._backend.name}

    def status(self) -> ActorStatus:
        """Frames examined and faces embedded so far, and the seconds that took."""
        spent = self._spent
        return ActorStatus(
            progress=spent.examined + spent.embedded,
            facts={
                "frames_examined": spent.examined,
                "faces_embedded": spent.embedded,
                "detect_s": round(spent.detect_s, 3),
                "embed_s": round(spent.embed_s, 3),
                "batches": self._looks.batches,
            },
        )

    def close(self) -> None:
        """Settle what is still open with an error, unload the models and unmap the pool."""
        self._looks.close()
        self._embeds.close()
        self._detector.close()
        if self._embedder is not None:
            self._embedder.close()
        self._streams.clear()  # what they have read goes before the pools
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    # --- inside ---------------------------------------------------------------------------------------------------
    def _linked(self) -> InferenceLinks:
        if self._links is None:
            raise ActorError("a message came before the consumers were known", where="inference")
        return self._links

    def _examine(self, parts: Sequence[Part[_Run]]) -> Callable[[], list[FaceTable]]:
        """Start on a batch of frames; what comes back ends it."""
        begin_s = time.perf_counter()
        readings = [self._read(part) for part in parts]
        finish = self._detector.begin([frame for reading in readings for frame in reading.views])
        return partial(self._examined, parts, readings, finish, begin_s)

    def _examined(
        self,
        parts: Sequence[Part[_Run]],
        readings: Sequence[Reading[FramePixels]],
        finish: Callable[[], Sequence[Faces]],
        begin_s: float,
    ) -> list[FaceTable]:
        with _checked(readings):
            found = FaceTable.of(finish())
        now_s = time.perf_counter()
        # While batches overlap, each counts from the end of the one before: the sum is the time that was used.
        self._account(parts, "examined", "detect_s", now_s - max(begin_s, self._examined_s))
        self._examined_s = now_s
        ends = [0, *itertools.accumulate(map(len, parts))]
        return [found.part(start, stop) for start, stop in itertools.pairwise(ends)]

    def _embed(self, parts: Sequence[Part[_Run]]) -> Callable[[], list[F32]]:
        return partial(self._embedded, parts)

    def _embedded(self, parts: Sequence[Part[_Run]]) -> list[F32]:
        if self._embedder is None:
            self._embedder = self._backend.load_embedder(self._settings, self._threads)
        begin_s = time.perf_counter()
        crops = [crop for part in parts for crop in part.item.crops[part.start : part.stop]]
        readings = [self._read(part) for part in parts]
        with _checked(readings):
            rows = self._embedder.embed([frame for reading in readings for frame in reading.views], crops)
        self._account(parts, "embedded", "embed_s", time.perf_counter() - begin_s)
        ends = itertools.accumulate(map(len, parts))
        return np.split(rows, list(ends)[:-1])

    def _account(self, parts: Sequence[Part[_Run]], count: str, seconds: str, spent_s: float) -> None:
        """Charge a batch to its streams, equally per frame or face, and to the actor."""
        everything = sum(map(len, parts))
        with self._ledger:
            for part in parts:
                stream, items = part.item.stream, len(part)
                stream.spent = _more(stream.spent, count, items, seconds, spent_s * items / everything)
            self._spent = _more(self._spent, count, everything, seconds, spent_s)

    def _spent_on(self, key: StreamKey) -> Spent:
        stream = self._streams.get(key)
        return Spent() if stream is None else stream.spent

    def _read(self, part: Part[_Run]) -> Reading[FramePixels]:
        """The pixels of a part's frames."""
        stream = part.item.stream
        if stream.frames is None:
            ring, info = stream.opened.ring, stream.opened.info
            if ring.pool_id not in self._readers:
                raise ActorError("a frame came before its pool was attached", where="inference")
            stream.frames = self._readers[ring.pool_id].ring(ring, info, lambda slot: FramePixels(slot, info))
        return stream.frames.read(part.item.tickets[part.start : part.stop])

    def _chunk_done(
        self, message: ExaminedChunk, due: Sequence[FrameTicket], result: list[FaceTable] | Exception
    ) -> None:
        """All of a chunk's frames have been examined. A failure ends the stream: its frames cannot be trusted."""
        chunk, found = message.chunk, Detections()
        if not isinstance(result, Exception):
            found = Detections.of([ticket.frame_index for ticket in due], FaceTable.joined(result))
        elif chunk.end is not StreamEnd.ABORT:
            chunk = replace(chunk, end=StreamEnd.ABORT, error=result)
        spent = self._spent_on(message.key)
        self._linked().chunk(ExaminedChunk(chunk, found, time.monotonic(), spent, message.counters, message.encoder))

    def _request_done(self, message: Request, results: dict[str, Any], error: Exception | None) -> None:
        ask = message.ask
        answer = None
        if error is None:
            found = Detections.of(ask.detect, FaceTable.joined(results.get("detect", [])))
            answer = Answer(ask.ask_id, found)
            if "embed" in results:
                answer = Answer(ask.ask_id, found, np.concatenate(results["embed"]))
        spent = self._spent_on(message.key)
        self._linked().reply(Reply(message.stream_id, message.epoch, answer, error, spent, message.encoder))


def _more(spent: Spent, count: str, items: int, seconds: str, spent_s: float) -> Spent:
    more = {count: getattr(spent, count) + items, seconds: getattr(spent, seconds) + spent_s}
    return replace(spent, **more)


@contextmanager
def _checked(readings: Sequence[Reading[FramePixels]]) -> Iterator[None]:
    """Frames that are no longer in their slots after the block are an error, and explain one better than itself.

    Raises:
        StaleFrameError: what was read is void.
    """
    try:
        yield
    except Exception as error:
        stale = next(filter(None, (reading.stale() for reading in readings)), None)
        if stale is not None and not isinstance(error, StaleFrameError):
            raise stale from error
        raise
    for reading in readings:
        reading.check()


@ray.remote(max_restarts=0)
class InferenceActor:
    """Shell: every method hands over to the service and returns at once (``prepare`` loads the model)."""

    def __init__(self, plan: LanePlan, settings: Settings) -> None:
        self._plan = plan
        self._settings = plan.adapted(settings)
        self._service: InferenceService | None = None
        self._outbox = Outbox("encoder")

    def build(self) -> Iterator[str]:
        """Make what takes minutes and is not in the cache yet, such as engines; yields a line per step."""
        backend = load_backend(self._plan.backend, self._plan.device_plan("inference"))
        yield from lines_of(lambda say: backend.prepare(self._settings, say))

    def prepare(self) -> None:
        """Load the detector; typed errors reach the lane."""
        limit_library_threads(1)
        backend = load_backend(self._plan.backend, self._plan.device_plan("inference"))
        threads = self._plan.threads.infer
        self._service = InferenceService(backend, self._settings, threads=threads, streams=self._plan.streams)

    def attach(self, handle: ArenaHandle) -> None:
        """See InferenceService."""
        self._ready().attach(handle)

    def connect(self, *encoders: Any) -> None:
        """Chunks and replies go to the encoder actor that their message names."""
        send = self._outbox.sent
        self._ready().connect(
            InferenceLinks(
                opened=lambda message: send(encoders[message.encoder].opened.remote(message)),
                chunk=lambda message: send(encoders[message.encoder].chunk.remote(message)),
                reply=lambda message: send(encoders[message.encoder].reply.remote(message)),
            )
        )

    def describe(self) -> dict[str, str]:
        """What computes here, for the reports."""
        return self._ready().describe()

    def opened(self, message: StreamOpened) -> None:
        """See InferenceService."""
        self._ready().opened(message)

    def chunk(self, message: ExaminedChunk) -> None:
        """See InferenceService."""
        self._ready().chunk(message)

    def request(self, message: Request) -> None:
        """See InferenceService."""
        self._ready().request(message)

    def forget(self, key: StreamKey) -> None:
        """See InferenceService."""
        self._ready().forget(key)

    def status(self) -> ActorStatus:
        """See InferenceService; with faults of calls to the encoder actor."""
        status = self._ready().status()
        return replace(status, failure=self._outbox.check())

    def close(self) -> None:
        """Unload the models and unmap the pool."""
        if self._service is not None:
            self._service.close()

    def _ready(self) -> InferenceService:
        if self._service is None:
            raise ActorError("prepare() was not called or failed", where="inference")
        return self._service
