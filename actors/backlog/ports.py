"""Pieces: what has to be known of the parts of a video that are finished (``DiskPieces`` looks at the disk)."""

from __future__ import annotations

from typing import Protocol

from dualface_ray.media import Span
from dualface_ray.report import VideoTask


class SurveyResult(Protocol):
    """What has to be known of a survey here (``report.Survey`` is such)."""

    @property
    def refusal(self) -> str:
        """Why the video has to be done whole; "" = it may be cut."""

    @property
    def frames(self) -> int:
        """Of the whole video."""


class Pieces(Protocol):
    """What earlier units of a video have left on disk."""

    def survey(self, task: VideoTask) -> SurveyResult | None:
        """Of this video, if it is finished."""

    def plan(self, task: VideoTask) -> tuple[Span, ...] | None:
        """How an earlier run has cut it."""

    def cut(self, task: VideoTask, pieces: int, overlap_s: float) -> tuple[Span, ...]:
        """Cut a surveyed video into about so many parts and keep the plan; empty when it is best done whole.

        Neighbours share about ``overlap_s``.
        """

    def has_span(self, task: VideoTask, span: Span) -> bool:
        """Whether this span is finished."""

    def has_bridge(self, task: VideoTask, before: Span, after: Span) -> bool:
        """Whether the bridge between these is finished."""

    def has_result(self, task: VideoTask) -> bool:
        """Whether the video itself is complete."""

    def disagreement(self, task: VideoTask, before: Span, after: Span) -> str:
        """Why these finished spans cannot mean the same two people; "" = they do."""
