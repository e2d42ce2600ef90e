"""Room: a painted background: wall with light, shelf, plant, picture frame, lamp; not flat, slightly out of focus."""

from __future__ import annotations

import math

import cv2
import numpy as np

from dualface_ray.demo.sprite import U8

OVERSCAN = 1.4
"""The room is this much larger than the picture in both directions, so that a camera can move in it."""

_WALLS = ((196, 206, 214), (178, 192, 176), (206, 196, 182), (150, 170, 196), (188, 178, 198), (122, 140, 150))


def paint_room(width_px: int, height_px: int, seed: int) -> U8:
    """A room as uint8 BGR of ``OVERSCAN`` times the picture's size (even sides)."""
    rng = np.random.default_rng(seed)
    w, h = (round(side * OVERSCAN / 2) * 2 for side in (width_px, height_px))
    unit = height_px
    xs, ys = np.meshgrid(np.linspace(0, 1, w, dtype=np.float32), np.linspace(0, 1, h, dtype=np.float32))
    wall = np.array(_WALLS[int(rng.integers(len(_WALLS)))], np.float32)
    lit_x, lit_y = float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.0, 0.35))
    light = 0.62 + 0.45 * np.exp(-((xs - lit_x) ** 2 / 0.16 + (ys - lit_y) ** 2 / 0.25))
    grain = cv2.resize(rng.normal(0, 1, (h // 24, w // 24)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    room = wall * (light + 0.012 * grain)[..., None]
    floor = ys > 0.80
    room[floor] = np.array([70, 88, 116], np.float32) * (0.85 + 0.25 * xs[floor])[:, None]
    room[(ys > 0.78) & ~floor] *= 0.8
    picture = np.clip(room, 0, 255).astype(np.uint8)
    _window(picture, rng, unit)
    _shelf(picture, rng, unit)
    _plant(picture, rng, unit)
    _frames(picture, rng, unit)
    blurred = cv2.GaussianBlur(picture, (0, 0), max(0.8, unit / 300))
    noisy = blurred.astype(np.float32) + rng.normal(0, 1.6, (h, w, 1)).astype(np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def _box(picture: U8, x: float, y: float, w: float, h: float, colour: tuple[int, int, int]) -> None:
    cv2.rectangle(picture, (round(x), round(y)), (round(x + w), round(y + h)), colour, -1)


def _window(picture: U8, rng: np.random.Generator, unit: int) -> None:
    x, y = float(rng.uniform(0.05, 0.25)) * picture.shape[1], 0.12 * picture.shape[0]
    w, h = 0.5 * unit, 0.62 * unit
    _box(picture, x - 0.02 * unit, y - 0.02 * unit, w + 0.04 * unit, h + 0.04 * unit, (225, 228, 230))
    for row in range(round(h)):
        share = row / h
        colour = (235 - 40 * share, 220 - 25 * share, 190 + 10 * share)
        cv2.line(picture, (round(x), round(y + row)), (round(x + w), round(y + row)), colour, 1)
    _box(picture, x + w / 2 - 0.008 * unit, y, 0.016 * unit, h, (215, 218, 222))
    _box(picture, x, y + h / 2 - 0.008 * unit, w, 0.016 * unit, (215, 218, 222))


def _shelf(picture: U8, rng: np.random.Generator, unit: int) -> None:
    left = float(rng.uniform(0.55, 0.72)) * picture.shape[1]
    for level in range(3):
        y = (0.28 + 0.24 * level) * unit
        _box(picture, left, y, 0.62 * unit, 0.022 * unit, (52, 78, 104))
        x = left + 0.02 * unit
        while x < left + 0.52 * unit:
            wide, tall = float(rng.uniform(0.02, 0.045)) * unit, float(rng.uniform(0.09, 0.16)) * unit
            if rng.random() < 0.8:
                colour = tuple(int(c) for c in rng.integers(40, 190, 3))
                _box(picture, x, y - tall, wide - 2, tall, (colour[0], colour[1], colour[2]))
                _box(picture, x, y - tall * 0.8, wide - 2, 0.008 * unit, (200, 205, 210))
            x += wide


def _plant(picture: U8, rng: np.random.Generator, unit: int) -> None:
    x, y = float(rng.uniform(0.40, 0.52)) * picture.shape[1], 1.06 * unit
    for _ in range(26):
        angle = float(rng.uniform(-math.pi * 0.95, -math.pi * 0.05))
        length = float(rng.uniform(0.16, 0.36)) * unit
        tip = x + math.cos(angle) * length * 0.6, y + math.sin(angle) * length
        green = int(rng.integers(70, 140))
        cv2.ellipse(
            picture,
            (round((x + tip[0]) / 2), round((y + tip[1]) / 2)),
            (round(length * 0.46), round(length * 0.10)),
            math.degrees(math.atan2(tip[1] - y, tip[0] - x)), 0, 360, (green // 2, green, green // 2 + 14), -1,
        )  # fmt: skip
    pot = [
        [x - 0.1 * unit, y],
        [x + 0.1 * unit, y],
        [x + 0.075 * unit, y + 0.2 * unit],
        [x - 0.075 * unit, y + 0.2 * unit],
    ]
    cv2.fillConvexPoly(picture, np.round(pot).astype(np.int32), (70, 96, 170))


def _frames(picture: U8, rng: np.random.Generator, unit: int) -> None:
    for at in (0.40, 0.90):
        x, y = (at + float(rng.uniform(-0.02, 0.02))) * picture.shape[1], float(rng.uniform(0.18, 0.26)) * unit
        w, h = 0.22 * unit, 0.28 * unit
        _box(picture, x, y, w, h, (40, 52, 66))
        _box(picture, x + 0.015 * unit, y + 0.015 * unit, w - 0.03 * unit, h - 0.03 * unit, (212, 216, 220))
        for _ in range(5):  # an abstract print
            colour = tuple(int(c) for c in rng.integers(60, 220, 3))
            centre = round(x + w * float(rng.uniform(0.3, 0.7))), round(y + h * float(rng.uniform(0.3, 0.7)))
            cv2.circle(
                picture, centre, round(float(rng.uniform(0.02, 0.05)) * unit), (colour[0], colour[1], colour[2]), -1
            )
