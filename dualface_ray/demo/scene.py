"""Scene: what happens, as plain functions of time; no pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dualface_ray.demo.talk import Talk

PHOTO = 100
SLIDE = 100
"""Rooms from this number on are slides: a title, lines of text, bars."""
SCREEN = 200
"""Rooms from this number on are the plain dark screen behind the windows of a call."""
WALL = 300
"""Rooms from this number on are the same black wall."""


@dataclass(frozen=True, slots=True)
class Pose:
    """One person at one moment. Lengths are in picture heights, x from the left, y from the top."""

    person: int
    """Index in the cast; one beyond the faces there are is somebody seen from behind, who has no face."""
    x: float
    y: float
    """Centre of the face."""
    size: float
    """Height of the face."""
    tilt_rad: float = 0.0
    squeeze: float = 1.0
    """Width of the head over its natural width: below 1 it looks turned aside."""
    shear: float = 0.0
    mouth: float = 0.0
    depth: float = 1.0
    """Larger = farther away; who is nearer covers the others."""
    flat: bool = False
    """A photograph on the wall: head only, framed; in the truth it counts as person ``PHOTO + person``."""
    body: tuple[float, float] = (0.0, 0.0)
    """How far the shoulders lag behind the head."""


@dataclass(frozen=True, slots=True)
class Camera:
    """How the world is seen: mirrored positions (the angle from the other side), zoom about the middle, shift."""

    room: int = 0
    """Which background; see ``SLIDE``, ``SCREEN`` and ``WALL``."""
    mirror: bool = False
    zoom: float = 1.0
    dx: float = 0.0
    """Shift of the picture in picture heights."""
    dy: float = 0.0
    wall: float = 0.6
    """How far the wall follows the zoom: it is farther away than the people; 1 = the same picture, enlarged."""


@dataclass(frozen=True, slots=True)
class Pane:
    """A picture within the picture: a window of a call, or the next shot while it fades in."""

    poses: tuple[Pose, ...]
    camera: Camera
    place: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """x0, y0, x1, y1 as shares of the picture; filled by the middle of the inner picture."""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the sensor does to the picture."""

    gain: float = 1.0
    """Luma factor (low light)."""
    noise: float = 0.0
    """Standard deviation of luma noise, in code values."""
    flash: float = 0.0
    """0..1: how far the picture goes to white."""
    black: float = 0.0
    """0..1: how far the picture goes to black; a face is seen the less."""
    smear: float = 0.0
    """Length of the horizontal motion blur in picture heights."""


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a scene is made from.

    Attributes:
        rng: the only source of chance.
        aspect: width over height of the picture.
        duration_s: how long it lasts.
        people: how many faces there are to choose from (0 and 1 talk; 2, when there is one, may be somebody else).
        talk: who speaks when.
    """

    rng: np.random.Generator
    aspect: float
    duration_s: float
    people: int
    talk: Talk


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A scene ready to render.

    Attributes:
        poses: all persons at a time in seconds (persons outside the picture may be left out).
        camera: the camera at a time; a new ``shot`` begins whenever ``shot`` changes.
        look: the sensor at a time.
        shot: index of the shot at a time.
        panes: pictures over this one, the first one lowest.
        click_s: moments of a click with a one-frame flash (for tests of sound against picture).
        lookalikes: the second person has the first one's face, mirrored.
    """

    poses: Callable[[float], list[Pose]]
    camera: Callable[[float], Camera] = lambda _t: Camera()
    look: Callable[[float], Look] = lambda _t: Look()
    shot: Callable[[float], int] = lambda _t: 0
    panes: Callable[[float], list[Pane]] = lambda _t: []
    click_s: tuple[float, ...] = ()
    variable_rate: bool = False
    lookalikes: bool = False


SceneFactory = Callable[[Context], Scene]


@dataclass(frozen=True, slots=True)
class Timing:
    """Time stamps of a scene's frames."""

    time_base: Fraction
    pts_ticks: tuple[int, ...]

    @staticmethod
    def constant(rate: Fraction, duration_s: float) -> Timing:
        """Frames of a constant rate; at least one."""
        count = max(1, round(Fraction(duration_s).limit_denominator(10**6) * rate))
        return Timing(Fraction(1, rate.numerator), tuple(rate.denominator * i for i in range(count)))

    @staticmethod
    def variable(rng: np.random.Generator, rate: Fraction, duration_s: float) -> Timing:
        """Frames between half and three times the nominal distance apart, in units of 1/90000 s, as phones record."""
        nominal = Fraction(90_000) / rate
        pts: list[int] = []
        now, limit = 0, round(duration_s * 90_000)
        while now < limit or not pts:
            pts.append(now)
            factor = rng.choice([0.5, 1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0]) + rng.uniform(-0.1, 0.1)
            now += max(1, round(float(nominal) * float(factor)))
        return Timing(Fraction(1, 90_000), tuple(pts))

    def seconds(self, index: int) -> float:
        """Time of a frame in seconds from the first."""
        return float((self.pts_ticks[index] - self.pts_ticks[0]) * self.time_base)
