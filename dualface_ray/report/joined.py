"""The report of a video that was made in pieces: one report out of their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dualface_ray.frames import StreamInfo
from dualface_ray.report.fingerprint import counted_settings
from dualface_ray.report.pieces import PieceRecord, Survey
from dualface_ray.report.progress import VideoState
from dualface_ray.report.quantiles import Quantiles
from dualface_ray.report.run_report import FrameRecord, RunReport, latency_records, sound_counts
from dualface_ray.report.task import input_record, versions
from dualface_ray.settings import Settings


def joined_report(
    *,
    source: Path,
    info: StreamInfo,
    settings: Settings,
    fingerprint: str,
    outputs: Sequence[str],
    survey: Survey,
    pieces: Sequence[PieceRecord],
    notes: Sequence[str],
    sound: Sequence[tuple[str, Mapping[str, int]]],
    elapsed_s: float,
    attempts: int,
) -> RunReport:
    """What a video done in one go would say of itself, as far as its parts can tell.

    Args:
        source: the video.
        info: of its stream.
        settings: of the run.
        fingerprint: of both.
        outputs: names of the videos made.
        survey: of the video.
        pieces: spans and bridges in order.
        notes: further degradations.
        sound: of each output: why there is none ("" = there is, or was none), and what happened to it.
        elapsed_s: what joining took.
        attempts: at joining.
    """
    repairs: Counter[str] = Counter()
    latency: dict[str, Quantiles] = {}
    for piece in pieces:
        repairs.update(piece.repairs)
        for stage, state in piece.latency.items():
            latency.setdefault(stage, Quantiles()).merge(Quantiles.from_state(state))
    # Overlaps are decoded three times: what is done to each frame is not done to more than all.
    counts = {name: min(count, survey.frames) for name, count in sorted(repairs.items())}
    spent = [survey.spent, *(piece.spent for piece in pieces)]
    degradations = [*notes, *(line for piece in pieces for line in piece.degradations)]
    degradations += [f"no sound: {problem}" for problem, _ in sound if problem]
    return RunReport(
        state=VideoState.DONE,
        input=input_record(source, info),
        fingerprint=fingerprint,
        settings=counted_settings(settings),
        outputs=tuple(outputs),
        frames=FrameRecord(
            frames_in=survey.frames,
            frames_out=survey.frames,
            repairs=counts,
            detected=sum(part.detected for part in spent),
            embedded=sum(part.embedded for part in spent),
        ),
        sound=sound_counts(counters for _, counters in sound),
        inference_s={
            "detect": round(sum(part.detect_s for part in spent), 3),
            "embed": round(sum(part.embed_s for part in spent), 3),
        },
        events=tuple(event for piece in pieces for event in piece.events),
        degradations=tuple(dict.fromkeys(degradations)),
        latency_s=latency_records(latency),
        elapsed_s=round(survey.elapsed_s + sum(piece.elapsed_s for piece in pieces) + elapsed_s, 3),
        attempts=max([attempts, *(piece.attempts for piece in pieces)]),
        spans=(len(pieces) + 1) // 2,
        lane=", ".join(sorted({piece.lane for piece in pieces})),
        versions=versions(),
        models={role: sha256 for piece in pieces for role, sha256 in piece.models.items()},
        engines={role: names for piece in pieces for role, names in piece.engines.items()},
        encoder="; ".join(sorted({piece.encoder for piece in pieces if piece.encoder})),
    )
