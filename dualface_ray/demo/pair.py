"""Pair: the two who talk, on whom scenes build."""

from __future__ import annotations

from dualface_ray.demo.actor import Actor
from dualface_ray.demo.scene import Camera, Context, Pose


class Pair:
    """The two who talk: where they sit by default, and their motion.

    Args:
        context: of the scene.
        standing: they stand farther away (scenes in which they walk).
    """

    def __init__(self, context: Context, standing: bool = False) -> None:
        rng, aspect = context.rng, context.aspect
        self.aspect = aspect
        self.actors = tuple(Actor(person, rng, context.talk) for person in (0, 1))
        self.x = (aspect * float(rng.uniform(0.25, 0.31)), aspect * float(rng.uniform(0.69, 0.75)))
        low, high = (0.26, 0.32) if standing else (0.36, 0.44)
        self.y = tuple(float(rng.uniform(low, high)) for _ in self.actors)
        low, high = (0.15, 0.19) if standing else (0.22, 0.27)
        self.size = tuple(float(rng.uniform(low, high)) for _ in self.actors)
        self.out = (-0.45, aspect + 0.45)
        """x of a place outside the picture, left and right."""

    def pose(self, person: int, now: float, x: float | None = None, depth: float = 1.0, size: float = 1.0) -> Pose:
        """One of the two; ``x`` instead of the usual place, ``size`` times the usual size."""
        at = self.x[person] if x is None else x
        return self.actors[person].pose(now, at, self.y[person], self.size[person] * size, depth)

    def close_up(self, person: int, room: int, zoom: float, aside: float = 0.0) -> Camera:
        """A camera that has one of the two in the middle, or ``aside`` of it (in picture heights)."""
        dx = (self.aspect / 2 - self.x[person]) * zoom + aside
        return Camera(room, zoom=zoom, dx=dx, dy=(0.5 - self.y[person]) * zoom - 0.06)
