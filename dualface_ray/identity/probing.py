"""Probing: which faces are embedded, and what the answers are for.

A track in question is probed with its best face; a person's gallery is enrolled when the person may soon have to be
recognised (lost, met by another face, cut away), from clean sights a little older than the trouble and still held.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualface_ray.frames import F32, FaceCrop
from dualface_ray.identity import constants as c
from dualface_ray.identity.gallery import Person, embedding_distance
from dualface_ray.identity.sights import Sight, Track
from dualface_ray.identity.tracker import Tracker
from dualface_ray.settings import Settings


@dataclass(slots=True)
class Probe:
    """A face to embed and what the embedding is for: a person's gallery, a track in question, or a comparison."""

    crop: FaceCrop
    person: str
    track_id: int
    since: str = ""
    """before or after: the track's face is compared with itself, from before and after it changed its looks."""


def probes_wanted(tracker: Tracker, asked: Sequence[Track], after: int, settings: Settings) -> list[Probe]:
    """Faces to embed from frames later than ``after``: the tracks in question, and galleries about to be needed."""
    if settings.identity.reid == "off":
        return []
    wanted: list[Probe] = []
    for track in asked:
        best = _best(tracker, track, after, c.PROBE_FACES, any_sight=True)
        wanted += [Probe(_crop(sight), "", track.track_id) for sight in best]
        track.probe_rounds += 1
        track.probed_s = tracker.t_s
    for person in tracker.persons.values():
        if not person.known or not _in_danger(tracker, person, bool(asked), settings):
            continue
        if tracker.t_s - person.enrolled_s < c.GALLERY_REFRESH_S:
            continue
        for track in reversed(tracker.tracks):
            if track.person != person.name:
                continue
            best = _best(tracker, track, after, c.ENROL_FACES, any_sight=False)
            wanted += [Probe(_crop(sight), person.name, -1) for sight in best]
            if best:
                person.enrolled_s = tracker.t_s
                break
    return wanted


def _in_danger(tracker: Tracker, person: Person, asked: bool, settings: Settings) -> bool:
    """Whether this person may soon have to be recognised: lost, met, cut away, or somebody is in question."""
    if settings.identity.reid == "always" or asked:
        return True
    mine = next((t for t in tracker.tracks if not t.closed and t.person == person.name), None)
    return mine is None or mine.missed_from >= 0


def _best(tracker: Tracker, track: Track, after: int, count: int, any_sight: bool) -> list[Sight]:
    sights = [
        s
        for s in track.sights
        if s.frame > after and (any_sight or (s.clean and s.score >= c.MIN_EMBED_SCORE)) and _is_fit(s)
    ]
    if not any_sight:  # what was seen just before the trouble may already be somebody else
        sights = [s for s in sights if tracker.t_s - s.t_s >= c.ENROL_AGE_S] or sights
    sights.sort(key=lambda s: (s.clean, s.score * (s.box[3] - s.box[1]), s.frame), reverse=True)
    return sights[:count]


def comparison(track: Track, face: Sight, after: int) -> tuple[Probe, ...]:
    """A track's face as it was in a frame later than ``after``, and the one in its place; empty when there is none."""
    usual = track.sights[:-1] if track.odd_look is not None else track.sights
    before = next((s for s in reversed(usual) if s.frame > after and _is_fit(s)), None)
    if before is None or not _is_fit(face):
        return ()
    number = track.track_id
    return Probe(_crop(before), "", number, "before"), Probe(_crop(face), "", number, "after")


def _is_fit(sight: Sight) -> bool:
    return sight.box[3] - sight.box[1] >= c.MIN_EMBED_HEIGHT_PX and sight.landmarks.shape == (5, 2)


def take_embedding(tracker: Tracker, probe: Probe, embedding: F32) -> None:
    """One answer to ``probes_wanted``."""
    norm = float(np.sqrt(embedding @ embedding))
    if not norm > 0 or not math.isfinite(norm):
        return
    unit = np.asarray(embedding / np.float32(norm), np.float32)
    if probe.person:
        person = tracker.persons[probe.person]
        far = embedding_distance([unit], person.embeddings)
        if far is None or far < tracker.same_face:
            person.enrol(unit, tracker.t_s)
        return
    for track in tracker.tracks:
        if track.track_id != probe.track_id:
            continue
        if probe.since == "before":
            track.before = unit
        elif probe.since == "after":
            track.after = unit
        else:
            track.probes.append(unit)


def _crop(sight: Sight) -> FaceCrop:
    return FaceCrop(sight.frame, sight.box, sight.landmarks)
