"""Edits: scenes that are cut together from shots: cuts, dissolves, inserts, jumps in time and size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dualface_ray.demo.motion import Wander
from dualface_ray.demo.pair import Pair
from dualface_ray.demo.scene import SCREEN, SLIDE, WALL, Camera, Context, Look, Pane, Pose, Scene

_BLACK_SHARE = 0.35
"""Share of a fade through black in which nothing but black is seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What is seen between two changes."""

    start_s: float
    camera: Callable[[float], Camera]
    poses: Callable[[float], list[Pose]]
    dissolve_s: float = 0.0
    """It fades in over the shot before for this long, half of it before its start; 0 = a hard cut."""
    black_s: float = 0.0
    """The shot before fades to black and this one from it, for this long altogether."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """Shots one after another, as a scene."""

    shots: list[Shot] = field(default_factory=list)

    def scene(self) -> Scene:
        """The scene; a shot's number counts from its start, the middle of its transition."""
        return Scene(
            lambda now: self._solid(now).poses(now),
            camera=lambda now: self._solid(now).camera(now),
            look=lambda now: Look(black=max(_black(shot, now) for shot in self.shots)),
            shot=self._shot,
            panes=lambda now: [
                Pane(tuple(shot.poses(now)), shot.camera(now), opacity=0.5 + (now - shot.start_s) / shot.dissolve_s)
                for shot in self.shots
                if abs(now - shot.start_s) < 0.5 * shot.dissolve_s
            ],
        )

    def _shot(self, now: float) -> int:
        return max(k for k, shot in enumerate(self.shots) if now >= shot.start_s or k == 0)

    def _solid(self, now: float) -> Shot:
        """The last shot that is not fading in any more."""
        return max(
            (s for k, s in enumerate(self.shots) if now >= s.start_s + 0.5 * s.dissolve_s or k == 0),
            key=lambda s: s.start_s,
        )


def _black(shot: Shot, now: float) -> float:
    half = 0.5 * shot.black_s
    if abs(now - shot.start_s) >= half:
        return 0.0
    return min(1.0, (1 - abs(now - shot.start_s) / half) / (1 - _BLACK_SHARE))


def _starts(context: Context, count: int, wobble: float = 0.25) -> list[float]:
    """When so many shots of about the same length begin."""
    moves = [float(context.rng.uniform(-wobble, wobble)) for _ in range(count)]
    return [0.0] + [(k + moves[k]) * context.duration_s / count for k in range(1, count)]


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


def shot_reverse_shot(context: Context) -> Scene:
    """Each alone in a close-up, in turn, as interviews are cut; only later both in a wide shot, and close again.

    Who is seen first may sit on either side of the wide shot.
    """
    pair = Pair(context)
    first = int(context.rng.integers(2))
    asides = [float(context.rng.uniform(0.0, 0.25)) * side for side in (-1, 1)]
    seen: list[tuple[int, ...]] = [
        (first,), (1 - first,), (first,), (1 - first,), (0, 1), (1 - first,), (first,), (0, 1),
    ]  # fmt: skip
    starts = _starts(context, len(seen))
    zooms = [float(context.rng.uniform(1.35, 1.7)) for _ in seen]
    edit = Edit()
    for people, start, zoom in zip(seen, starts, zooms, strict=True):
        if len(people) == 2:
            camera = Camera(0, zoom=1.0 + 0.4 * (zoom - 1.35))
        else:
            camera = pair.close_up(people[0], 1 + people[0], zoom, asides[people[0]])
        edit.shots.append(Shot(start, _same(camera), _poses(pair, people)))
    return edit.scene()


def black_wall(context: Context) -> Scene:
    """Each alone before the same black wall, in turn, at the same place: only faces tell where the cuts are."""
    pair = Pair(context)
    first = int(context.rng.integers(2))
    edit = Edit()
    for k, start in enumerate(_starts(context, 7)):
        who = (first + k) % 2
        camera = pair.close_up(who, WALL, 0.36 / pair.size[who])
        edit.shots.append(Shot(start, _same(camera), _poses(pair, (who,))))
    return edit.scene()


