"""Scoring: tracks and crops of one scene against its truth.

Rules. Only the two who talk count. A face counts as visible when at least half of it can be seen; hidden ones are
neither expected nor forbidden; where a cross-fade shows one person twice, the face seen better counts. A box is right
when its IoU with the truth is at least 0.5. Boxes of state *predicted* that fall on no visible face are no claims (the
tracks say themselves that nobody was seen there). IDF1 (Ristani et al., ECCV Workshops 2016) and switches come from
py-motmetrics.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualface_ray.bench.showing import VISIBLE, Showing, best_seen, iou, showing
from dualface_ray.demo import SceneTruth, TruthFace, TruthFrame
from dualface_ray.errors import DeviceError
from dualface_ray.framing import DirectedFrame
from dualface_ray.identity import Box, PersonState

RIGHT_IOU = 0.5
CLEAR = 0.9
OVERLAP = 0.1


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
    in_order: bool
    """A is who is seen first, the left one of two."""
    doubtful_share: float
    """Frames in which the letters are said to be in doubt, over all frames."""
    tiles: Showing
    """What the tiles show."""
    detect_hz: float
    """Frames examined per second of video."""
    embeds: int
    director_us: float
    """Time of identity and framing per frame."""


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
        mine = best_seen(frame, truth)
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
        or (f.person in truth.principals and f not in mine)
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
    for frame, given in zip(truth.frames, claims, strict=True):
        boxes = {str(c.track): c.box_px for c in given}
        wrong += any(_is_wrong(frame, person, boxes.get(name)) for person, name in letter.items())
        for face in best_seen(frame, truth):
            if face.visible >= CLEAR:
                clear += 1
                missed += letter[face.person] not in boxes or iou(boxes[letter[face.person]], face.box_px) < RIGHT_IOU
    duration_s = float((truth.frames[-1].pts - truth.frames[0].pts) * truth.time_base) or 1.0
    return SceneScore(
        labels.idf1,
        labels.switches,
        wrong,
        missed / max(1, clear),
        _in_order(truth, letter),
        float(np.mean([not f.tracked.certain for f in frames])),
        showing(truth, frames, letter),
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


def _in_order(truth: SceneTruth, letter: Mapping[int, str]) -> bool:
    """Whether A is who is seen first, the left one of two; nobody seen at all is in order, too."""
    for frame in truth.frames:
        seen = best_seen(frame, truth)
        if seen:
            return letter[min(seen, key=lambda f: f.box_px[0] + f.box_px[2]).person] == "A"
    return True


def _is_wrong(frame: TruthFrame, person: int, box: Box | None) -> bool:
    if box is None:
        return False
    if any(f.person == person and iou(box, f.box_px) >= RIGHT_IOU for f in frame.faces):
        return False
    return any(
        f.person != person
        and f.visible >= VISIBLE
        and iou(box, f.box_px) >= RIGHT_IOU
        and not any(iou(f.box_px, other.box_px) > OVERLAP for other in frame.faces if other is not f)
        for f in frame.faces
    )
