"""Session: one unit of work on the encoder's side. No threads, no Ray.

StreamOpened, ExaminedChunk, Reply ─► StreamSession ─► hooks of WholeSession, SpanSession, BridgeSession, SurveySession
                                        │  ▲ frames held until they are composed or passed
                          Request ◄─────┘  └─ ReleaseLedger ─► Credit
(nothing)                          ─► JoinSession
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.messages import ExaminedChunk, Reply, Request, SegmentJob, Spent, StreamOpened, StreamStatus
from dualface_ray.backends import Backend
from dualface_ray.errors import ActorError, Cancelled, DualfaceError, ProtocolError
from dualface_ray.frames import (
    Answer,
    Ask,
    ChunkOrder,
    Credit,
    Detections,
    FrameTicket,
    PoolReader,
    ReleaseLedger,
    StreamEnd,
    frames_of,
)
from dualface_ray.identity import FrameFact
from dualface_ray.report import Quantiles, SpentRecord, VideoState
from dualface_ray.settings import Settings

STAGES = ("detect", "decide", "encode", "total")
"""Latency per frame from the decoder's output: to examined, to planned, to encoded; and the whole."""

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
    facts: Mapping[str, str]


@dataclass(slots=True, eq=False)
class Held:
    """What is remembered of a frame until it is composed or passed."""

    ticket: FrameTicket
    decoded_at_s: float
    examined_at_s: float


@dataclass(slots=True, eq=False)
class Stream:
    """What exists once the decoder has said what the stream is."""

    opened: StreamOpened
    ledger: ReleaseLedger
    held: dict[int, Held] = field(default_factory=dict)
    ended: bool = False


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
        self.frames_total = 0
        self._state = VideoState.RUNNING
        self._error: DualfaceError | None = None
        self._began_s = time.monotonic()

    def status(self) -> StreamStatus:
        """How far it has come; safe from any thread."""
        done = self.frames_done
        total = done if self._state is VideoState.DONE else max(done, self.frames_total)
        return StreamStatus(self.job.stream_id, self.job.epoch, self._state, done, total, self._error)

    @property
    def elapsed_s(self) -> float:
        """Since it was given to this actor."""
        return round(time.monotonic() - self._began_s, 3)

    @property
    def progress(self) -> int:
        """Grows with everything that is done, beside ``frames_done``."""
        return self.ticks

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
        self._state = VideoState.DONE

    def fail(self, error: DualfaceError) -> None:
        """Give up: nothing half-written stays."""
        self._discard()
        self._error = error
        self._state = VideoState.FAILED

    @abstractmethod
    def _finalise(self) -> None:
        """See ``finalise``."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove what was begun; harmless when there is nothing."""


class StreamSession(Session):
    """A session over a stream of frames: their order, their slots, questions about them."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self.counters: dict[str, int] = {}
        """The decoder's, from its last chunk."""
        self._order = ChunkOrder(job.stream_id, job.epoch)
        self._early: dict[int, ExaminedChunk] = {}
        self._stream: Stream | None = None
        self._latency = {stage: Quantiles() for stage in STAGES}
        self._spent = Spent()
        self._examined = 0
        self._asked = {"detect": 0, "embed": 0}

    def latency(self) -> Mapping[str, Quantiles]:
        """Durations so far by stage; they grow while the session runs."""
        return self._latency

    def spent(self) -> SpentRecord:
        """What inference took."""
        return SpentRecord(
            detected=self._examined + self._asked["detect"],
            embedded=self._asked["embed"],
            detect_s=round(self._spent.detect_s, 3),
            embed_s=round(self._spent.embed_s, 3),
        )

    def handle(self, message: Message) -> None:
        """Take one message in; see ``Session``."""
        if isinstance(message, StreamOpened):
            self._open(message)
        elif isinstance(message, ExaminedChunk):
            self._early[message.chunk.sequence] = message
            for chunk in self._order.accept(message.chunk):
                self._take(self._early.pop(chunk.sequence))
        else:
            self._take_reply(message)

    # --- what kinds of units differ in ----------------------------------------------------------------------------
    @abstractmethod
    def _lookahead(self, message: StreamOpened) -> int:
        """Frames that must lie in the pool before one of them can be done with."""

    @abstractmethod
    def _begin(self, stream: Stream) -> None:
        """The stream is known; its first frames are asked for on return."""

    @abstractmethod
    def _arrived(self, stream: Stream, facts: Sequence[FrameFact], found: Detections) -> None:
        """The next frames are held."""

    @abstractmethod
    def _ended(self, stream: Stream) -> None:
        """No frame follows."""

    def _answered(self, stream: Stream, answer: Answer) -> None:
        """An answer has come."""

    # --- what they share ------------------------------------------------------------------------------------------
    def _ask(self, stream: Stream, ask: Ask) -> None:
        frames = frames_of([ask])
        stream.ledger.pin(ask.ask_id, frames)
        tickets = {frame: stream.held[frame].ticket for frame in frames}
        self._asked["detect"] += len(ask.detect)
        self._asked["embed"] += len(ask.embed)
        self.tools.links.request(Request(self.job.stream_id, self.job.epoch, ask, tickets, self.job.encoder))

    def _passed(self, stream: Stream, upto_frame: int) -> None:
        """Frames below are not needed any more."""
        stream.ledger.encoded(upto_frame)
        self._grant(stream)

    def _grant(self, stream: Stream) -> None:
        credit = stream.ledger.next_credit()
        if credit is not None:
            self.tools.links.credit(self.job, credit)

    def _open(self, message: StreamOpened) -> None:
        ledger = ReleaseLedger(
            self.job.stream_id,
            self.job.epoch,
            message.ring.count,
            lookahead_frames=self._lookahead(message),
            step_frames=self.tools.settings.lane.chunk_frames,
        )
        self.frames_total = message.info.frame_count_estimate
        self._stream = Stream(message, ledger)
        self._begin(self._stream)
        self._grant(self._stream)

    def _take(self, message: ExaminedChunk) -> None:
        chunk = message.chunk
        if chunk.end is StreamEnd.ABORT:
            self._aborted(self._typed(chunk.error))
            return
        stream = self._opened()
        self.counters.update(message.counters)
        self._spent = message.spent
        facts = []
        for row, ticket in enumerate(chunk.tickets):
            stream.held[ticket.frame_index] = Held(ticket, chunk.decoded_at_s, message.examined_at_s)
            facts.append(FrameFact(ticket.frame_index, ticket.pts_ticks, ticket.flags, chunk.signatures[row]))
        if facts:
            stream.ledger.received(facts[-1].frame_index + 1)
            waited_s = message.examined_at_s - chunk.decoded_at_s
            self._latency["detect"].extend([waited_s] * len(facts))
            self._examined += len(message.detections.by_frame)
            self._arrived(stream, facts, message.detections)
        if chunk.end is StreamEnd.END:
            stream.ended = True
            self._ended(stream)

    def _aborted(self, error: DualfaceError) -> None:
        raise error

    def _take_reply(self, message: Reply) -> None:
        stream = self._opened()
        if message.answer is None:
            raise self._typed(message.error)
        self._spent = message.spent
        stream.ledger.unpin(message.answer.ask_id)
        self._answered(stream, message.answer)

    def _typed(self, error: Exception | None) -> DualfaceError:
        return error if isinstance(error, DualfaceError) else ActorError(repr(error), where=str(self.job.source))

    def _opened(self) -> Stream:
        if self._stream is None:
            raise ProtocolError("a chunk came before its stream was opened", where=self.job.stream_id)
        return self._stream
