"""Rows: what a manifest knows of videos and of their units."""

from __future__ import annotations

from dataclasses import dataclass

from dualface_ray.report import VideoState


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video; ``key`` is the path or URL of its report, which no other video of the folder shares."""

    key: str
    source: str
    fingerprint: str
    state: VideoState
    error: str = ""
    changed_s: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One unit of a video: the whole of it (``part`` is empty), or a part such as ``survey`` or ``s003``."""

    video: str
    part: str
    work: str
    state: VideoState
    attempts: int
    lane: str = ""
    node: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """Everything a manifest knows."""

    videos: tuple[VideoRow, ...] = ()
    units: tuple[UnitRow, ...] = ()
