"""Examiner: batches of frames for the detector, batches of faces for the embedder.

parts of runs ─► frames in their slots ─► Detector or Embedder ─► still the same frames? ─► one result per part
                                                   └─ seconds ─► Spent: of each stream, and of all
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from actors.messages import Spent, StreamOpened
from dualface_ray.backends import Backend
from dualface_ray.detect import DetectionGrid, Detector, Embedder, FramePixels, Part
from dualface_ray.errors import ActorError, StaleFrameError
from dualface_ray.frames import (
    F32,
    ArenaHandle,
    FaceCrop,
    Faces,
    FaceTable,
    FrameTicket,
    PoolReader,
    Reading,
    RingReader,
)
from dualface_ray.settings import Settings


@dataclass(slots=True, eq=False)
class Stream:
    """One that is open, and what is known of it."""

    opened: StreamOpened
    grid: DetectionGrid
    frames: RingReader[FramePixels] | None = None
    """Made when the first frame is read: its pool is attached by then."""
    spent: Spent = field(default_factory=Spent)
    """Written by the batchers' threads: detection and embedding each touch their own two numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Frames of one stream to examine together, or one face in each of them to embed: one item for a batcher."""

    stream: Stream
    tickets: Sequence[FrameTicket]
    crops: Sequence[FaceCrop] = ()


class Examiner:
    """Holds the models and reads the pools; ``examine`` and ``embed`` are what two batchers begin their batches with.

    The embedder is loaded when the first face is to be embedded: many videos never need it.
    """

    def __init__(self, backend: Backend, settings: Settings, *, threads: int) -> None:
        self._backend = backend
        self._settings = settings
        self._threads = threads
        self.building = ""
        """The last line of an engine that is being built; empty = none is."""
        self._detector: Detector = backend.load_detector(settings, threads, self._builds)
        self.building = ""
        self._embedder: Embedder | None = None
        self._readers: dict[str, PoolReader] = {}
        self.spent = Spent()
        """On all streams so far."""
        self._examined_s = 0.0
        """When the last batch of frames had ended."""
        self._ledger = threading.Lock()

    @property
    def max_batch(self) -> int:
        """Frames, or faces, of one batch."""
        return min(self._detector.max_batch, self._settings.detect.batch_max or self._detector.max_batch)

    @property
    def ahead(self) -> int:
        """Batches of frames that may be begun before the end of an earlier one."""
        return self._detector.ahead

    def attach(self, handle: ArenaHandle) -> None:
        """Map a decoder's pool; once each, before the first stream."""
        self._readers[handle.pool_id] = PoolReader(self._backend.attach_arena(handle))

    def examine(self, parts: Sequence[Part[Run]]) -> Callable[[], list[FaceTable]]:
        """Start on a batch of frames; what comes back ends it."""
        begin_s = time.perf_counter()
        readings = [self._read(part) for part in parts]
        try:
            finish = self._detector.begin([frame for reading in readings for frame in reading.views])
        finally:
            self.building = ""
        return partial(self._examined, parts, readings, finish, begin_s)

    def embed(self, parts: Sequence[Part[Run]]) -> Callable[[], list[F32]]:
        """Nothing is begun of a batch of faces; what comes back does it all."""
        return partial(self._embedded, parts)

    def close(self) -> None:
        """Unload the models and unmap the pools; both batchers are closed, and the streams let go, before."""
        self._detector.close()
        if self._embedder is not None:
            self._embedder.close()
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    # --- inside ---------------------------------------------------------------------------------------------------
    def _builds(self, line: str) -> None:
        self.building = line

    def _examined(
        self,
        parts: Sequence[Part[Run]],
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

    def _embedded(self, parts: Sequence[Part[Run]]) -> list[F32]:
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

    def _account(self, parts: Sequence[Part[Run]], count: str, seconds: str, spent_s: float) -> None:
        """Charge a batch to its streams, equally per frame or face, and to the actor."""
        everything = sum(map(len, parts))
        with self._ledger:
            for part in parts:
                stream, items = part.item.stream, len(part)
                stream.spent = _more(stream.spent, count, items, seconds, spent_s * items / everything)
            self.spent = _more(self.spent, count, everything, seconds, spent_s)

    def _read(self, part: Part[Run]) -> Reading[FramePixels]:
        """The pixels of a part's frames."""
        stream = part.item.stream
        if stream.frames is None:
            ring, info = stream.opened.ring, stream.opened.info
            if ring.pool_id not in self._readers:
                raise ActorError("a frame came before its pool was attached", where="inference")
            stream.frames = self._readers[ring.pool_id].ring(ring, info, lambda slot: FramePixels(slot, info))
        return stream.frames.read(part.item.tickets[part.start : part.stop])


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
