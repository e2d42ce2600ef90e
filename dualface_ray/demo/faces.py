"""FaceImage: a head cut out of a portrait, with a soft edge, the face's place in it and a name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.errors import DeviceError, InputMissingError, NotAVideoError

U8 = npt.NDArray[np.uint8]
Rect = tuple[float, float, float, float]

FACE_HEIGHT_PX = 300
"""Height of the face (forehead to chin) in every cut-out; portraits are scaled to it."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

# Where CenterFace sees the face in the two portraits that ship with the demo extra: measured once, x0, y0, x1, y1.
_KNOWN: dict[str, Rect] = {"astronaut": (184.0, 65.0, 269.0, 176.0), "grace_hopper": (177.0, 119.0, 355.0, 337.0)}

# Parts of the head that its colours do not give away (a cap), as polygons in pixels of the portrait.
_KNOWN_HEADWEAR: dict[str, list[tuple[int, int]]] = {
    "grace_hopper": [
        (147, 160), (147, 125), (155, 105), (175, 86), (176, 78), (184, 60), (200, 47), (219, 41), (228, 30),
        (245, 24), (260, 23), (280, 26), (295, 35), (300, 41), (318, 46), (335, 58), (348, 72), (354, 86), (364, 87),
        (370, 110), (372, 150), (368, 170), (352, 150), (330, 138), (290, 130), (250, 130), (200, 136), (170, 155),
        (160, 168),
    ],
}  # fmt: skip

# The same box relative to the square of scikit-image's frontal-face cascade: mean over six portraits of four people
# (spread of each edge about 0.05 of the square's side).
_CASCADE_TO_FACE: Rect = (0.045, -0.04, 0.91, 1.127)

