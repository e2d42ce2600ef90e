"""Casting: from the faces of a few key frames, spread over a video, to who A and B are.

    surveyed frames ─► faces_to_embed ─► (embeddings) ─► groups of one person each ─► the principal pair ─► Cast
                                                                                          └─► or why there is none

Two faces of one frame are two people; otherwise the same evidence counts as in a session: embedding and descriptor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import F32, FaceCrop, Faces
from dualface_ray.identity import constants as c
from dualface_ray.identity.cast import Cast, Role
from dualface_ray.identity.gallery import embedding_distance
from dualface_ray.identity.sights import Sight, look_distance, sights_of
from dualface_ray.identity.tracks import PERSONS
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class SurveyedFrame:
    """A frame of a survey: its number there, its time in seconds from the video's first frame, the faces in it."""

    frame: int
    t_s: float
    faces: Faces


@dataclass(slots=True)
class _Face:
    """A sight and its embedding."""

    sight: Sight
    embedding: F32


def faces_to_embed(frames: Sequence[SurveyedFrame]) -> list[FaceCrop]:
    """The faces to embed for ``build_cast``: the most important ones of each frame, evenly fewer if there are many."""
    return [FaceCrop(s.frame, s.box, s.landmarks) for s in _chosen(frames)]


def build_cast(frames: Sequence[SurveyedFrame], embeddings: F32, settings: Settings) -> Cast | str:
    """Who A and B are, or why that cannot be said (one line).

    Args:
        frames: surveyed, in order of time.
        embeddings: float32 (m, E), of the faces that ``faces_to_embed`` chose, in that order.
        settings: of the run.
    """
    if settings.identity.reid == "off":
        return "re-identification is off (identity.reid): faces of different parts cannot be compared"
    sights = _chosen(frames)
    if len(embeddings) != len(sights):
        return f"{len(embeddings)} embeddings for {len(sights)} faces"
    norms = [float(np.sqrt(row @ row)) for row in embeddings]
    faces = [
        _Face(sight, np.asarray(row / np.float32(norm), np.float32))
        for sight, row, norm in zip(sights, embeddings, norms, strict=True)
        if norm > 0 and math.isfinite(norm)
    ]
    groups = sorted(_groups(faces, settings), key=lambda group: (-_weight(group), group[0].sight.frame))
    pair, rest = groups[: len(PERSONS)], groups[len(PERSONS) :]
    often = sum(len(group) >= c.CAST_SIGHTS for group in pair)
    if often < len(PERSONS):
        return (
            f"{often or 'no'} {'person was' if often == 1 else 'people were'} seen often enough in {len(frames)} frames"
        )
    if rest and _weight(rest[0]) > c.CAST_RIVAL * _weight(pair[1]):
        return "more than two people matter about equally"
    doubtful = sum(_is_doubtful(face, pair, settings) for group in pair for face in group)
    total = sum(map(len, pair))
    if doubtful > c.CAST_DOUBTFUL * total:
        return f"the two cannot be told apart for sure ({doubtful} of {total} faces are in doubt)"
    pair.sort(key=lambda group: (group[0].sight.frame, _centre(group[0])[0]))
    first_s = pair[0][0].sight.t_s
    unseen_s = first_s - max((frame.t_s for frame in frames if frame.t_s < first_s), default=first_s)
    if unseen_s > c.CAST_FIRST_S:
        return (
            f"who of the two is seen first cannot be told: nobody looked in the {unseen_s:.0f} s before {first_s:.0f} s"
        )
    a, b = (_role(name, group) for name, group in zip(PERSONS, pair, strict=True))
    return Cast(a, b, bool(rest) or any(len(frame.faces) > len(PERSONS) for frame in frames))


def _chosen(frames: Sequence[SurveyedFrame]) -> list[Sight]:
    """The sights to embed, by frame and importance."""
    rows = []
    for frame in frames:
        fit = [
            s
            for s in sights_of(frame.frame, frame.t_s, frame.faces)
            if s.score >= c.MIN_EMBED_SCORE
            and s.box[3] - s.box[1] >= c.MIN_EMBED_HEIGHT_PX
            and s.landmarks.shape == (5, 2)
        ]
        rows.append(sorted(fit, key=lambda s: -s.score * (s.box[3] - s.box[1]))[: c.CAST_FACES])
    while sum(map(len, rows)) > c.CAST_EMBEDS and len(rows) > 2:
        rows = [rows[0], *rows[1::2]]
    return [sight for row in rows for sight in row]


