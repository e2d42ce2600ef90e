"""Pieces: the records that the parts of a cut video leave in its work folder, and who may take them as done.

    Survey       may it be cut, at which key frames, and who its two people are
    the plan     which spans it was cut into (a later run of the same job cuts it the same way)
    SpanRecord   a span's encoded frames, tracks and numbers; what it decided for both overlaps
    PieceRecord  a bridge's

Each is written last and in one piece: whoever reads it may rely on the files it names. A record counts only with the
fingerprint of the video's input and settings. Loaders return None for what is absent, damaged, or of another run: it
is then simply to be done.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dualface_ray.framing import PathPoint
from dualface_ray.media import (
    PLAN,
    SURVEY,
    EncodeSpec,
    OutputPlan,
    Span,
    Workspace,
    bridge_piece,
    span_piece,
    write_atomic,
)
from dualface_ray.report.run_report import EventRecord

SCHEMA = 1


class _Piece(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    fingerprint: str

    def save(self, path: Path) -> None:
        """Write it to the work folder, in one piece.

        Raises:
            DiskFullError, OutputError: it cannot be written.
        """
        Workspace(path.parent).make()
        write_atomic(path, self.model_dump_json(indent=1).encode() + b"\n")


class SpentRecord(BaseModel):
    """What inference took, by name; adds up."""

    model_config = ConfigDict(frozen=True)

    detected: int = 0
    embedded: int = 0
    detect_s: float = 0.0
    embed_s: float = 0.0


class Survey(_Piece):
    """What a look over a whole video found; ``Cuttable`` for ``plan_spans``."""

    refusal: str = ""
    """Why the video has to be done whole; "" = it may be cut."""
    frames: int = 0
    time_base: Fraction = Fraction(1)
    rate: Fraction = Fraction(25)
    """Frames per second on average, from first and last time stamp."""
    first_pts_ticks: int = 0
    """Of the first frame."""
    key_frames: tuple[int, ...] = ()
    """Positions in display order; decoding may begin at any of them."""
    key_pts_ticks: tuple[int, ...] = ()
    pts_sha256: str = ""
    """Of all time stamps in display order (``pts_digest``)."""
    cast: dict[str, Any] | None = None
    """Who A and B are (``identity.Cast``)."""
    spent: SpentRecord = SpentRecord()
    elapsed_s: float = 0.0


class Plan(_Piece):
    """How a video is cut."""

    spans: tuple[Span, ...]


class PieceRecord(_Piece):
    """What a finished span or bridge leaves; file names lie in the work folder."""

    piece: str
    first_frame: int
    """First frame it encoded, of the whole video."""
    frames: int
    """Frames it encoded."""
    segments: tuple[str, ...]
    """One per canvas."""
    sizes_bytes: tuple[int, ...]
    """Of the segments."""
    tracks: str
    """Rows of exactly these frames; frame numbers of the whole video, shots as the span counts them."""
    specs: tuple[EncodeSpec, ...]
    """Of the segments."""
    extradata_sha256: tuple[str, ...]
    """Codec configuration of each segment: only equal ones join."""
    repairs: dict[str, int] = Field(default_factory=dict)
    events: tuple[EventRecord, ...] = ()
    """Frames of the whole video, times from its first frame; the neighbours' events are not among them."""
    degradations: tuple[str, ...] = ()
    spent: SpentRecord = SpentRecord()
    latency: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By stage, ``Quantiles.to_state``."""
    lane: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    engines: dict[str, str] = Field(default_factory=dict)
    encoder: str = ""
    elapsed_s: float = 0.0
    attempts: int = 1


class SpanRecord(PieceRecord):
    """What a finished span leaves."""

    span: Span
    overture: tuple[PathPoint, ...] = ()
    """Decided, not encoded: from its first frame to ``write_frame``."""
    coda: tuple[PathPoint, ...] = ()
    """Decided, not encoded: from ``seam_frame`` to its end."""


_P = TypeVar("_P", bound=_Piece)


def load_survey(outputs: OutputPlan, fingerprint: str) -> Survey | None:
    """The finished survey of this very video, if there is one."""
    return _load(Workspace.of(outputs).record(SURVEY), Survey, fingerprint)


def load_plan(outputs: OutputPlan, fingerprint: str) -> tuple[Span, ...] | None:
    """The spans that an earlier run of the same job cut the video into."""
    plan = _load(Workspace.of(outputs).record(PLAN), Plan, fingerprint)
    return plan.spans if plan else None


def save_plan(outputs: OutputPlan, fingerprint: str, spans: Iterable[Span]) -> None:
    """Keep how the video is cut; before its first span is handed out.

    Raises:
        DiskFullError, OutputError: it cannot be written.
    """
    Plan(fingerprint=fingerprint, spans=tuple(spans)).save(Workspace.of(outputs).record(PLAN))


def load_span(outputs: OutputPlan, span: Span, fingerprint: str) -> SpanRecord | None:
    """The record of exactly this span, if it is finished and its files are there."""
    space = Workspace.of(outputs)
    record = _load(space.record(span_piece(span.number)), SpanRecord, fingerprint)
    return record if record and record.span == span and _complete(space, record) else None


def load_bridge(outputs: OutputPlan, before: Span, after: Span, fingerprint: str) -> PieceRecord | None:
    """The record of the bridge between exactly these spans, if it is finished and its files are there."""
    space = Workspace.of(outputs)
    record = _load(space.record(bridge_piece(before.number)), PieceRecord, fingerprint)
    place = before.seam_frame, before.end_frame - before.seam_frame
    fits = (
        record is not None and (record.first_frame, record.frames) == place and before.seam_frame == after.first_frame
    )
    return record if record and fits and _complete(space, record) else None


def _load(path: Path, kind: type[_P], fingerprint: str) -> _P | None:
    try:
        record = kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.fingerprint == fingerprint and record.schema_version == SCHEMA else None


def _complete(space: Workspace, record: PieceRecord) -> bool:
    try:
        sizes = tuple((space.folder / name).stat().st_size for name in record.segments)
    except OSError:
        return False
    return sizes == record.sizes_bytes and (space.folder / record.tracks).is_file()
