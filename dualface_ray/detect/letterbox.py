"""Letterbox: where a video's picture lies in the detector's input, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualface_ray.frames import F32, StreamInfo


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The picture, upright and with square pixels, fills the input's upper left corner; the rest is black.

    Coordinates are continuous edges: pixel (0, 0) covers 0..1, so both ways are one multiplication.
    """

    input_width_px: int
    input_height_px: int
    content_width_px: int
    """Width of the picture inside the input, after rotation."""
    content_height_px: int
    display_width_px: int
    display_height_px: int
    rotation_deg: int
    """Clockwise turn from stored to displayed; done on the small picture."""

    @staticmethod
    def fit(info: StreamInfo, long_px: int, short_px: int) -> Letterbox:
        """The largest picture of this stream's displayed shape inside long x short, or short x long for portrait.

        Args:
            info: the stream.
            long_px: the input's long side, a multiple of what the network needs.
            short_px: its short side.
        """
        shown_w, shown_h = info.display_width_px, info.display_height_px
        width, height = (short_px, long_px) if shown_h > shown_w else (long_px, short_px)
        scale = min(width / shown_w, height / shown_h)
        return Letterbox(
            width,
            height,
            min(width, max(1, round(shown_w * scale))),
            min(height, max(1, round(shown_h * scale))),
            shown_w,
            shown_h,
            info.rotation_deg,
        )

    @property
    def stored_content_px(self) -> tuple[int, int]:
        """Width and height to resize the stored picture to, before it is turned upright."""
        size = (self.content_width_px, self.content_height_px)
        return size[::-1] if self.rotation_deg in (90, 270) else size

    @property
    def scale(self) -> F32:
        """Displayed pixels per input pixel in x and y, float32 (2,)."""
        return np.array(
            [self.display_width_px / self.content_width_px, self.display_height_px / self.content_height_px], np.float32
        )

    def boxes_to_display(self, boxes_px: F32) -> F32:
        """Boxes (n, 4) from input to displayed pixels, clipped to the picture."""
        return self.points_to_display(boxes_px.reshape(-1, 2, 2)).reshape(-1, 4)

    def points_to_display(self, points_px: F32) -> F32:
        """Points (..., 2) from input to displayed pixels, clipped to the picture."""
        limit = np.array([self.display_width_px, self.display_height_px], np.float32)
        shown: F32 = np.clip(points_px * self.scale, np.float32(0), limit)
        return shown
