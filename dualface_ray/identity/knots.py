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
        for sight in track.sights:
            if sight.frame > after:
                knot = to_knot(sight, track.shot)
                knot.track_id = track.track_id
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


def to_knot(sight: Sight, shot: int) -> Knot:
    """A sight as a knot."""
    return Knot(sight.frame, sight.t_s, sight.box, sight.score, sight.vx, sight.vy, shot, after_miss=sight.after_miss)


def mix(a: Knot, b: Knot, t_s: float) -> Box:
    """The box on the straight way between two knots (or beyond them)."""
    w = (t_s - a.t_s) / (b.t_s - a.t_s)
    p, q, v = a.box, b.box, 1.0 - w
    return p[0] * v + q[0] * w, p[1] * v + q[1] * w, p[2] * v + q[2] * w, p[3] * v + q[3] * w


def drift(a: Knot, t_s: float) -> Box:
    """The box that goes on from a knot with fading speed."""
    reach = c.SPEED_DECAY_S * (1.0 - math.exp(-max(0.0, t_s - a.t_s) / c.SPEED_DECAY_S))
    dx, dy = a.vx * reach, a.vy * reach
    p = a.box
    return p[0] + dx, p[1] + dy, p[2] + dx, p[3] + dy
