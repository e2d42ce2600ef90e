"""Aims: what a tile should show in each frame of a stretch, as arrays.

boxes of a person ─► Stretch: zoom wanted, place wanted, dead zone, what must stay inside ─► walls of the tube
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dualface_ray.framing import constants as c
from dualface_ray.framing.plan import Rect
from dualface_ray.framing.smooth import F64
from dualface_ray.settings import Settings


class Aim(NamedTuple):
    """What a tile should show in one frame; ``box`` is None when its person is absent."""

    t_s: float
    shot: int
    box: Rect | None
    union: bool = False
    """The box holds both persons, who cannot be told apart just now."""


@dataclass(frozen=True, slots=True)
class CameraShape:
    """What limits every crop: the frame's size in px, the tile's aspect and the range of crop heights."""

    width: float
    height: float
    aspect: float
    least: float
    most: float

    @staticmethod
    def of(width: float, height: float, tile_width: int, tile_height: int, max_upscale: float) -> CameraShape:
        """Limits for a frame and a tile in px."""
        aspect = tile_width / tile_height
        most = min(height, width / aspect)
        return CameraShape(width, height, aspect, min(most, tile_height / max_upscale), most)

    @property
    def wide(self) -> tuple[float, float, float]:
        """The widest crop: centre and log height."""
        return 0.5 * self.width, 0.5 * self.height, math.log(self.most)

    def keep(self, x: float, y: float, z: float) -> tuple[float, float]:
        """The centre nearest to this one whose crop of log height ``z`` lies inside the frame."""
        half_h = 0.5 * min(math.exp(z), self.most)
        half_w = half_h * self.aspect
        return (
            min(max(x, half_w), max(half_w, self.width - half_w)),
            min(max(y, half_h), max(half_h, self.height - half_h)),
        )

    def rect(self, x: float, y: float, z: float) -> Rect:
        """The crop of this centre and log height, inside the frame."""
        h = min(max(math.exp(z), self.least), self.most)
        w = min(h * self.aspect, self.width)
        x0 = min(max(x - 0.5 * w, 0.0), self.width - w)
        y0 = min(max(y - 0.5 * h, 0.0), self.height - h)
        return x0, y0, min(x0 + w, self.width), min(y0 + h, self.height)


def ready_for(aims: Sequence[Aim]) -> Sequence[Aim]:
    """The aims, with the first box after an absence valid ENTRY_LEAD_S earlier: the camera is there in time."""
    missing = [k for k, aim in enumerate(aims) if aim.box is None]
    if not missing:
        return aims
    ready = list(aims)
    back = Aim(math.inf, -1, None)
    for k in range(len(aims) - 1, -1, -1):
        aim = aims[k]
        if aim.box is not None:
            back = aim
        elif back.shot == aim.shot and back.t_s - aim.t_s <= c.ENTRY_LEAD_S:
            ready[k] = Aim(aim.t_s, aim.shot, back.box, back.union)
    return ready


class Stretch:
    """The aims of consecutive frames of one shot.

    Attributes:
        times: seconds of each frame.
        has_face: whether there is a box.
        zoom: log crop height wanted, float64 (n,); meaningless without a box, as are the following.
        x, y: centre of the box.
        dead: half width of the dead zone in px.
    """

    def __init__(self, aims: Sequence[Aim], shape: CameraShape, settings: Settings) -> None:
        f = settings.framing
        self.shape = shape
        self.times = [aim.t_s for aim in aims]
        self.has_face = [aim.box is not None for aim in aims]
        self.complete = all(self.has_face)
        boxes = np.array([aim.box or (0.0, 0.0, 1.0, 1.0) for aim in aims])
        x0, y0, x1, y1 = boxes.T
        width, height = np.maximum(x1 - x0, 1.0), np.maximum(y1 - y0, 1.0)
        self.x, self.y = 0.5 * (x0 + x1), 0.5 * (y0 + y1)
        single = np.maximum(height / f.face_height_share, c.MIN_CROP_FACES * width / shape.aspect)
        union = np.array([aim.union for aim in aims])
        self.lift: F64 = np.full(len(aims), 0.5 - f.head_room_share)
        if union.any():
            both = np.maximum(np.maximum(height, width / shape.aspect) / c.UNION_FILL, height / f.face_height_share)
            single = np.where(union, both, single)
            self.lift = np.where(union, 0.0, self.lift)
        self.zoom: F64 = np.log(np.clip(single, shape.least, shape.most))
        self.dead: F64 = f.dead_zone_share * (x1 - x0)
        self._must_show(boxes)

    def _must_show(self, boxes: F64) -> None:
        """The visible part of each face with a little air, float64 (4, n); infinite where nothing binds."""
        shape = self.shape
        x0, y0, x1, y1 = boxes.T
        air_x, air_y = c.FACE_MARGIN * (x1 - x0), c.FACE_MARGIN * (y1 - y0)
        left, top = np.maximum(x0 - air_x, 0.0), np.maximum(y0 - air_y, 0.0)
        right, bottom = np.minimum(x1 + air_x, shape.width), np.minimum(y1 + air_y, shape.height)
        shown = np.maximum(right - left, 0.0) * np.maximum(bottom - top, 0.0)
        free = shown < c.LEAST_VISIBLE * (x1 - x0) * (y1 - y0)
        free |= shown <= 0
        free |= ~np.array(self.has_face)
        self.binding = (~free).tolist()
        self.face: F64 = _rows(left, top, right, bottom)
        if free.any():
            self.face[:2, free] = math.inf
            self.face[2:, free] = -math.inf

    def zoom_walls(self, dead: float) -> tuple[list[float], list[float]]:
        """Lower and upper wall of the log height for frames with a face."""
        low = np.maximum(self.zoom - dead, math.log(self.shape.least))
        high = np.minimum(self.zoom + dead, math.log(self.shape.most))
        return low.tolist(), high.tolist()

    def place_walls(self, zoom: Sequence[float]) -> list[list[float]]:
        """Walls of the centre (lower x, lower y, upper x, upper y) for frames with a face, at these log heights."""
        shape = self.shape
        height = np.minimum(np.exp(np.array(zoom)), shape.most)
        half_h = 0.5 * height
        half_w = half_h * shape.aspect
        y = self.y + self.lift * height
        dead_y = self.dead * c.VERTICAL_DEAD
        far_x, far_y = np.maximum(half_w, shape.width - half_w), np.maximum(half_h, shape.height - half_h)
        return [
            np.minimum(np.maximum(self.x - self.dead, half_w), far_x).tolist(),
            np.minimum(np.maximum(y - dead_y, half_h), far_y).tolist(),
            np.minimum(np.maximum(self.x + self.dead, half_w), far_x).tolist(),
            np.minimum(np.maximum(y + dead_y, half_h), far_y).tolist(),
        ]

    def rects(self, path: F64, count: int) -> F64:
        """Crops (4, count) of the first frames of a path (n, 3) of centres and log heights, inside the frame."""
        shape = self.shape
        x, y, z = path[:count].T
        h = np.minimum(np.maximum(np.exp(z), shape.least), shape.most)
        w = np.minimum(h * shape.aspect, shape.width)
        x0 = np.minimum(np.maximum(x - 0.5 * w, 0.0), shape.width - w)
        y0 = np.minimum(np.maximum(y - 0.5 * h, 0.0), shape.height - h)
        return _rows(x0, y0, np.minimum(x0 + w, shape.width), np.minimum(y0 + h, shape.height))

    def inside(self, rects: F64) -> bool:
        """Whether these crops of the first frames show every face that binds."""
        face = self.face[:, : rects.shape[1]]
        return bool((face[:2] >= rects[:2]).all() and (face[2:] <= rects[2:]).all())

    def shifted(self, k: int, x: float, y: float, z: float) -> tuple[float, float, float]:
        """The crop of frame k moved, and widened, by the least that shows its face."""
        shape = self.shape
        z = min(max(z, math.log(shape.least)), math.log(shape.most))
        if self.binding[k]:
            x0, y0, x1, y1 = self.face[:, k].tolist()
            need = max(y1 - y0, (x1 - x0) / shape.aspect)
            z = max(z, math.log(min(max(need, shape.least), shape.most)))
            half_h = 0.5 * math.exp(z)
            half_w = half_h * shape.aspect
            x = min(max(x, x1 - half_w), x0 + half_w) if x1 - x0 <= 2 * half_w else 0.5 * (x0 + x1)
            y = min(max(y, y1 - half_h), y0 + half_h) if y1 - y0 <= 2 * half_h else 0.5 * (y0 + y1)
        return (*shape.keep(x, y, z), z)


def _rows(*rows: F64) -> F64:
    """Rows of one length as one array; ``np.stack`` takes four times as long for so few."""
    made = np.empty((len(rows), len(rows[0])))
    for k, row in enumerate(rows):
        made[k] = row
    return made
