"""SCENES: every scene by name; what happens in it is scaled to its duration, so that short clips hold all of it."""

from __future__ import annotations

from dataclasses import replace

from dualface_ray.demo.actor import Actor
from dualface_ray.demo.motion import Wander, ease, path
from dualface_ray.demo.scene import Camera, Context, Look, Pose, Scene, SceneFactory


class Pair:
    """The two who talk: where they sit by default, and their motion.

    Args:
        context: of the scene.
        standing: they stand farther away (scenes in which they walk).
    """

    def __init__(self, context: Context, standing: bool = False) -> None:
        rng, aspect = context.rng, context.aspect
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


def conversation(context: Context) -> Scene:
    """Two people sit side by side and talk."""
    pair = Pair(context)
    return Scene(lambda now: [pair.pose(0, now), pair.pose(1, now)])


def _crossing(context: Context, mover: int, mover_depth: float) -> Scene:
    """The mover walks past the other one, stays there, and walks back."""
    pair = Pair(context, standing=True)
    t, pace = context.duration_s, float(context.rng.uniform(1.6, 2.6))
    other = 1 - mover
    beyond = pair.x[other] + (pair.x[other] - pair.x[mover]) * 0.45
    beyond = min(context.aspect - 0.2, max(0.2, beyond))
    aside = pair.x[other] - (pair.x[other] - pair.x[mover]) * 0.35

    def poses(now: float) -> list[Pose]:
        go = (0.22 * t, 0.22 * t + pace, 0.62 * t, 0.62 * t + pace)
        x = path(now, (go[0], pair.x[mover]), (go[1], beyond), (go[2], beyond), (go[3], pair.x[mover]))
        rest = path(
            now, (go[0] + pace, pair.x[other]), (go[0] + 2 * pace, aside), (go[2] - pace, aside), (go[2], pair.x[other])
        )
        return [pair.pose(mover, now, x, depth=mover_depth), pair.pose(other, now, rest)]

    return Scene(poses)


def crossing_lr(context: Context) -> Scene:
    """The left person walks to the right in front of the other one, who is fully hidden, and later back."""
    return _crossing(context, 0, 0.8)


def crossing_rl(context: Context) -> Scene:
    """The right person walks to the left behind the other one, fully hidden, and later back."""
    return _crossing(context, 1, 1.2)


def swap_sides(context: Context) -> Scene:
    """The left person leaves on the left; the other one moves over; the first comes back on the right."""
    pair, t = Pair(context, standing=True), context.duration_s

    def poses(now: float) -> list[Pose]:
        people = []
        left = path(now, (0.15 * t, pair.x[0]), (0.15 * t + 1.5, pair.out[0]))
        back = path(now, (0.60 * t, pair.out[1]), (0.60 * t + 1.7, pair.x[1]))
        people.append(pair.pose(0, now, left if now < 0.5 * t else back))
        people.append(pair.pose(1, now, path(now, (0.32 * t, pair.x[1]), (0.32 * t + 2.0, pair.x[0]))))
        return people

    return Scene(poses)


def cuts(context: Context) -> Scene:
    """Camera cuts: the angle from the other side, a closer one, one person out of the picture, and back."""
    pair, t = Pair(context), context.duration_s
    closer = context.aspect / 2
    angles = (
        Camera(0),
        Camera(1, mirror=True, zoom=0.8),
        Camera(0),
        Camera(2, zoom=1.25),
        Camera(3, mirror=True, zoom=1.1, dy=0.03),
        Camera(4, zoom=1.6, dx=(closer - pair.x[0]) * 1.6),
        Camera(0),
    )
    wobble = [float(context.rng.uniform(-0.25, 0.25)) for _ in angles]
    starts = [0.0] + [(k + wobble[k]) * t / len(angles) for k in range(1, len(angles))]

    def shot(now: float) -> int:
        return max(k for k, start in enumerate(starts) if now >= start)

    return Scene(
        lambda now: [pair.pose(0, now), pair.pose(1, now)], camera=lambda now: angles[shot(now)], shot=shot
    )  # fmt: skip