def dissolve(context: Context) -> Scene:
    """Shots fade into one another within 0.5 to 1 s, and through black: faces lie over faces."""
    pair, rng = Pair(context), context.rng
    order = (0, 1) if rng.random() < 0.5 else (1, 0)
    angles: tuple[tuple[Camera, tuple[int, ...], bool], ...] = (
        (Camera(0), (0, 1), False),
        (pair.close_up(order[0], 1, 1.5), order[:1], False),
        (pair.close_up(order[1], 2, 1.5), order[1:], False),
        (Camera(0), (0, 1), True),
        (Camera(3, mirror=True, zoom=1.1), (0, 1), False),
        (pair.close_up(order[1], 2, 1.6), order[1:], True),
        (pair.close_up(order[0], 1, 1.6), order[:1], True),
        (Camera(0, zoom=1.15), (0, 1), False),
    )
    edit = Edit()
    for start, (camera, people, black) in zip(_starts(context, len(angles)), angles, strict=True):
        length = min(float(rng.uniform(0.5, 1.0)), 0.5 * context.duration_s / len(angles)) if start else 0.0
        edit.shots.append(
            Shot(start, _same(camera), _poses(pair, people), 0.0 if black else length, length if black else 0.0)
        )
    return edit.scene()


def inserts(context: Context) -> Scene:
    """Between the talk: a slide, an empty room, and a third person's photograph that fills the picture."""
    pair, rng, t = Pair(context), context.rng, context.duration_s
    who = 2 if context.people > 2 else 1
    alone = int(rng.integers(2))
    size, grow = float(rng.uniform(0.42, 0.55)), float(rng.uniform(0.2, 0.35)) / t
    x = context.aspect * float(rng.uniform(0.35, 0.65))
    both, one = _poses(pair, (0, 1)), _poses(pair, (alone,))
    starts = _starts(context, 8, 0.15)

    def photo(now: float) -> list[Pose]:
        return [Pose(who, x, 0.45, size * (1 + grow * (now - starts[5])), flat=True)]

    def nobody(_now: float) -> list[Pose]:
        return []

    shots: tuple[tuple[Callable[[float], Camera], Callable[[float], list[Pose]]], ...] = (
        (_same(Camera(0)), both),
        (_same(Camera(SLIDE)), nobody),
        (_same(Camera(0)), both),
        (lambda now: Camera(5, zoom=1.2, dx=0.15 * (now - starts[3]) / t), nobody),
        (_same(pair.close_up(alone, 1, 1.5)), one),
        (_same(Camera(SCREEN)), photo),
        (_same(pair.close_up(alone, 1, 1.5)), one),
        (_same(Camera(0)), both),
    )
    return Edit([Shot(start, *shot) for start, shot in zip(starts, shots, strict=True)]).scene()


def jump_cuts(context: Context) -> Scene:
    """One framing throughout, but every few seconds 0.3 to 2 s are cut out: both heads jump."""
    pair, rng, t = Pair(context), context.rng, context.duration_s
    seats = Wander(rng, 0.1, 0.4), Wander(rng, 0.1, 0.4)
    jumps: list[tuple[float, float]] = [(0.0, 0.0)]  # when, and how much has been cut out by then
    while jumps[-1][0] < t:
        step = float(rng.uniform(0.05, 0.2)) * t
        jumps.append((jumps[-1][0] + step, jumps[-1][1] + float(rng.uniform(0.3, 2.0))))

    def place(now: float) -> int:
        return max(k for k, (start, _) in enumerate(jumps) if now >= start)

    def poses(now: float) -> list[Pose]:
        told = now + jumps[place(now)][1]
        return [pair.pose(p, told, pair.x[p] + 0.35 * pair.size[p] * seats[p](told)) for p in (0, 1)]

    return Scene(poses, shot=place)


def zoom_cuts(context: Context) -> Scene:
    """Punch-ins: the same picture is suddenly larger, about its middle or one of the two, and small again."""
    pair, rng = Pair(context), context.rng
    order = (0, 1) if rng.random() < 0.5 else (1, 0)
    cameras = [Camera(wall=1.0)]
    for zoom, person in ((1.5, None), (1.25, None), (1.5, order[0]), (1.5, order[1]), (1.4, None)):
        limit = context.aspect / 2 * (zoom - 1)  # no edge of the picture comes in
        dx = 0.0 if person is None else (context.aspect / 2 - pair.x[person]) * zoom
        cameras.append(Camera(zoom=zoom, dx=max(-limit, min(limit, dx)), dy=0.1 * (zoom - 1), wall=1.0))
        if person is None:
            cameras.append(Camera(wall=1.0))
    both = _poses(pair, (0, 1))
    starts = _starts(context, len(cameras))
    return Edit([Shot(start, _same(camera), both) for start, camera in zip(starts, cameras, strict=True)]).scene()


def _same(camera: Camera) -> Callable[[float], Camera]:
    return lambda _now: camera


def _poses(pair: Pair, people: Sequence[int]) -> Callable[[float], list[Pose]]:
    return lambda now: [pair.pose(person, now) for person in people]
