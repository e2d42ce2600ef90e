"""VideoSession: one video on the encoder's side, from tickets to finished files. No threads, no Ray.

ExaminedChunk ─► ChunkOrder ─► Director ─┬─ Ask ─► Request ··· Reply ─┐
                                         └─ DirectedFrame ◄───────────┘
                                                 └─► OutputFiles        ReleaseLedger ─► Credit
END ─► drain ─► assemble (audio, time stamps) ─► report: done
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from actors.messages import ExaminedChunk, Reply, Request, SegmentJob, Spent, StreamOpened, StreamStatus
from actors.outputs import DiscardedPictures, OutputFiles, Outputs
from dualface_ray.backends import Backend
from dualface_ray.backends.pyav import AssembleReport
from dualface_ray.errors import ActorError, Cancelled, DualfaceError, ProtocolError
from dualface_ray.frames import (
    ChunkOrder,
    Credit,
    FrameTicket,
    PoolReader,
    ReleaseLedger,
    StreamEnd,
    frames_of,
)
from dualface_ray.framing import DirectedFrame, Director, Step
from dualface_ray.identity import FrameFact, IdentityEvent
from dualface_ray.report import (
    FrameRecord,
    Quantiles,
    RunReport,
    VideoState,
    counted_settings,
    event_records,
    input_record,
    latency_records,
    versions,
)
from dualface_ray.settings import Settings

STAGES = ("detect", "decide", "encode", "total")
"""Latency per frame from the decoder's output: to examined, to planned, to encoded; and the whole."""


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
class _Held:
    """What is remembered of a frame until it is encoded."""

    ticket: FrameTicket
    decoded_at_s: float
    examined_at_s: float


@dataclass(slots=True, eq=False)
class _Stream:
    """What exists once the decoder has said what the stream is."""

    opened: StreamOpened
    director: Director
    ledger: ReleaseLedger
    outputs: Outputs
    held: dict[int, _Held] = field(default_factory=dict)
    open_asks: int = 0
    ended: bool = False


