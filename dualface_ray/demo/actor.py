"""Actor: the natural small motion of one talking person, on which scenes build."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dualface_ray.demo.motion import Wander
from dualface_ray.demo.scene import Pose
from dualface_ray.demo.talk import Talk


class Actor:
    """A person who sits or stands, breathes, moves the head and talks when it is their turn.

    Args:
        person: index in the cast.
        rng: chance of this person's motion.
        talk: the conversation; None = this person says nothing.
    """

    def __init__(self, person: int, rng: np.random.Generator, talk: Talk | None) -> None:
        self.person = person
        self._talk = talk
        self._sway, self._nod = Wander(rng), Wander(rng)
        self._lean, self._bob = Wander(rng, 0.03, 0.15), Wander(rng, 0.6, 1.4)
        self._tilt, self._turn = Wander(rng, 0.05, 0.4), Wander(rng, 0.05, 0.3)

    def pose(self, time_s: float, x: float, y: float, size: float, depth: float = 1.0) -> Pose:
        """At a place: the face's centre and height in picture heights."""
        talk = 0.0 if self._talk is None else self._talk.speaking(self.person, time_s)
        lean = 0.10 * self._lean(time_s)
        move_x = 0.045 * self._sway(time_s) + lean
        bob = 0.022 * talk * self._bob(time_s)
        move_y = 0.028 * self._nod(time_s) + bob + 0.01 * math.sin(time_s * 1.6)
        turn = self._turn(time_s)
        return Pose(
            self.person,
            x + move_x * size,
            y + move_y * size,
            size * (1 + 0.02 * self._lean(time_s + 7.0)),
            tilt_rad=0.045 * self._tilt(time_s) + 0.02 * talk * self._bob(time_s + 3),
            squeeze=1 - 0.05 * min(1.0, abs(turn)),
            mouth=0.0 if self._talk is None else self._talk.mouth(self.person, time_s),
            depth=depth,
            body=(-0.6 * (move_x - lean), -0.7 * move_y),
        )

    @staticmethod
    def turned(pose: Pose, amount: float) -> Pose:
        """The head turned aside: ``amount`` -1..1 squeezes and shears it, as a profile looks to a detector."""
        return replace(pose, squeeze=pose.squeeze * (1 - 0.5 * abs(amount)), shear=pose.shear + 0.10 * amount)