def _nats(p: _Face, q: _Face, settings: Settings) -> float:
    """What speaks for two faces being one person's, as in ``gallery.evidence`` across a cut."""
    s = settings.identity
    apart = p.embedding - q.embedding
    term = (s.embed_same_distance**2 - float(apart @ apart)) / (2 * s.embed_scale**2)
    nats = max(-c.EMBED_EVIDENCE_CAP, min(c.EMBED_EVIDENCE_CAP, term))
    look = look_distance(p.sight.look, q.sight.look)
    if look is not None:
        scale = s.descriptor_scale * c.CUT_DESCRIPTOR_SCALE
        term = (s.descriptor_same_distance**2 - look * look) / (2 * scale * scale)
        cap = c.DESCRIPTOR_EVIDENCE_CAP if p.sight.clear and q.sight.clear else c.BLURRED_EVIDENCE_CAP
        nats += max(-cap, min(cap, term))
    return nats


def _groups(faces: Sequence[_Face], settings: Settings) -> list[list[_Face]]:
    """Faces of one person each: the two most alike groups become one while their mean evidence is positive."""
    count = len(faces)
    total: npt.NDArray[np.float64] = np.full((count, count), -math.inf)
    for i in range(count):
        for j in range(i):
            if faces[i].sight.frame != faces[j].sight.frame:
                total[i, j] = total[j, i] = _nats(faces[i], faces[j], settings)
    members = [[i] for i in range(count)]
    sizes = np.ones(count)
    while count:
        mean = total / np.outer(sizes, sizes)
        i, j = divmod(int(np.argmax(mean)), count)
        if not mean[i, j] > 0:
            break
        i, j = min(i, j), max(i, j)
        members[i] += members[j]
        total[i] += total[j]  # -inf (one frame shows both) stays
        total[:, i] = total[i]
        total[i, i] = -math.inf
        total[j] = total[:, j] = -math.inf
        sizes[i] += sizes[j]
        members[j] = []
    return [[faces[k] for k in sorted(group)] for group in members if group]


def _weight(group: Sequence[_Face]) -> float:
    """How much somebody matters: large, often seen, sure, alive (as ``labels.principal_order`` has it)."""
    size = sum(f.sight.score * (f.sight.box[3] - f.sight.box[1]) for f in group)
    x, y = np.median([_centre(f) for f in group], axis=0)
    roam = float(np.median([math.hypot(_centre(f)[0] - x, _centre(f)[1] - y) / _width(f) for f in group]))
    return size * (c.STATIC_PENALTY if roam < c.STATIC_WIDTHS and len(group) >= c.CAST_SIGHTS else 1.0)


def _is_doubtful(face: _Face, pair: Sequence[Sequence[_Face]], settings: Settings) -> bool:
    """Whether a face of one of the two would not be recognised from the other faces of both."""
    s = settings.identity
    own = next(group for group in pair if any(face is other for other in group))
    other = pair[1] if own is pair[0] else pair[0]
    mine = embedding_distance([face.embedding], [f.embedding for f in own if f is not face])
    theirs = embedding_distance([face.embedding], [f.embedding for f in other])
    if mine is None or theirs is None:
        return True
    return (theirs**2 - mine**2) / (2 * s.embed_scale**2) < s.decide_margin


def _role(name: str, group: Sequence[_Face]) -> Role:
    """The most typical face, then those that differ most from what is already there."""
    rows = np.array([f.embedding for f in group])
    apart = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * rows @ rows.T))
    kept = [int(np.argmin(np.median(apart, axis=1)))]
    while len(kept) < min(len(group), c.GALLERY_SIZE):
        near = apart[:, kept].min(axis=1)
        near[apart[:, kept[0]] > c.CAST_OUTLIER * float(np.median(apart[kept[0]]))] = 0.0
        if not near.max() > 0:
            break
        kept.append(int(np.argmax(near)))
    looks = [f.sight.look for f in group if f.sight.look is not None and f.sight.clear]
    look: F32 | None = None
    if looks:
        mean: F32 = np.array(looks, np.float32).mean(axis=0)
        look = np.asarray(mean / np.float32(math.sqrt(float(mean @ mean)) or 1.0), np.float32)
    return Role(name, tuple(group[k].embedding for k in kept), look, group[0].sight.t_s, len(group))


def _centre(face: _Face) -> tuple[float, float]:
    box = face.sight.box
    return 0.5 * (box[0] + box[2]), 0.5 * (box[1] + box[3])


def _width(face: _Face) -> float:
    return max(face.sight.box[2] - face.sight.box[0], 1e-6)
