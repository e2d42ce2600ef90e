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
from dualface_ray.framing.aims import Aim, CameraShape, Stretch, ready_for
from dualface_ray.framing.plan import Rect
from dualface_ray.framing.smooth import F64, smooth
from dualface_ray.framing.string import taut_string
from dualface_ray.settings import Settings

_REST = (2 * c.STILL_PX, 2 * c.STILL_PX, 2 * c.STILL_ZOOM)
_GRID = np.array([c.STILL_PX, c.STILL_PX, c.STILL_ZOOM])


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
        self.all_settings = settings
        self.settings = settings.framing
        self.state = state or CameraState()

    def take(self, aims: Sequence[Aim], count: int) -> list[Rect]:
        """Crops of the first ``count`` frames; the aims after them are the known future."""
        rects: list[Rect] = []
        aims = ready_for(aims)
        while len(rects) < count:
            at = len(rects)
            shot = aims[at].shot
            end = at
            while end < len(aims) and aims[end].shot == shot:
                end += 1
            take = min(count - at, end - at, c.BLOCK_FRAMES)
            rects += self._block(aims[at:end], take)
        return rects

    def _block(self, aims: Sequence[Aim], take: int) -> list[Rect]:
        """The first ``take`` crops of a stretch of one shot."""
        s = self.state
        stretch = Stretch(aims, self.shape, self.all_settings)
        times = stretch.times
        if s.shot != aims[0].shot or not s.past:
            self._cut_to(stretch, aims[0].shot)
        if stretch.complete and self._may_rest(stretch):
            s.past_s = [*s.past_s, *times[:take]][-3:]
            s.last_s = s.face_s = times[take - 1]
            return [self.shape.rect(*s.past[-1])] * take
        modes = self._modes(stretch)
        weights = _weights(stretch)
        check = take
        while check < len(times) and times[check] <= times[take - 1] + c.CHECK_S:
            check += 1
        for speed, tau_s in c.CALM_LEVELS:
            string = self._string(stretch, modes, speed)
            path = self._path(times, string, tau_s, weights)
            path[:take] = np.round(path[:take] / _GRID) * _GRID
            crops = stretch.rects(path, check)
            if stretch.inside(crops):
                break
        else:
            for k in range(take):
                x, y, z = path[k].tolist()
                path[k] = stretch.shifted(k, x, y, z)
            crops = stretch.rects(path, take)
        s.past = [*s.past, *path[max(0, take - 3) : take].tolist()][-3:]
        s.past_s = [*s.past_s, *times[:take]][-3:]
        s.string = [axis[take - 1] for axis in string]
        s.last_s = times[take - 1]
        s.face_s = max([s.face_s, *(t for t, face in zip(times[:take], stretch.has_face, strict=False) if face)])
        return [(x0, y0, x1, y1) for x0, y0, x1, y1 in crops[:, :take].T.tolist()]

    def _may_rest(self, stretch: Stretch) -> bool:
        """Whether a camera that stands still may go on so: every known face stays in its dead zone."""
        s = self.state
        here = s.past[-1]
        if not (
            s.past[0] == s.past[1] == here
            and all(abs(a - b) <= g for a, b, g in zip(here, s.string, _REST, strict=True))
        ):
            return False
        low, high = stretch.zoom_walls(self._zoom_dead())
        if not max(low) <= s.string[2] <= min(high):
            return False
        walls = stretch.place_walls([s.string[2]] * len(stretch.times))
        if not all(max(walls[k]) <= s.string[k] <= min(walls[k + 2]) for k in (0, 1)):
            return False
        return stretch.inside(stretch.rects(np.array([here] * len(stretch.times)), len(stretch.times)))

    def _cut_to(self, stretch: Stretch, shot: int) -> None:
        """Begin a shot where its first faces are: no move may come from the shot before."""
        s, times = self.state, stretch.times
        faces = [k for k, has in enumerate(stretch.has_face) if has]
        x, y, z = self.shape.wide
        if faces:
            first, dead = faces[0], self._zoom_dead()
            zooms = sorted(stretch.zoom[faces].tolist())
            own = float(stretch.zoom[first])
            z = min(max(zooms[len(zooms) // 2], own - dead), own + dead)
            low_x, low_y, high_x, high_y = stretch.place_walls([z] * len(times))
            # The middle of what is known, if the first face allows.
            x = min(max(_middle([0.5 * (low_x[k] + high_x[k]) for k in faces]), low_x[first]), high_x[first])
            y = min(max(_middle([0.5 * (low_y[k] + high_y[k]) for k in faces]), low_y[first]), high_y[first])
        step = times[1] - times[0] if len(times) > 1 else 1 / 30
        s.shot = shot
        s.string = [x, y, z]
        s.past = [[x, y, z]] * 3
        s.past_s = [times[0] - k * step for k in (3, 2, 1)]
        s.last_s = s.past_s[-1]
        s.face_s = -math.inf

    # --- string ----------------------------------------------------------------------------------------------
    def _zoom_dead(self) -> float:
        return max(math.log(self.settings.zoom_range), c.ZOOM_DEAD_FLOOR)

    def _string(self, stretch: Stretch, modes: Sequence[str], speed: float) -> list[list[float]]:
        """The taut string of x, y and log height over the known future."""
        wide = self.shape.wide
        low, high = stretch.zoom_walls(self._zoom_dead())
        if not stretch.complete:
            _rewall(modes, low, high, wide[2] - 1e-3, wide[2])
        zs = self._strung(2, stretch, modes, low, high, c.ZOOM_RATE * speed)
        walls = stretch.place_walls(zs)
        if not stretch.complete:
            for axis in (0, 1):
                _rewall(modes, walls[axis], walls[axis + 2], wide[axis] - 1.0, wide[axis] + 1.0)
        limit = self.settings.max_speed_share * speed * math.exp(self.state.string[2])
        return [*(self._strung(k, stretch, modes, walls[k], walls[k + 2], limit) for k in (0, 1)), zs]

    def _strung(
        self,
        axis: int,
        stretch: Stretch,
        modes: Sequence[str],
        low: Sequence[float],
        high: Sequence[float],
        speed: float,
    ) -> list[float]:
        """Taut strings between the stretches of ``hold``, in which the string stands still."""
        value, at_s, times = self.state.string[axis], self.state.last_s, stretch.times
        if stretch.complete:
            return taut_string(value, at_s, times, low, high, speed)
        path: list[float] = []
        while len(path) < len(modes):
            i = k = len(path)
            hold = modes[i] == "hold"
            while k < len(modes) and (modes[k] == "hold") == hold:
                k += 1
            path += [value] * (k - i) if hold else taut_string(value, at_s, times[i:k], low[i:k], high[i:k], speed)
            value, at_s = path[-1], times[k - 1]
        return path

    def _modes(self, stretch: Stretch) -> list[str]:
        """face, hold, wide, or free (the approach to somebody who comes back) for each frame."""
        if stretch.complete:
            return ["face"] * len(stretch.times)
        modes: list[str] = []
        face_s = self.state.face_s
        for t_s, face in zip(stretch.times, stretch.has_face, strict=True):
            face_s = t_s if face else face_s
            modes.append("face" if face else "wide" if t_s - face_s > self.settings.absent_hold_s else "hold")
        back_s = math.inf
        for k in range(len(modes) - 1, -1, -1):
            if modes[k] == "face":
                back_s = stretch.times[k]
            elif back_s - stretch.times[k] < c.RETURN_LEAD_S:
                modes[k] = "free"
        return modes

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


def _rewall(modes: Sequence[str], low: list[float], high: list[float], wide_low: float, wide_high: float) -> None:
    """Walls of the frames without a face: the wide shot, or none."""
    for k, mode in enumerate(modes):
        if mode == "wide":
            low[k], high[k] = wide_low, wide_high
        elif mode != "face":
            low[k], high[k] = -math.inf, math.inf


def _weights(stretch: Stretch) -> list[float] | None:
    """How much the string counts: hardly at all on the way to somebody who comes back; None = 1 everywhere."""
    if stretch.complete:
        return None
    weights = [1.0] * len(stretch.times)
    back_s, lead = math.inf, False
    for k in range(len(weights) - 1, -1, -1):
        if stretch.has_face[k]:
            back_s = stretch.times[k]
        elif back_s - stretch.times[k] < c.RETURN_LEAD_S:
            weights[k] = c.RETURN_WEIGHT
            lead = True
    return weights if lead else None


def _middle(values: Sequence[float]) -> float:
    return 0.5 * (min(values) + max(values))
