"""Pictures a person can check: a contact sheet of the source, and a timeline of who was where."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from dualface_ray.backends import Picture
from dualface_ray.framing import CanvasPlan, Rect, TilePlan
from dualface_ray.identity import PERSONS
from dualface_ray.media import write_atomic
from dualface_ray.report.footage import Footage
from dualface_ray.report.run_report import EventRecord, RunReport
from dualface_ray.report.tracks import Tracks
from dualface_ray.settings import Settings

Bgr = tuple[int, int, int]
_At = Callable[[float], float]
"""Time in seconds to x in pixels."""

COLOURS: tuple[Bgr, Bgr] = ((40, 140, 255), (235, 150, 40))
"""Of A and B (blue, green, red): orange and blue, which colour-blind people can tell apart."""

_DETECTED, _PREDICTED, _ABSENT = 0, 1, 2
_PAPER, _INK, _GREY, _FAINT = (250, 250, 250), (40, 40, 40), (150, 150, 150), (225, 225, 225)
_THUMB_PX, _GAP_PX, _CAPTION_PX = 360, 10, 24


def contact_sheet(
    tracks: Tracks, source: Path, target: Path, *, settings: Settings | None = None, pictures: int = 24
) -> list[int]:
    """Write a PNG of frames with boxes, and both persons' crops beside each; returns the frames shown.

    Half of the room is for the first frames of shots, the rest lies evenly over the video. The source is decoded once
    from beginning to end.

    Raises:
        InputError: the source cannot be decoded or is not the one of the tracks.
        OutputError: the picture cannot be written.
    """
    chosen = _chosen(tracks, max(1, pictures))
    columns = max(1, min(4, math.ceil(math.sqrt(len(chosen)))))
    rows = max(1, math.ceil(len(chosen) / columns))
    wide, high = _thumb(tracks)
    side = high // 4 * 2
    cell_w, cell_h = wide + side + _GAP_PX, high + _CAPTION_PX + _GAP_PX
    sheet = Picture.blank(columns * cell_w + _GAP_PX, rows * cell_h + _GAP_PX, _PAPER)
    scale = wide / tracks.header.width_px

    def layout(index: int, _pts: int) -> CanvasPlan:
        whole = (0.0, 0.0, float(tracks.header.width_px), float(tracks.header.height_px))
        tiles = [TilePlan(whole, 0, 0, wide, high)]
        for person in range(2):
            crop = tracks.crops_px[index, person]
            if not np.isnan(crop).any():
                tiles.append(TilePlan(_square(crop, tracks), wide, person * side, side, side))
        return CanvasPlan(wide + side, high, tuple(tiles))

    with Footage(source, tracks, settings or Settings()) as footage:
        wanted = set(chosen)
        for index, canvas in footage.play(layout, lambda i: i in wanted):
            place = chosen.index(index)
            x, y = _GAP_PX + place % columns * cell_w, _GAP_PX + place // columns * cell_h
            cell = Picture.of_canvas(canvas, footage.colour)
            _mark(cell, tracks, index, scale, 2)
            for person in range(2):
                edge = (wide, person * side, wide + side, person * side + side)
                cell.rectangle(edge, COLOURS[person], 2)
                cell.text(wide + 8, person * side + 22, PERSONS[person], 14, (255, 255, 255), COLOURS[person])
            sheet.paste(cell, x, y)
            words = f"{clock(tracks.time_s[index])}  frame {index}  shot {tracks.shot[index]}"
            sheet.text(x, y + high + _CAPTION_PX - 8, words, 11, _INK)
    write_atomic(target, sheet.png())
    return chosen


def timeline(tracks: Tracks, report: RunReport | None, target: Path, *, width_px: int = 1600) -> None:
    """Write a PNG of where both faces were over time (left to right in the picture runs upwards), states, cuts, events.

    Raises:
        OutputError: the picture cannot be written.
    """
    left, right, top, height = 150, 40, 60, 340
    events = [] if report is None else [e for e in report.events if 0 <= e.frame < len(tracks)]
    kinds = sorted({e.kind for e in events})
    bottom = top + height
    total = bottom + 150 + 26 * len(kinds)
    picture = Picture.blank(width_px, total, _PAPER)
    length_s = float(tracks.time_s[-1]) if len(tracks) else 0.0
    span = max(length_s, 1e-3)

    def at(time_s: float) -> float:
        return left + (width_px - left - right) * time_s / span

    picture.text(left, 36, f"{tracks.header.source}: {len(tracks)} frames, {clock(length_s)}", 16, _INK)
    _axes(picture, at, length_s, (top, bottom), tracks)
    for person in (1, 0):
        _curve(picture, at, tracks, person, (top, bottom))
        _bar(picture, at, tracks, person, bottom + 40 + 30 * person)
        picture.text(at(0) - 34, bottom + 57 + 30 * person, PERSONS[person], 15, COLOURS[person])
    y = bottom + 135
    for kind in kinds:
        picture.text(14, y, kind, 11, _INK)
        _events(picture, at, [e for e in events if e.kind == kind], y)
        y += 26
    legend = "solid: detected   pale: predicted   gap: absent   grey line: cut"
    picture.text(left, bottom + 118, legend, 11, _GREY)
    write_atomic(target, picture.png())


def clock(time_s: float) -> str:
    """Minutes, seconds and hundredths."""
    minutes, seconds = divmod(round(float(time_s) * 100), 6000)
    return f"{minutes}:{seconds // 100:02d}.{seconds % 100:02d}"


# --- the sheet ----------------------------------------------------------------------------------------------------
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


def _mark(picture: Picture, tracks: Tracks, index: int, scale: float, thickness_px: int) -> None:
    """Boxes (dashed where predicted), letters and crops of one frame."""
    for person in range(2):
        crop, box = tracks.crops_px[index, person] * scale, tracks.boxes_px[index, person] * scale
        if not np.isnan(crop).any():
            picture.rectangle(crop, COLOURS[person], max(1, thickness_px // 2), dashed=True)
        if not np.isnan(box).any():
            predicted = tracks.states[index, person] == _PREDICTED
            picture.rectangle(box, COLOURS[person], thickness_px, dashed=bool(predicted))
            size = 7 + 2.5 * thickness_px
            letter = PERSONS[person] + ("?" if predicted else "")
            picture.text(box[0] + size / 2, box[1] - size / 2, letter, size, (255, 255, 255), COLOURS[person])


def mark_frame(picture: Picture, tracks: Tracks, index: int) -> None:
    """Boxes, letters, crops and a caption on a picture of the source's size."""
    thickness = max(4, round(tracks.header.height_px / 270))
    _mark(picture, tracks, index, 1.0, thickness)
    size = max(9.0, tracks.header.height_px / 50)
    words = f"{clock(tracks.time_s[index])}  frame {index}  shot {tracks.shot[index]}"
    picture.text(size, picture.height_px - size, words, size, (255, 255, 255), (30, 30, 30))


