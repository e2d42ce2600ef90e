"""Picture: lines, areas and words, on a BGR picture (for PNG files) or straight on an NV12 canvas (for video)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.detect import yuv_to_rgb_matrix
from dualface_ray.errors import OutputError
from dualface_ray.frames import Colour

U8 = npt.NDArray[np.uint8]
Bgr = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT_PX = 21.0
"""Height of a capital letter of the font at scale 1."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """One array to draw on: pixels of the picture per sample, and its samples for a colour."""

    data: U8
    step_px: int
    matrix: npt.NDArray[np.float64]
    """(channels, 4): samples from (blue, green, red, 1)."""

    def samples(self, colour: Bgr) -> tuple[float, ...]:
        values = self.matrix @ np.array([*colour, 1.0])
        return tuple(float(v) for v in np.clip(np.rint(values), 0, 255))

    def draw(self, colour: Bgr, stroke: Callable[[U8, tuple[float, ...]], object]) -> None:
        """Let OpenCV draw; it takes one, three or four channels, so two (chroma) go one by one."""
        value = self.samples(colour)
        if self.data.ndim == 2 or self.data.shape[2] != 2:
            stroke(self.data, value)
            return
        for channel in range(2):
            alone = np.ascontiguousarray(self.data[..., channel])
            stroke(alone, value[channel : channel + 1])
            self.data[..., channel] = alone


class Picture:
    """Something to draw on; positions and sizes are pixels of the picture, colours are (blue, green, red).

    Made by ``blank``, ``on_canvas`` or ``of_canvas``. What lies outside the picture is cut off.
    """

    def __init__(self, planes: Sequence[_Plane], width_px: int, height_px: int) -> None:
        self._planes = tuple(planes)
        self.width_px = width_px
        self.height_px = height_px

    @classmethod
    def blank(cls, width_px: int, height_px: int, colour: Bgr = (0, 0, 0)) -> Picture:
        """An empty BGR picture."""
        data = np.empty((height_px, width_px, 3), np.uint8)
        data[:] = colour
        return cls([_Plane(data, 1, np.eye(3, 4))], width_px, height_px)

    @classmethod
    def on_canvas(cls, canvas: U8, colour: Colour) -> Picture:
        """An NV12 canvas, uint8 (height * 3 // 2, width), to draw on in place; ``colour`` says how to read it."""
        height, width = canvas.shape[0] * 2 // 3, canvas.shape[1]
        to_rgb = np.vstack((yuv_to_rgb_matrix(colour, height), [0.0, 0.0, 0.0, 1.0]))
        from_bgr = np.linalg.inv(to_rgb)[:3][:, [2, 1, 0, 3]]
        chroma = canvas[height:].reshape(height // 2, width // 2, 2)
        return cls([_Plane(canvas[:height], 1, from_bgr[:1]), _Plane(chroma, 2, from_bgr[1:])], width, height)

    @classmethod
    def of_canvas(cls, canvas: U8, colour: Colour) -> Picture:
        """A BGR copy of an NV12 canvas, uint8 (height * 3 // 2, width)."""
        height, width = canvas.shape[0] * 2 // 3, canvas.shape[1]
        chroma = cv2.resize(
            np.ascontiguousarray(canvas[height:]).reshape(height // 2, width // 2, 2), (width, height),
            interpolation=cv2.INTER_LINEAR,
        )  # fmt: skip
        u, v = cv2.split(chroma)
        rgb = cv2.transform(cv2.merge((np.ascontiguousarray(canvas[:height]), u, v)), yuv_to_rgb_matrix(colour, height))
        return cls([_Plane(np.ascontiguousarray(rgb[..., ::-1]), 1, np.eye(3, 4))], width, height)

    def fill(self, box: Sequence[float], colour: Bgr, opacity: float = 1.0) -> None:
        """A filled rectangle (x0, y0, x1, y1); below full opacity what lies under it shines through."""
        for plane in self._planes:
            x0, y0, x1, y1 = (round(v / plane.step_px) for v in box)
            part = plane.data[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
            if part.size:
                value = np.array(plane.samples(colour)).reshape((-1,) if part.ndim == 3 else ())
                part[:] = np.rint(part * (1 - opacity) + value * opacity).astype(np.uint8)

    def rectangle(self, box: Sequence[float], colour: Bgr, thickness_px: int = 2, *, dashed: bool = False) -> None:
        """The outline of a rectangle, drawn inwards; dashed = four corners only."""
        x0, y0, x1, y1 = box
        arm_x, arm_y = ((x1 - x0) / 5, (y1 - y0) / 5) if dashed else (x1 - x0, y1 - y0)
        t = thickness_px
        for y in (y0, y1 - t):
            self.fill((x0, y, x0 + arm_x, y + t), colour)
            self.fill((x1 - arm_x, y, x1, y + t), colour)
        for x in (x0, x1 - t):
            self.fill((x, y0, x + t, y0 + arm_y), colour)
            self.fill((x, y1 - arm_y, x + t, y1), colour)

    def polyline(self, points: Sequence[tuple[float, float]], colour: Bgr, thickness_px: int = 2) -> None:
        """A line through points (x, y)."""
        for plane in self._planes:
            line = np.rint(np.array(points, np.float64) / plane.step_px * 16).astype(np.int32).reshape(-1, 1, 2)
            width = max(1, thickness_px // plane.step_px)
            plane.draw(
                colour,
                lambda data, value, line=line, width=width: cv2.polylines(  # type: ignore[misc]
                    data, [line], False, value, width, cv2.LINE_AA, 4
                ),
            )

    def text(self, x: float, y: float, words: str, height_px: float, colour: Bgr, back: Bgr | None = None) -> float:
        """Words with their baseline's left end at (x, y); on a filled background if one is given.

        Characters that the font lacks become question marks. Returns the x where the words end.
        """
        words = words.encode("ascii", "replace").decode()
        scale = height_px / _FONT_HEIGHT_PX
        (width, _), _ = cv2.getTextSize(words, _FONT, scale, max(1, round(height_px / 9)))
        if back is not None:
            pad = height_px * 0.35
            self.fill((x - pad, y - height_px - pad, x + width + pad, y + pad), back)
        for plane in self._planes:
            at = (round(x / plane.step_px), round(y / plane.step_px))
            bold = max(1, round(height_px / 9 / plane.step_px))
            size = scale / plane.step_px
            plane.draw(
                colour,
                lambda data, value, at=at, bold=bold, size=size: cv2.putText(  # type: ignore[misc]
                    data, words, at, _FONT, size, value, bold, cv2.LINE_AA
                ),
            )
        return x + float(width)

    def paste(self, other: Picture, x: int, y: int) -> None:
        """Put another picture of the same kind with its upper left corner at (x, y)."""
        for mine, its in zip(self._planes, other._planes, strict=True):
            left, top = x // mine.step_px, y // mine.step_px
            rows, columns = its.data.shape[:2]
            part = mine.data[max(0, top) : max(0, top + rows), max(0, left) : max(0, left + columns)]
            skip_y, skip_x = max(0, -top), max(0, -left)
            part[:] = its.data[skip_y : skip_y + part.shape[0], skip_x : skip_x + part.shape[1]]

    def png(self) -> bytes:
        """A PNG file of a BGR picture.

        Raises:
            OutputError: it is no BGR picture, or cannot be encoded.
        """
        if len(self._planes) != 1:
            raise OutputError("a canvas is no picture for a PNG file", remedy="Copy it with of_canvas first.")
        done, data = cv2.imencode(".png", self._planes[0].data)
        if not done:
            raise OutputError(f"a picture of {self.width_px}x{self.height_px} px cannot be encoded")
        return bytes(data)
