"""Recovery rules: how often a video is tried and how often a lane may be started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from dualface_ray.errors import ActorError, DualfaceError


@dataclass(slots=True)
class AttemptBook:
    """Counts the attempts at each video; a video that keeps taking its lane down is given up with its cause.

    Args:
        max_attempts: attempts a video gets when its lane dies (errors of the video itself are never tried again:
            the same file gives the same error).
    """

    max_attempts: int
    _attempts: dict[str, int] = field(default_factory=dict)

    def begin(self, stream_id: str) -> int:
        """Number of this attempt, from 0: the epoch of its messages."""
        epoch = self._attempts.get(stream_id, 0)
        self._attempts[stream_id] = epoch + 1
        return epoch

    def attempts(self, stream_id: str) -> int:
        """Attempts begun so far."""
        return self._attempts.get(stream_id, 0)

    def verdict(self, stream_id: str, source: str, cause: DualfaceError) -> ActorError | None:
        """None = try again elsewhere; an error = give the video up."""
        attempts = self.attempts(stream_id)
        if attempts < self.max_attempts:
            return None
        times = "once" if attempts == 1 else f"{attempts} times"
        return ActorError(
            f"given up after its lane died {times}, last: {cause}",
            where=source,
            remedy="Run again to try once more; job.max_attempts sets how often.",
        )


@dataclass(slots=True)
class LaneBook:
    """Decides whether a dead lane is started again: not while it dies without finishing anything.

    Args:
        max_barren_starts: starts in a row without one finished video after which a lane stays out.
    """

    max_barren_starts: int = 3
    _barren: dict[str, int] = field(default_factory=dict)

    def died(self, lane_id: str) -> bool:
        """Take note of a death; True = start it again."""
        self._barren[lane_id] = self._barren.get(lane_id, 0) + 1
        return self._barren[lane_id] < self.max_barren_starts

    def finished_one(self, lane_id: str) -> None:
        """A video was finished there: the lane is healthy."""
        self._barren[lane_id] = 0
