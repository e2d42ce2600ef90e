"""Timeline: a picture of who was where, with states, cuts and the decisions of identity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from dualface_ray.backends import Picture
from dualface_ray.identity import PERSONS
from dualface_ray.media import write_atomic
from dualface_ray.report.marks import COLOURS, INK, PAPER, Bgr, clock
from dualface_ray.report.run_report import EventRecord, RunReport
from dualface_ray.report.tracks import Tracks

_At = Callable[[float], float]
"""Time in seconds to x in pixels."""

_DETECTED, _ABSENT = 0, 2
_SAME_PX = 3
_GREY: Bgr = (150, 150, 150)
_FAINT: Bgr = (225, 225, 225)


def timeline(tracks: Tracks, report: RunReport | None, target: Path, *, width_px: int = 1600) -> None:
    """Write a PNG of where both faces were over time (left to right in the picture runs upwards), states, cuts, events.

    Raises:
        OutputError: the picture cannot be written.
    """
    write_atomic(target, timeline_png(tracks, report, width_px=width_px))


def timeline_png(tracks: Tracks, report: RunReport | None, *, width_px: int = 1600) -> bytes:
    """The same as bytes."""
    left, right, top, height = 150, 40, 60, 340
    told = () if report is None else report.events  # in the order of decisions, of which some are about the past
    events = sorted((e for e in told if 0 <= e.frame < len(tracks)), key=lambda event: event.time)
    kinds = sorted({e.kind for e in events})
    bottom = top + height
    total = bottom + 150 + 26 * len(kinds)
    picture = Picture.blank(width_px, total, PAPER)
    length_s = tracks.length_s
    span = max(length_s, 1e-3)

    def at(time_s: float) -> float:
        return left + (width_px - left - right) * time_s / span

    picture.text(left, 36, f"{tracks.header.source}: {len(tracks)} frames, {clock(length_s)}", 16, INK)
    _axes(picture, at, length_s, (top, bottom), tracks)
    for person in (1, 0):
        _curve(picture, at, tracks, person, (top, bottom))
        _bar(picture, at, tracks, person, bottom + 40 + 30 * person)
        picture.text(at(0) - 34, bottom + 57 + 30 * person, PERSONS[person], 15, COLOURS[person])
    y = bottom + 135
    for kind in kinds:
        picture.text(14, y, kind, 11, INK)
        _events(picture, at, [e for e in events if e.kind == kind], y)
        y += 26
    legend = "solid: detected   pale: predicted   gap: absent   grey line: cut"
    picture.text(left, bottom + 118, legend, 11, _GREY)
    return picture.png()


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
        until = float(tracks.time_s[end]) if end < len(states) else tracks.length_s
        picture.fill(
            (at(float(tracks.time_s[start])), y, max(at(float(tracks.time_s[start])) + 1, at(until)), y + 20), colour
        )


def _events(picture: Picture, at: _At, events: Sequence[EventRecord], y: int) -> None:
    """A mark for each event, with the letter where there is room; what concerns both at once gets both letters."""
    last = 0.0
    for number, event in enumerate(events):
        x = at(event.time)
        upper = event.person != PERSONS[1]  # A above B, so that neither hides the other
        lower = event.person != PERSONS[0]
        picture.fill((x - 1, y - (12 if upper else 4), x + 2, y + (4 if lower else -4)), _colour(event.person))
        if event.person and x > last:
            here = {other.person for other in events[number:] if at(other.time) - x < _SAME_PX}
            letters = "".join(person for person in PERSONS if person in here) or event.person
            last = picture.text(x + 5, y, letters, 11, _colour(letters)) + 6


def _colour(person: str) -> Bgr:
    return COLOURS[PERSONS.index(person)] if person in PERSONS else INK


def _pale(colour: Bgr) -> Bgr:
    blue, green, red = (round(c + (255 - c) * 0.62) for c in colour)
    return blue, green, red
