"""Alignment: the similarity that puts five landmarks where an embedding expects them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import F32, StreamInfo

F64 = npt.NDArray[np.float64]

_IN_BOX = np.array([[0.29, 0.36], [0.71, 0.36], [0.5, 0.55], [0.33, 0.73], [0.67, 0.73]])
"""Landmarks of an average upright face in its box; stands in where a detector gives none that span an area."""


def chip_transform(landmarks_px: F32, box_px: tuple[float, float, float, float], template_px: F64) -> F64:
    """The similarity from chip to displayed pixels, float64 (2, 3): displayed = M[:, :2] chip + M[:, 2].

    Least squares over the five points (Umeyama 1991, without reflection), in closed form on complex numbers: with
    both sets centred, a = sum(conj(t) p) / sum(|t|^2) turns and scales template t onto landmarks p.

    Args:
        landmarks_px: (5, 2) in displayed pixels; when they are not finite or fall into one point, points at the usual
            places of ``box_px`` are used.
        box_px: the face's box.
        template_px: (5, 2), where the landmarks belong in the chip.
    """
    points = np.asarray(landmarks_px, np.float64)
    x0, y0, x1, y1 = box_px
    size = max(x1 - x0, y1 - y0, 1.0)
    if not np.isfinite(points).all() or np.ptp(points, axis=0).max() < 0.05 * size:
        points = np.array([x0, y0]) + _IN_BOX * [max(x1 - x0, 1.0), max(y1 - y0, 1.0)]
    p, t = points @ [1, 1j], template_px @ [1, 1j]
    p0, t0 = p.mean(), t.mean()
    a = np.vdot(t - t0, p - p0) / np.vdot(t - t0, t - t0).real
    b = p0 - a * t0
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def stored_transform(info: StreamInfo) -> F64:
    """The map from displayed to stored pixels, float64 (2, 3), both as continuous edges."""
    width, height = float(info.upright_width_px), float(info.height_px)
    x = info.width_px / width
    return {
        0: np.array([[x, 0, 0], [0, 1, 0]], np.float64),
        90: np.array([[0, x, 0], [-1, 0, height]], np.float64),
        180: np.array([[-x, 0, info.width_px], [0, -1, height]], np.float64),
        270: np.array([[0, -x, info.width_px], [1, 0, 0]], np.float64),
    }[info.rotation_deg]


def chain(second: F64, first: F64) -> F64:
    """The affine map, float64 (2, 3), that does ``first``, then ``second``."""
    return np.hstack([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]])
