"""Contact sheet: frames of the source with everything the tracks say, and both persons' crops beside each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dualface_ray.backends import Picture
from dualface_ray.framing import CanvasPlan, Rect, TilePlan
from dualface_ray.identity import PERSONS
from dualface_ray.media import write_atomic
from dualface_ray.report.footage import Footage
from dualface_ray.report.marks import COLOURS, INK, PAPER, clock, mark_people
from dualface_ray.report.tracks import Tracks
from dualface_ray.settings import Settings

_THUMB_PX, _GAP_PX, _CAPTION_PX = 360, 10, 24


def contact_sheet(
    tracks: Tracks,
    source: Path,
    target: Path,
    *,
    settings: Settings | None = None,
    pictures: int = 24,
    progress: Callable[[int], None] = lambda _frames: None,
) -> list[int]:
    """Write a PNG of frames with boxes, and both persons' crops beside each; returns the frames shown.

    Half of the room is for the first frames of shots, the rest lies evenly over the video. The source is decoded once
    from beginning to end; ``progress`` gets, with each picture, the frames that lie behind.

    Raises:
        InputError: the source cannot be decoded or is not the one of the tracks.
        OutputError: the picture cannot be written.
    """
    chosen = _chosen(tracks, max(1, pictures))
    write_atomic(target, _drawn(tracks, source, chosen, settings or Settings(), progress).png())
    return chosen


@dataclass(frozen=True, slots=True)
class Preview:
    """A contact sheet that a notebook shows."""

    png: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.png


def preview(tracks: Tracks, source: Path, *, settings: Settings | None = None, pictures: int = 6) -> Preview:
    """A contact sheet, not written but shown.

    Raises:
        InputError: the source cannot be decoded or is not the one of the tracks.
    """
    chosen = _chosen(tracks, max(1, pictures))
    return Preview(_drawn(tracks, source, chosen, settings or Settings(), lambda _frames: None).png())


def _drawn(
    tracks: Tracks, source: Path, chosen: list[int], settings: Settings, progress: Callable[[int], None]
) -> Picture:
    columns = max(1, min(4, math.ceil(math.sqrt(len(chosen)))))
    rows = max(1, math.ceil(len(chosen) / columns))
    wide, high = _thumb(tracks)
    side = high // 4 * 2
    cell_w, cell_h = wide + side + _GAP_PX, high + _CAPTION_PX + _GAP_PX
    sheet = Picture.blank(columns * cell_w + _GAP_PX, rows * cell_h + _GAP_PX, PAPER)
    scale = wide / tracks.header.width_px

    def layout(index: int, _pts: int) -> CanvasPlan:
        whole = (0.0, 0.0, float(tracks.header.width_px), float(tracks.header.height_px))
        tiles = [TilePlan(whole, 0, 0, wide, high)]
        for person in range(2):
            crop = tracks.crops_px[index, person]
            if not np.isnan(crop).any():
                tiles.append(TilePlan(_square(crop, tracks), wide, person * side, side, side))
        return CanvasPlan(wide + side, high, tuple(tiles))

    with Footage(source, tracks, settings) as footage:
        wanted = set(chosen)
        for index, canvas in footage.play(layout, lambda i: i in wanted):
            place = chosen.index(index)
            x, y = _GAP_PX + place % columns * cell_w, _GAP_PX + place // columns * cell_h
            cell = Picture.of_canvas(canvas, footage.colour)
            mark_people(cell, tracks, index, scale, 2)
            for person in range(2):
                edge = (wide, person * side, wide + side, person * side + side)
                cell.rectangle(edge, COLOURS[person], 2)
                cell.text(wide + 8, person * side + 22, PERSONS[person], 14, (255, 255, 255), COLOURS[person])
            sheet.paste(cell, x, y)
            words = f"{clock(tracks.time_s[index])}  frame {index}  shot {tracks.shot[index]}"
            sheet.text(x, y + high + _CAPTION_PX - 8, words, 11, INK)
            progress(index + 1)
    return sheet


def _chosen(tracks: Tracks, pictures: int) -> list[int]:
    count = len(tracks)
    if not count:
        return []
    starts = [0, *(np.flatnonzero(np.diff(tracks.shot)) + 1).tolist()][: max(1, pictures // 2)]
    rest = np.linspace(0, count - 1, num=min(count, pictures)).round().astype(int).tolist()
    chosen = set(starts)
    gaps = sorted(rest, key=lambda i: -min(abs(i - s) for s in starts))
    for index in gaps:
        if len(chosen) < min(pictures, count):
            chosen.add(index)
    return sorted(chosen)


def _thumb(tracks: Tracks) -> tuple[int, int]:
    """Width and height of a thumbnail: the longer side is fixed, both are multiples of 4."""
    width, height = tracks.header.width_px, tracks.header.height_px
    scale = _THUMB_PX / max(width, height)
    return max(32, round(width * scale / 4) * 4), max(32, round(height * scale / 4) * 4)


def _square(crop: Sequence[float], tracks: Tracks) -> Rect:
    """The largest square in the middle of a crop, inside the picture."""
    x0, y0, x1, y1 = (float(v) for v in crop)
    half = max(1.0, min(x1 - x0, y1 - y0, tracks.header.width_px, tracks.header.height_px) / 2)
    cx = min(max((x0 + x1) / 2, half), tracks.header.width_px - half)
    cy = min(max((y0 + y1) / 2, half), tracks.header.height_px - half)
    return cx - half, cy - half, cx + half, cy + half
