"""Unit: one piece of work that a lane can take; Step: what follows when one has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.messages import Work
from dualface_ray.media import Span


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work."""

    unit_id: str
    """Its stream id: the video's, or that with a part behind it."""
    video: str
    work: Work
    cost: float
    """Work, in seconds of a reference video (``frame_cost``)."""
    frames: int
    spans: tuple[Span, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def small(self) -> bool:
        """It takes little itself, and more work or a finished video waits for it: it is not queued with the others."""
        return self.work in (Work.SURVEY, Work.BRIDGE, Work.JOIN)

    @property
    def last(self) -> bool:
        """With it the video is done."""
        return self.work in (Work.WHOLE, Work.JOIN)


@dataclass(slots=True, eq=False)
class Step:
    """What follows from a unit's end."""

    ready: list[Unit] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Ids of units that are not wanted any more, wherever they are."""
    complete: bool = False
    """The video is done."""
    frames: int = 0
    """Of a cut video that is done."""
