"""SCENES: every scene by name."""

from __future__ import annotations

from dualface_ray.demo.actor import Actor
from dualface_ray.demo.scene import Context, Pose, Scene, SceneFactory


def conversation(context: Context) -> Scene:
    """Two people sit side by side and talk."""
    rng, aspect = context.rng, context.aspect
    actors = [Actor(person, rng, context.talk) for person in (0, 1)]
    at = (aspect * rng.uniform(0.25, 0.31), aspect * rng.uniform(0.69, 0.75))
    y = [rng.uniform(0.36, 0.44) for _ in actors]
    size = [rng.uniform(0.22, 0.27) for _ in actors]

    def poses(now: float) -> list[Pose]:
        return [a.pose(now, at[k], y[k], size[k]) for k, a in enumerate(actors)]

    return Scene(poses)


SCENES: dict[str, SceneFactory] = {"conversation": conversation}
