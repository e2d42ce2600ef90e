"""Files that come from, or go to, somewhere else: object stores and web servers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from dualface_ray.settings.base import Group


class StorageSettings(Group):
    """Inputs and output folders that are addresses (s3://, gs://, https://)."""

    scratch_dir: str = ""
    """Folder on each node's own disk for fetched inputs and for results before their upload; absolute, the same on
    every node. Empty = a private folder in $TMPDIR or /tmp of the machine that starts the job."""
    prefetch_files: int = Field(1, ge=0, le=16)
    """Inputs that each decoder process fetches ahead of their turn."""
    max_file_bytes: int = Field(1 << 38, ge=1 << 20)
    """Larger remote inputs are refused (256 GiB)."""
    probe_bytes: int = Field(64 << 20, ge=1 << 20)
    """How much of a remote input may be read to find out what it holds, before the job begins."""
    timeout_s: float = Field(60.0, gt=0, le=3600)
    """A server that sends nothing for this long counts as failed."""
    attempts: int = Field(5, ge=1, le=20)
    """How often a transfer is tried when the network or the server fails."""

    @field_validator("scratch_dir")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and not Path(value).is_absolute():
            raise ValueError("an absolute path is expected")
        return value
