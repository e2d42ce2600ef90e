"""What travels between the actors besides the messages of ``dualface_ray.frames``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from dualface_ray.frames import Answer, Ask, Detections, FrameChunk, FrameTicket, RingSpec, StreamInfo
from dualface_ray.media import SURVEY, FileSurvey, OutputPlan, Span, bridge_piece, shown_address, span_piece
from dualface_ray.report import VideoState

StreamKey = tuple[str, int]
"""(stream_id, epoch): one attempt at one segment."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What inference took for one stream: looks and faces, and their share of the batches they were in."""

    examined: int = 0
    embedded: int = 0
    detect_s: float = 0.0
    embed_s: float = 0.0


class Work(str, Enum):
    """What a lane is to do with a video.

    whole                                       most videos: everything in one go
    survey ─► span, span, ... ─► bridges ─► join   a long one: look it over, do its parts anywhere, put them together
    """

    WHOLE = "whole"
    SURVEY = "survey"
    """List its key frames, find out whether it may be cut, and who its two people are."""
    SPAN = "span"
    BRIDGE = "bridge"
    """Compose and encode the overlap between span ``span.number`` and the next."""
    JOIN = "join"
    """Put spans, bridges and sound together; the report last."""


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """The unit of work: one attempt at one segment of one video (most often a segment is the whole video)."""

    stream_id: str
    epoch: int
    source: Path
    """A local file, or where ``origin`` is fetched to."""
    outputs: OutputPlan
    """Local files, uploaded to ``publish`` in the end where that is set."""
    fingerprint: str
    work: Work = Work.WHOLE
    spans: tuple[Span, ...] = ()
    """span: the one; bridge: the two it joins; join: all of them; else none."""
    origin: str = field(default="", repr=False)
    """Address of the source when it is not a local file; may hold a secret."""
    identity: str = ""
    """What its place said of the content of ``origin`` when the job was made; empty = nothing."""
    publish: str = field(default="", repr=False)
    """Address of the folder that the complete files go to when it is not a local one."""
    replaced: tuple[str, ...] = ()
    """Names beside the outputs of an earlier result's videos; they go when the new one is complete."""
    notes: tuple[str, ...] = ()
    """What the report is to say under degradations: a smaller plan of the lane, a video that was not cut after all."""
    decoder: int = 0
    """Which of the lane's decoder actors works on it."""
    encoder: int = 0
    """Which of the lane's encoder actors works on it."""

    @property
    def key(self) -> StreamKey:
        """Names this attempt in every message."""
        return self.stream_id, self.epoch

    @property
    def shown(self) -> str:
        """The source as people may see it."""
        return shown_address(self.origin) if self.origin else str(self.source)

    @property
    def piece(self) -> str:
        """Name of what it leaves in the video's work folder; "" when it makes the final files."""
        if self.work is Work.SURVEY:
            return SURVEY
        if self.work is Work.SPAN:
            return span_piece(self.spans[0].number)
        return bridge_piece(self.spans[0].number) if self.work is Work.BRIDGE else ""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The decoder's first word on a stream, sent ahead of its chunks and on the same way."""

    stream_id: str
    epoch: int
    info: StreamInfo
    ring: RingSpec
    decoder: str
    """Who decodes, for the report (the backend and, when it differs, why)."""
    encoder: int = 0
    """Which encoder actor the stream goes to."""
    examine: bool = True
    """Frames are looked at on their way; otherwise only those that are asked for."""
    survey: FileSurvey | None = None
    """Of a survey: what the file's packets say."""

    @property
    def key(self) -> StreamKey:
        """Names the attempt."""
        return self.stream_id, self.epoch


@dataclass(frozen=True, slots=True, eq=False)
class ExaminedChunk:
    """A chunk after the forward detection: which of its frames were examined, and what was found."""

    chunk: FrameChunk
    detections: Detections = field(default_factory=Detections)
    examined_at_s: float = 0.0
    """Monotonic clock of the host."""
    spent: Spent = field(default_factory=Spent)
    """Inference on the whole stream so far."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """On the last chunk: repairs and losses the decoder counted."""
    encoder: int = 0
    """Which encoder actor the stream goes to."""

    @property
    def key(self) -> StreamKey:
        """Names the attempt."""
        return self.chunk.stream_id, self.chunk.epoch


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """An Ask on its way to the inference actor, with the tickets of the frames it concerns."""

    stream_id: str
    epoch: int
    ask: Ask
    tickets: Mapping[int, FrameTicket]
    encoder: int = 0
    """Which encoder actor asks."""

    @property
    def key(self) -> StreamKey:
        """Names the attempt."""
        return self.stream_id, self.epoch


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The answer to a Request, or the error that came instead."""

    stream_id: str
    epoch: int
    answer: Answer | None
    error: Exception | None = None
    spent: Spent = field(default_factory=Spent)
    """Inference on the whole stream so far."""
    encoder: int = 0
    """Which encoder actor asked."""

    @property
    def key(self) -> StreamKey:
        """Names the attempt."""
        return self.stream_id, self.epoch


@dataclass(frozen=True, slots=True, eq=False)
class StreamStatus:
    """How far one attempt has come, as the encoder sees it."""

    stream_id: str
    epoch: int
    state: VideoState
    frames_done: int
    frames_total: int
    error: Exception | None = None

    @property
    def key(self) -> StreamKey:
        """Names the attempt."""
        return self.stream_id, self.epoch


@dataclass(frozen=True, slots=True, eq=False)
class ActorStatus:
    """An actor's answer to a ping."""

    marks: Mapping[StreamKey, int] = field(default_factory=dict)
    """How far it has come with each stream: a number that changes with every step, and, while the stream waits for what
    others have (room in the pool, a file on its way), with every step of theirs."""
    building: str = ""
    """The last line of what is being built in mid-run, such as an engine; empty = nothing is."""
    streams: tuple[StreamStatus, ...] = ()
    failure: Exception | None = None
    """A fault of the actor itself (a failed call to a peer, a dead thread), not of one video."""
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
