"""StreamSession: a session over a stream of frames, their order, their slots, and questions about them.

ExaminedChunk ─► ChunkOrder ─► held frames ─► hooks of each kind of unit ─┬─ Ask ─► Request ··· Reply ─► hooks
                                                                         └─ passed ─► ReleaseLedger ─► Credit
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actors.messages import ExaminedChunk, Reply, Request, SegmentJob, Spent, StreamOpened
from actors.work.session import Message, Session, SessionTools
from dualface_ray.errors import ActorError, DualfaceError, ProtocolError
from dualface_ray.frames import Answer, Ask, ChunkOrder, Detections, FrameTicket, ReleaseLedger, StreamEnd, frames_of
from dualface_ray.identity import FrameFact
from dualface_ray.report import Quantiles, SpentRecord

STAGES = ("detect", "decide", "encode", "total")
"""Latency per frame from the decoder's output: to examined, to planned, to encoded; and the whole."""


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
