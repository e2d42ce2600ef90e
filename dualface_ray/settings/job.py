"""How a job runs."""

from __future__ import annotations

from pydantic import Field, model_validator

from dualface_ray.settings.base import Group, conflict


class JobSettings(Group):
    """Attempts, timeouts and overwriting."""

    overwrite: bool = False
    """Replace outputs that were made with another input or other settings."""
    max_attempts: int = Field(2, ge=1, le=20)
    """How often a video may take its lane down before it is given up."""
    watchdog_s: float = Field(60.0, gt=1)
    """A lane without progress for this long counts as dead; so does one that goes on but for one of n videos, after n
    times as long (at most 16 times). Waiting for others, for transfers or for an engine to be built does not count."""
    start_timeout_s: float = Field(900.0, gt=1)
    """A lane whose actors are not ready within this time counts as dead; the first one may have to build an engine."""
    placement_timeout_s: float = Field(60.0, gt=0)
    """How long a lane may wait for room that others have taken, and a job without any lane for nodes that may still
    come; then it ends, naming the resource that is missing."""
    cooldown_s: float = Field(30.0, ge=0)
    """How long a lane stays out after three starts in a row without result; doubled each time, up to half an hour."""
    segment_min_s: float = Field(60.0, ge=5)
    """A long video is cut into parts, to be done at the same time, of at least this length."""
    segment_max_s: float = Field(600.0, ge=5)
    """Videos longer than this are always cut, where they may be: a death costs at most one part."""
    min_free_disk_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """A video is not started, and a running one stops, when less than this is free where its output goes."""

    @model_validator(mode="after")
    def _parts_have_a_length(self) -> JobSettings:
        if self.segment_min_s > self.segment_max_s:
            raise conflict(
                "job.segment_min_s",
                f"{self.segment_min_s:g} is more than job.segment_max_s={self.segment_max_s:g}",
                "Lower it, or raise job.segment_max_s.",
            )
        return self
