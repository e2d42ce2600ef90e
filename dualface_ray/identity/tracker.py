"""The tracker: from the faces of examined frames, in order, to named tracks.

    faces of a frame ─► assign ─► tracks ─► overlaps break them ─► labels name the new ones (gallery, evidence)

It follows motion where motion is certain and starts afresh where it is not. Everything is counted in this object; two
trackers know nothing of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dualface_ray.frames import F32, FaceCrop, Faces
from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import assign
from dualface_ray.identity.gallery import Person, embedding_distance
from dualface_ray.identity.labels import Verdict, judge, principal_order
from dualface_ray.identity.motion import Motion, gap_widths, iou
from dualface_ray.identity.sights import OTHER, Sight, Track
from dualface_ray.identity.tracks import PERSONS, Box, IdentityEvent
from dualface_ray.settings import Settings


@dataclass(slots=True)
class Crossing:
    """Persons whose faces met; open until one of them is recognised again (the other follows by exclusion)."""

    start: int
    start_s: float
    persons: tuple[str, ...]
    sides: tuple[float, ...]
    """Centre x of each person when they met."""
    strangers: int = 0
    """Further faces that took part."""
    resolved: int = -1
    """Frame whose faces decided it; -1 = open."""


@dataclass(slots=True)
class Probe:
    """A face to embed and what the embedding is for: a person's gallery, or a track in question."""

    crop: FaceCrop
    person: str
    track_id: int


