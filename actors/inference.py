"""InferenceService: one central batcher over all streams of a lane; InferenceActor: its Ray shell."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import ray

from actors.messages import ActorStatus, ExaminedChunk, Reply, Request, Spent, StreamKey, StreamOpened
from actors.outbox import Outbox
from actors.placement import LanePlan
from dualface_ray.backends import Backend, limit_library_threads, load_backend
from dualface_ray.detect import Batcher, DetectionGrid, Detector, Embedder, FramePixels
from dualface_ray.errors import ActorError
from dualface_ray.frames import (
    F32,
    Answer,
    ArenaHandle,
    Detections,
    FaceCrop,
    Faces,
    FrameTicket,
    PoolReader,
    StreamEnd,
)
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class InferenceLinks:
    """Where the inference's words go."""

    opened: Callable[[StreamOpened], None]
    chunk: Callable[[ExaminedChunk], None]
    reply: Callable[[Reply], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """One frame to examine, or one face in it to embed."""

    stream: _Stream
    ticket: FrameTicket
    crop: FaceCrop | None = None


@dataclass(slots=True, eq=False)
class _Stream:
    opened: StreamOpened
    grid: DetectionGrid
    spent: Spent = field(default_factory=Spent)
    """Written by the batchers' threads: detection and embedding each touch their own two numbers."""


@dataclass(slots=True, eq=False)
class _Gather:
    """Collects the results of one message's items; ``done`` is called once, by whoever settles last."""

    missing: int
    done: Callable[[dict[int, Any], Exception | None], None]
    results: dict[int, Any] = field(default_factory=dict)
    error: Exception | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, position: int, result: object) -> None:
        """Take one result (or exception) in."""
        with self.lock:
            if isinstance(result, Exception):
                self.error = self.error or result
            else:
                self.results[position] = result
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
        cap = max(1, -(-batch // max(1, streams)) * 2)
        self._looks: Batcher[_Look, Faces] = Batcher(
            self._examine, max_batch=batch, wait_s=settings.detect.batch_wait_s, per_stream_cap=min(cap, batch)
        )
        self._embeds: Batcher[_Look, F32] = Batcher(
            self._embed, max_batch=batch, wait_s=settings.detect.batch_wait_s, per_stream_cap=min(cap, batch)
        )
        self._spent = Spent()
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
        due = [] if stream is None else [t for t in message.chunk.tickets if stream.grid.due(t)]
        finish = partial(self._chunk_done, message, [t.frame_index for t in due])
        if stream is None or not due:
            finish({}, None)
            return
        gather = _Gather(len(due), finish)
        for position, ticket in enumerate(due):
            self._looks.submit(message.key, _Look(stream, ticket), partial(gather.settle, position))

    def request(self, message: Request) -> None:
        """Examine or embed exactly these frames and reply to the session that asked."""
        stream = self._streams.get(message.key)
        if stream is None:
            error = ActorError("a request for a stream that is not open", where=message.stream_id)
            self._linked().reply(Reply(message.stream_id, message.epoch, None, error, encoder=message.encoder))
            return
        ask = message.ask
        gather = _Gather(len(ask.detect) + len(ask.embed), partial(self._request_done, message))
        for position, frame in enumerate(ask.detect):
            self._looks.submit(message.key, _Look(stream, message.tickets[frame]), partial(gather.settle, position))
        for position, crop in enumerate(ask.embed, start=len(ask.detect)):
            look = _Look(stream, message.tickets[crop.frame_index], crop)
            self._embeds.submit(message.key, look, partial(gather.settle, position))

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
            },
        )

    def close(self) -> None:
        """Settle what is still open with an error, unload the models and unmap the pool."""
        self._looks.close()
        self._embeds.close()
        self._detector.close()
        if self._embedder is not None:
            self._embedder.close()
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    # --- inside ---------------------------------------------------------------------------------------------------
    def _linked(self) -> InferenceLinks:
        if self._links is None:
            raise ActorError("a message came before the consumers were known", where="inference")
        return self._links

    def _examine(self, looks: Sequence[_Look]) -> list[Faces]:
        begin_s = time.perf_counter()
        with self._read(looks) as views:
            faces = self._detector.detect(_pixels(looks, views))
        self._account(looks, "examined", "detect_s", time.perf_counter() - begin_s)
        return faces

    def _embed(self, looks: Sequence[_Look]) -> list[F32]:
        if self._embedder is None:
            self._embedder = self._backend.load_embedder(self._settings, self._threads)
        begin_s = time.perf_counter()
        crops = [look.crop for look in looks if look.crop is not None]
        with self._read(looks) as views:
            embeddings = self._embedder.embed(_pixels(looks, views), crops)
        self._account(looks, "embedded", "embed_s", time.perf_counter() - begin_s)
        return list(embeddings)

    def _account(self, looks: Sequence[_Look], count: str, seconds: str, spent_s: float) -> None:
        """Charge a batch to its streams, equally per item, and to the actor."""
        with self._ledger:
            for stream, items in Counter(look.stream for look in looks).items():
                spent = stream.spent
                stream.spent = replace(
                    spent,
                    **{
                        count: getattr(spent, count) + items,
                        seconds: getattr(spent, seconds) + spent_s * items / len(looks),
                    },
                )
            total = self._spent
            more = {count: getattr(total, count) + len(looks), seconds: getattr(total, seconds) + spent_s}
            self._spent = replace(total, **more)

    def _spent_on(self, key: StreamKey) -> Spent:
        stream = self._streams.get(key)
        return Spent() if stream is None else stream.spent

    @contextmanager
    def _read(self, looks: Sequence[_Look]) -> Iterator[list[Any]]:
        """The pixels of all looks, in their order, whichever pools they lie in."""
        views: list[Any] = [None] * len(looks)
        pools: dict[str, list[int]] = {}
        for position, look in enumerate(looks):
            pools.setdefault(look.ticket.pool_id, []).append(position)
        with ExitStack() as stack:
            for pool_id, positions in pools.items():
                if pool_id not in self._readers:
                    raise ActorError("a frame came before its pool was attached", where="inference")
                opened = [
                    (looks[p].ticket, looks[p].stream.opened.ring, looks[p].stream.opened.info) for p in positions
                ]
                found = stack.enter_context(self._readers[pool_id].read_many(opened))
                for position, view in zip(positions, found, strict=True):
                    views[position] = view
            yield views

    def _chunk_done(
        self, message: ExaminedChunk, frames: list[int], results: dict[int, Any], error: Exception | None
    ) -> None:
        """All of a chunk's looks have settled. A failed one ends the stream: its frames cannot be trusted."""
        chunk = message.chunk
        if error is not None and chunk.end is not StreamEnd.ABORT:
            chunk = replace(chunk, end=StreamEnd.ABORT, error=error)
        found = Detections({frames[position]: faces for position, faces in results.items()})
        spent = self._spent_on(message.key)
        self._linked().chunk(ExaminedChunk(chunk, found, time.monotonic(), spent, message.counters, message.encoder))

    def _request_done(self, message: Request, results: dict[int, Any], error: Exception | None) -> None:
        ask = message.ask
        answer = None
        if error is None:
            examined = len(ask.detect)
            found = Detections({frame: results[position] for position, frame in enumerate(ask.detect)})
            rows = [results[examined + number] for number in range(len(ask.embed))]
            answer = Answer(ask.ask_id, found, np.stack(rows)) if rows else Answer(ask.ask_id, found)
        spent = self._spent_on(message.key)
        self._linked().reply(Reply(message.stream_id, message.epoch, answer, error, spent, message.encoder))


def _pixels(looks: Sequence[_Look], views: Sequence[Any]) -> list[FramePixels]:
    return [FramePixels(view, look.stream.opened.info) for look, view in zip(looks, views, strict=True)]


@ray.remote(max_restarts=0)
class InferenceActor:
    """Shell: every method hands over to the service and returns at once (``prepare`` loads the model)."""

    def __init__(self, plan: LanePlan, settings: Settings) -> None:
        self._plan = plan
        self._settings = plan.adapted(settings)
        self._service: InferenceService | None = None
        self._outbox = Outbox("encoder")

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
