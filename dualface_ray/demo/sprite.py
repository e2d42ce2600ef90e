"""Sprite: a cut-out picture in the planes the encoder takes, drawn by affine maps onto the regions it covers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
Affine = npt.NDArray[np.float64]
"""float64 (2, 3): sprite pixels (x, y, 1) to frame pixels."""

# Luma and chroma of BT.709 in the limited range, from RGB 0..255 (ITU-R BT.709-6, section 3).
_TO_YUV = np.array(
    [[0.2126, 0.7152, 0.0722], [-0.1146, -0.3854, 0.5], [0.5, -0.4542, -0.0458]], np.float32
) * np.array([[219 / 255], [224 / 255], [224 / 255]], np.float32)  # fmt: skip


def to_planes(bgr: U8) -> tuple[U8, U8]:
    """Luma (h, w) and interleaved chroma (h/2, w/2, 2) of a BGR picture with even sides, BT.709 limited range."""
    matrix = np.ascontiguousarray(_TO_YUV[:, ::-1])
    yuv = cv2.transform(bgr.astype(np.float32), matrix) + np.array([16, 128, 128], np.float32)
    chroma = cv2.resize(np.ascontiguousarray(yuv[..., 1:]), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    luma = np.clip(np.rint(yuv[..., 0]), 0, 255).astype(np.uint8)
    return luma, np.clip(np.rint(chroma), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """One frame to draw on: NV12 memory with views of its two planes.

    Attributes:
        data: uint8 (h * 3 // 2, w), what the encoder takes.
        luma: uint8 (h, w), a view.
        chroma: uint8 (h / 2, w / 2, 2), a view.
    """

    data: U8
    luma: U8
    chroma: U8

    @staticmethod
    def empty(width_px: int, height_px: int) -> Canvas:
        """A canvas of even size with undefined content."""
        data = np.empty((height_px * 3 // 2, width_px), np.uint8)
        return Canvas(data, data[:height_px], data[height_px:].reshape(height_px // 2, width_px // 2, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A picture with alpha, premultiplied, at full and lower resolutions.

    Attributes:
        levels: per level (each half the one before) luma and alpha uint8 (h, w, 2), chroma and alpha twice uint8
            (h / 2, w / 2, 4).
    """

    levels: tuple[tuple[U8, U8], ...]

    @staticmethod
    def make(bgr: U8, alpha: U8) -> Sprite:
        """From colours uint8 (h, w, 3) and alpha uint8 (h, w)."""
        pad_h, pad_w = -bgr.shape[0] % 8, -bgr.shape[1] % 8
        bgr = np.asarray(cv2.copyMakeBorder(bgr, 0, pad_h, 0, pad_w, cv2.BORDER_REPLICATE), np.uint8)
        alpha = np.asarray(cv2.copyMakeBorder(alpha, 0, pad_h, 0, pad_w, cv2.BORDER_CONSTANT, value=0), np.uint8)
        levels = []
        for _ in range(3):
            luma, chroma = to_planes(bgr)
            half = np.asarray(cv2.resize(alpha, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
            luma = cv2.multiply(luma, alpha, scale=1 / 255)
            chroma = cv2.multiply(chroma, cv2.merge((half, half)), scale=1 / 255)
            u, v = cv2.split(chroma)
            levels.append((cv2.merge((luma, alpha)), cv2.merge((u, v, half, half))))
            size = (bgr.shape[1] // 4 * 2, bgr.shape[0] // 4 * 2)
            bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
            alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
        return Sprite(tuple(levels))

    def _level(self, affine: Affine) -> tuple[int, Affine]:
        scale = float(np.sqrt(abs(affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0])))
        level = 0
        while level + 1 < len(self.levels) and scale < 0.6:
            level, scale = level + 1, scale * 2
        base, here = self.levels[0][0], self.levels[level][0]
        adapted = affine.copy()
        adapted[:, 0] *= base.shape[1] / here.shape[1]
        adapted[:, 1] *= base.shape[0] / here.shape[0]
        return level, adapted

    def draw(self, canvas: Canvas, affine: Affine) -> None:
        """Draw onto the canvas; only the region that the sprite covers is touched."""
        level, affine = self._level(affine)
        luma, chroma = self.levels[level]
        region = covered(luma.shape[1], luma.shape[0], affine, canvas.luma.shape[1], canvas.luma.shape[0])
        if region is None:
            return
        x0, y0, x1, y1 = region
        move = affine.copy()
        move[:, 2] -= (x0, y0)
        warped = cv2.warpAffine(luma, move, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        value, alpha = cv2.split(warped)
        _over(canvas.luma[y0:y1, x0:x1], value, alpha)
        half = halved(affine)
        half[:, 2] -= (x0 // 2, y0 // 2)
        warped = cv2.warpAffine(chroma, half, ((x1 - x0) // 2, (y1 - y0) // 2), flags=cv2.INTER_LINEAR)
        _over(canvas.chroma[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], warped[..., :2], warped[..., 2:])

    def alpha_at(self, affine: Affine, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Opacity 0..1 of this sprite, drawn with ``affine``, at frame points float64 (n, 2)."""
        alpha = self.levels[0][0][..., 1]
        inverse = cv2.invertAffineTransform(affine)
        xy = np.rint(points @ inverse[:, :2].T + inverse[:, 2]).astype(int)
        ok = (xy[:, 0] >= 0) & (xy[:, 1] >= 0) & (xy[:, 0] < alpha.shape[1]) & (xy[:, 1] < alpha.shape[0])
        xy[~ok] = 0
        return np.where(ok, alpha[xy[:, 1], xy[:, 0]] / 255.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """A soft dark copy of a silhouette, kept small: it is blurred anyway.

    Attributes:
        alpha: uint8 (h, w) strength of the shadow.
        scale: body pixels per pixel of ``alpha``.
        origin_px: the body pixel at the shadow's upper left corner.
    """

    alpha: U8
    scale: float
    origin_px: tuple[float, float]

    def draw(self, canvas: Canvas, affine: Affine) -> None:
        """Darken the luma below; chroma moves towards grey so little that nobody sees it."""
        move = affine.copy()
        move[:, 2] += affine[:, :2] @ self.origin_px
        move[:, :2] *= self.scale
        region = covered(self.alpha.shape[1], self.alpha.shape[0], move, canvas.luma.shape[1], canvas.luma.shape[0])
        if region is None:
            return
        x0, y0, x1, y1 = region
        # Drawn at a quarter of the resolution, then enlarged.
        move[:, 2] -= (x0, y0)
        move /= 4
        small = cv2.warpAffine(self.alpha, move, ((x1 - x0 + 3) // 4, (y1 - y0 + 3) // 4), flags=cv2.INTER_LINEAR)
        dark = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        part = canvas.luma[y0:y1, x0:x1]
        part[:] = cv2.multiply(part, cv2.bitwise_not(dark), scale=1 / 255)


def _over(below: U8, value: U8, alpha: U8) -> None:
    """Draw premultiplied values over what lies below, in place."""
    below[:] = cv2.add(value, cv2.multiply(below, cv2.bitwise_not(alpha), scale=1 / 255))


def halved(affine: Affine) -> Affine:
    """The same map for planes of half the size, whose samples lie in the middle of 2x2 pixels."""
    half: Affine = affine.copy()
    half[:, 2] = (affine[:, 0] * 0.5 + affine[:, 1] * 0.5 + affine[:, 2] - 0.5) / 2
    return half


def covered(width: int, height: int, affine: Affine, to_width: int, to_height: int) -> tuple[int, int, int, int] | None:
    """The even-aligned region of the frame that a picture of this size covers; None when it lies outside."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64) @ affine.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    x0, y0 = max(0, int(low[0]) // 2 * 2), max(0, int(low[1]) // 2 * 2)
    x1 = min(to_width, (int(high[0]) + 3) // 2 * 2)
    y1 = min(to_height, (int(high[1]) + 3) // 2 * 2)
    return (x0, y0, x1, y1) if x1 - x0 >= 2 and y1 - y0 >= 2 else None
