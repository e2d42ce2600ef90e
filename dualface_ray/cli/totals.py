"""Sums over the videos of a job."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dualface_ray.report import JobSnapshot, VideoState


@dataclass(frozen=True, slots=True)
class Totals:
    """A job in one line."""

    states: dict[VideoState, int]
    frames_done: int
    frames_total: int
    """0 while some video's length is unknown."""
    fps: float
    """Frames per second of everything that runs now."""
    eta_s: float | None
    """Seconds until the end at this speed; None while it cannot be said."""

    def sentence(self) -> str:
        """``2 done, 1 failed``: every state that occurs, in the order of a video's life."""
        return ", ".join(f"{self.states[state]} {state.value}" for state in VideoState if self.states.get(state))


def totals(snapshot: JobSnapshot) -> Totals:
    """Sum a snapshot up; videos that were skipped, failed or cancelled count as no work."""
    work = [v for v in snapshot.videos if not v.state.final or v.state is VideoState.DONE]
    done = sum(v.frames_done for v in work)
    left = [max(0, v.frames_total - v.frames_done) for v in work if not v.state.final]
    unknown = any(not v.state.final and v.frames_total <= 0 for v in work)
    fps = sum(v.fps for v in work if v.state is VideoState.RUNNING)
    eta_s = sum(left) / fps if left and not unknown and fps > 0 else None
    return Totals(
        states=dict(Counter(v.state for v in snapshot.videos)),
        frames_done=done,
        frames_total=0 if unknown else done + sum(left),
        fps=fps,
        eta_s=eta_s,
    )