@dataclass(slots=True)
class Tracker:
    """State after the last examined frame. ``width``, ``height``: displayed size of the video in px."""

    width: float
    height: float
    persons: dict[str, Person] = field(default_factory=lambda: {name: Person(name) for name in PERSONS})
    tracks: list[Track] = field(default_factory=list)
    """Live and recently closed ones, in order of birth."""
    loose: list[Sight] = field(default_factory=list)
    """Faces in an overlap: belonging to nobody yet."""
    crossings: list[Crossing] = field(default_factory=list)
    events: list[IdentityEvent] = field(default_factory=list)
    shot: int = 0
    frame: int = -1
    """Last examined frame."""
    t_s: float = 0.0
    shot_start: int = 0
    next_id: int = 0
    strangers_seen: bool = False
    same_face: float = 0.42
    """Embedding distance above which a face is kept out of a gallery that has others."""

    # --- one examined frame ----------------------------------------------------------------------------------
    def live(self) -> list[Track]:
        """Tracks still followed: persons first, then undecided ones, then bystanders."""
        rank = {"A": 0, "B": 1, "": 2, OTHER: 3}
        return sorted((t for t in self.tracks if not t.closed), key=lambda t: (rank[t.person], t.track_id))

    def sights_of(self, frame: int, t_s: float, faces: Faces) -> list[Sight]:
        """The faces of a frame as plain numbers."""
        boxes, scores = faces.boxes_px.tolist(), faces.scores.tolist()
        looks = faces.descriptors
        has_look = looks.ndim == 2 and looks.shape[0] == len(boxes) and looks.shape[1] > 0
        sights = [
            Sight(
                frame,
                t_s,
                (box[0], box[1], box[2], box[3]),
                score,
                np.array(faces.landmarks_px[i], np.float32),
                np.array(looks[i], np.float32) if has_look else None,
            )
            for i, (box, score) in enumerate(zip(boxes, scores, strict=True))
            if box[2] - box[0] > 1.0 and box[3] - box[1] > 1.0 and all(map(math.isfinite, box))
        ]
        for i, sight in enumerate(sights):
            sight.clean = all(
                gap_widths(sight.box, other.box) > c.CLEAN_WIDTHS for j, other in enumerate(sights) if j != i
            )
        return sights

    def cut(self, frame: int, detail: dict[str, float | str]) -> None:
        """A new shot begins with this frame: motion means nothing any more, appearance does."""
        for track in self.tracks:
            if not track.closed:
                track.closed = "cut"
        self.loose.clear()
        self.crossings.clear()
        self.shot += 1
        self.shot_start = frame
        self._event(frame, "cut", "", detail)

    def step(self, frame: int, t_s: float, faces: Sequence[Sight], settings: Settings) -> None:
        """Take the faces of the next examined frame in."""
        first = self.frame < 0
        before, self.frame, self.t_s = self.frame, frame, t_s
        new_shot = not first and before < self.shot_start
        self.strangers_seen |= len(faces) > len(self.persons)
        tracks = self.live()
        result = assign(tracks, faces, settings.identity.descriptor_scale)
        face_of = list(result.face_of)
        if result.margin < c.AMBIGUOUS_MARGIN:
            self._doubt(tracks)
        emerging = any(crossing.resolved < 0 for crossing in self.crossings)
        hidden = self._somebody_hidden()
        for i, track in enumerate(tracks):
            in_crossing = track.origin == "crossing" and not track.person
            limit = c.EMERGING_MARGIN if emerging and in_crossing else c.AMBIGUOUS_MARGIN
            unsure = result.rival[i] < limit and track.person != OTHER
            if hidden and in_crossing and face_of[i] >= 0:
                unsure |= not _same_face(track, faces[face_of[i]])
            if unsure and not track.closed:
                track.closed = "overlap"
                face_of[i] = -1  # two faces could be this one: both begin anew
        found: set[int] = set()
        for i, track in enumerate(tracks):
            if face_of[i] < 0:
                if track.missed_from < 0:
                    track.missed_from = frame
                continue
            found.add(face_of[i])
            if not track.closed:
                self._see(track, faces[face_of[i]])
        self._break_overlaps(tracks, faces, face_of)
        for j, face in enumerate(faces):
            if j in found:
                continue
            if self._overlapped(face, faces):
                self.loose.append(face)
            else:
                self._begin(face, "start" if first else "cut" if new_shot else "", before)
        self._close_lost(settings)
        self._loosen()

    def _loosen(self) -> None:
        """What an undecided track saw in a crossing belongs to nobody once the track has ended."""
        for track in self.tracks:
            if track.closed in ("overlap", "lost") and not track.person and track.origin == "crossing":
                self.loose += track.sights
                track.closed = "loose"
        self.tracks = [track for track in self.tracks if track.closed != "loose"]

    def _see(self, track: Track, face: Sight) -> None:
        track.see(face)
        if track.person in self.persons:
            self._seen(self.persons[track.person], track, face)

    def _seen(self, person: Person, track: Track, face: Sight) -> None:
        gone = face.t_s - person.last_s
        if person.known and not person.present:
            self._event(face.frame, "entered", person.name, {"after_s": round(gone, 3)})
        person.known = person.present = True
        if 0 < gone < c.INTERPOLATE_S:
            person.seen_s += gone
        person.last_s, person.last_shot, person.left_over = face.t_s, track.shot, ""
        person.motion = replace(track.motion)
        person.remember(face)

    def _begin(self, face: Sight, origin: str, before: int) -> None:
        if not origin:
            open_here = any(
                x.resolved < 0 and any(self._near_person(face, name) for name in x.persons) for x in self.crossings
            )
            origin = "crossing" if open_here else "entry"
        track = Track(self.next_id, self.shot, origin, Motion.start(face.t_s, face.box), face.frame, face.t_s)
        self.next_id += 1
        track.since = before if before >= self.shot_start else -1
        track.see(face)
        self.tracks.append(track)

    def _near_person(self, face: Sight, name: str) -> bool:
        motion = self.persons[name].motion if name in self.persons else None
        return motion is not None and gap_widths(face.box, motion.box_at(face.t_s)) < 4.0

    @staticmethod
    def _overlapped(face: Sight, faces: Sequence[Sight]) -> bool:
        return any(other is not face and iou(face.box, other.box) > c.OVERLAP_IOU for other in faces)

    def _doubt(self, tracks: Sequence[Track]) -> None:
        """Two assignments are nearly as good: break the tracks that are near each other rather than guess."""
        for i, p in enumerate(tracks):
            for q in tracks[i + 1 :]:
                if OTHER == p.person == q.person:
                    continue
                if gap_widths(p.motion.box_at(self.t_s), q.motion.box_at(self.t_s)) < 2 * c.NEAR_WIDTHS:
                    self._break(p, q)

    def _break_overlaps(self, tracks: Sequence[Track], faces: Sequence[Sight], face_of: Sequence[int]) -> None:
        for i, p in enumerate(tracks):
            for k in range(i + 1, len(tracks)):
                q = tracks[k]
                if (p.closed and q.closed) or OTHER == p.person == q.person:
                    continue
                a, b = face_of[i], face_of[k]
                if a >= 0 and b >= 0:
                    met = iou(faces[a].box, faces[b].box) > c.OVERLAP_IOU
                else:
                    box_p = faces[a].box if a >= 0 else p.motion.box_at(self.t_s)
                    box_q = faces[b].box if b >= 0 else q.motion.box_at(self.t_s)
                    met = gap_widths(box_p, box_q) < c.HIDDEN_WIDTHS
                if met:
                    self._break(p, q)
        # What a broken track saw in this very frame belongs to nobody yet.
        for i, track in enumerate(tracks):
            here = face_of[i] >= 0 and track.last.frame == self.frame
            if track.closed == "overlap" and here and len(track.sights) > 1:
                self.loose.append(track.sights.pop())

    def _break(self, p: Track, q: Track) -> None:
        names = tuple(t.person for t in (p, q) if t.person in self.persons)
        strangers = sum(1 for t in (p, q) if t.person == OTHER or (not t.person and not self.free()))
        for track in (p, q):
            track.closed = track.closed or "overlap"
        if not names:
            return
        for crossing in self.crossings:
            if crossing.resolved < 0 and set(names) & set(crossing.persons):
                crossing.persons = tuple(sorted(set(crossing.persons) | set(names)))
                crossing.sides = tuple(self._side(name) for name in crossing.persons)
                crossing.strangers = max(crossing.strangers, strangers)
                return
        sides = tuple(self._side(name) for name in names)
        self.crossings.append(Crossing(self.frame, self.t_s, names, sides, strangers))
        self._event(self.frame, "occluded", "".join(names), {"reason": "faces overlap"})

    def _side(self, name: str) -> float:
        motion = self.persons[name].motion
        return motion.x if motion is not None else 0.0

    def _close_lost(self, settings: Settings) -> None:
        for track in self.live():
            if track.missed_from < 0:
                continue
            gone = self.t_s - track.last.t_s
            edge = self.edge_of(track)
            if edge and gone > c.LEFT_S:
                track.closed = "left"
            elif gone > settings.identity.max_predict_s or (track.hits < c.MIN_HITS and gone > c.INTERPOLATE_S):
                track.closed = "lost"
            if track.closed and track.person in self.persons:
                self.persons[track.person].left_over = edge
        for person in self.persons.values():
            if not person.present:
                continue
            gone = self.t_s - person.last_s
            if person.left_over or gone > settings.identity.max_predict_s:
                person.present = False
                self._event(self.frame, "left", person.name, {"over": person.left_over, "unseen_s": round(gone, 3)})
        for crossing in self.crossings:
            pending = any(t.origin == "crossing" and not t.person and not t.closed for t in self.tracks)
            if crossing.resolved < 0 and self.t_s - crossing.start_s > settings.identity.max_predict_s and not pending:
                crossing.resolved = self.frame

    def edge_of(self, track: Track) -> str:
        """The edge of the frame that a vanished track's box touched or was about to touch, or ""."""
        box, last = track.motion.box_at(self.t_s), track.last.box
        reach = c.EDGE_WIDTHS * track.motion.width
        for name, inside, after in (
            ("left", last[0], box[0]),
            ("right", self.width - last[2], self.width - box[2]),
            ("top", last[1], box[1]),
            ("bottom", self.height - last[3], self.height - box[3]),
        ):
            if inside < reach or after < -2 * reach:
                return name
        return ""

    # --- names -----------------------------------------------------------------------------------------------
    def undecided(self) -> list[Track]:
        """Live tracks without a name, oldest first."""
        return [t for t in self.tracks if not t.closed and not t.person]

    def free(self) -> list[Person]:
        """Known persons who are not being followed."""
        busy = {t.person for t in self.tracks if not t.closed}
        return [p for p in self.persons.values() if p.known and p.name not in busy]

    def decide(self, settings: Settings, deadline: int, may_probe: bool) -> list[Track]:
        """Name what can be named; return the tracks that only embeddings can settle.

        Args:
            settings: thresholds.
            deadline: tracks born at or before this frame are about to be shown.
            may_probe: embeddings may still be asked for at this frame.
        """
        self._give_second_chances()
        waiting = self.undecided()
        if not waiting:
            return []
        free = self.free()
        asked: list[Track] = []
        if free:
            verdicts = judge(waiting, free, settings, self.t_s, self.strangers_seen)
            for track, verdict in zip(waiting, verdicts, strict=True):
                if self._settle(track, verdict, settings, deadline, may_probe):
                    asked.append(track)
        if asked:
            # Two faces for two people: whom the better one shows tells who the other one is.
            return asked if len(waiting) > len(free) or len(asked) < 2 else [max(asked, key=_clarity)]
        if not self.free() and all(p.known for p in self.persons.values()):
            for track in self.undecided():
                if track.hits >= c.MIN_HITS:
                    self._name(track, OTHER, "both persons are elsewhere", None)
                else:
                    track.guess = OTHER
        elif not all(p.known for p in self.persons.values()):
            self._give_places(deadline)
        free_names = {p.name for p in self.free()} | {p.name for p in self.persons.values() if not p.known}
        for track in self.undecided():
            if track.guess in self.persons and track.guess not in free_names:
                track.guess = OTHER
        return []

    def _settle(self, track: Track, verdict: Verdict, settings: Settings, deadline: int, may_probe: bool) -> bool:
        """Decide, guess or return True for "ask"."""
        track.guess = verdict.label
        urgent = track.born <= deadline
        ready = track.hits >= c.MIN_HITS or urgent
        reid = settings.identity.reid
        hidden = track.origin == "crossing" and self._somebody_hidden()
        enough = verdict.margin >= settings.identity.decide_margin
        fresh = self.t_s - track.probed_s >= c.PROBE_EVERY_S
        if reid != "off" and ready and may_probe and fresh and track.probe_rounds < c.PROBE_ROUNDS:
            must = reid == "always" and track.probe_rounds == 0
            unsure = not enough and (not hidden or urgent)
            if must or unsure or (enough and hidden and track.probe_rounds == 0 and urgent):
                return True
        if hidden and not track.probes and reid != "off":
            enough = False  # one visible face of two: the descriptor may show the other one's shirt
        old = self.t_s - track.born_s > c.MAX_DOUBT_S
        if (enough and ready) or old:
            if verdict.label == OTHER and not all(p.known for p in self.persons.values()):
                return False  # not one of the known: perhaps the other place's owner
            self._name(track, verdict.label, "evidence" if enough else "best guess", verdict)
        return False

    def _somebody_hidden(self) -> bool:
        """Whether fewer faces have come out of an open crossing than went in."""
        out = sum(1 for t in self.undecided() if t.origin == "crossing")
        return any(x.resolved < 0 and out < len(x.persons) + x.strangers for x in self.crossings)

    def _give_places(self, deadline: int) -> None:
        """Places that nobody had yet: the principal faces take them, left first."""
        open_names = [p.name for p in self.persons.values() if not p.known]
        waiting = [t for t in self.undecided() if t.guess not in self.persons or not self.persons[t.guess].known]
        due = [t for t in waiting if t.born <= deadline]
        if not due:
            for track, name in zip(
                sorted(principal_order(waiting)[:2], key=lambda t: t.first_x), open_names, strict=False
            ):
                track.guess = name
            return
        steady = [t for t in waiting if t.hits >= c.MIN_HITS] or due
        chosen = principal_order(steady)[: len(open_names)]
        for track, name in zip(sorted(chosen, key=lambda t: t.first_x), open_names, strict=False):
            self._name(track, name, "first seen", None)

    def _give_second_chances(self) -> None:
        """While somebody is missing, a long-standing bystander may be that person after all."""
        if not self.free():
            return
        for track in self.tracks:
            if track.closed or track.person != OTHER or track.rechecks >= c.RECHECKS:
                continue
            if self.t_s - track.checked_s >= c.RECHECK_S:
                track.person, track.guess = "", OTHER
                track.rechecks += 1
                track.probe_rounds = 0

    def _name(self, track: Track, label: str, reason: str, verdict: Verdict | None) -> None:
        track.person = track.guess = label
        track.checked_s = self.t_s
        if label == OTHER:
            self.strangers_seen = True
            return
        person = self.persons[label]
        detail: dict[str, float | str] = {"reason": reason}
        if verdict is not None:
            detail["margin"] = round(min(verdict.margin, 99.0), 2)
            if verdict.evidence.look >= 0:
                detail["descriptor_distance"] = round(verdict.evidence.look, 4)
            if verdict.evidence.embedding >= 0:
                detail["embedding_distance"] = round(verdict.evidence.embedding, 4)
        was_known = person.known
        if was_known:
            self._event(track.born, "re-identified", label, detail | {"after": track.origin})
        else:
            self._event(track.born, "entered", label, detail)
            person.present = True
        self._seen(person, track, track.last)
        for sight in track.sights:
            person.remember(sight)
        if track.probes and verdict is not None and verdict.margin >= 3.0:
            for probe in track.probes[:1]:
                person.enrol(probe, self.t_s)
        self._resolve(track)

    def _resolve(self, track: Track) -> None:
        for crossing in self.crossings:
            if crossing.resolved >= 0 or track.person not in crossing.persons or track.origin != "crossing":
                continue
            crossing.resolved = track.born
            before = crossing.sides[crossing.persons.index(track.person)]
            moved = (track.first_x - before) / max(track.motion.width, 1e-6)
            self._event(track.born, "crossed", "".join(crossing.persons), {"moved_widths": round(moved, 2)})

    def replace(self, settings: Settings) -> None:
        """Give a place to a long-standing third face when its owner was a picture, or a guest who is long gone."""
        strangers = [t for t in self.live() if t.person == OTHER and not t.is_static and t.missed_from < 0]
        for person in self.persons.values():
            mine = next((t for t in self.tracks if not t.closed and t.person == person.name), None)
            for track in strangers:
                dwell = self.t_s - track.born_s
                still = mine is not None and mine.is_static and dwell > c.PLACE_DWELL_S + c.STATIC_S
                gone = mine is None and self.t_s - person.last_s > settings.identity.replace_after_s
                if still or (gone and dwell > person.seen_s and dwell > c.PLACE_DWELL_S):
                    if mine is not None:
                        mine.person = OTHER
                    self.persons[person.name] = Person(person.name)
                    self._event(self.frame, "replaced", person.name, {"reason": "a picture" if still else "long gone"})
                    self._name(track, person.name, "replaced", None)
                    strangers.remove(track)
                    break

    # --- embeddings ------------------------------------------------------------------------------------------
    def probes_wanted(self, asked: Sequence[Track], after: int, settings: Settings) -> list[Probe]:
        """Faces to embed from frames later than ``after``: the tracks in question, and galleries about to be needed."""
        if settings.identity.reid == "off":
            return []
        wanted: list[Probe] = []
        for track in asked:
            best = self._best(track, after, c.PROBE_FACES, any_sight=True)
            wanted += [Probe(_crop(sight), "", track.track_id) for sight in best]
            track.probe_rounds += 1
            track.probed_s = self.t_s
        for person in self.persons.values():
            if not person.known or not self._in_danger(person, bool(asked), settings):
                continue
            if self.t_s - person.enrolled_s < c.GALLERY_REFRESH_S:
                continue
            for track in reversed(self.tracks):
                if track.person != person.name:
                    continue
                best = self._best(track, after, c.ENROL_FACES, any_sight=False)
                wanted += [Probe(_crop(sight), person.name, -1) for sight in best]
                if best:
                    person.enrolled_s = self.t_s
                    break
        return wanted

    def _in_danger(self, person: Person, asked: bool, settings: Settings) -> bool:
        """Whether this person may soon have to be recognised: lost, met, cut away, or somebody is in question."""
        if settings.identity.reid == "always" or asked:
            return True
        mine = next((t for t in self.tracks if not t.closed and t.person == person.name), None)
        return mine is None or mine.missed_from >= 0

    def _best(self, track: Track, after: int, count: int, any_sight: bool) -> list[Sight]:
        sights = [
            s
            for s in track.sights
            if s.frame > after
            and (any_sight or (s.clean and s.score >= c.MIN_EMBED_SCORE))
            and s.box[3] - s.box[1] >= c.MIN_EMBED_HEIGHT_PX
            and s.landmarks.shape == (5, 2)
        ]
        if not any_sight:  # what was seen just before the trouble may already be somebody else
            sights = [s for s in sights if self.t_s - s.t_s >= c.ENROL_AGE_S] or sights
        sights.sort(key=lambda s: (s.clean, s.score * (s.box[3] - s.box[1]), s.frame), reverse=True)
        return sights[:count]

    def take_embedding(self, probe: Probe, embedding: F32) -> None:
        """One answer to ``probes_wanted``."""
        norm = float(np.sqrt(embedding @ embedding))
        if not norm > 0 or not math.isfinite(norm):
            return
        unit = np.asarray(embedding / np.float32(norm), np.float32)
        if probe.person:
            person = self.persons[probe.person]
            far = embedding_distance([unit], person.embeddings)
            if far is None or far < self.same_face:
                person.enrol(unit, self.t_s)
            return
        for track in self.tracks:
            if track.track_id == probe.track_id:
                track.probes.append(unit)

    # --- the end of a window ---------------------------------------------------------------------------------
    def forget(self, shown: int) -> None:
        """Drop what no later frame needs; ``shown`` is the last frame that has been given out."""
        for track in self.tracks:
            track.forget(shown)
        self.tracks = [t for t in self.tracks if not t.closed or t.last.frame > shown]
        self.loose = [s for s in self.loose if s.frame > shown]
        self.crossings = [x for x in self.crossings if x.resolved < 0 or x.resolved > shown]

    def take_events(self) -> tuple[IdentityEvent, ...]:
        """Events since the last call."""
        events = tuple(self.events)
        self.events = []
        return events

    def _event(self, frame: int, kind: str, person: str, detail: dict[str, float | str]) -> None:
        self.events.append(IdentityEvent(frame, kind, person, dict(detail)))


def _same_face(track: Track, face: Sight) -> bool:
    """Whether the only visible face of a crossing is still the one of the track, and not the other one come out."""
    last = track.last
    steady = gap_widths(last.box, face.box) < c.HELD_WIDTHS + c.HELD_SPEED_WIDTHS * (face.t_s - last.t_s)
    grown = abs(math.log((face.box[3] - face.box[1]) / max(last.box[3] - last.box[1], 1e-6)))
    return steady and grown < c.HELD_SIZE


def _clarity(track: Track) -> tuple[int, float, int]:
    """How well a track's face can be recognised."""
    return int(track.last.clean), track.last.score * (track.last.box[3] - track.last.box[1]), -track.track_id


def _crop(sight: Sight) -> FaceCrop:
    box: Box = sight.box
    return FaceCrop(sight.frame, box, sight.landmarks)
