"""Camera: the path of one person's crop through the video.

aims of the look-ahead ─► tube (dead zone) ─► taut string ─► least-jerk path ─► face inside? ─► rectangles
                                                   ▲ calmest level first, a quicker one only when a face would leave
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dualface_ray.framing import constants as c
from dualface_ray.framing.plan import Rect
from dualface_ray.framing.smooth import F64, smooth
from dualface_ray.framing.string import taut_string
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class Aim:
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


@dataclass(slots=True)
class CameraState:
    """Where the camera is after the last frame given out, as plain data."""

    shot: int = -1
    last_s: float = 0.0
    string: list[float] = field(default_factory=list)
    """x, y, log height of the string."""
    past_s: list[float] = field(default_factory=list)
    past: list[list[float]] = field(default_factory=list)
    """The last three positions of the crop: x, y, log height."""
    face_s: float = -math.inf
    """When a face was last seen in this shot."""


class Camera:
    """Path of one crop.

    Args:
        shape: limits.
        settings: of the run.
        state: to go on from.
    """

    def __init__(self, shape: CameraShape, settings: Settings, state: CameraState | None = None) -> None:
        self.shape = shape
        self.settings = settings.framing
        self.state = state or CameraState()

    def take(self, aims: Sequence[Aim], count: int) -> list[Rect]:
        """Crops of the first ``count`` frames; the aims after them are the known future."""
        rects: list[Rect] = []
        aims = self._ready_for(aims)
        while len(rects) < count:
            at = len(rects)
            shot = aims[at].shot
            end = at
            while end < len(aims) and aims[end].shot == shot:
                end += 1
            take = min(count - at, end - at, c.BLOCK_FRAMES)
            rects += self._block(aims[at:end], take)
        return rects

    # --- one stretch of a shot -------------------------------------------------------------------------------
    def _block(self, aims: Sequence[Aim], take: int) -> list[Rect]:
        s = self.state
        if s.shot != aims[0].shot or not s.past:
            self._cut_to(aims)
        times = [aim.t_s for aim in aims]
        weights = self._weights(aims)
        result: tuple[F64, list[list[float]]] | None = None
        for speed, tau_s in c.CALM_LEVELS:
            string = self._string(aims, times, speed)
            result = self._path(times, string, tau_s, weights), string
            if self._inside(result[0], aims, take):
                break
        assert result is not None  # noqa: S101 - CALM_LEVELS is not empty
        path, string = result
        rects = []
        for k in range(take):
            x, y, z = path[k].tolist()
            x, y = round(x / c.STILL_PX) * c.STILL_PX, round(y / c.STILL_PX) * c.STILL_PX
            x, y, z, rect = self._crop(x, y, round(z / c.STILL_ZOOM) * c.STILL_ZOOM, aims[k])
            rects.append(rect)
            s.past = [*s.past[1:], [x, y, z]]
            s.past_s = [*s.past_s[1:], times[k]]
            if aims[k].box is not None:
                s.face_s = times[k]
        s.string = [axis[take - 1] for axis in string]
        s.last_s = times[take - 1]
        return rects

    def _cut_to(self, aims: Sequence[Aim]) -> None:
        """Begin a shot where its first faces are: no move may come from the shot before."""
        s = self.state
        heights = sorted(self._zoom(aim) for aim in aims if aim.box is not None)
        z = heights[len(heights) // 2] if heights else math.log(self.shape.most)
        first = next((aim for aim in aims if aim.box is not None), None)
        if first is None:
            x, y, z = self._wide()
        else:
            z0 = self._zoom(first)
            z = min(max(z, z0 - self._zoom_dead()), z0 + self._zoom_dead())
            x, y = self._centre(first, z)
            near = [self._centre(aim, z) for aim in aims if aim.box is not None]
            dead_x, dead_y = self._dead(first)
            x = min(max(_middle([p[0] for p in near]), x - dead_x), x + dead_x)
            y = min(max(_middle([p[1] for p in near]), y - dead_y), y + dead_y)
            x, y = self._keep(x, y, z)
        step = aims[1].t_s - aims[0].t_s if len(aims) > 1 else 1 / 30
        s.shot = aims[0].shot
        s.string = [x, y, z]
        s.past = [[x, y, z]] * 3
        s.past_s = [aims[0].t_s - k * step for k in (3, 2, 1)]
        s.last_s = s.past_s[-1]
        s.face_s = -math.inf

    # --- aims ------------------------------------------------------------------------------------------------
    def _zoom(self, aim: Aim) -> float:
        """Log of the crop height that shows the aim's box as the settings want."""
        assert aim.box is not None  # noqa: S101 - callers look first
        w, h = max(aim.box[2] - aim.box[0], 1.0), max(aim.box[3] - aim.box[1], 1.0)
        if aim.union:
            crop = max(h, w / self.shape.aspect) / c.UNION_FILL
            crop = max(crop, h / self.settings.face_height_share)
        else:
            crop = max(h / self.settings.face_height_share, c.MIN_CROP_FACES * w / self.shape.aspect)
        return math.log(min(max(crop, self.shape.least), self.shape.most))

    def _centre(self, aim: Aim, z: float) -> tuple[float, float]:
        """Crop centre that puts the aim's box in its place, as far as the frame allows."""
        return self._keep(*self._place(aim, z), z)

    def _place(self, aim: Aim, z: float) -> tuple[float, float]:
        """The same without minding the frame."""
        assert aim.box is not None  # noqa: S101 - callers look first
        x = 0.5 * (aim.box[0] + aim.box[2])
        y = 0.5 * (aim.box[1] + aim.box[3])
        if not aim.union:
            y += (0.5 - self.settings.head_room_share) * math.exp(z)
        return x, y

    def _keep(self, x: float, y: float, z: float) -> tuple[float, float]:
        half_h = 0.5 * min(math.exp(z), self.shape.most)
        half_w = half_h * self.shape.aspect
        return (
            min(max(x, half_w), max(half_w, self.shape.width - half_w)),
            min(max(y, half_h), max(half_h, self.shape.height - half_h)),
        )

    def _wide(self) -> tuple[float, float, float]:
        return 0.5 * self.shape.width, 0.5 * self.shape.height, math.log(self.shape.most)

    def _zoom_dead(self) -> float:
        return max(math.log(self.settings.zoom_range), c.ZOOM_DEAD_FLOOR)

    def _dead(self, aim: Aim) -> tuple[float, float]:
        assert aim.box is not None  # noqa: S101 - callers look first
        dead = self.settings.dead_zone_share * (aim.box[2] - aim.box[0])
        return dead, dead * c.VERTICAL_DEAD

    # --- string and path -------------------------------------------------------------------------------------
    def _string(self, aims: Sequence[Aim], times: Sequence[float], speed: float) -> list[list[float]]:
        """The taut string of x, y and log height over the known future."""
        s, shape = self.state, self.shape
        modes = self._modes(aims)
        wide = self._wide()
        infinite = math.inf
        low, high = [], []
        dead = self._zoom_dead()
        for aim, mode in zip(aims, modes, strict=True):
            if mode == "face":
                z = self._zoom(aim)
                low.append(max(z - dead, math.log(shape.least)))
                high.append(min(z + dead, wide[2]))
            elif mode == "wide":
                low.append(wide[2] - 1e-3)
                high.append(wide[2])
            else:
                low.append(-infinite)
                high.append(infinite)
        zs = self._strung(2, modes, times, low, high, c.ZOOM_RATE * speed)
        walls: tuple[list[float], list[float], list[float], list[float]] = ([], [], [], [])
        for aim, mode, z in zip(aims, modes, zs, strict=True):
            if mode == "face":
                x, y = self._place(aim, z)
                dx, dy = self._dead(aim)
                for k, value in enumerate((*self._keep(x - dx, y - dy, z), *self._keep(x + dx, y + dy, z))):
                    walls[k].append(value)
            elif mode == "wide":
                for k, value in enumerate((wide[0] - 1.0, wide[1] - 1.0, wide[0] + 1.0, wide[1] + 1.0)):
                    walls[k].append(value)
            else:
                for k, value in enumerate((-infinite, -infinite, infinite, infinite)):
                    walls[k].append(value)
        limit = self.settings.max_speed_share * speed * math.exp(s.string[2])
        xs = self._strung(0, modes, times, walls[0], walls[2], limit)
        ys = self._strung(1, modes, times, walls[1], walls[3], limit)
        return [xs, ys, zs]

    def _strung(
        self,
        axis: int,
        modes: Sequence[str],
        times: Sequence[float],
        low: Sequence[float],
        high: Sequence[float],
        speed: float,
    ) -> list[float]:
        """Taut strings between the stretches of ``hold``, in which the string stands still."""
        value, at_s = self.state.string[axis], self.state.last_s
        path: list[float] = []
        while len(path) < len(modes):
            i = k = len(path)
            hold = modes[i] == "hold"
            while k < len(modes) and (modes[k] == "hold") == hold:
                k += 1
            path += [value] * (k - i) if hold else taut_string(value, at_s, times[i:k], low[i:k], high[i:k], speed)
            value, at_s = path[-1], times[k - 1]
        return path

    def _modes(self, aims: Sequence[Aim]) -> list[str]:
        """face, hold, wide, or free (the approach to somebody who comes back) for each frame."""
        modes: list[str] = []
        face_s = self.state.face_s
        for aim in aims:
            if aim.box is not None:
                face_s = aim.t_s
                modes.append("face")
            else:
                modes.append("wide" if aim.t_s - face_s > self.settings.absent_hold_s else "hold")
        back_s = math.inf
        for k in range(len(aims) - 1, -1, -1):
            if modes[k] == "face":
                back_s = aims[k].t_s
            elif back_s - aims[k].t_s < c.RETURN_LEAD_S:
                modes[k] = "free"
        return modes

    @staticmethod
    def _ready_for(aims: Sequence[Aim]) -> list[Aim]:
        """The aims, with the first box after an absence valid ENTRY_LEAD_S earlier: the camera is there in time."""
        ready = list(aims)
        for k in range(len(aims) - 2, -1, -1):
            box, later = ready[k].box, ready[k + 1]
            if box is None and later.box is not None and aims[k].shot == later.shot:
                first = next(aim for aim in aims[k + 1 :] if aim.box is not None)
                if first.t_s - aims[k].t_s <= c.ENTRY_LEAD_S:
                    ready[k] = Aim(aims[k].t_s, aims[k].shot, later.box, later.union)
        return ready

    @staticmethod
    def _weights(aims: Sequence[Aim]) -> list[float] | None:
        """How much the string counts: hardly at all on the way to somebody who comes back; None = 1 everywhere."""
        faces = [k for k, aim in enumerate(aims) if aim.box is not None]
        if not faces or (len(faces) == faces[-1] - faces[0] + 1 and faces[0] == 0):
            return None
        weights = [1.0] * len(aims)
        back = len(aims)
        for k in range(faces[-1], -1, -1):
            if aims[k].box is not None:
                back = k
            elif aims[back].t_s - aims[k].t_s < c.RETURN_LEAD_S:
                weights[k] = c.RETURN_WEIGHT
        return weights

    def _path(
        self, times: Sequence[float], string: list[list[float]], tau_s: float, weights: Sequence[float] | None
    ) -> F64:
        """The least-jerk path along the string, its last value held for PADDING_S beyond the look-ahead."""
        s = self.state
        count = len(times)
        step = (times[-1] - s.past_s[0]) / (count + 2)
        pad = max(4, math.ceil(c.PADDING_S / max(step, 1e-3)))
        pad += -(count + pad) % 8  # few different sizes, so that the gains of one size serve often
        later = [times[-1] + step * (k + 1) for k in range(pad)]
        values = np.array([axis + [axis[-1]] * pad for axis in string]).T
        padded = None if weights is None else [*weights, *[1.0] * pad]
        path = smooth(s.past_s, np.array(s.past), [*times, *later], values, tau_s, padded)
        return path[:count]

    # --- rectangles ------------------------------------------------------------------------------------------
    def _inside(self, path: F64, aims: Sequence[Aim], take: int) -> bool:
        """Whether every face of the frames to give out, and a little beyond, is inside its crop."""
        until_s = aims[take - 1].t_s + c.CHECK_S
        for (x, y, z), aim in zip(path.tolist(), aims, strict=True):
            if aim.t_s > until_s:
                break
            face = self._face(aim)
            if face is None:
                continue
            rect = self._rect(x, y, z)
            if face[0] < rect[0] or face[1] < rect[1] or face[2] > rect[2] or face[3] > rect[3]:
                return False
        return True

    def _face(self, aim: Aim) -> Rect | None:
        """The part of the aim's box inside the frame with a little air around it; None when hardly any is."""
        if aim.box is None:
            return None
        air_x = c.FACE_MARGIN * (aim.box[2] - aim.box[0])
        air_y = c.FACE_MARGIN * (aim.box[3] - aim.box[1])
        x0, y0 = max(0.0, aim.box[0] - air_x), max(0.0, aim.box[1] - air_y)
        x1, y1 = min(self.shape.width, aim.box[2] + air_x), min(self.shape.height, aim.box[3] + air_y)
        whole = (aim.box[2] - aim.box[0]) * (aim.box[3] - aim.box[1])
        if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < c.LEAST_VISIBLE * whole:
            return None
        return x0, y0, x1, y1

    def _rect(self, x: float, y: float, z: float) -> Rect:
        shape = self.shape
        h = min(max(math.exp(z), shape.least), shape.most)
        w = min(h * shape.aspect, shape.width)
        x0 = min(max(x - 0.5 * w, 0.0), shape.width - w)
        y0 = min(max(y - 0.5 * h, 0.0), shape.height - h)
        return x0, y0, min(x0 + w, shape.width), min(y0 + h, shape.height)

    def _crop(self, x: float, y: float, z: float, aim: Aim) -> tuple[float, float, float, Rect]:
        """The final rectangle: inside the frame, and shifted by the least that keeps the face in it."""
        z = min(max(z, math.log(self.shape.least)), math.log(self.shape.most))
        face = self._face(aim)
        if face is not None:
            need = max(face[3] - face[1], (face[2] - face[0]) / self.shape.aspect)
            z = max(z, math.log(min(max(need, self.shape.least), self.shape.most)))
            half_h = 0.5 * math.exp(z)
            half_w = half_h * self.shape.aspect
            if face[2] - face[0] <= 2 * half_w:
                x = min(max(x, face[2] - half_w), face[0] + half_w)
            else:
                x = 0.5 * (face[0] + face[2])
            if face[3] - face[1] <= 2 * half_h:
                y = min(max(y, face[3] - half_h), face[1] + half_h)
            else:
                y = 0.5 * (face[1] + face[3])
        x, y = self._keep(x, y, z)
        return x, y, z, self._rect(x, y, z)


def _middle(values: Sequence[float]) -> float:
    return 0.5 * (min(values) + max(values))