# --- the timeline -------------------------------------------------------------------------------------------------
def _axes(picture: Picture, at: _At, length_s: float, rows: tuple[int, int], tracks: Tracks) -> None:
    top, bottom = rows
    step = next((s for s in (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600) if length_s / s <= 16), 7200)
    for k in range(int(length_s / step) + 1):
        x = at(k * step)
        picture.polyline([(x, top), (x, bottom + 95)], _FAINT, 1)
        picture.text(x - 16, bottom + 22, clock(k * step), 10, _GREY)
    for share, words in ((0.0, "left"), (0.5, "middle"), (1.0, "right")):
        y = bottom - (bottom - top) * share
        picture.polyline([(at(0), y), (at(length_s), y)], _FAINT, 1)
        picture.text(at(0) - 64, y + 5, words, 11, _GREY)
    for index in (np.flatnonzero(np.diff(tracks.shot)) + 1).tolist():
        x = at(float(tracks.time_s[index]))
        picture.polyline([(x, top), (x, bottom + 95)], (120, 120, 120), 2)


def _curve(picture: Picture, at: _At, tracks: Tracks, person: int, rows: tuple[int, int]) -> None:
    """Runs of one state each; the line breaks at cuts and absences."""
    top, bottom = rows
    boxes, states = tracks.boxes_px[:, person], tracks.states[:, person]
    middle = (boxes[:, 0] + boxes[:, 2]) / 2 / tracks.header.width_px
    start = 0
    for end in range(1, len(tracks) + 1):
        if end < len(tracks) and states[end] == states[start] and tracks.shot[end] == tracks.shot[start]:
            continue
        if states[start] != _ABSENT:
            joins = end < len(tracks) and states[end] != _ABSENT and tracks.shot[end] == tracks.shot[start]
            run = range(start, end + int(joins))
            points = [
                (at(float(tracks.time_s[i])), bottom - (bottom - top) * min(1.0, max(0.0, float(middle[i]))))
                for i in run
                if not math.isnan(middle[i])
            ]
            if len(points) == 1:
                points.append((points[0][0] + 1, points[0][1]))
            colour = COLOURS[person] if states[start] == _DETECTED else _pale(COLOURS[person])
            picture.polyline(points, colour, 3)
        start = end


def _bar(picture: Picture, at: _At, tracks: Tracks, person: int, y: int) -> None:
    states = tracks.states[:, person]
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
    for start, end in pairwise(edges):
        if end <= start or states[start] == _ABSENT:
            continue
        colour = COLOURS[person] if states[start] == _DETECTED else _pale(COLOURS[person])
        until = float(tracks.time_s[min(end, len(states) - 1)])
        picture.fill(
            (at(float(tracks.time_s[start])), y, max(at(float(tracks.time_s[start])) + 1, at(until)), y + 20), colour
        )


def _events(picture: Picture, at: _At, events: Sequence[EventRecord], y: int) -> None:
    """A mark for each event, with the person's letter where there is room."""
    last = 0.0
    for event in events:
        x = at(event.time)
        colour = COLOURS[PERSONS.index(event.person)] if event.person in PERSONS else _INK
        upper = event.person != PERSONS[1]  # A above B, so that neither hides the other
        lower = event.person != PERSONS[0]
        picture.fill((x - 1, y - (12 if upper else 4), x + 2, y + (4 if lower else -4)), colour)
        if event.person and x > last:
            last = picture.text(x + 5, y, event.person, 11, colour) + 6


def _pale(colour: Bgr) -> Bgr:
    blue, green, red = (round(c + (255 - c) * 0.62) for c in colour)
    return blue, green, red
