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
    """A face to embed and what the embedding is for: a person's gallery, or a track in question."""

    crop: FaceCrop
    person: str
    track_id: int


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
        if s.frame > after
        and (any_sight or (s.clean and s.score >= c.MIN_EMBED_SCORE))
        and s.box[3] - s.box[1] >= c.MIN_EMBED_HEIGHT_PX
        and s.landmarks.shape == (5, 2)
    ]
    if not any_sight:  # what was seen just before the trouble may already be somebody else
        sights = [s for s in sights if tracker.t_s - s.t_s >= c.ENROL_AGE_S] or sights
    sights.sort(key=lambda s: (s.clean, s.score * (s.box[3] - s.box[1]), s.frame), reverse=True)
    return sights[:count]


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
        if track.track_id == probe.track_id:
            track.probes.append(unit)


def _crop(sight: Sight) -> FaceCrop:
    return FaceCrop(sight.frame, sight.box, sight.landmarks)
