"""InferenceService: one central batcher over all streams of a lane.

StreamOpened, ExaminedChunk ─► grid: which frames are due ─► Batcher ─► Examiner ─► Detections ─► ExaminedChunk
Request ─► exactly these frames, or faces ───────────────────────┘          └─────► Answer ─► Reply
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from actors.examiner import Examiner, Run, Stream
from actors.messages import ActorStatus, ExaminedChunk, Reply, Request, Spent, StreamKey, StreamOpened
from dualface_ray.backends import Backend
from dualface_ray.detect import Batcher, DetectionGrid
from dualface_ray.errors import ActorError
from dualface_ray.frames import F32, Answer, ArenaHandle, Detections, FaceTable, FrameTicket, StreamEnd
from dualface_ray.models import Provenance
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class InferenceLinks:
    """Where the inference's words go."""

    opened: Callable[[StreamOpened], None]
    chunk: Callable[[ExaminedChunk], None]
    reply: Callable[[Reply], None]


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
    """Examines what the grid or a session asks for, in batches over all streams."""

    def __init__(self, backend: Backend, settings: Settings, *, threads: int, streams: int) -> None:
        self._backend = backend
        self._settings = settings
        self._links: InferenceLinks | None = None
        self._streams: dict[StreamKey, Stream] = {}
        examiner = self._examiner = Examiner(backend, settings, threads=threads)
        wait_s, batch = settings.detect.batch_wait_s, examiner.max_batch
        # Twice a fair share, and never less than a message: a run that is cut in two costs twice.
        cap = min(batch, max(2 * -(-batch // max(1, streams)), settings.lane.chunk_frames))
        self._looks: Batcher[Run, FaceTable] = Batcher(
            examiner.examine, max_batch=batch, wait_s=wait_s, per_stream_cap=cap, ahead=examiner.ahead
        )
        self._embeds: Batcher[Run, F32] = Batcher(examiner.embed, max_batch=batch, wait_s=wait_s, per_stream_cap=cap)

    def attach(self, handle: ArenaHandle) -> None:
        """Map a decoder's pool; once each, before the first stream."""
        self._examiner.attach(handle)

    def connect(self, links: InferenceLinks) -> None:
        """Tell the service its consumer; before the first stream."""
        self._links = links

    def opened(self, message: StreamOpened) -> None:
        """A stream begins; the word is passed on ahead of its chunks."""
        detect = self._settings.detect
        grid = DetectionGrid(message.info.time_base, detect.grid_hz, every_frame=detect.every_frame)
        self._streams[message.key] = Stream(message, grid)
        self._linked().opened(message)

    def chunk(self, message: ExaminedChunk) -> None:
        """Examine the grid frames of a chunk and pass it on when all of them are done."""
        stream = self._streams.get(message.key)
        due = () if stream is None or not stream.opened.examine else stream.grid.due_of(message.chunk.tickets)
        finish = partial(self._chunk_done, message, due)
        if stream is None or not due:
            finish([])
            return
        self._looks.submit(message.key, Run(stream, due), finish, len(due))

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
            run = Run(stream, [message.tickets[frame] for frame in ask.detect])
            self._looks.submit(message.key, run, partial(both.settle, "detect"), len(ask.detect))
        if ask.embed:
            run = Run(stream, [message.tickets[crop.frame_index] for crop in ask.embed], ask.embed)
            self._embeds.submit(message.key, run, partial(both.settle, "embed"), len(ask.embed))

    def forget(self, key: StreamKey) -> None:
        """The stream is over."""
        self._streams.pop(key, None)

    def provenance(self) -> Provenance:
        """What computes here, for the reports; once, before the first stream."""
        return self._backend.provenance(self._settings)

    def status(self) -> ActorStatus:
        """Frames examined and faces embedded so far, and the seconds that took."""
        spent = self._examiner.spent
        each = {key: stream.spent for key, stream in dict(self._streams).items()}
        return ActorStatus(
            {key: stream.examined + stream.embedded for key, stream in each.items()},
            building=self._examiner.building,
            facts={
                "frames_examined": spent.examined,
                "faces_embedded": spent.embedded,
                "detect_s": round(spent.detect_s, 3),
                "embed_s": round(spent.embed_s, 3),
                "batches": self._looks.batches,
            },
        )

    def close(self) -> None:
        """Settle what is still open with an error, unload the models and unmap the pools."""
        self._looks.close()
        self._embeds.close()
        self._streams.clear()  # what they have read goes before the pools
        self._examiner.close()

    # --- inside ---------------------------------------------------------------------------------------------------
    def _linked(self) -> InferenceLinks:
        if self._links is None:
            raise ActorError("a message came before the consumers were known", where="inference")
        return self._links

    def _spent_on(self, key: StreamKey) -> Spent:
        stream = self._streams.get(key)
        return Spent() if stream is None else stream.spent

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