def fast_motion(context: Context) -> Scene:
    """Both gesture with the whole body: lunges of a face width or two within a third of a second."""
    pair, t, rng = Pair(context), context.duration_s, context.rng
    lunges: list[list[tuple[float, float]]] = []
    for _ in range(2):
        moves, now = [(0.0, 0.0)], 0.8
        while now < t:
            target = float(rng.uniform(-0.16, 0.16)) * context.aspect
            moves += [(now, moves[-1][1]), (now + float(rng.uniform(0.28, 0.5)), target)]
            now += float(rng.uniform(0.7, 1.8))
        lunges.append(moves)
    drops = [Wander(rng, 0.3, 1.2), Wander(rng, 0.3, 1.2)]

    def poses(now: float) -> list[Pose]:
        people = []
        for person in (0, 1):
            pose = pair.pose(person, now, pair.x[person] + path(now, *lunges[person]))
            people.append(replace(pose, y=pose.y + 0.035 * drops[person](now)))
        return people

    return Scene(poses)


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


def absence(context: Context) -> Scene:
    """One of them leaves for seconds and comes back on the same side."""
    pair, t = Pair(context, standing=True), context.duration_s
    who = int(context.rng.integers(2))

    def poses(now: float) -> list[Pose]:
        away = pair.out[who]
        x = path(now, (0.2 * t, pair.x[who]), (0.2 * t + 1.4, away), (0.62 * t, away), (0.62 * t + 1.6, pair.x[who]))
        return [pair.pose(who, now, x), pair.pose(1 - who, now)]

    return Scene(poses)


def approach(context: Context) -> Scene:
    """One comes slowly closer and goes back; the other one does the opposite, less far."""
    pair, t = Pair(context, standing=True), context.duration_s
    who = int(context.rng.integers(2))

    def poses(now: float) -> list[Pose]:
        near = path(now, (0.1 * t, 0.0), (0.45 * t, 1.0), (0.55 * t, 1.0), (0.9 * t, 0.0))
        close = pair.pose(who, now, depth=0.8, size=1 + 1.3 * near)
        far = pair.pose(1 - who, now, size=1 - 0.25 * near)
        return [replace(close, y=close.y + 0.12 * near), far]

    return Scene(poses)


def low_light(context: Context) -> Scene:
    """A dark room with sensor noise."""
    pair = Pair(context)
    gain, noise = float(context.rng.uniform(0.22, 0.32)), float(context.rng.uniform(6.0, 9.0))
    return Scene(lambda now: [pair.pose(0, now), pair.pose(1, now)], look=lambda _: Look(gain=gain, noise=noise))


def profile(context: Context) -> Scene:
    """Heads turn far aside, one after the other and both at once."""
    pair, t, rng = Pair(context), context.duration_s, context.rng
    turns = [[(float(rng.uniform(0.02, 0.08)) + k * 0.2 + 0.07 * person) * t for k in range(5)] for person in (0, 1)]
    sides = [[float(rng.choice([-1.0, 1.0])) for _ in range(5)] for _ in (0, 1)]

    def poses(now: float) -> list[Pose]:
        people = []
        for person in (0, 1):
            amount = sum(
                side * (ease(now, start, start + 0.5) - ease(now, start + 0.1 * t, start + 0.1 * t + 0.5))
                for start, side in zip(turns[person], sides[person], strict=True)
            )
            people.append(Actor.turned(pair.pose(person, now), max(-1.0, min(1.0, amount))))
        return people

    return Scene(poses)


def vfr(context: Context) -> Scene:
    """Variable frame rate; both change their seats a little, now and then."""
    pair, t = Pair(context), context.duration_s

    def poses(now: float) -> list[Pose]:
        step = 0.08 * context.aspect
        first = pair.x[0] + step * path(now, (0.2 * t, 0.0), (0.2 * t + 0.8, 1.0), (0.6 * t, 1.0), (0.6 * t + 0.8, 0.0))
        second = pair.x[1] - step * path(now, (0.4 * t, 0.0), (0.4 * t + 0.7, 1.0))
        return [pair.pose(0, now, first), pair.pose(1, now, second)]

    return Scene(poses, variable_rate=True)


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


