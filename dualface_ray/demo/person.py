"""Person: sprites of one person (head with several mouth openings, clothed body, shadow)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.demo.faces import FACE_HEIGHT_PX, FaceImage
from dualface_ray.demo.sprite import U8, Shadow, Sprite

F32 = npt.NDArray[np.float32]

MOUTH_LEVELS = 5
_MOUTH_DOWN, _MOUTH_HALF_WIDTH = 0.73, 0.15  # of the face's height: CenterFace's mouth corners on six portraits

_SHADOW_SCALE = 8

# Cloth: main colour, second colour (BGR), pattern.
_CLOTHES: tuple[tuple[tuple[int, int, int], tuple[int, int, int], str], ...] = (
    ((138, 82, 44), (160, 104, 62), "knit"),
    ((52, 60, 150), (220, 215, 210), "stripes"),
    ((70, 112, 62), (46, 76, 40), "checks"),
    ((205, 205, 210), (180, 182, 190), "plain"),
    ((40, 150, 196), (30, 120, 170), "knit"),
    ((44, 40, 40), (64, 58, 58), "plain"),
    ((150, 120, 170), (235, 228, 232), "stripes"),
    ((92, 78, 40), (150, 136, 90), "checks"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """All that is needed to draw one person.

    Attributes:
        name: the portrait's name: the true identity.
        heads: one sprite per mouth opening, closed first.
        body: the upper body below the neck, much longer than any picture shows.
        shadow: of head and body together, in the body's pixels.
        face_px: the face in the head's pixels.
        neck_px: the point of the head sprite about which it turns.
        body_neck_px: the point of the body sprite where the neck point lies.
        behind: seen from behind: there is no face.
    """

    name: str
    heads: tuple[Sprite, ...]
    body: Sprite
    shadow: Shadow
    face_px: tuple[float, float, float, float]
    neck_px: tuple[float, float]
    body_neck_px: tuple[float, float]
    behind: bool = False


@lru_cache(maxsize=8)
def make_person(face: FaceImage, style: int) -> Person:
    """Paint the sprites of a person; ``style`` picks the clothes. The last few are kept: it takes half a second."""
    x0, _, x1, y1 = face.face_px
    centre_x = (x0 + x1) / 2
    heads = tuple(
        Sprite.make(_open_mouth(face, level / (MOUTH_LEVELS - 1)), face.alpha) for level in range(MOUTH_LEVELS)
    )
    body, alpha, neck = _paint_body(_skin(face), style)
    return Person(
        face.name,
        heads,
        Sprite.make(body, alpha),
        _paint_shadow(alpha, neck),
        face.face_px,
        (centre_x, y1 + 0.25 * FACE_HEIGHT_PX),
        neck,
    )


@lru_cache(maxsize=2)
def make_stranger(style: int) -> Person:
    """Somebody seen from behind: hair and clothes, no face; stands in where there are not enough portraits."""
    unit = float(FACE_HEIGHT_PX)
    width, height = round(1.6 * unit), round(2.2 * unit)
    centre = (width // 2, round(1.0 * unit))
    rng = np.random.default_rng(500 + style)
    strands = cv2.resize(rng.normal(0, 1, (6, width // 3)).astype(np.float32), (width, height))
    colour = np.clip(np.array([34, 46, 66], np.float32) * (1 + 0.22 * strands[..., None]), 0, 255)
    head = np.zeros((height, width), np.uint8)
    cv2.rectangle(head, (centre[0] - 75, centre[1] + 60), (centre[0] + 75, centre[1] + 212), 255, -1)  # the neck
    colour[head > 0] = (92, 120, 168)
    cv2.ellipse(head, centre, (round(0.46 * unit), round(0.62 * unit)), 0, 0, 360, 255, -1)
    hair = np.zeros_like(head)
    cv2.ellipse(hair, centre, (round(0.46 * unit), round(0.62 * unit)), 0, 0, 360, 255, -1)
    colour[hair > 0] = np.clip(np.array([34, 46, 66]) * (1 + 0.22 * strands[hair > 0][:, None]), 0, 255)
    sprite = Sprite.make(
        np.asarray(np.rint(colour), np.uint8), np.asarray(cv2.GaussianBlur(head, (0, 0), 2.0), np.uint8)
    )
    body, alpha, neck = _paint_body((92, 120, 168), style, behind=True)
    face = (centre[0] - 0.36 * unit, centre[1] - 0.5 * unit, centre[0] + 0.36 * unit, centre[1] + 0.5 * unit)
    at = (float(centre[0]), face[3] + 0.25 * unit)
    heads = (sprite,) * MOUTH_LEVELS
    return Person("stranger", heads, Sprite.make(body, alpha), _paint_shadow(alpha, neck), face, at, neck, behind=True)


def _skin(face: FaceImage) -> tuple[int, int, int]:
    """Median colour of the middle of the face, a little darker (a neck lies in the shade)."""
    x0, y0, x1, y1 = face.face_px
    w, h = x1 - x0, y1 - y0
    patch = face.bgr[round(y0 + 0.45 * h) : round(y0 + 0.65 * h), round(x0 + 0.2 * w) : round(x1 - 0.2 * w)]
    blue, green, red = (round(float(np.median(patch[..., c])) * 0.82) for c in range(3))
    return blue, green, red


def _open_mouth(face: FaceImage, amount: float) -> U8:
    """Pull the part below the lips down and darken the gap; ``amount`` 0..1."""
    if amount <= 0:
        return face.bgr
    x0, y0, x1, y1 = face.face_px
    fh, cx = y1 - y0, (x0 + x1) / 2
    mouth_y, half_w = y0 + _MOUTH_DOWN * fh, _MOUTH_HALF_WIDTH * fh
    h, w = face.alpha.shape
    xs, ys = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    across = np.clip(1 - ((xs - cx) / (2.0 * half_w)) ** 2, 0, 1)
    below = np.clip((ys - mouth_y) / (0.04 * fh), 0, 1) * np.clip((y1 + 0.12 * fh - ys) / (0.2 * fh), 0, 1)
    gap = amount * 0.055 * fh
    moved = cv2.remap(face.bgr, xs, (ys - gap * across * below).astype(np.float32), cv2.INTER_LINEAR)
    hole = np.clip(
        1.25 - ((xs - cx) / (0.8 * half_w)) ** 2 - ((ys - mouth_y - gap * 0.55) / (gap * 0.62 + 1)) ** 2, 0, 1
    )
    hole = (cv2.GaussianBlur(hole, (0, 0), 2.0) * 0.85)[..., None]
    inside = np.array([34, 26, 62], np.float32)
    return np.asarray(np.rint(moved * (1 - hole) + inside * hole), np.uint8)


def _paint_body(skin: tuple[int, int, int], style: int, *, behind: bool = False) -> tuple[U8, U8, tuple[float, float]]:
    """Neck, shoulders and torso: colours, alpha and the neck point."""
    unit = float(FACE_HEIGHT_PX)
    width, height = round(2.7 * unit), round(7 * unit)
    cx, top = width / 2, 0.28 * unit
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    down = (ys - top) / unit
    slope = np.clip(down / 0.75, 0, 1)
    shoulder = 0.45 * slope + 0.55 * np.sqrt(np.clip(1 - (1 - slope) ** 2, 0, 1)) ** 1.3
    half = (0.30 + 0.86 * shoulder + 0.06 * np.clip((down - 0.5) / 2, 0, 1)) * unit
    aside = np.abs(xs - cx) / half
    cloth = (aside < 1) & (down > 0)
    main, second, pattern = _CLOTHES[style % len(_CLOTHES)]
    colour = np.empty((height, width, 3), np.float32)
    colour[:] = main
    rng = np.random.default_rng(1000 + style)
    mix = _pattern(pattern, xs, ys, unit)[..., None]
    colour += mix * (np.array(second, np.float32) - colour)
    # Light from the upper left, rounder towards the arms, with folds.
    folds = cv2.resize(rng.normal(0, 1, (36, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    shade = 1.03 - 0.42 * aside**3 - 0.08 * (xs - cx) / half + 0.035 * folds
    arm = np.exp(-(((aside - 0.70) / 0.02) ** 2)) * np.clip((down - 0.75) / 0.5, 0, 1)
    colour *= np.clip(shade - 0.25 * arm, 0.25, 1.2)[..., None]
    colour += rng.normal(0, 2.5, (height, width, 1)).astype(np.float32)
    # Neckline: a V of skin inside a darker hem; from behind a shallow round one.
    vee = np.abs(xs - cx) / unit + (2.6 if behind else 0.62) * down
    hem = (vee < 0.37) & (down < 0.62) & (down > 0)
    colour[hem] *= 0.72
    neck = ((vee < 0.335) & (down < 0.55) & (down > 0)) | (
        (down <= 0) & (np.abs(xs - cx) < (0.29 + 0.06 * down**2) * unit)
    )
    colour[neck] = skin
    colour[neck] *= (1.02 - 0.35 * np.clip(0.35 - down, 0, 0.6) - 0.5 * ((xs - cx) / unit) ** 2 * 4)[neck][:, None]
    alpha = ((cloth | neck) * 255).astype(np.uint8)
    soft = np.asarray(cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), np.uint8)), (0, 0), 1.8), np.uint8)
    smooth = cv2.GaussianBlur(np.clip(colour, 0, 255), (0, 0), 1.0)
    return np.asarray(np.rint(smooth), np.uint8), soft, (cx, top)


def _pattern(kind: str, xs: F32, ys: F32, unit: float) -> F32:
    if kind == "stripes":
        return np.asarray(np.sin(ys / unit * 2 * np.pi / 0.24) > 0.35, np.float32)
    if kind == "checks":
        across = np.sin(xs / unit * 2 * np.pi / 0.3) > 0
        along = np.sin(ys / unit * 2 * np.pi / 0.3) > 0
        return np.asarray(0.5 * across + 0.5 * along, np.float32)
    if kind == "knit":
        wave = np.sin(xs / unit * 2 * np.pi / 0.05 + np.sin(ys / unit * 2 * np.pi / 0.05))
        return np.asarray(0.5 + 0.5 * wave, np.float32)
    return np.zeros_like(xs)


def _paint_shadow(body_alpha: U8, neck: tuple[float, float]) -> Shadow:
    """Silhouette of body and head, blurred; the head is an ellipse above the neck point."""
    margin = round(0.9 * FACE_HEIGHT_PX)
    tall = cv2.copyMakeBorder(body_alpha, 2 * margin, 0, margin, margin, cv2.BORDER_CONSTANT, value=0)
    centre = (round(neck[0]) + margin, round(neck[1] - 0.8 * FACE_HEIGHT_PX) + 2 * margin)
    cv2.ellipse(tall, centre, (round(0.5 * FACE_HEIGHT_PX), round(0.68 * FACE_HEIGHT_PX)), 0, 0, 360, 255, -1)
    small = cv2.resize(tall, None, fx=1 / _SHADOW_SCALE, fy=1 / _SHADOW_SCALE, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), 0.12 * FACE_HEIGHT_PX / _SHADOW_SCALE)
    return Shadow(np.asarray(soft // 4, np.uint8), float(_SHADOW_SCALE), (-float(margin), -2.0 * margin))
