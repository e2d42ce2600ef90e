"""How a job runs."""

from __future__ import annotations

from pydantic import Field

from dualface_ray.settings.base import Group


class JobSettings(Group):
    """Attempts, timeouts and overwriting."""

    overwrite: bool = False
    """Replace outputs that were made with another input or other settings."""
    max_attempts: int = Field(2, ge=1, le=20)
    """How often a video may take its lane down before it is given up."""
    watchdog_s: float = Field(60.0, gt=1)
    """A lane without progress for this long counts as dead."""
    placement_timeout_s: float = Field(60.0, gt=0)
    """A lane that Ray cannot place within this time fails the job, naming the resource that is missing."""
    min_free_disk_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """A video is not started, and a running one stops, when less than this is free where its output goes."""
