"""Slide: what is no room: a page of a talk, the dark screen behind the windows of a call, a black wall."""

from __future__ import annotations

import cv2
import numpy as np

from dualface_ray.demo.room import OVERSCAN
from dualface_ray.demo.sprite import U8

_INKS = ((150, 84, 30), (60, 60, 190), (70, 140, 60), (40, 150, 210))
_DARK = (38, 33, 30)


def paint_slide(width_px: int, height_px: int, seed: int) -> U8:
    """A light page with a title, lines of text and bars, as uint8 BGR of ``OVERSCAN`` times the picture's size."""
    rng = np.random.default_rng(seed)
    picture, x0, y0 = _plain(width_px, height_px, (244, 246, 248))
    ink = _INKS[int(rng.integers(len(_INKS)))]

    def box(x: float, y: float, w: float, h: float, colour: tuple[int, int, int]) -> None:
        """In shares of the visible part."""
        at = round(x0 + x * width_px), round(y0 + y * height_px)
        to = round(x0 + (x + w) * width_px), round(y0 + (y + h) * height_px)
        cv2.rectangle(picture, at, to, colour, -1)

    box(0.06, 0.08, float(rng.uniform(0.35, 0.6)), 0.07, ink)
    for line in range(5):
        for word in range(int(rng.integers(3, 7))):
            box(0.08 + 0.065 * word, 0.28 + 0.11 * line, 0.055, 0.022, (70, 70, 74))
    for bar in range(5):
        tall = float(rng.uniform(0.12, 0.5))
        box(0.60 + 0.07 * bar, 0.88 - tall, 0.045, tall, ink)
    return picture


def paint_screen(width_px: int, height_px: int, seed: int) -> U8:
    """Plain dark, with the round buttons of a call at the lower edge; of ``OVERSCAN`` times the picture's size."""
    picture, x0, y0 = _plain(width_px, height_px, _DARK)
    rng = np.random.default_rng(seed)
    for button in range(5):
        centre = round(x0 + (0.4 + 0.05 * button) * width_px), round(y0 + 0.95 * height_px)
        colour = _INKS[1] if button == 4 else (90, 84, 80 + int(rng.integers(20)))
        cv2.circle(picture, centre, round(0.018 * height_px), colour, -1)
    return picture


def paint_wall(width_px: int, height_px: int, _seed: int) -> U8:
    """Black with a soft light in the middle, always the same; of ``OVERSCAN`` times the picture's size."""
    picture, _, _ = _plain(width_px, height_px, (9, 8, 8))
    middle = (picture.shape[1] // 2, picture.shape[0] // 2)
    cv2.ellipse(picture, middle, (width_px // 3, height_px // 3), 0, 0, 360, (26, 24, 24), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), height_px / 8), np.uint8)


def _plain(width_px: int, height_px: int, colour: tuple[int, int, int]) -> tuple[U8, float, float]:
    """One colour, and where the visible part begins."""
    w, h = (round(side * OVERSCAN / 2) * 2 for side in (width_px, height_px))
    return np.full((h, w, 3), colour, np.uint8), (w - width_px) / 2, (h - height_px) / 2