class VideoSession:
    """Turns one stream of chunks into its output files.

    ``handle`` takes messages and returns when all that they made possible is encoded. ``done`` becomes true when
    every frame is encoded; ``finalise`` then makes the files. Any error goes to ``fail``.
    """

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        self.job = job
        self.done = False
        self.cancelled = threading.Event()
        self._tools = tools
        self._order = ChunkOrder(job.stream_id, job.epoch)
        self._early: dict[int, ExaminedChunk] = {}
        self._stream: _Stream | None = None
        self._state = VideoState.RUNNING
        self._error: DualfaceError | None = None
        self._frames_done = 0
        self._frames_total = 0
        self._latency = {stage: Quantiles() for stage in STAGES}
        self._events: list[IdentityEvent] = []
        self._counters: dict[str, int] = {}
        self._asked = {"detect": 0, "embed": 0}
        self._spent = Spent()
        self._examined = 0
        self._began_s = time.monotonic()

    def status(self) -> StreamStatus:
        """How far it has come; safe from any thread."""
        done = self._frames_done
        total = done if self._state is VideoState.DONE else max(done, self._frames_total)
        return StreamStatus(self.job.stream_id, self.job.epoch, self._state, done, total, self._error)

    @property
    def pictures(self) -> int:
        """Pictures encoded so far: they go on where a constant rate repeats one frame for long."""
        return 0 if self._stream is None else self._stream.outputs.frames

    def latency(self) -> Mapping[str, Quantiles]:
        """Durations so far by stage; they grow while the session runs."""
        return self._latency

    def handle(self, message: StreamOpened | ExaminedChunk | Reply) -> None:
        """Take one message in.

        Raises:
            DualfaceError: the stream was aborted, or something failed here; the session is then to be failed.
        """
        if isinstance(message, StreamOpened):
            self._open(message)
        elif isinstance(message, ExaminedChunk):
            self._early[message.chunk.sequence] = message
            for chunk in self._order.accept(message.chunk):
                self._take(self._early.pop(chunk.sequence))
        else:
            self._take_reply(message)

    def finalise(self) -> None:
        """Make the final files; the report, written last, says that all of them are complete.

        Raises:
            OutputError: one of them cannot be written.
        """
        stream = self._opened()
        self._state = VideoState.FINISHING
        stream.outputs.finish()
        assembled = stream.outputs.assemble()
        if not self._tools.discard:
            self._report(stream, assembled).save(self.job.outputs.report)
        stream.outputs.close()
        self._state = VideoState.DONE

    def fail(self, error: DualfaceError) -> None:
        """Give up: nothing half-written stays."""
        if self._stream is not None:
            self._stream.outputs.discard()
        self._error = error
        self._state = VideoState.FAILED

    def _report(self, stream: _Stream, assembled: Sequence[AssembleReport]) -> RunReport:
        job, info, settings = self.job, stream.opened.info, self._tools.settings
        pts_ticks = dict(enumerate(stream.outputs.pts_ticks))
        counters = {**self._counters, **stream.outputs.counters}
        degradations = [*job.notes, *stream.outputs.degradations]
        degradations += [f"no sound: {report.audio_problem}" for report in assembled if report.audio_problem]
        for name, count in [item for report in assembled for item in report.counters.items()]:
            counters[name] = max(counters.get(name, 0), count)
        return RunReport(
            state=VideoState.DONE,
            input=input_record(job.source, info),
            fingerprint=job.fingerprint,
            settings=counted_settings(settings),
            outputs=tuple(path.name for path in job.outputs.videos),
            frames=FrameRecord(
                frames_in=self._frames_done,
                frames_out=stream.outputs.frames,
                concealed=counters.pop("concealed", 0),
                repairs=counters,
                detected=self._examined + self._asked["detect"],
                embedded=self._asked["embed"],
            ),
            inference_s={"detect": round(self._spent.detect_s, 3), "embed": round(self._spent.embed_s, 3)},
            events=event_records(self._events, pts_ticks, pts_ticks.get(0, 0), info.time_base),
            degradations=tuple(dict.fromkeys(degradations)),
            latency_s=latency_records(self._latency),
            elapsed_s=round(time.monotonic() - self._began_s, 3),
            attempts=job.epoch + 1,
            lane=stream.opened.decoder,
            versions=versions(),
            models=dict(self._tools.facts),
        )

    # --- messages -------------------------------------------------------------------------------------------------
    def _open(self, message: StreamOpened) -> None:
        tools, info = self._tools, message.info
        settings = tools.settings
        lookahead = settings.lookahead_frames(info.average_rate)
        self._frames_total = info.frame_count_estimate
        self._stream = _Stream(
            message,
            Director(settings, info, lookahead),
            ReleaseLedger(
                self.job.stream_id,
                self.job.epoch,
                message.ring.count,
                lookahead_frames=lookahead,
                step_frames=settings.lane.chunk_frames,
            ),
            self._outputs(message),
        )
        self._grant(self._stream)

    def _outputs(self, message: StreamOpened) -> Outputs:
        tools = self._tools
        if tools.discard:
            return DiscardedPictures(message.info, tools.backend, tools.settings)
        return OutputFiles(self.job, message.info, tools.backend, tools.settings, tools.encode_threads)

    def _take(self, message: ExaminedChunk) -> None:
        chunk = message.chunk
        if chunk.end is StreamEnd.ABORT:
            error = chunk.error
            raise error if isinstance(error, DualfaceError) else ActorError(repr(error), where=str(self.job.source))
        stream = self._opened()
        self._counters.update(message.counters)
        self._spent = message.spent
        facts = []
        for row, ticket in enumerate(chunk.tickets):
            stream.held[ticket.frame_index] = _Held(ticket, chunk.decoded_at_s, message.examined_at_s)
            facts.append(FrameFact(ticket.frame_index, ticket.pts_ticks, ticket.flags, chunk.signatures[row]))
        if facts:
            stream.ledger.received(facts[-1].frame_index + 1)
            waited_s = message.examined_at_s - chunk.decoded_at_s
            self._latency["detect"].extend([waited_s] * len(facts))
            self._examined += len(message.detections.by_frame)
            self._follow(stream, stream.director.push(facts, message.detections))
        if chunk.end is StreamEnd.END:
            stream.ended = True
            self._follow(stream, stream.director.finish())

    def _take_reply(self, message: Reply) -> None:
        stream = self._opened()
        if message.answer is None:
            error = message.error
            raise error if isinstance(error, DualfaceError) else ActorError(repr(error), where=str(self.job.source))
        self._spent = message.spent
        stream.ledger.unpin(message.answer.ask_id)
        self._follow(stream, stream.director.answer([message.answer]))

    # --- what follows from them -----------------------------------------------------------------------------------
    def _follow(self, stream: _Stream, step: Step) -> None:
        self._events.extend(step.events)
        for ask in step.asks:
            frames = frames_of([ask])
            stream.ledger.pin(ask.ask_id, frames)
            tickets = {frame: stream.held[frame].ticket for frame in frames}
            self._asked["detect"] += len(ask.detect)
            self._asked["embed"] += len(ask.embed)
            job = self.job
            self._tools.links.request(Request(job.stream_id, job.epoch, ask, tickets, job.encoder))
        planned_at_s = time.monotonic()
        size = self._tools.backend.compose_frames
        for start in range(0, len(step.frames), size):
            if self.cancelled.is_set():
                raise Cancelled("cancelled", where=str(self.job.source))
            self._encode(stream, step.frames[start : start + size], planned_at_s)
            self._grant(stream)
        self._grant(stream)
        if step.done:
            if not stream.ended or stream.held:
                raise ProtocolError("the session ended before its stream", where=str(self.job.source))
            self.done = True

    def _encode(self, stream: _Stream, group: Sequence[DirectedFrame], planned_at_s: float) -> None:
        held = [stream.held.pop(directed.plan.frame_index) for directed in group]
        opened = stream.opened
        reader = self._tools.readers[opened.ring.pool_id]
        with reader.read_many([(frame.ticket, opened.ring, opened.info) for frame in held]) as slots:
            stream.outputs.write(group, slots, partial(self._encoded, held, planned_at_s))
        stream.ledger.encoded(group[-1].plan.frame_index + 1)

    def _encoded(self, held: Sequence[_Held], planned_at_s: float) -> None:
        """The encoders have taken these frames; on their thread."""
        now_s = time.monotonic()
        self._latency["decide"].extend(planned_at_s - frame.examined_at_s for frame in held)
        self._latency["encode"].extend([now_s - planned_at_s] * len(held))
        self._latency["total"].extend(now_s - frame.decoded_at_s for frame in held)
        self._frames_done += len(held)

    def _grant(self, stream: _Stream) -> None:
        credit = stream.ledger.next_credit()
        if credit is not None:
            self._tools.links.credit(self.job, credit)

    def _opened(self) -> _Stream:
        if self._stream is None:
            raise ProtocolError("a chunk came before its stream was opened", where=self.job.stream_id)
        return self._stream