# The cut-out around the face, in face heights from the face's centre: left, up, right, down.
_MARGIN: Rect = (1.05, 1.25, 1.05, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class FaceImage:
    """One person's head.

    Attributes:
        name: the portrait's file name without suffix; two images of one name count as one person.
        bgr: uint8 (h, w, 3), head, hair and neck.
        alpha: uint8 (h, w), 255 = the person, soft at the edge.
        face_px: x0, y0, x1, y1 of the face (forehead to chin) in this picture; its height is ``FACE_HEIGHT_PX``.
    """

    name: str
    bgr: U8
    alpha: U8
    face_px: Rect


def load_faces(folder: Path | None = None) -> list[FaceImage]:
    """Heads to render: every portrait of a folder, by name, or the two public-domain portraits of the demo extra.

    A portrait in which no face is found is skipped; nothing is fetched from anywhere.

    Raises:
        DeviceError: the demo extra is not installed.
        InputMissingError: the folder does not exist.
        NotAVideoError: fewer than two portraits with a face.
    """
    if folder is None:
        return [
            _cut_out(name, _read(path), _KNOWN[name], _KNOWN_HEADWEAR.get(name, []))
            for name, path in _packaged().items()
        ]
    if not folder.is_dir():
        raise InputMissingError("no such folder", where=str(folder), remedy="Name a folder with portraits.")
    faces = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        picture = _read(path)
        box = _find_face(picture)
        if box is not None:
            faces.append(_cut_out(path.stem, picture, box))
    if len(faces) < 2:
        raise NotAVideoError(
            f"{len(faces)} portrait(s) with a frontal face",
            where=str(folder),
            remedy="Put at least two portraits of different people (JPEG or PNG) there.",
        )
    return faces


def twin_of(face: FaceImage) -> FaceImage:
    """Somebody with the same face: mirrored, in warmer light; for a face embedding the same person."""
    width = face.bgr.shape[1]
    x0, y0, x1, y1 = face.face_px
    warm = np.clip(face.bgr[:, ::-1].astype(np.float32) * (0.94, 1.0, 1.05), 0, 255).astype(np.uint8)
    return FaceImage(
        f"{face.name}_twin", warm, np.ascontiguousarray(face.alpha[:, ::-1]), (width - x1, y0, width - x0, y1)
    )


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DeviceError(
            f"the demo extra is not installed ({error.name or module})",
            where="dualface_ray.demo",
            remedy="Install it with: pip install 'dualface-ray[demo]'",
        ) from error


def _packaged() -> dict[str, Path]:
    """The two portraits inside installed wheels (read as files, so that no library looks for a network)."""
    skimage, matplotlib = _extra("skimage"), _extra("matplotlib")
    paths = {
        "astronaut": Path(skimage.__file__).parent / "data" / "astronaut.png",  # NASA, public domain
        "grace_hopper": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",  # US Navy, public domain
    }
    for name, path in paths.items():
        if not path.is_file():
            raise DeviceError(
                f"the portrait {name} is not in the installed package",
                where=str(path),
                remedy="Reinstall it with: pip install --force-reinstall 'dualface-ray[demo]'",
            )
    return paths


def _read(path: Path) -> U8:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise NotAVideoError("not a picture that can be read", where=str(path), remedy="Use JPEG or PNG.")
    return np.asarray(picture, np.uint8)


def _find_face(picture: U8) -> Rect | None:
    """The largest frontal face, as CenterFace would frame it (about 10 % of its size exact)."""
    _extra("skimage")
    feature, data = _extra("skimage.feature"), _extra("skimage.data")
    scale = 500 / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = feature.Cascade(data.lbp_frontal_face_cascade_filename()).detect_multi_scale(
        cv2.cvtColor(small, cv2.COLOR_BGR2RGB),
        scale_factor=1.1,
        step_ratio=1,
        min_size=(30, 30),
        max_size=(min(small.shape[:2]) - 1,) * 2,
    )
    if not found:
        return None
    best = max(found, key=lambda f: f["width"])
    x, y, side = best["c"] / scale, best["r"] / scale, best["width"] / scale
    left, top, right, bottom = _CASCADE_TO_FACE
    return x + left * side, y + top * side, x + right * side, y + bottom * side


def _cut_out(name: str, picture: U8, box: Rect, headwear: Sequence[tuple[int, int]] = ()) -> FaceImage:
    """Scale so that the face is ``FACE_HEIGHT_PX`` high, crop around it and cut the head out of its background."""
    scale = FACE_HEIGHT_PX / (box[3] - box[1])
    centre = (box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale
    left, up, right, down = (m * FACE_HEIGHT_PX for m in _MARGIN)
    width, height = round(left + right), round(up + down)
    move = np.array([[scale, 0, left - centre[0]], [0, scale, up - centre[1]]], np.float64)
    flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    source = picture
    if scale < 0.5:  # shrink by area first, or hair turns to noise
        source = np.asarray(cv2.resize(picture, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA))
        move[:, :2] *= 1 / (2 * scale)
    crop = np.asarray(cv2.warpAffine(source, move, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    inside = cv2.warpAffine(np.full(source.shape[:2], 255, np.uint8), move, (width, height), flags=cv2.INTER_NEAREST)
    hat = np.array([(x * scale + left - centre[0], y * scale + up - centre[1]) for x, y in headwear]).reshape(-1, 2)
    half_w = (box[2] - box[0]) * scale / 2
    face = (left - half_w, up - FACE_HEIGHT_PX / 2, left + half_w, up + FACE_HEIGHT_PX / 2)
    return FaceImage(name, crop, _head_alpha(crop, face, np.asarray(inside, np.uint8), hat), face)


def _head_alpha(crop: U8, face: Rect, inside: U8, headwear_px: npt.NDArray[np.float64]) -> U8:
    """Alpha of head, hair and a V of the neck: GrabCut (Rother et al., SIGGRAPH 2004) from a head-shaped guess."""
    shrink = 0.5
    small = cv2.resize(crop, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    x0, y0, x1, y1 = (v * shrink for v in face)
    cx, cy, fw, fh = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0

    def ellipse(mask: U8, dy: float, half_w: float, half_h: float, value: int) -> None:
        cv2.ellipse(mask, (round(cx), round(cy + dy * fh)), (round(half_w), round(half_h)), 0, 0, 360, value, -1)

    guess = np.full((h, w), cv2.GC_BGD, np.uint8)
    ellipse(guess, -0.17, 0.98 * fh, 0.95 * fh, cv2.GC_PR_BGD)
    ellipse(guess, -0.10, 0.70 * fw, 0.74 * fh, cv2.GC_PR_FGD)
    ellipse(guess, 0.0, 0.46 * fw, 0.50 * fh, cv2.GC_FGD)
    neck = np.array([[cx - 0.36 * fw, cy + 0.3 * fh], [cx + 0.36 * fw, cy + 0.3 * fh], [cx, cy + 0.9 * fh]])
    cv2.fillConvexPoly(guess, np.round(neck).astype(np.int32), cv2.GC_FGD)
    if len(headwear_px):
        outline = np.round(headwear_px * shrink).astype(np.int32)
        around = np.zeros((h, w), np.uint8)
        cv2.fillConvexPoly(around, np.asarray(cv2.convexHull(outline), np.int32), 255)
        brim = int(outline[:, 1].max())  # above it nothing beside the headwear (and the brow below it) is the person
        guess[:brim][cv2.dilate(around, np.ones((5, 5), np.uint8))[:brim] == 0] = cv2.GC_BGD
        cv2.fillPoly(guess, [outline], cv2.GC_FGD)
    guess[np.asarray(cv2.resize(inside, (w, h), interpolation=cv2.INTER_NEAREST)) == 0] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # the colour models start from k-means: the same portrait must give the same cut-out
    cv2.grabCut(small, guess, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    mask = np.where((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count > 2:  # keep the head, drop islands of background
        mask = np.where(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), 255, 0).astype(np.uint8)
    # Below the chin only a V of the neck stays; clothes are painted.
    keep = np.zeros((h, w), np.uint8)
    keep[: round(cy + 0.36 * fh)] = 255
    vee = [[cx - 0.5 * fw, 0.36], [cx + 0.5 * fw, 0.36], [cx + 0.36 * fw, 0.62], [cx, 0.95], [cx - 0.36 * fw, 0.62]]
    cv2.fillPoly(keep, [np.array([[round(x), round(cy + y * fh)] for x, y in vee], np.int32)], 255)
    soft = cv2.GaussianBlur(cv2.erode(cv2.min(mask, keep), np.ones((3, 3), np.uint8)), (0, 0), 2.2)
    alpha = cv2.resize(soft, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(alpha, np.uint8)