def flash(context: Context) -> Scene:
    """Photographers' flashes: single white frames, which are no cuts."""
    pair, t, rng = Pair(context), context.duration_s, context.rng
    moments = sorted(float(rng.uniform(0.05, 0.97)) * t for _ in range(max(3, round(t / 2.5))))

    def look(now: float) -> Look:
        level = max((max(0.0, 1 - (now - m) / 0.10) for m in moments if now >= m), default=0.0)
        return Look(flash=0.85 * level)

    return Scene(lambda now: [pair.pose(0, now), pair.pose(1, now)], look=look)


def whip_pan(context: Context) -> Scene:
    """The camera whips aside and back, within one shot: all faces jump through the picture, blurred."""
    pair, t = Pair(context), context.duration_s
    shift = 0.22 * context.aspect * float(context.rng.choice([-1.0, 1.0]))
    moves = ((0.25 * t, 0.0), (0.25 * t + 0.35, shift), (0.55 * t, shift), (0.55 * t + 0.35, -shift * 0.4),
             (0.8 * t, -shift * 0.4), (0.8 * t + 0.3, 0.0))  # fmt: skip

    def look(now: float) -> Look:
        speed = abs(path(now + 0.01, *moves) - path(now - 0.01, *moves)) / 0.02
        return Look(smear=min(0.06, speed / 60))

    return Scene(
        lambda now: [pair.pose(0, now), pair.pose(1, now)], camera=lambda now: Camera(dx=path(now, *moves)), look=look
    )  # fmt: skip


def handheld(context: Context) -> Scene:
    """A camera held by hand: it drifts, shakes and zooms slowly."""
    pair, rng = Pair(context), context.rng
    across, along, zoom = Wander(rng, 0.15, 2.0), Wander(rng, 0.15, 2.0), Wander(rng, 0.03, 0.1)

    def camera(now: float) -> Camera:
        return Camera(zoom=1.05 + 0.04 * zoom(now), dx=0.018 * across(now), dy=0.012 * along(now))

    return Scene(lambda now: [pair.pose(0, now), pair.pose(1, now)], camera=camera)


def huddle(context: Context) -> Scene:
    """Both put their heads together for seconds, one half hidden, and part again."""
    pair, t = Pair(context), context.duration_s
    middle = context.aspect / 2 + float(context.rng.uniform(-0.1, 0.1))
    gap = float(context.rng.uniform(0.28, 0.42)) * pair.size[0]

    def poses(now: float) -> list[Pose]:
        together = path(now, (0.2 * t, 0.0), (0.2 * t + 1.6, 1.0), (0.65 * t, 1.0), (0.65 * t + 1.6, 0.0))
        left = pair.x[0] + (middle - gap - pair.x[0]) * together
        right = pair.x[1] + (middle + gap - pair.x[1]) * together
        return [pair.pose(0, now, left, depth=0.9), pair.pose(1, now, right)]

    return Scene(poses)


def sync(context: Context) -> Scene:
    """A plain conversation with a click and a white flash every two seconds, to test sound against picture."""
    scene = conversation(context)
    clicks = tuple(1.0 + 2.0 * k for k in range(int(max(0.0, context.duration_s - 1.0) / 2.0) + 1))
    return replace(scene, click_s=tuple(c for c in clicks if c < context.duration_s))


SCENES: dict[str, SceneFactory] = {
    factory.__name__: factory
    for factory in (
        conversation, crossing_lr, crossing_rl, swap_sides, cuts, fast_motion, bystander, absence, approach, low_light,
        profile, vfr, three_people, picture_on_wall, flash, whip_pan, handheld, huddle, sync,
    )
}  # fmt: skip
