"""What a running job says about itself: plain snapshots, the same for terminals, notebooks and machines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class VideoState(str, Enum):
    """The life of one video within a job."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHING = "finishing"
    """All frames are encoded; audio is added and the files get their names."""
    DONE = "done"
    SKIPPED = "skipped"
    """Already done in an earlier run with the same fingerprint."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Nothing more will happen to this video."""
        return self in (VideoState.DONE, VideoState.SKIPPED, VideoState.FAILED, VideoState.CANCELLED)


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """One video of a job."""

    index: int
    source: str
    outputs: tuple[str, ...]
    """Paths of the videos it makes or made (two for the layout ``separate``)."""
    state: VideoState = VideoState.WAITING
    frames_done: int = 0
    frames_total: int = 0
    """An estimate until the end; 0 = unknown."""
    fps: float = 0.0
    """Frames per second over the last few seconds."""
    eta_s: float | None = None
    attempts: int = 0
    error: str = ""
    """One line: what, where, what to do."""
    error_code: str = ""
    """``DualfaceError.code`` of that error."""


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job at one moment."""

    videos: tuple[VideoProgress, ...]
    lanes: tuple[str, ...] = ()
    """One readable line a lane: backend, device, cores, state."""
    elapsed_s: float = 0.0
    final: bool = False
    """Every video has reached a final state and the lanes are closed."""
    notes: tuple[str, ...] = ()
    """Degradations and restarts worth telling the user."""
    units_waiting: int = 0
    """Videos, and parts of long ones, that no lane has begun."""
    units_running: int = 0

    @property
    def exit_code(self) -> int:
        """0 = every video done or already done, 1 = some failed, 130 = cancelled."""
        states = {video.state for video in self.videos}
        if VideoState.CANCELLED in states:
            return 130
        return 1 if VideoState.FAILED in states else 0

    def _repr_html_(self) -> str:
        """In a notebook: a table."""
        from dualface_ray.report.html import job_html

        return job_html(self)
