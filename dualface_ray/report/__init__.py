"""Report: what was done, for people and for machines.

    TrackedFrame + FramePlan ─► TracksWriter ─► tracks.jsonl ─► contact sheet, timeline, overlay
    counts, events, Quantiles ─► RunReport ─► report.json (written last = done)
    job ─► JobSnapshot ─► terminal, notebook, --json

Knows file formats of results and pictures of them; may not know Ray or decide anything about frames.
"""

from __future__ import annotations

from dualface_ray.report.fingerprint import RESULT_VERSION, counted_settings, fingerprint, input_fingerprint
from dualface_ray.report.progress import JobSnapshot, VideoProgress, VideoState
from dualface_ray.report.quantiles import Quantiles
from dualface_ray.report.run_report import (
    ErrorRecord,
    EventRecord,
    FrameRecord,
    InputRecord,
    LatencyRecord,
    RunReport,
    event_records,
    latency_records,
    read_report,
)
from dualface_ray.report.task import RateMeter, VideoTask, input_record, versions, write_failure
from dualface_ray.report.tracks import Tracks, TracksHeader, TracksWriter, read_tracks

__all__ = [
    "RESULT_VERSION",
    "ErrorRecord",
    "EventRecord",
    "FrameRecord",
    "InputRecord",
    "JobSnapshot",
    "LatencyRecord",
    "Quantiles",
    "RateMeter",
    "RunReport",
    "Tracks",
    "TracksHeader",
    "TracksWriter",
    "VideoProgress",
    "VideoState",
    "VideoTask",
    "counted_settings",
    "event_records",
    "fingerprint",
    "input_fingerprint",
    "input_record",
    "latency_records",
    "read_report",
    "read_tracks",
    "versions",
    "write_failure",
]
