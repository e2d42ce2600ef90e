"""SCENES: every scene by name; what happens in it is scaled to its duration, so that short clips hold all of it."""

from __future__ import annotations

from dataclasses import replace

from dualface_ray.demo.actor import Actor
from dualface_ray.demo.call import remote_call
from dualface_ray.demo.company import bystander, late_second, lookalikes, only_one, picture_on_wall, three_people
from dualface_ray.demo.edits import black_wall, cuts, dissolve, inserts, jump_cuts, shot_reverse_shot, zoom_cuts
from dualface_ray.demo.motion import Wander, ease, path
from dualface_ray.demo.pair import Pair
from dualface_ray.demo.scene import Camera, Context, Look, Pose, Scene, SceneFactory


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
        shot_reverse_shot, black_wall, remote_call, dissolve, inserts, jump_cuts, zoom_cuts, late_second, only_one,
        lookalikes,
    )
}  # fmt: skip
