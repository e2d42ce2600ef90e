"""Motion of one face: a Kalman filter in seconds, and the geometry of boxes.

Model: centre with damped velocity and white acceleration (both axes alike, so one 2x2 covariance serves both), log
height as a random walk. All noise scales with the face's width (``constants``), time comes from ticks, so variable
frame rates and any resolution behave alike. Equations: the textbook constant-velocity filter with the velocity
decaying as exp(-dt / SPEED_DECAY_S).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dualface_ray.identity import constants as c
from dualface_ray.identity.tracks import Box


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    inter = w * h
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0


def gap_widths(a: Box, b: Box) -> float:
    """Distance of two centres over the mean width."""
    width = 0.5 * (a[2] - a[0] + b[2] - b[0])
    return math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) * 0.5 / max(width, 1e-6)


@dataclass(slots=True)
class Motion:
    """Filter state of one face at ``t_s``."""

    t_s: float
    x: float
    y: float
    log_h: float
    aspect: float
    """Width over height, slowly averaged."""
    vx: float = 0.0
    vy: float = 0.0
    p_xx: float = 0.0
    p_xv: float = 0.0
    p_vv: float = 0.0
    p_h: float = 0.0

    @staticmethod
    def start(t_s: float, box: Box) -> Motion:
        """A face seen for the first time."""
        w, h = max(box[2] - box[0], 1e-3), max(box[3] - box[1], 1e-3)
        return Motion(
            t_s,
            0.5 * (box[0] + box[2]),
            0.5 * (box[1] + box[3]),
            math.log(h),
            w / h,
            p_xx=(c.MEASURE_WIDTHS * w) ** 2,
            p_vv=(c.START_SPEED_WIDTHS * w) ** 2,
            p_h=c.SIZE_MEASURE**2,
        )

    def copy(self) -> Motion:
        """The same state, on its own from now on."""
        return Motion(
            self.t_s, self.x, self.y, self.log_h, self.aspect,
            self.vx, self.vy, self.p_xx, self.p_xv, self.p_vv, self.p_h,
        )  # fmt: skip

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return math.exp(self.log_h) * self.aspect

    def box_at(self, t_s: float) -> Box:
        """The box predicted for a time (before or after the last update)."""
        dt = t_s - self.t_s
        reach = c.SPEED_DECAY_S * (1.0 - math.exp(-dt / c.SPEED_DECAY_S)) if dt > 0 else dt
        x, y = self.x + self.vx * reach, self.y + self.vy * reach
        h = 0.5 * math.exp(self.log_h)
        w = h * self.aspect
        return x - w, y - h, x + w, y + h

    def spread(self, t_s: float) -> tuple[float, float]:
        """Variances of the predicted centre (px squared, one axis) and log height."""
        dt = max(0.0, t_s - self.t_s)
        reach = c.SPEED_DECAY_S * (1.0 - math.exp(-dt / c.SPEED_DECAY_S))
        q = (c.ACCELERATION_WIDTHS * self.width) ** 2
        p = self.p_xx + 2 * reach * self.p_xv + reach * reach * self.p_vv + q * reach**2 * dt * dt / 4
        return p, self.p_h + c.SIZE_RATE**2 * dt

    def update(self, t_s: float, box: Box) -> None:
        """Move on to ``t_s`` and take the measured box in."""
        dt = max(0.0, t_s - self.t_s)
        fade = math.exp(-dt / c.SPEED_DECAY_S)
        reach = c.SPEED_DECAY_S * (1.0 - fade)
        width = self.width
        q = (c.ACCELERATION_WIDTHS * width) ** 2
        p_xx = self.p_xx + 2 * reach * self.p_xv + reach * reach * self.p_vv + q * reach * reach * dt * dt / 4
        p_xv = fade * (self.p_xv + reach * self.p_vv) + q * reach * dt * dt / 2
        p_vv = fade * fade * self.p_vv + q * dt * dt
        x, y = self.x + self.vx * reach, self.y + self.vy * reach
        vx, vy = self.vx * fade, self.vy * fade
        s = p_xx + (c.MEASURE_WIDTHS * width) ** 2
        k_x, k_v = p_xx / s, p_xv / s
        dx, dy = 0.5 * (box[0] + box[2]) - x, 0.5 * (box[1] + box[3]) - y
        self.x, self.y = x + k_x * dx, y + k_x * dy
        self.vx, self.vy = vx + k_v * dx, vy + k_v * dy
        self.p_xx, self.p_xv, self.p_vv = (1 - k_x) * p_xx, (1 - k_x) * p_xv, p_vv - k_v * p_xv
        p_h = self.p_h + c.SIZE_RATE**2 * dt
        k_h = p_h / (p_h + c.SIZE_MEASURE**2)
        h = max(box[3] - box[1], 1e-3)
        self.log_h += k_h * (math.log(h) - self.log_h)
        self.p_h = (1 - k_h) * p_h
        self.aspect += 0.3 * ((box[2] - box[0]) / h - self.aspect)
        self.t_s = t_s
