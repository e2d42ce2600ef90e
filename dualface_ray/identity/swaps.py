"""Swaps: a followed face turns into another one, and no cut could be seen.

    faces of the next frame ─► does what is followed look like somebody else? ─► in another frame, too?
                                  all of them: a cut ◄─┬─ somebody else indeed? ◄─ embed before and after
                       one of them: its track ends ◄───┘

Two people who are filmed in turn before the same black wall, a face that changes in one window of a call: motion says
that it is the same face. One sight that looks different is a flash, or a hand; two that resemble each other may still
be one who has stepped into other light, so the two faces are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dualface_ray.frames import F32
from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment
from dualface_ray.identity.motion import gap_widths
from dualface_ray.identity.probing import Probe, comparison
from dualface_ray.identity.sights import OTHER, Sight, Track, look_distance, sights_of
from dualface_ray.identity.state import IdentityState
from dualface_ray.identity.tracker import Tracker
from dualface_ray.settings import Settings


class Swap(NamedTuple):
    """A followed face and the different one that is in its place now."""

    track: Track
    face: Sight
    again: bool
    """It was seen there before."""


class Finding(NamedTuple):
    """What is to be done about swaps: one of these, or nothing."""

    cut: int = -1
    """The first frame of a shot whose cut only the faces show."""
    looks: tuple[int, ...] = ()
    """Frames to look at first."""
    probes: tuple[Probe, ...] = ()
    """Faces to compare first."""


def find_swap(
    state: IdentityState,
    settings: Settings,
    target: int,
    trial: tuple[Sequence[Track], Sequence[Sight], Assignment],
    limit: int,
    affordable: Callable[[int], bool],
) -> Finding:
    """Look for swaps in the frame that is examined next.

    Args:
        state: of the session.
        settings: of the run.
        target: the frame.
        trial: the tracker's ``live`` tracks, the frame's faces and their assignment.
        limit: the last frame that may be looked at now.
        affordable: whether so many more detections are within the budget.
    """
    odd, every = swapped(state.tracker, *trial)
    if not odd:
        return Finding()
    later = min((f for f in state.waiting if target < f <= limit), default=-1)
    first = state.frontier + 1  # if the last frame was one of the new ones already
    if every and not all(swap.again for swap in odd):
        first = state.cutter.steepest(state.frontier + 1, target)
        looks = [f for f in (first - 1, first) if state.frontier < f < target]
        looks += [min(limit, target + 2)] if later < 0 and limit > target else []
        looks = [f for f in looks if f not in state.asked and f not in state.waiting]
        if looks and state.frontier > state.shown - 1 and affordable(len(looks)):
            return Finding(looks=tuple(looks))
    faces = sights_of(later, state.time_of(later), state.waiting[later]) if later >= 0 else []
    sure = [swap for swap in odd if swap.again or _is_there(swap, faces)]
    new = [swap for swap in sure if not swap.track.another]
    if settings.identity.reid != "off":
        probes = tuple(
            p for swap in new if swap.track.compared != target for p in comparison(swap.track, swap.face, state.shown)
        )
        for swap in new:
            swap.track.compared = target
        if probes:
            return Finding(probes=probes)
    for track, face, _ in new:
        if _is_same(track, settings):
            track.accept(face)
        else:
            track.another = True
        track.before = track.after = None
    return Finding(first) if every and sure and all(swap.track.another for swap in odd) else Finding()


def swapped(
    tracker: Tracker, tracks: Sequence[Track], faces: Sequence[Sight], result: Assignment
) -> tuple[list[Swap], bool]:
    """The followed faces in whose place somebody else seems to be, and whether those are all that can be judged."""
    odd: list[Swap] = []
    every = True
    for person in tracker.persons.values():
        if person.hidden and person.last_shot == tracker.shot:
            return odd, every  # behind a face of this shot: what comes up there may be them
    owner = {j: track for track, j in zip(tracks, result.face_of, strict=True) if j >= 0}
    for track, j in zip(tracks, result.face_of, strict=True):
        if j < 0:
            j = next((k for k, face in enumerate(faces) if _in_place_of(track, face, owner.get(k))), -1)  # noqa: PLW2901
        different = _differs(tracker, track, faces[j]) if j >= 0 else None
        if different:
            before = track.odd_look if owner.get(j, track) is track else owner[j].look
            odd.append(Swap(track, faces[j], _alike(before, faces[j].look)))
        elif different is not None and track.person != OTHER:
            every = False
    return odd, every


def _differs(tracker: Tracker, track: Track, sight: Sight) -> bool | None:
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


def _is_there(swap: Swap, faces: Sequence[Sight]) -> bool:
    """Whether another frame, not far away, shows the same different face."""
    return any(
        gap_widths(swap.face.box, other.box) < c.GATE_WIDTHS
        and swap.track.differs(other)
        and _alike(swap.face.look, other.look)
        for other in faces
    )


def _is_same(track: Track, settings: Settings) -> bool:
    """Whether the faces before and after are one person's; where they could not be compared, looks decide."""
    if track.before is None or track.after is None:
        return False
    apart = track.before - track.after
    return math.sqrt(max(0.0, float(apart @ apart))) < settings.identity.embed_same_distance


def _alike(a: F32 | None, b: F32 | None) -> bool:
    """Whether two descriptors may be of one face."""
    distance = look_distance(a, b)
    return distance is not None and distance < c.LOOK_ALIKE
