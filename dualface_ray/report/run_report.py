"""talk.report.json: what became of one video; written last, so that it means "done"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dualface_ray.errors import DualfaceError, InputError, InputMissingError
from dualface_ray.identity import IdentityEvent
from dualface_ray.media import write_atomic
from dualface_ray.report.fingerprint import open_plain
from dualface_ray.report.progress import VideoState
from dualface_ray.report.quantiles import Quantiles

SCHEMA = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class InputRecord(_Record):
    """The source: as named by the user, and its content (see ``input_fingerprint``)."""

    path: str
    absolute: str = ""
    """The same in full, for whoever reads this from another folder; empty for an address, and in older reports."""
    size_bytes: int = 0
    fingerprint: str = ""
    codec: str = ""
    width_px: int = 0
    """As displayed."""
    height_px: int = 0
    rate: str = ""
    """Average frames per second as a fraction."""


class FrameRecord(_Record):
    """Counts of frames; ``repairs`` holds what else was done to them by name (``pts_missing``, ...)."""

    frames_in: int = Field(0, alias="in")
    frames_out: int = Field(0, alias="out")
    concealed: int = 0
    repairs: dict[str, int] = Field(default_factory=dict)
    detected: int = 0
    """Frames examined by the detector, on the grid and on demand."""
    embedded: int = 0
    """Faces embedded."""


class EventRecord(_Record):
    """One decision of identity (see ``IdentityEvent``); ``time`` in seconds from the first frame."""

    frame: int
    time: float
    kind: str
    person: str = ""
    detail: dict[str, float | str] = Field(default_factory=dict)


class LatencyRecord(_Record):
    """Durations of one stage in seconds (see ``Quantiles`` for their exactness)."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class ErrorRecord(_Record):
    """Why a video failed: the three parts of a ``DualfaceError`` and its code."""

    code: str
    what: str
    where: str = ""
    remedy: str = ""

    @staticmethod
    def of(error: BaseException) -> ErrorRecord:
        """From any exception; what is no ``DualfaceError`` is reported as code ``internal``."""
        if isinstance(error, DualfaceError):
            return ErrorRecord(code=error.code, what=error.what, where=error.where, remedy=error.remedy)
        return ErrorRecord(code="internal", what=" ".join(f"{type(error).__name__}: {error}".split()))


class RunReport(_Record):
    """Everything worth keeping about one video of a job."""

    schema_version: int = Field(SCHEMA, alias="schema")
    state: VideoState
    input: InputRecord
    fingerprint: str = ""
    """Of input and settings together; the same = already done."""
    settings: dict[str, object] = Field(default_factory=dict)
    """The settings that count for the fingerprint."""
    outputs: tuple[str, ...] = ()
    """Names of the files beside the report."""
    frames: FrameRecord = Field(default_factory=FrameRecord)
    sound: dict[str, int] = Field(default_factory=dict)
    """What became of the sound, by name (``audio_packets``, ``audio_samples_silence``, ...); empty = there is none."""
    events: tuple[EventRecord, ...] = ()
    degradations: tuple[str, ...] = ()
    inference_s: dict[str, float] = Field(default_factory=dict)
    """Seconds this video took of the inference actor: ``detect``, and ``embed`` for re-identification."""
    latency_s: dict[str, LatencyRecord] = Field(default_factory=dict)
    """By stage; ``total`` is from the decoder's output to the encoder's output, per frame."""
    elapsed_s: float = 0.0
    attempts: int = 1
    spans: int = 1
    """Parts that were made independently; ``elapsed_s`` is then the sum of what all of them took."""
    lane: str = ""
    """Backend that made it; on a card also the card and its driver."""
    encoder: str = ""
    """Which encoder, on how many threads."""
    versions: dict[str, str] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each model file by role (``detector``, ``embedding``)."""
    engines: dict[str, str] = Field(default_factory=dict)
    """Names of the engines in the cache by role; empty on the CPU."""
    error: ErrorRecord | None = None

    @model_validator(mode="before")
    @classmethod
    def _sound_apart(cls, data: object) -> object:
        """Earlier reports counted the sound among the repairs of frames."""
        frames = data.get("frames") if isinstance(data, dict) else None
        repairs = frames.get("repairs") if isinstance(frames, dict) else None
        if not isinstance(data, dict) or not isinstance(frames, dict) or not isinstance(repairs, dict):
            return data
        sound = {name: count for name, count in repairs.items() if name.startswith("audio_")}
        if "sound" in data or not sound:
            return data
        kept = {name: count for name, count in repairs.items() if name not in sound}
        return {**data, "frames": {**frames, "repairs": kept}, "sound": sound}

    def to_json(self) -> bytes:
        """Indented UTF-8 JSON with a final newline; the same report gives the same bytes."""
        return self.model_dump_json(by_alias=True, indent=2).encode() + b"\n"

    def save(self, path: Path) -> None:
        """Write it in one piece (``.part``, fsync, rename).

        Raises:
            DiskFullError, OutputError: it cannot be written.
        """
        write_atomic(path, self.to_json())


def event_records(
    events: Iterable[IdentityEvent], pts_ticks: Mapping[int, int], first_pts_ticks: int, time_base: Fraction
) -> tuple[EventRecord, ...]:
    """Events with their times; ``pts_ticks`` gives the time stamp of each event's frame."""
    return tuple(
        EventRecord(
            frame=event.frame_index,
            time=round(float((pts_ticks[event.frame_index] - first_pts_ticks) * time_base), 6),
            kind=event.kind,
            person=event.person,
            detail={k: round(v, 6) if isinstance(v, float) else v for k, v in event.detail.items()},
        )
        for event in events
    )


def decoder_degradations(counters: Mapping[str, int]) -> list[str]:
    """What a decoder's counters say that differs from what was asked for."""
    return ["decoded on the CPU, not by NVDEC"] if counters.get("frames_decoded_on_cpu") else []


def sound_counts(outputs: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """What became of the sound; each output of a video gets it, so the largest count of any one is that of all."""
    counts: dict[str, int] = {}
    for counters in outputs:
        for name, count in counters.items():
            counts[name] = max(counts.get(name, 0), count)
    return dict(sorted(counts.items()))


def latency_records(stages: Mapping[str, Quantiles]) -> dict[str, LatencyRecord]:
    """Summaries of each stage's histogram, rounded to the microsecond."""
    return {
        name: LatencyRecord.model_validate({k: round(v, 6) for k, v in stage.summary().items()})
        for name, stage in stages.items()
    }


def read_report(path: Path) -> RunReport:
    """Read a report.

    Raises:
        InputMissingError: it cannot be opened.
        InputError: it is no report, damaged, or of a newer schema.
    """
    try:
        with open_plain(path) as file:
            content = file.read()
    except OSError as error:
        raise InputMissingError(error.strerror or "cannot be read", where=str(path)) from error
    return parse_report(content, str(path))


def parse_report(content: bytes, where: str) -> RunReport:
    """The report with this content, found at ``where``.

    Raises:
        InputError: it is no report, damaged, or of a newer schema.
    """
    try:
        report = RunReport.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"not a report ({key}: {first['msg']})" if key else f"not a report ({first['msg']})",
            where=where,
            remedy="Delete it to have the video made again.",
        ) from error
    if report.schema_version > SCHEMA:
        raise InputError(
            f"schema {report.schema_version} is newer than this version reads ({SCHEMA})",
            where=where,
            remedy="Update dualface-ray.",
        )
    return report
