"""Report: what was done, for people and for machines.

    TrackedFrame + FramePlan ─► TracksWriter ─► tracks.jsonl ─► contact sheet, timeline, overlay
    counts, events, Quantiles ─► RunReport ─► report.json (written last = done)
    job ─► JobSnapshot ─► terminal, notebook, --json

Knows file formats of results and pictures of them; may not know Ray or decide anything about frames.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dualface_ray.report.fingerprint import RESULT_VERSION, counted_settings, fingerprint, input_fingerprint
from dualface_ray.report.joined import joined_report
from dualface_ray.report.pieces import (
    PieceRecord,
    SpanRecord,
    SpentRecord,
    Survey,
    load_bridge,
    load_plan,
    load_span,
    load_survey,
    save_plan,
)
from dualface_ray.report.progress import JobSnapshot, VideoProgress, VideoState
from dualface_ray.report.quantiles import Quantiles
from dualface_ray.report.run_report import (
    ErrorRecord,
    EventRecord,
    FrameRecord,
    InputRecord,
    LatencyRecord,
    RunReport,
    decoder_degradations,
    event_records,
    latency_records,
    parse_report,
    read_report,
    sound_counts,
)
from dualface_ray.report.task import RateMeter, VideoTask, input_record, versions, write_failure
from dualface_ray.report.tracks import Tracks, TracksHeader, TracksWriter, join_tracks, read_tracks

if TYPE_CHECKING:
    from dualface_ray.report.overlaid import overlay
    from dualface_ray.report.sheets import Preview, contact_sheet, preview
    from dualface_ray.report.timelines import timeline

__all__ = [
    "RESULT_VERSION",
    "ErrorRecord",
    "EventRecord",
    "FrameRecord",
    "InputRecord",
    "JobSnapshot",
    "LatencyRecord",
    "PieceRecord",
    "Preview",
    "Quantiles",
    "RateMeter",
    "RunReport",
    "SpanRecord",
    "SpentRecord",
    "Survey",
    "Tracks",
    "TracksHeader",
    "TracksWriter",
    "VideoProgress",
    "VideoState",
    "VideoTask",
    "contact_sheet",
    "counted_settings",
    "decoder_degradations",
    "event_records",
    "fingerprint",
    "input_fingerprint",
    "input_record",
    "join_tracks",
    "joined_report",
    "latency_records",
    "load_bridge",
    "load_plan",
    "load_span",
    "load_survey",
    "overlay",
    "parse_report",
    "preview",
    "read_report",
    "read_tracks",
    "save_plan",
    "sound_counts",
    "timeline",
    "versions",
    "write_failure",
]

_PICTURES = {
    "Preview": "sheets",
    "contact_sheet": "sheets",
    "overlay": "overlaid",
    "preview": "sheets",
    "timeline": "timelines",
}


def __getattr__(name: str) -> Any:
    """Load the pictures when they are first asked for; they bring drawing and decoding."""
    if name not in _PICTURES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PICTURES[name]}"), name)
