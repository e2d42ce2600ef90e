"""Company: scenes with more, fewer or other people than two who sit there from the beginning."""

from __future__ import annotations

from dualface_ray.demo.actor import Actor
from dualface_ray.demo.motion import path
from dualface_ray.demo.pair import Pair
from dualface_ray.demo.scene import Camera, Context, Pose, Scene


def bystander(context: Context) -> Scene:
    """Somebody larger walks through in front of both, and later back."""
    pair, t, rng = Pair(context), context.duration_s, context.rng
    third = Actor(2, rng, None)
    size, pace = float(rng.uniform(0.36, 0.44)), float(rng.uniform(2.6, 3.6))
    first = int(rng.integers(2))

    def poses(now: float) -> list[Pose]:
        people = [pair.pose(0, now), pair.pose(1, now)]
        again = max(0.65 * t, 0.2 * t + pace + 0.2)
        ways = ((0.2 * t, pair.out[first], pair.out[1 - first]), (again, pair.out[1 - first], pair.out[first]))
        for start, begin, end in ways:
            if start < now < start + pace:
                x = begin + (end - begin) * (now - start) / pace
                people.append(third.pose(now, x, 0.44, size, depth=0.5))
        return people

    return Scene(poses)


def three_people(context: Context) -> Scene:
    """A third person listens, smaller and farther back; two talk."""
    pair = Pair(context)
    third = Actor(2, context.rng, None)
    x = context.aspect * float(context.rng.choice([0.5, 0.93]))

    def poses(now: float) -> list[Pose]:
        return [pair.pose(0, now), pair.pose(1, now), third.pose(now, x, 0.34, 0.15, depth=2.0)]

    return Scene(poses)


def picture_on_wall(context: Context) -> Scene:
    """A framed photograph hangs between the two; one leans in front of it for a while."""
    pair, t = Pair(context), context.duration_s
    who = 2 if context.people > 2 else 1
    photo = Pose(who, context.aspect * 0.5, 0.22, float(context.rng.uniform(0.11, 0.15)), depth=9.0, flat=True)

    def poses(now: float) -> list[Pose]:
        middle = context.aspect * 0.47
        x = path(now, (0.35 * t, pair.x[0]), (0.35 * t + 1.5, middle), (0.6 * t, middle), (0.6 * t + 1.5, pair.x[0]))
        return [photo, pair.pose(0, now, x), pair.pose(1, now)]

    return Scene(poses)


def late_second(context: Context) -> Scene:
    """One sits alone on the right for half of the time; then the other one comes and sits down on the left."""
    pair, t = Pair(context), context.duration_s
    closer = pair.close_up(1, 1, 1.4, 0.2)

    def poses(now: float) -> list[Pose]:
        x = path(now, (0.5 * t, pair.out[0]), (0.5 * t + 1.6, pair.x[0]))
        return [*([pair.pose(0, now, x)] if now > 0.5 * t else []), pair.pose(1, now)]

    def shot(now: float) -> int:
        return int(now >= 0.2 * t) + int(now >= 0.4 * t) + int(now >= 0.75 * t)

    cameras = (Camera(0), closer, Camera(0), Camera(2, zoom=1.2))
    return Scene(poses, camera=lambda now: cameras[shot(now)], shot=shot)


def only_one(context: Context) -> Scene:
    """One face in the whole video: from several angles, turned aside, and away for a while."""
    pair, t = Pair(context), context.duration_s
    who = int(context.rng.integers(2))
    cameras = (Camera(0), pair.close_up(who, 1, 1.5), Camera(2, mirror=True, zoom=0.9), Camera(0), Camera(3, zoom=1.2))
    away = pair.out[who]

    def poses(now: float) -> list[Pose]:
        x = path(now, (0.62 * t, pair.x[who]), (0.62 * t + 1.2, away), (0.76 * t, away), (0.76 * t + 1.2, pair.x[who]))
        turn = path(now, (0.28 * t, 0.0), (0.28 * t + 0.5, 1.0), (0.36 * t, 1.0), (0.36 * t + 0.5, 0.0))
        return [Actor.turned(pair.pose(who, now, x), turn)]

    def shot(now: float) -> int:
        return sum(now >= share * t for share in (0.12, 0.25, 0.5, 0.92))

    return Scene(poses, camera=lambda now: cameras[shot(now)], shot=shot)


def lookalikes(context: Context) -> Scene:
    """Twins: no face tells them apart; they keep their sides, through cuts and while their heads come near."""
    pair, t = Pair(context), context.duration_s
    cameras = (Camera(0), Camera(1, zoom=1.25), Camera(0), Camera(2, zoom=0.85, dx=0.05))

    def poses(now: float) -> list[Pose]:
        lean = path(now, (0.55 * t, 0.0), (0.55 * t + 1.0, 1.0), (0.7 * t, 1.0), (0.7 * t + 1.0, 0.0))
        shift = 0.28 * (pair.x[1] - pair.x[0]) * lean
        return [pair.pose(0, now, pair.x[0] + shift), pair.pose(1, now, pair.x[1] - shift)]

    def shot(now: float) -> int:
        return sum(now >= share * t for share in (0.2, 0.38, 0.85))

    return Scene(poses, camera=lambda now: cameras[shot(now)], shot=shot, lookalikes=True)
