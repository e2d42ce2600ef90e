"""Limits: what a file may claim before anything is allocated for it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from dualface_ray.errors import LimitExceededError
from dualface_ray.settings import Settings


def check_streams(count: int, settings: Settings, path: Path) -> None:
    """Raise LimitExceededError for more streams than ``input.max_streams``."""
    if count > settings.input.max_streams:
        raise LimitExceededError(
            f"it holds {count} streams, more than input.max_streams={settings.input.max_streams}",
            where=str(path),
            remedy="Raise the limit if you trust the file.",
        )


def check_size(width_px: int, height_px: int, settings: Settings, path: Path) -> None:
    """Raise LimitExceededError for a picture that is too large or too small; 0 = not known yet."""
    limits = settings.input
    if width_px == 0 or height_px == 0:
        return
    if width_px > limits.max_width_px or height_px > limits.max_height_px:
        raise LimitExceededError(
            f"its picture of {width_px}x{height_px} is larger than input.max_width_px={limits.max_width_px} x "
            f"input.max_height_px={limits.max_height_px}",
            where=str(path),
            remedy="Raise the limits if you trust the file.",
        )
    if min(width_px, height_px) < limits.min_side_px:
        raise LimitExceededError(
            f"its picture of {width_px}x{height_px} is smaller than input.min_side_px={limits.min_side_px}",
            where=str(path),
            remedy="Use a larger video.",
        )


def check_decoded(size_bytes: int, settings: Settings, path: Path) -> None:
    """Raise LimitExceededError for a video that decodes to more than ``input.max_decoded_bytes``."""
    limit = settings.input.max_decoded_bytes
    if size_bytes > limit:
        raise LimitExceededError(
            f"it decodes to more than input.max_decoded_bytes={limit}",
            where=str(path),
            remedy="Raise the limit if you trust the file.",
        )


def check_duration(ticks: int, time_base: Fraction, settings: Settings, path: Path) -> None:
    """Raise LimitExceededError for a video longer than ``input.max_duration_s``."""
    limit_s = settings.input.max_duration_s
    if ticks * time_base > limit_s:
        raise LimitExceededError(
            f"it lasts {float(ticks * time_base):.0f} s, more than input.max_duration_s={limit_s:g}",
            where=str(path),
            remedy="Raise the limit if you trust the file.",
        )
