"""Swaps: a followed face turns into another one, and no cut could be seen.

    faces of the next frame ─► all that are followed look like somebody else? ─► in another frame, too? ─► a cut
                           └─► one of them does? ─► in the next frame, too? ─► its track ends (following)

Two people who are filmed in turn before the same black wall, a face that changes in one window of a call: motion says
that it is the same face. One sight that looks different is a flash, or a hand; two that resemble each other are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dualface_ray.frames import F32
from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.sights import OTHER, Sight, Track, look_distance
from dualface_ray.identity.tracker import Tracker


class Swap(NamedTuple):
    """A followed face and the different one that is in its place now."""

    track: Track
    face: Sight
    again: bool
    """It was seen there before."""


def swapped(tracker: Tracker, faces: Sequence[Sight], result: Assignment) -> list[Swap]:
    """The followed faces, each with what is in its place now, if all of which that can be said look different.

    ``result``: of the faces to the tracker's ``live`` tracks.
    """
    if somebody_hidden(tracker):
        return []
    odd = []
    tracks = tracker.live()
    owner = {j: track for track, j in zip(tracks, result.face_of, strict=True) if j >= 0}
    for track, j in zip(tracks, result.face_of, strict=True):
        if track.person == OTHER:
            continue
        if j < 0:
            j = next((k for k, face in enumerate(faces) if _in_place_of(track, face, owner.get(k))), -1)  # noqa: PLW2901
        different = differs(tracker, track, faces[j]) if j >= 0 else None
        if different:
            before = track.odd_look if owner.get(j, track) is track else owner[j].look
            odd.append(Swap(track, faces[j], alike(before, faces[j].look)))
        elif different is not None:
            return []
    return odd


def somebody_hidden(tracker: Tracker) -> bool:
    """Whether one of the two went behind a face of this shot: what comes up there may be them."""
    return any(person.hidden and person.last_shot == tracker.shot for person in tracker.persons.values())


def differs(tracker: Tracker, track: Track, sight: Sight) -> bool | None:
    """Whether a sight looks like somebody else than the track, and its person; None = that cannot be said."""
    different = track.differs(sight)
    person = tracker.persons.get(track.person)
    if different and person is not None and person.look_clear:
        distance = look_distance(person.look, sight.look)
        different = distance is None or distance > c.LOOK_CHANGED
    return different


def _in_place_of(track: Track, face: Sight, owner: Track | None) -> bool:
    """Whether a face that is nobody's, or of a track that began when this one was lost, stands where it should be."""
    if owner is not None and (owner.person or owner.born <= track.last.frame):
        return False
    lately = face.t_s - track.last.t_s < c.SWAP_S
    return lately and gap_widths(track.motion.box_at(face.t_s), face.box) < c.SWAP_WIDTHS


def confirmed(odd: Sequence[Swap], faces: Sequence[Sight]) -> bool:
    """Whether another frame, not far away, shows the same different faces."""
    return all(
        any(
            gap_widths(face.box, other.box) < c.GATE_WIDTHS and track.differs(other) and alike(face.look, other.look)
            for other in faces
        )
        for track, face, _ in odd
    )


def alike(a: F32 | None, b: F32 | None) -> bool:
    """Whether two descriptors may be of one face."""
    distance = look_distance(a, b)
    return distance is not None and distance < c.LOOK_ALIKE
