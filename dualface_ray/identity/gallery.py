"""What is remembered of each person, and what it says about a nameless track.

evidence(track, person) in nats against "somebody else" = descriptor + embedding + position, each with its own cap:

    descriptor  (same2 - d2) / (2 scale2), scale widened across cuts and crossings
    embedding   the same with the distance to the two nearest of the person's gallery, averaged over the track's faces
    position    where the person was last, fading with time (little after a crossing, never across a cut)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dualface_ray.frames import F32
from dualface_ray.identity import constants as c
from dualface_ray.identity.motion import Motion
from dualface_ray.identity.sights import Sight, Track, look_distance
from dualface_ray.settings import Settings

_OLD, _NEW = np.float32(0.95), np.float32(0.05)
"""Weights of a person's mean descriptor and of another sight's."""


@dataclass(slots=True)
class Person:
    """A or B, once somebody was seen who is."""

    name: str
    known: bool = False
    look: F32 | None = None
    """Mean descriptor (unit length) over clear sights."""
    look_clear: bool = False
    embeddings: list[F32] = field(default_factory=list)
    enrolled_s: float = -math.inf
    seen_s: float = 0.0
    """Total time seen."""
    last_s: float = 0.0
    last_shot: int = 0
    motion: Motion | None = None
    """Motion at the last sight."""
    left_over: str = ""
    """Edge over which the person left (left, right, top, bottom), or ""."""
    hidden: bool = False
    """Met another face when last seen: may be behind it."""
    present: bool = False
    """For events: whether the person counts as in the picture."""
    unmet: bool = False
    """Known from a cast and not met in this stretch yet: a face must prove it."""

    @property
    def is_cast(self) -> bool:
        """Whether a survey of the whole video knows the person: then nobody else takes the place."""
        return math.isinf(self.seen_s)

    def remember(self, sight: Sight) -> None:
        """Take a sight's descriptor into the running mean; unclear ones only until there is a clear one."""
        if sight.look is None or (self.look_clear and not sight.clear):
            return
        if self.look is None or self.look.shape != sight.look.shape or (sight.clear and not self.look_clear):
            self.look, self.look_clear = sight.look.copy(), sight.clear
            return
        mean = self.look * _OLD + sight.look * _NEW
        self.look = mean / np.float32(math.sqrt(float(mean.dot(mean))) or 1.0)

    def enrol(self, embedding: F32, t_s: float) -> None:
        """Add to the gallery; the first embedding stays as the anchor, the oldest other one makes room."""
        self.embeddings.append(embedding)
        self.enrolled_s = t_s
        if len(self.embeddings) > c.GALLERY_SIZE:
            del self.embeddings[1]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a track may be a person: nats in total and the distances behind them (-1 = unknown)."""

    nats: float
    look: float = -1.0
    embedding: float = -1.0


def embedding_distance(probes: list[F32], gallery: list[F32]) -> float | None:
    """Mean over the probes of the mean distance to the two nearest in the gallery; None when either is empty."""
    if not probes or not gallery:
        return None
    total = 0.0
    for probe in probes:
        near = sorted(math.sqrt(max(0.0, float((probe - known) @ (probe - known)))) for known in gallery)[:2]
        total += sum(near) / len(near)
    return total / len(probes)


def evidence(track: Track, person: Person, settings: Settings, cut_between: bool, both_met: bool) -> Evidence:
    """What speaks for this track being this person rather than anybody else.

    Args:
        track: without a name.
        person: who is not in the picture otherwise.
        settings: scales and distances.
        cut_between: the person was last seen in another shot.
        both_met: the other person is looked for as well, after their faces met.
    """
    s = settings.identity
    nats = 0.0
    look = look_distance(track.look, person.look)
    if look is not None:
        widen = c.CUT_DESCRIPTOR_SCALE if cut_between else c.CROSS_DESCRIPTOR_SCALE
        scale = s.descriptor_scale * widen
        term = (s.descriptor_same_distance**2 - look * look) / (2 * scale * scale)
        cap = c.DESCRIPTOR_EVIDENCE_CAP if track.look_hits and person.look_clear else c.BLURRED_EVIDENCE_CAP
        nats += max(-cap, min(cap, term))
    face = embedding_distance(track.probes, person.embeddings)
    if face is not None:
        term = (s.embed_same_distance**2 - face * face) / (2 * s.embed_scale**2)
        nats += max(-c.EMBED_EVIDENCE_CAP, min(c.EMBED_EVIDENCE_CAP, term))
    if person.motion is not None and not cut_between:
        nats += _position(track, person, c.CROSSING_MOTION_CAP if both_met else c.MOTION_EVIDENCE_CAP)
    return Evidence(nats, -1.0 if look is None else look, -1.0 if face is None else face)


def _position(track: Track, person: Person, cap: float) -> float:
    """Nats for the track having begun where the person was expected; within a cap either way."""
    assert person.motion is not None  # noqa: S101 - the caller has looked
    first = track.born_s
    dt = max(0.0, first - person.last_s)
    fade = math.exp(-dt / 2.0)
    if person.left_over in ("left", "right"):
        side = "left" if track.first_x < person.motion.x else "right"
        near = abs(track.first_x - person.motion.x) < 2.5 * person.motion.width
        return c.SIDE_EVIDENCE * fade * (1.0 if near or side == person.left_over else -1.0)
    box = person.motion.box_at(first)
    width = max(person.motion.width, 1e-6)
    off = math.hypot(track.first_x - 0.5 * (box[0] + box[2]), track.first_y - 0.5 * (box[1] + box[3])) / width
    spread = 0.5 + 1.5 * dt
    return fade * max(-cap, cap - 0.5 * (off / spread) ** 2)
