"""Knots: the sights that a person's path is drawn through."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dualface_ray.identity import constants as c
from dualface_ray.identity.sights import Sight, Track
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import Box


@dataclass(slots=True)
class Knot:
    """A sight that belongs to a person, and what ended the track after it ("" = it went on)."""

    frame: int
    t_s: float
    box: Box
    score: float
    vx: float
    vy: float
    shot: int
    ended: str = ""
    since: int = -2
    """For a track's first sight: the last examined frame without it (-1 = none); -2 for every other sight."""
    after_miss: bool = False
    track_id: int = -1
    """-1 = a loose face."""
    slope: tuple[float, float] | None = None
    """Mean velocity of the centre since the sight before of the same track, px per second; None = no such sight."""


@dataclass(slots=True)
class Frame:
    """One frame of the window: index, time stamp, seconds, shot."""

    index: int
    pts_ticks: int
    t_s: float
    shot: int


def knots_of(tracker: Tracker, name: str, shown: Knot | None) -> list[Knot]:
    """All sights of a person (decided or likeliest) after the last knot that was shown, in order."""
    after = shown.frame if shown is not None else -1
    found: dict[int, Knot] = {}
    if shown is not None:
        found[shown.frame] = shown
    for track in tracker.tracks:
        if (track.person or track.guess) != name:
            continue
        last = track.sights[-1]
        before: Sight | None = None
        for sight in track.sights:
            earlier, before = before, sight
            if sight.frame > after:
                knot = to_knot(sight, track.shot)
                knot.track_id = track.track_id
                if earlier is not None:
                    knot.slope = _slope_of(earlier, sight)
                if sight.frame == track.born:
                    knot.since = track.since
                if sight is last:
                    knot.ended = _ended(tracker, track)
                known = found.get(sight.frame)
                if known is None or track.person:
                    found[sight.frame] = knot
            elif shown is not None and sight.frame == shown.frame and sight is last:
                shown.ended = _ended(tracker, track)
    return [found[frame] for frame in sorted(found)]


def _ended(tracker: Tracker, track: Track) -> str:
    """What came after a track's last sight: "" while it is still followed."""
    if track.closed or track.missed_from < 0:
        return track.closed
    return "left" if tracker.edge_of(track) else "missed"


def _slope_of(a: Sight | Knot, b: Sight | Knot) -> tuple[float, float]:
    half = 0.5 / (b.t_s - a.t_s)
    p, q = a.box, b.box
    return (q[0] + q[2] - p[0] - p[2]) * half, (q[1] + q[3] - p[1] - p[3]) * half


def to_knot(sight: Sight, shot: int) -> Knot:
    """A sight as a knot."""
    return Knot(sight.frame, sight.t_s, sight.box, sight.score, sight.vx, sight.vy, shot, after_miss=sight.after_miss)


def mix(a: Knot, b: Knot, t_s: float) -> Box:
    """The box on the straight way between two knots (or beyond them)."""
    w = (t_s - a.t_s) / (b.t_s - a.t_s)
    p, q, v = a.box, b.box, 1.0 - w
    return p[0] * v + q[0] * w, p[1] * v + q[1] * w, p[2] * v + q[2] * w, p[3] * v + q[3] * w


def bends(a: Knot, b: Knot, later: Knot | None) -> tuple[float, float, float, float] | None:
    """Velocities of the centre at two neighbouring sights of a fast face (x, y at a; x, y at b), px per second.

    Each is the harmonic mean of the slopes on its two sides, or nothing where they turn: a monotone cubic through
    them does not overshoot (Fritsch and Butland, 1984). None = slow: the straight way is as good.
    """
    if b.slope is None:
        return None
    sx, sy = b.slope
    if (abs(sx) + abs(sy)) * (b.t_s - a.t_s) < c.BEND_WIDTHS * (b.box[2] - b.box[0]):
        return None
    before = a.slope or b.slope
    after = later.slope if later is not None and later.track_id == b.track_id and later.slope else b.slope
    return _harmonic(before[0], sx), _harmonic(before[1], sy), _harmonic(sx, after[0]), _harmonic(sy, after[1])


def passing(a: Knot, b: Knot, later: Knot | None) -> tuple[float, float, float, float]:
    """The same for somebody who was hidden between two sights: in and out at the speeds before and after."""
    mean = _slope_of(a, b)
    before = a.slope or mean
    after = later.slope if later is not None and later.track_id == b.track_id and later.slope else mean
    return (
        _harmonic(before[0], mean[0]),
        _harmonic(before[1], mean[1]),
        _harmonic(mean[0], after[0]),
        _harmonic(mean[1], after[1]),
    )


def _harmonic(p: float, q: float) -> float:
    return 2.0 * p * q / (p + q) if p * q > 0 else 0.0


def bent(a: Knot, b: Knot, t_s: float, speeds: tuple[float, float, float, float]) -> Box:
    """The box on the cubic way between two knots with these velocities (``bends``); sizes change evenly."""
    gap = b.t_s - a.t_s
    w = (t_s - a.t_s) / gap
    v = 1.0 - w
    # Hermite's cubic minus the straight line: only the deviations of the velocities from the mean slope remain.
    rise, fall = gap * w * v * v, gap * w * w * v
    p, q = a.box, b.box
    half = 0.5 / gap
    mx, my = (q[0] + q[2] - p[0] - p[2]) * half, (q[1] + q[3] - p[1] - p[3]) * half
    dx = rise * (speeds[0] - mx) - fall * (speeds[2] - mx)
    dy = rise * (speeds[1] - my) - fall * (speeds[3] - my)
    return p[0] * v + q[0] * w + dx, p[1] * v + q[1] * w + dy, p[2] * v + q[2] * w + dx, p[3] * v + q[3] * w + dy


def drift(a: Knot, t_s: float) -> Box:
    """The box that goes on from a knot with fading speed."""
    reach = c.SPEED_DECAY_S * (1.0 - math.exp(-max(0.0, t_s - a.t_s) / c.SPEED_DECAY_S))
    dx, dy = a.vx * reach, a.vy * reach
    p = a.box
    return p[0] + dx, p[1] + dy, p[2] + dx, p[3] + dy
