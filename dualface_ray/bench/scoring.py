"""Scoring: tracks and crops of one scene against its truth.

Rules. Only the two who talk count. A face counts as visible when at least half of it can be seen; hidden ones are
neither expected nor forbidden. A box is right when its IoU with the truth is at least 0.5. Boxes of state *predicted*
that fall on no visible face are no claims (the tracks say themselves that nobody was seen there). IDF1 (Ristani et al.,
ECCV Workshops 2016) and switches come from py-motmetrics.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.demo import SceneTruth, TruthFace, TruthFrame
from dualface_ray.errors import DeviceError
from dualface_ray.framing import DirectedFrame
from dualface_ray.identity import Box, PersonState

RIGHT_IOU = 0.5
VISIBLE = 0.5
CLEAR = 0.9
OVERLAP = 0.1
_REFERENCE_WIDTH_PX = 1280

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Claim:
    """One box that a tracker gives out: whose it is, and whether somebody was seen there."""

    track: int | str
    box_px: Box
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Identities:
    """Quality of the labels."""

    idf1: float
    switches: int


@dataclass(frozen=True, slots=True)
class SceneScore:
    """All figures of one scene; see the module for the rules."""

    idf1: float
    switches: int
    wrong_frames: int
    """Frames in which a letter sits on another visible person, while their faces do not overlap."""
    missed_share: float
    """Clearly visible faces (at least 0.9) without the right box, over all such faces."""
    inside_share: float
    """Visible faces of which at least 90 % lie inside their own tile's crop, over all visible faces."""
    centre_error: float
    """Median distance of the face's centre from the crop's centre line, over the crop's width."""
    jitter_p95: float
    """95th percentile of the crop centre's acceleration in px per frame squared, in a picture 1280 px wide; cuts left
    out."""
    detect_hz: float
    """Frames examined per second of video."""
    embeds: int
    director_us: float
    """Time of identity and framing per frame."""


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def claims_of(frames: Sequence[DirectedFrame]) -> list[list[Claim]]:
    """The claims of our own tracks, frame by frame."""
    result = []
    for frame in frames:
        persons = (("A", frame.tracked.a), ("B", frame.tracked.b))
        result.append([Claim(n, p.box_px, p.state is PersonState.DETECTED) for n, p in persons if p.box_px is not None])
    return result


def identities(truth: SceneTruth, claims: Sequence[Sequence[Claim]], *, others_allowed: bool = False) -> Identities:
    """IDF1 and switches by py-motmetrics.

    Args:
        truth: of the scene.
        claims: per frame.
        others_allowed: boxes on other people (bystanders) are no mistakes: for trackers that follow everybody.

    Raises:
        DeviceError: motmetrics is not installed.
    """
    motmetrics = _motmetrics()
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    numbers: dict[int | str, int] = {}  # motmetrics wants numbers
    for frame, given in zip(truth.frames, claims, strict=True):
        mine = [f for f in frame.faces if f.person in truth.principals and f.visible >= VISIBLE]
        kept = [c for c in given if _counts(c, frame, mine, truth, others_allowed)]
        cost = np.array([[_cost(f, c) for c in kept] for f in mine], np.float64).reshape(len(mine), len(kept))
        accumulator.update([f.person for f in mine], [numbers.setdefault(c.track, len(numbers)) for c in kept], cost)
    table = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "num_switches"], name="scene")
    value = float(table["idf1"].iloc[0])
    return Identities(value if np.isfinite(value) else 0.0, int(table["num_switches"].iloc[0]))


def _counts(claim: Claim, frame: TruthFrame, mine: Sequence[TruthFace], truth: SceneTruth, others: bool) -> bool:
    if any(iou(claim.box_px, f.box_px) >= RIGHT_IOU for f in mine):
        return True
    if not claim.seen:
        return False
    ignored = [
        f for f in frame.faces if (others and f.person not in truth.principals)
        or (f.person in truth.principals and f.visible < VISIBLE)
    ]  # fmt: skip
    return not any(iou(claim.box_px, f.box_px) >= RIGHT_IOU * 0.6 for f in ignored)


def _cost(face: TruthFace, claim: Claim) -> float:
    overlap = iou(face.box_px, claim.box_px)
    return 1 - overlap if overlap >= RIGHT_IOU else float("nan")


def _motmetrics() -> Any:
    try:
        return importlib.import_module("motmetrics")
    except ImportError as error:
        raise DeviceError(
            "motmetrics is not installed", where="dualface_ray.bench",
            remedy="Install it with: pip install 'dualface-ray[dev]'",
        ) from error  # fmt: skip


