"""State: everything an identity session remembers between two calls, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from dualface_ray.frames import Ask, Faces
from dualface_ray.identity.fades import FadeWatch
from dualface_ray.identity.knots import Frame, Knot
from dualface_ray.identity.probing import Probe
from dualface_ray.identity.shots import ShotCutter
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import PERSONS, FrameFact


@dataclass(slots=True)
class IdentityState:
    """Everything a session remembers, as plain data."""

    lookahead: int
    gap: int
    """Longest run of frames without an examined one."""
    tracker: Tracker
    cutter: ShotCutter
    fades: FadeWatch = field(default_factory=FadeWatch)
    queue: list[FrameFact] = field(default_factory=list)
    """Pushed, not yet taken."""
    waiting: dict[int, Faces] = field(default_factory=dict)
    """Faces the tracker has not seen yet, also of frames not yet taken."""
    frames: list[Frame] = field(default_factory=list)
    """Taken, not yet shown; ``shot`` is -1 after the frontier."""
    first_ticks: int = 0
    next_push: int = -1
    taken: int = -1
    """Last frame taken."""
    frontier: int = -1
    """Last frame the tracker is done with."""
    frontier_s: float = 0.0
    shown: int = -1
    """Last frame given out."""
    candidates: list[int] = field(default_factory=list)
    """Cut candidates not yet judged."""
    cuts: dict[int, dict[str, float | str]] = field(default_factory=dict)
    """Confirmed cuts after the frontier and what they were judged by."""
    asked: list[int] = field(default_factory=list)
    """Frames after the frontier that have been asked for."""
    examined: int = 0
    """Frames examined so far, for the budget."""
    open_detect: int = -1
    """Id of the open question for faces, or -1."""
    open_embed: int = -1
    probes: list[Probe] = field(default_factory=list)
    """What the open question for embeddings is about."""
    deciding: bool = False
    """Names wait for the answer to that question."""
    settled: bool = False
    """What is due has been decided as well as it can be."""
    next_ask: int = 0
    asked_faces: int = 0
    """Embeddings asked for so far."""
    finished: bool = False
    last_knots: dict[str, Knot | None] = field(default_factory=lambda: dict.fromkeys(PERSONS))

    def time_of(self, frame: int) -> float:
        """Seconds of a frame that was taken and not yet shown."""
        return self.frames[frame - self.frames[0].index].t_s

    def ask_embeddings(self, probes: list[Probe]) -> Ask:
        """The question for these faces' embeddings."""
        self.probes = probes
        self.open_embed = self.next_ask
        self.next_ask += 1
        self.asked_faces += len(probes)
        return Ask(self.open_embed, embed=tuple(probe.crop for probe in probes))
