"""Showing: what the tiles of one scene show, against its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dualface_ray.demo import SceneTruth, TruthFace, TruthFrame
from dualface_ray.framing import DirectedFrame
from dualface_ray.identity import Box

VISIBLE = 0.5
_INSIDE = 0.9
_SHOWN = 0.5
"""Share of a face inside a crop from which on a viewer sees it there."""
_WIDE = 0.9
"""A crop this high, over the highest there can be, is a wide shot."""
_REFERENCE_WIDTH_PX = 1280

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Showing:
    """What a viewer of the tiles sees."""

    inside_share: float
    """Visible faces of which at least 90 % lie inside their own tile's crop, over all visible faces."""
    other_frames: int
    """Frames in which a tile closer than a wide shot shows somebody else and not its own person."""
    centre_error: float
    """Median distance of the face's centre from the crop's centre line, over the crop's width."""
    jitter_p95: float
    """95th percentile of the crop centre's acceleration in px per frame squared, in a picture 1280 px wide; cuts left
    out."""


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def best_seen(frame: TruthFrame, truth: SceneTruth) -> list[TruthFace]:
    """The visible faces of those who talk, one for each person."""
    best: dict[int, TruthFace] = {}
    for face in frame.faces:
        known = best.get(face.person)
        if face.person in truth.principals and (known is None or face.visible > known.visible):
            best[face.person] = face
    return [face for face in best.values() if face.visible >= VISIBLE]


def showing(truth: SceneTruth, frames: Sequence[DirectedFrame], letter: Mapping[int, str]) -> Showing:
    """What the tiles show; ``letter``: what the principals are called."""
    inside: list[bool] = []
    errors: list[float] = []
    others = 0
    for frame, directed in zip(truth.frames, frames, strict=True):
        tiles = {t.person: t for canvas in directed.plan.canvases for t in canvas.tiles}
        for face in best_seen(frame, truth):
            tile = tiles.get(letter[face.person])
            shown = _clipped(face.box_px, truth)
            inside.append(tile is not None and _share_inside(shown, tile.source_px) >= _INSIDE)
            if tile is not None:
                crop = tile.source_px
                errors.append(abs((shown[0] + shown[2]) - (crop[0] + crop[2])) / 2 / (crop[2] - crop[0]))
        others += any(
            _shows_other(frame, truth, person, tile.source_px, tile.width_px / tile.height_px)
            for person, name in letter.items()
            if (tile := tiles.get(name)) is not None
        )
    return Showing(
        float(np.mean(inside)) if inside else 1.0,
        others,
        float(np.median(errors)) if errors else 0.0,
        _jitter(frames, truth.width_px),
    )


def _shows_other(frame: TruthFrame, truth: SceneTruth, person: int, crop: Box, aspect: float) -> bool:
    """Whether this crop of a person shows somebody else close, and not the person."""
    if crop[3] - crop[1] >= _WIDE * min(truth.height_px, truth.width_px / aspect):
        return False
    shown = {
        face.person
        for face in frame.faces
        if face.visible >= VISIBLE and _share_inside(_clipped(face.box_px, truth), crop) >= _SHOWN
    }
    return bool(shown) and person not in shown


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