def score(
    truth: SceneTruth, frames: Sequence[DirectedFrame], *, detected: int, embedded: int, director_s: float
) -> SceneScore:
    """All figures of one scene.

    Raises:
        DeviceError: motmetrics is not installed.
    """
    claims = claims_of(frames)
    labels = identities(truth, claims)
    letter = _letters(truth, claims)
    wrong, clear, missed = 0, 0, 0
    inside: list[bool] = []
    errors: list[float] = []
    for frame, given, directed in zip(truth.frames, claims, frames, strict=True):
        boxes = {str(c.track): c.box_px for c in given}
        crops = {t.person: t.source_px for canvas in directed.plan.canvases for t in canvas.tiles}
        wrong += any(_is_wrong(frame, person, boxes.get(name)) for person, name in letter.items())
        for face in frame.faces:
            if face.person not in letter or face.visible < VISIBLE:
                continue
            name = letter[face.person]
            if face.visible >= CLEAR:
                clear += 1
                missed += name not in boxes or iou(boxes[name], face.box_px) < RIGHT_IOU
            crop = crops.get(name)
            shown = _clipped(face.box_px, truth)
            inside.append(crop is not None and _share_inside(shown, crop) >= 0.9)
            if crop is not None:
                errors.append(abs((shown[0] + shown[2]) - (crop[0] + crop[2])) / 2 / (crop[2] - crop[0]))
    duration_s = float((truth.frames[-1].pts - truth.frames[0].pts) * truth.time_base) or 1.0
    return SceneScore(
        labels.idf1,
        labels.switches,
        wrong,
        missed / max(1, clear),
        float(np.mean(inside)) if inside else 1.0,
        float(np.median(errors)) if errors else 0.0,
        _jitter(frames, truth.width_px),
        detected / duration_s,
        embedded,
        director_s / max(1, len(frames)) * 1e6,
    )


def _letters(truth: SceneTruth, claims: Sequence[Sequence[Claim]]) -> Mapping[int, str]:
    """Which principal each letter means: the assignment that fits most frames (labels are arbitrary, but for ever)."""
    hits = np.zeros((2, 2))
    for frame, given in zip(truth.frames, claims, strict=True):
        for face in frame.faces:
            if face.person in truth.principals and face.visible >= VISIBLE:
                row = truth.principals.index(face.person)
                for claim in given:
                    hits[row, "AB".index(str(claim.track))] += iou(claim.box_px, face.box_px) >= RIGHT_IOU
    straight = hits[0, 0] + hits[1, 1] >= hits[0, 1] + hits[1, 0]
    first, second = truth.principals
    return {first: "A", second: "B"} if straight else {first: "B", second: "A"}


def _is_wrong(frame: TruthFrame, person: int, box: Box | None) -> bool:
    if box is None:
        return False
    own = next((f for f in frame.faces if f.person == person), None)
    if own is not None and iou(box, own.box_px) >= RIGHT_IOU:
        return False
    return any(
        f.person != person
        and f.visible >= VISIBLE
        and iou(box, f.box_px) >= RIGHT_IOU
        and not any(iou(f.box_px, other.box_px) > OVERLAP for other in frame.faces if other is not f)
        for f in frame.faces
    )


def _clipped(box: Box, truth: SceneTruth) -> Box:
    return max(0.0, box[0]), max(0.0, box[1]), min(float(truth.width_px), box[2]), min(float(truth.height_px), box[3])


def _share_inside(box: Box, crop: Box) -> float:
    width, height = min(box[2], crop[2]) - max(box[0], crop[0]), min(box[3], crop[3]) - max(box[1], crop[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0.0, width) * max(0.0, height) / area if area > 0 else 1.0


def _jitter(frames: Sequence[DirectedFrame], width_px: int) -> float:
    values: list[F64] = []
    shots = np.array([f.tracked.shot for f in frames])
    for name in ("A", "B"):
        crops = [
            next((t.source_px for canvas in f.plan.canvases for t in canvas.tiles if t.person == name), None)
            for f in frames
        ]
        if len(crops) < 3 or any(crop is None for crop in crops):
            continue
        box = np.array(crops, np.float64)
        centre = np.stack(((box[:, 0] + box[:, 2]) / 2, (box[:, 1] + box[:, 3]) / 2), axis=1)
        bend = np.linalg.norm(np.diff(centre, 2, axis=0), axis=1)
        values.append(bend[(shots[2:] == shots[1:-1]) & (shots[1:-1] == shots[:-2])])
    joined = np.concatenate(values) if values else np.zeros(0)
    return float(np.percentile(joined, 95)) * _REFERENCE_WIDTH_PX / width_px if joined.size else 0.0
