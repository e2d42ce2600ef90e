"""Crossings: faces that meet.

    two faces near each other ─► doubt, break_overlaps ─► Crossing (open) ─► naming resolves it by evidence
                                     └─► loose faces: given to somebody once the way out is known (overlaps)

Where motion cannot tell two faces apart both tracks end, and what is seen from then on is nobody's at first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dualface_ray.identity import constants as c
from dualface_ray.identity.motion import gap_widths, iou
from dualface_ray.identity.sights import OTHER, Sight, Track
from dualface_ray.identity.tracker import Crossing, Tracker


def doubt(tracker: Tracker, tracks: Sequence[Track]) -> None:
    """Two assignments are nearly as good: break the tracks that are near each other rather than guess."""
    for i, p in enumerate(tracks):
        for q in tracks[i + 1 :]:
            if OTHER == p.person == q.person:
                continue
            if gap_widths(p.motion.box_at(tracker.t_s), q.motion.box_at(tracker.t_s)) < 2 * c.NEAR_WIDTHS:
                _break(tracker, p, q)


def break_overlaps(tracker: Tracker, tracks: Sequence[Track], faces: Sequence[Sight], face_of: Sequence[int]) -> None:
    """End the tracks whose faces cover each other, or of which one went behind the other."""
    for i, p in enumerate(tracks):
        for k in range(i + 1, len(tracks)):
            q = tracks[k]
            if (p.closed and q.closed) or OTHER == p.person == q.person:
                continue
            a, b = face_of[i], face_of[k]
            if a >= 0 and b >= 0:
                met = iou(faces[a].box, faces[b].box) > c.OVERLAP_IOU
            else:
                box_p = faces[a].box if a >= 0 else p.motion.box_at(tracker.t_s)
                box_q = faces[b].box if b >= 0 else q.motion.box_at(tracker.t_s)
                met = gap_widths(box_p, box_q) < c.HIDDEN_WIDTHS
            if met:
                _break(tracker, p, q)
    # What a broken track saw in this very frame belongs to nobody yet.
    for i, track in enumerate(tracks):
        here = face_of[i] >= 0 and track.last.frame == tracker.frame
        if track.closed == "overlap" and here and len(track.sights) > 1:
            tracker.loose.append(track.sights.pop())


def _break(tracker: Tracker, p: Track, q: Track) -> None:
    names = tuple(t.person for t in (p, q) if t.person in tracker.persons)
    strangers = sum(1 for t in (p, q) if t.person == OTHER or (not t.person and not tracker.free()))
    for track in (p, q):
        track.closed = track.closed or "overlap"
    for name in names:
        tracker.persons[name].hidden = True
    if not names:
        return
    for crossing in tracker.crossings:
        if crossing.resolved < 0 and set(names) & set(crossing.persons):
            crossing.persons = tuple(sorted(set(crossing.persons) | set(names)))
            crossing.sides = tuple(_side(tracker, name) for name in crossing.persons)
            crossing.strangers = max(crossing.strangers, strangers)
            return
    sides = tuple(_side(tracker, name) for name in names)
    tracker.crossings.append(Crossing(tracker.frame, tracker.t_s, names, sides, strangers))
    tracker.note(tracker.frame, "occluded", "".join(names), {"reason": "faces overlap"})


def _side(tracker: Tracker, name: str) -> float:
    motion = tracker.persons[name].motion
    return motion.x if motion is not None else 0.0


def loosen(tracker: Tracker) -> None:
    """What an undecided track saw in a crossing belongs to nobody once the track has ended."""
    for track in tracker.tracks:
        if track.closed in ("overlap", "lost") and not track.person and track.origin == "crossing":
            tracker.loose += track.sights
            track.closed = "loose"
    tracker.tracks = [track for track in tracker.tracks if track.closed != "loose"]


def overlapped(face: Sight, faces: Sequence[Sight]) -> bool:
    """Whether another face of the frame covers this one too much to follow it by motion."""
    return any(other is not face and iou(face.box, other.box) > c.OVERLAP_IOU for other in faces)


def same_face(track: Track, face: Sight) -> bool:
    """Whether the only visible face of a crossing is still the one of the track, and not the other one come out."""
    last = track.last
    steady = gap_widths(last.box, face.box) < c.HELD_WIDTHS + c.HELD_SPEED_WIDTHS * (face.t_s - last.t_s)
    grown = abs(math.log((face.box[3] - face.box[1]) / max(last.box[3] - last.box[1], 1e-6)))
    return steady and grown < c.HELD_SIZE
