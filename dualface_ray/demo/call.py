"""Call: scenes on a screen on which webcams are shown beside and over one another."""

from __future__ import annotations

from dualface_ray.demo.pair import Pair
from dualface_ray.demo.scene import SCREEN, Camera, Context, Pane, Scene

_WHOLE = (0.0, 0.0, 1.0, 1.0)
_HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
_GALLERY = ((0.01, 0.25, 0.495, 0.735), (0.505, 0.25, 0.99, 0.735))
_CORNERS = ((0.02, 0.04, 0.30, 0.32), (0.70, 0.64, 0.98, 0.92))

Place = tuple[float, float, float, float]


def remote_call(context: Context) -> Scene:
    """A recorded call: two webcams side by side, then one large and the other small in a corner, sides changed."""
    pair, rng = Pair(context), context.rng
    side = int(rng.integers(2))
    corner = _CORNERS[int(rng.integers(2))]
    layouts: tuple[tuple[Place, Place], ...] = (
        (_HALVES[side], _HALVES[1 - side]),
        (_WHOLE, corner),
        (_GALLERY[1 - side], _GALLERY[side]),
        (corner, _WHOLE),
        (_HALVES[side], _HALVES[1 - side]),
        (_GALLERY[side], _GALLERY[1 - side]),
    )
    zoom = [float(rng.uniform(1.3, 1.6)) for _ in (0, 1)]
    wobble = [float(rng.uniform(-0.25, 0.25)) for _ in layouts]
    starts = [0.0] + [(k + wobble[k]) * context.duration_s / len(layouts) for k in range(1, len(layouts))]

    def shot(now: float) -> int:
        return max(k for k, start in enumerate(starts) if now >= start)

    def panes(now: float) -> list[Pane]:
        windows = [
            Pane((pair.pose(person, now),), pair.close_up(person, 1 + person, zoom[person]), place)
            for person, place in enumerate(layouts[shot(now)])
        ]
        return sorted(windows, key=lambda pane: pane.place != _WHOLE)

    return Scene(lambda _now: [], camera=lambda _now: Camera(SCREEN), shot=shot, panes=panes)
