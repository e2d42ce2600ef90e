"""Sights and tracks: one physical face followed through a stretch of a shot, not yet (or no longer) a person.

A track ends wherever following by motion would be guessing: at a cut, in an overlap, after a long miss. What begins
afterwards is a new track without a name; ``labels`` decides whose it is, with evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dualface_ray.frames import F32, Faces
from dualface_ray.identity import constants as c
from dualface_ray.identity.motion import Motion, gap_widths
from dualface_ray.identity.tracks import Box

OTHER = "-"
"""Label of a track that was decided to be neither A nor B."""
_LOOK_DECAY = np.float32(0.9)
"""What each sight leaves of the descriptors before it."""


@dataclass(slots=True)
class Sight:
    """One face found in one frame, as plain numbers."""

    frame: int
    t_s: float
    box: Box
    score: float
    landmarks: F32
    """float32 (5, 2), displayed pixels."""
    look: F32 | None
    """Unit descriptor, or None when none was computed."""
    clear: bool = True
    """No other person's clothes can show in the descriptor."""
    clean: bool = True
    """No other face is near: fit for the gallery."""
    vx: float = 0.0
    vy: float = 0.0
    """Filtered velocity after this sight, px per second."""
    after_miss: bool = False
    """The track was looked for and not found since the sight before."""


def sights_of(frame: int, t_s: float, faces: Faces) -> list[Sight]:
    """The faces of a frame as plain numbers."""
    boxes, scores = faces.boxes_px.tolist(), faces.scores.tolist()
    looks = faces.descriptors
    has_look = looks.ndim == 2 and looks.shape[0] == len(boxes) and looks.shape[1] > 0
    sights = [
        Sight(
            frame,
            t_s,
            (box[0], box[1], box[2], box[3]),
            score,
            np.array(faces.landmarks_px[i], np.float32),
            np.array(looks[i], np.float32) if has_look else None,
        )
        for i, (box, score) in enumerate(zip(boxes, scores, strict=True))
        if box[2] - box[0] > 1.0 and box[3] - box[1] > 1.0 and all(map(math.isfinite, box))
    ]
    for i, sight in enumerate(sights):
        nearest = min((gap_widths(sight.box, o.box) for j, o in enumerate(sights) if j != i), default=math.inf)
        sight.clean, sight.clear = nearest > c.CLEAN_WIDTHS, nearest > c.CLEAR_WIDTHS
    return sights


def look_distance(a: F32 | None, b: F32 | None) -> float | None:
    """Euclidean distance of two unit descriptors, or None when one is missing."""
    if a is None or b is None or a.shape != b.shape:
        return None
    return math.sqrt(max(0.0, 2.0 - 2.0 * float(a.dot(b))))


@dataclass(slots=True)
class Track:
    """A face followed from ``born`` to the last of ``sights``."""

    track_id: int
    shot: int
    origin: str
    """Why it began: start, entry, crossing, cut, changed."""
    motion: Motion
    born: int
    born_s: float
    since: int = -1
    """Last examined frame before ``born`` in which it was not there; -1 = none in this shot."""
    sights: list[Sight] = field(default_factory=list)
    """Those still of use; the last one is always there."""
    hits: int = 0
    person: str = ""
    """A, B, OTHER, or "" while undecided."""
    guess: str = ""
    """The likeliest label while undecided."""
    look: F32 | None = None
    """Mean descriptor, unit length."""
    look_sum: F32 | None = None
    look_hits: int = 0
    """Clear descriptors in it; 0 = it is the latest unclear one."""
    odd_look: F32 | None = None
    """Of the last sight, when it looked like somebody else."""
    before: F32 | None = None
    after: F32 | None = None
    """Embeddings of the face before it began to look different, and since."""
    compared: int = -1
    """Frame for which they were asked for last."""
    another: bool = False
    """It is somebody else now: the track ends."""
    first_x: float = 0.0
    first_y: float = 0.0
    roam: float = 0.0
    """Farthest way of the centre from where it began, in widths."""
    probes: list[F32] = field(default_factory=list)
    """Embeddings of this track's own sights."""
    stranger: int = -1
    """Number of the known stranger whose face it is; -1 = none."""
    probe_rounds: int = 0
    probed_s: float = -math.inf
    missed_from: int = -1
    """First frame in which it was looked for and not found since the last sight; -1 = found."""
    closed: str = ""
    """Why it ended, or ""."""
    checked_s: float = 0.0
    rechecks: int = 0

    @property
    def last(self) -> Sight:
        """The latest sight."""
        return self.sights[-1]

    @property
    def is_static(self) -> bool:
        """Whether it has lain still as only a picture does."""
        return self.last.t_s - self.born_s >= c.STATIC_S and self.roam < c.STATIC_WIDTHS

    def differs(self, sight: Sight) -> bool | None:
        """Whether a sight looks like somebody else; None = that cannot be said."""
        if self.look_hits < c.MIN_HITS or not sight.clear:
            return None
        distance = look_distance(self.look, sight.look)
        return None if distance is None else distance > c.LOOK_CHANGED

    def accept(self, sight: Sight) -> None:
        """The same face, though it looks different from now on."""
        self.look = self.look_sum = sight.look
        self.odd_look = None

    def see(self, sight: Sight) -> None:
        """Take the next sight in; one that looks like somebody else leaves the mean descriptor as it is."""
        if self.hits:
            self.motion.update(sight.t_s, sight.box)
        x, y = 0.5 * (sight.box[0] + sight.box[2]), 0.5 * (sight.box[1] + sight.box[3])
        if not self.hits:
            self.first_x, self.first_y = x, y
        self.roam = max(self.roam, math.hypot(x - self.first_x, y - self.first_y) / max(self.motion.width, 1e-6))
        sight.vx, sight.vy = self.motion.vx, self.motion.vy
        sight.after_miss = self.missed_from >= 0
        self.hits += 1
        self.missed_from = -1
        self.sights.append(sight)
        self.odd_look = sight.look if self.differs(sight) else None
        if sight.look is not None and self.odd_look is None and (sight.clear or not self.look_hits):
            if self.look_sum is None or not self.look_hits:
                self.look_sum = sight.look.copy()
            else:
                self.look_sum = self.look_sum * _LOOK_DECAY + sight.look
            self.look_hits += int(sight.clear)
            self.look = self.look_sum / np.float32(math.sqrt(float(self.look_sum.dot(self.look_sum))) or 1.0)

    def forget(self, before: int) -> None:
        """Drop sights older than that frame, but the newest of them (an end to interpolate from) and the last one."""
        keep = 0
        for i, sight in enumerate(self.sights):
            if sight.frame < before:
                keep = i
        if keep:
            del self.sights[:keep]
