"""Report: what was done, for people and for machines.

    TrackedFrame + FramePlan ─► tracks.jsonl ─► contact sheet, overlay
    counts, events, latencies ─► report.json (written last: it means "done")
    job ─► JobSnapshot ─► terminal, notebook, --json

Knows file formats of results and pictures of them; may not know Ray or decide anything about frames.
"""

from __future__ import annotations

from dualface_ray.report.progress import JobSnapshot, VideoProgress, VideoState

__all__ = ["JobSnapshot", "VideoProgress", "VideoState"]
