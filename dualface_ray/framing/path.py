"""PathPoint: what was decided about one frame, small enough to be kept in a record and read by a neighbour."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dualface_ray.framing.director import DirectedFrame
from dualface_ray.framing.plan import Rect
from dualface_ray.identity import PERSONS, TrackedFrame


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
