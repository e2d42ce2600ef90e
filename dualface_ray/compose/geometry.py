"""From a tile of a plan to the axis mappings of its luma and chroma.

Everything is measured in continuous edges: sample k of a luma axis covers [k, k + 1], its centre is k + 0.5. Chroma of
4:2:0 is sited as in MPEG-2 and H.264's default (``chroma_loc = left``): horizontally on even luma samples
(X = 2 k + 0.5), vertically between two rows (Y = 2 k + 1). This holds for sources and canvases alike, so turned
pictures get their chroma resampled by half a sample rather than moved.

Tile pixel (i, j) of w x h shows the displayed point (x0 + (i + 0.5) (x1 - x0) / w, y0 + (j + 0.5) (y1 - y0) / h);
``StreamInfo.stored_rect`` undoes rotation and pixel aspect. The result is a picture in stored orientation, made along
the stored axes and then turned clockwise by ``turns`` quarters.
"""

from __future__ import annotations

from dataclasses import dataclass

from dualface_ray.compose.sampling import AxisMap
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import TilePlan


@dataclass(frozen=True, slots=True)
class TileMap:
    """How one tile is read from its slot: mappings along the stored axes, then clockwise quarter turns."""

    luma_x: AxisMap
    luma_y: AxisMap
    chroma_x: AxisMap
    chroma_y: AxisMap
    turns: int


def tile_map(info: StreamInfo, tile: TilePlan) -> TileMap:
    """The mappings of one tile.

    A source rectangle may reach beyond the frame (whose edges are then repeated), by its size at most.

    Raises:
        ValueError: a target of odd or no size, or a source rectangle that is empty or far outside.
    """
    odd = (tile.x_px | tile.y_px | tile.width_px | tile.height_px) & 1
    if odd or min(tile.x_px, tile.y_px) < 0 or min(tile.width_px, tile.height_px) < 2:
        raise ValueError(f"the target of a tile must be even and not empty: {tile}")
    x0, y0, x1, y1 = info.stored_rect(tile.source_px)
    if not (x1 > x0 and y1 > y0):
        raise ValueError(f"the source of a tile is empty: {tile}")
    width, height = info.width_px, info.height_px
    if x0 < -width or x1 > 2 * width or y0 < -height or y1 > 2 * height:
        raise ValueError(f"the source of a tile lies outside its frame: {tile}")
    turns = info.rotation_deg // 90
    sideways = turns in (1, 3)
    # Stored x runs along the tile's y axis when the picture lies on its side; an axis that runs backwards is
    # mapped from its far end, so that steps stay positive and the turn puts the samples in order.
    x = _Axis(x0, x1, tile.height_px if sideways else tile.width_px, along_y=sideways, backwards=turns in (2, 3))
    y = _Axis(y0, y1, tile.width_px if sideways else tile.height_px, along_y=not sideways, backwards=turns in (1, 2))
    return TileMap(x.luma(), y.luma(), x.chroma(0.5), y.chroma(1.0), turns)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One stored axis: the edges shown and the tile axis they are drawn along."""

    low: float
    high: float
    size_px: int
    along_y: bool
    backwards: bool

    def luma(self) -> AxisMap:
        start, step = self._positions(0.5, 1.0, self.size_px)
        return AxisMap(start - 0.5, step, self.size_px)

    def chroma(self, source_site: float) -> AxisMap:
        """``source_site``: continuous position of chroma sample 0 on this stored axis."""
        count = self.size_px // 2
        start, step = self._positions(1.0 if self.along_y else 0.5, 2.0, count)
        return AxisMap((start - source_site) / 2, step / 2, count)

    def _positions(self, site: float, pitch: float, count: int) -> tuple[float, float]:
        """Continuous stored position of the first sample and the distance of two, in stored order.

        ``site`` and ``pitch``: where the tile's samples lie on its own axis (site + i * pitch pixels from its edge).
        """
        scale = (self.high - self.low) / self.size_px
        if self.backwards:
            return self.high - (site + (count - 1) * pitch) * scale, pitch * scale
        return self.low + site * scale, pitch * scale
