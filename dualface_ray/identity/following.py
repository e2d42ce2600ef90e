"""Following: the faces of one examined frame taken into the tracks.

    faces ─► assign ─► unsure? both begin anew ─► seen ─► meetings break tracks ─► new tracks ─► lost ones end

It follows motion where motion is certain and starts afresh where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment, assign
from dualface_ray.identity.crossings import break_overlaps, doubt, loosen, overlapped, same_face
from dualface_ray.identity.motion import Motion, gap_widths
from dualface_ray.identity.sights import OTHER, Sight, Track
from dualface_ray.identity.tracker import Tracker
from dualface_ray.settings import Settings


def follow(
    tracker: Tracker,
    frame: int,
    t_s: float,
    faces: Sequence[Sight],
    settings: Settings,
    known: Assignment | None = None,
) -> None:
    """Take the faces of the next examined frame in; ``known``: their assignment to ``live()``, if already made."""
    first = tracker.frame < 0
    before, tracker.frame, tracker.t_s = tracker.frame, frame, t_s
    new_shot = not first and before < tracker.shot_start
    tracker.strangers_seen |= len(faces) > len(tracker.persons)
    tracks = tracker.live()
    result = known or assign(tracks, faces, settings.identity.descriptor_scale)
    face_of = list(result.face_of)
    if result.margin < c.AMBIGUOUS_MARGIN:
        doubt(tracker, tracks)
    emerging = any(crossing.resolved < 0 for crossing in tracker.crossings)
    hidden = tracker.somebody_hidden()
    for i, track in enumerate(tracks):
        in_crossing = track.origin == "crossing" and not track.person
        limit = c.EMERGING_MARGIN if emerging and in_crossing else c.AMBIGUOUS_MARGIN
        unsure = result.rival[i] < limit and track.person != OTHER
        if hidden and in_crossing and face_of[i] >= 0:
            unsure |= not same_face(track, faces[face_of[i]])
        if unsure and not track.closed:
            track.closed = "overlap"
            face_of[i] = -1  # two faces could be this one: both begin anew
    found: set[int] = set()
    for i, track in enumerate(tracks):
        if face_of[i] < 0:
            if track.missed_from < 0:
                track.missed_from = frame
            if track.another and not track.closed:
                track.closed = "changed"
            continue
        found.add(face_of[i])
        if not track.closed:
            _see(tracker, track, faces[face_of[i]])
    break_overlaps(tracker, tracks, faces, face_of)
    for j, face in enumerate(faces):
        if j in found:
            continue
        if overlapped(face, faces):
            tracker.loose.append(face)
        else:
            begin(tracker, face, "start" if first else "cut" if new_shot else "", before)
    tracker.seen_together()
    _close_lost(tracker, settings)
    loosen(tracker)


def _see(tracker: Tracker, track: Track, face: Sight) -> None:
    if track.another:
        _begin_another(tracker, track, face)
        return
    stranger = tracker.strangers.get(track.stranger)
    if stranger is not None and track.person == OTHER:
        stranger.seen_s += face.t_s - track.last.t_s
    track.see(face)
    if track.person in tracker.persons:
        tracker.seen(tracker.persons[track.person], track, face)


def _begin_another(tracker: Tracker, track: Track, face: Sight) -> None:
    """Somebody else is in a face's place, since the sight before when that looked different already."""
    odd = track.odd_look is not None and len(track.sights) > 1
    first = track.sights.pop() if odd else face
    track.closed = "changed"
    begin(tracker, first, "changed", track.last.frame)
    if odd:
        tracker.tracks[-1].see(face)


def begin(tracker: Tracker, face: Sight, origin: str, before: int) -> None:
    """A new track, without a name; ``before``: the last examined frame, in which it was not there."""
    if not origin:
        open_here = any(
            x.resolved < 0 and any(_near_person(tracker, face, name) for name in x.persons) for x in tracker.crossings
        )
        origin = "crossing" if open_here else "entry"
    motion = Motion.start(face.t_s, face.box)
    if origin == "crossing":
        _inherit(tracker, motion, face)
    track = Track(tracker.next_id, tracker.shot, origin, motion, face.frame, face.t_s)
    tracker.next_id += 1
    track.since = before if before >= tracker.shot_start else -1
    track.see(face)
    tracker.tracks.append(track)


def _inherit(tracker: Tracker, motion: Motion, face: Sight) -> None:
    """A face in a crossing moves as the one person does who would be just there.

    Without a speed it would seem to stand still, and the face it passes next could be taken for it. It stays
    nameless all the same: this is about where it goes, not about who it is.
    """
    there = []
    for person in tracker.persons.values():
        known = person.motion
        if known is None or person.last_shot != tracker.shot or face.t_s - person.last_s > c.INHERIT_S:
            continue
        if gap_widths(known.box_at(face.t_s), face.box) < c.INHERIT_WIDTHS:
            there.append(known)
    if len(there) == 1:
        fade = math.exp(-max(0.0, face.t_s - there[0].t_s) / c.SPEED_DECAY_S)
        motion.vx, motion.vy = there[0].vx * fade, there[0].vy * fade


def _near_person(tracker: Tracker, face: Sight, name: str) -> bool:
    motion = tracker.persons[name].motion if name in tracker.persons else None
    return motion is not None and gap_widths(face.box, motion.box_at(face.t_s)) < 4.0


def _close_lost(tracker: Tracker, settings: Settings) -> None:
    for track in tracker.live():
        if track.missed_from < 0:
            continue
        gone = tracker.t_s - track.last.t_s
        edge = tracker.edge_of(track)
        if edge and gone > c.LEFT_S:
            track.closed = "left"
        elif (
            gone > settings.identity.max_predict_s
            or _found_elsewhere(tracker, track)
            or (track.hits < c.MIN_HITS and gone > c.INTERPOLATE_S)
        ):
            track.closed = "lost"
        if track.closed and track.person in tracker.persons:
            tracker.persons[track.person].left_over = edge
    for person in tracker.persons.values():
        if not person.present:
            continue
        gone = tracker.t_s - person.last_s
        if person.left_over or gone > settings.identity.max_predict_s:
            person.present = False
            tracker.note(tracker.frame, "left", person.name, {"over": person.left_over, "unseen_s": round(gone, 3)})
    for crossing in tracker.crossings:
        pending = any(t.origin == "crossing" and not t.person and not t.closed for t in tracker.tracks)
        if crossing.resolved < 0 and tracker.t_s - crossing.start_s > settings.identity.max_predict_s and not pending:
            crossing.resolved = tracker.frame


def _found_elsewhere(tracker: Tracker, track: Track) -> bool:
    """Whether a face that came up near a missed person since may be that person: then evidence must decide."""
    if track.person not in tracker.persons:
        return False
    return any(
        t.origin == "entry"
        and not t.person
        and not t.closed
        and t.hits >= c.MIN_HITS
        and t.born > track.last.frame
        and t.missed_from < 0
        and gap_widths(t.sights[0].box, track.last.box)
        < c.GATE_MAX_WIDTHS + c.GATE_SPEED_WIDTHS * (t.born_s - track.last.t_s)
        for t in tracker.tracks
    )
