"""PathPoint: what was decided about one frame, small enough to be kept in a record and read by a neighbour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dualface_ray.errors import ProtocolError
from dualface_ray.framing.director import DirectedFrame
from dualface_ray.framing.plan import Rect
from dualface_ray.identity import PERSONS, PersonState, PersonTrack, TrackedFrame


@dataclass(frozen=True, slots=True)
class PathPoint:
    """Both persons' boxes and crops in one frame; the frame number counts from the first frame of the video."""

    tracked: TrackedFrame
    crops: tuple[Rect, Rect]
    """Of A and of B."""
    order: tuple[int, int] = (0, 1)
    """Whom the layout's first and second tile show: 0 = A, 1 = B."""

    @property
    def frame_index(self) -> int:
        """Position in display order."""
        return self.tracked.frame_index

    @staticmethod
    def of(directed: DirectedFrame, first_frame: int = 0) -> PathPoint:
        """What a Director gave out, whose frame 0 is the video's frame ``first_frame``."""
        tiles = [tile for canvas in directed.plan.canvases for tile in canvas.tiles]
        crops = {tile.person: tile.source_px for tile in tiles}
        order = (0, 1) if tiles[0].person == PERSONS[0] else (1, 0)
        tracked = replace(directed.tracked, frame_index=directed.frame_index + first_frame)
        return PathPoint(tracked, (crops[PERSONS[0]], crops[PERSONS[1]]), order)

    def as_dict(self) -> dict[str, Any]:
        """As JSON data; ``from_dict`` gives the same point, bit for bit."""
        t = self.tracked
        return {
            "frame": t.frame_index, "pts": t.pts_ticks, "shot": t.shot, "certain": t.certain,
            "faces": [[f.state.value, None if f.box_px is None else list(f.box_px), f.score] for f in (t.a, t.b)],
            "crops": [list(crop) for crop in self.crops], "order": list(self.order),
        }  # fmt: skip

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PathPoint:
        """The point that ``as_dict`` described.

        Raises:
            ProtocolError: the data is damaged.
        """
        try:
            a, b = (
                PersonTrack(PersonState(state), None if box is None else _rect(box), float(score))
                for state, box, score in data["faces"]
            )
            tracked = TrackedFrame(int(data["frame"]), int(data["pts"]), int(data["shot"]), a, b, bool(data["certain"]))
            crop_a, crop_b = data["crops"]
            first, second = data["order"]
            return PathPoint(tracked, (_rect(crop_a), _rect(crop_b)), (int(first), int(second)))
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError("a point of a camera path is damaged", where="record of a span") from error


def _rect(values: Any) -> Rect:
    x0, y0, x1, y1 = map(float, values)
    return x0, y0, x1, y1
