"""The tracker: from the faces of examined frames, in order, to named tracks.

    faces of a frame ─► assign ─► tracks ─► overlaps break them ─► labels name the new ones (gallery, evidence)

It follows motion where motion is certain and starts afresh where it is not. Everything is counted in this object; two
trackers know nothing of each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment, assign
from dualface_ray.identity.gallery import Person
from dualface_ray.identity.motion import Motion, gap_widths, iou
from dualface_ray.identity.sights import OTHER, Sight, Track
from dualface_ray.identity.tracks import PERSONS, IdentityEvent
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

    def cut(self, frame: int, detail: dict[str, float | str]) -> None:
        """A new shot begins with this frame: motion means nothing any more, appearance does."""
        for track in self.tracks:
            if not track.closed:
                track.closed = "cut"
        self.loose.clear()
        self.crossings.clear()
        self.shot += 1
        self.shot_start = frame
        self.note(frame, "cut", "", detail)

    def step(
        self, frame: int, t_s: float, faces: Sequence[Sight], settings: Settings, known: Assignment | None = None
    ) -> None:
        """Take the faces of the next examined frame in; ``known``: their assignment to ``live()``, if already made."""
        first = self.frame < 0
        before, self.frame, self.t_s = self.frame, frame, t_s
        new_shot = not first and before < self.shot_start
        self.strangers_seen |= len(faces) > len(self.persons)
        tracks = self.live()
        result = known or assign(tracks, faces, settings.identity.descriptor_scale)
        face_of = list(result.face_of)
        if result.margin < c.AMBIGUOUS_MARGIN:
            self._doubt(tracks)
        emerging = any(crossing.resolved < 0 for crossing in self.crossings)
        hidden = self.somebody_hidden()
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
            self.seen(self.persons[track.person], track, face)

    def seen(self, person: Person, track: Track, face: Sight) -> None:
        """A person's track has a new sight (or a track has just been named)."""
        gone = face.t_s - person.last_s
        if person.known and not person.present:
            self.note(face.frame, "entered", person.name, {"after_s": round(gone, 3)})
        person.known = person.present = True
        person.unmet = False
        if 0 < gone < c.INTERPOLATE_S:
            person.seen_s += gone
        person.last_s, person.last_shot, person.left_over = face.t_s, track.shot, ""
        person.motion = track.motion.copy()
        person.remember(face)

    def _begin(self, face: Sight, origin: str, before: int) -> None:
        if not origin:
            open_here = any(
                x.resolved < 0 and any(self._near_person(face, name) for name in x.persons) for x in self.crossings
            )
            origin = "crossing" if open_here else "entry"
        motion = Motion.start(face.t_s, face.box)
        if origin == "crossing":
            self._inherit(motion, face)
        track = Track(self.next_id, self.shot, origin, motion, face.frame, face.t_s)
        self.next_id += 1
        track.since = before if before >= self.shot_start else -1
        track.see(face)
        self.tracks.append(track)

    def _inherit(self, motion: Motion, face: Sight) -> None:
        """A face in a crossing moves as the one person does who would be just there.

        Without a speed it would seem to stand still, and the face it passes next could be taken for it. It stays
        nameless all the same: this is about where it goes, not about who it is.
        """
        there = []
        for person in self.persons.values():
            known = person.motion
            if known is None or person.last_shot != self.shot or face.t_s - person.last_s > c.INHERIT_S:
                continue
            if gap_widths(known.box_at(face.t_s), face.box) < c.INHERIT_WIDTHS:
                there.append(known)
        if len(there) == 1:
            fade = math.exp(-max(0.0, face.t_s - there[0].t_s) / c.SPEED_DECAY_S)
            motion.vx, motion.vy = there[0].vx * fade, there[0].vy * fade

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
        self.note(self.frame, "occluded", "".join(names), {"reason": "faces overlap"})

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
            elif (
                gone > settings.identity.max_predict_s
                or self._found_elsewhere(track)
                or (track.hits < c.MIN_HITS and gone > c.INTERPOLATE_S)
            ):
                track.closed = "lost"
            if track.closed and track.person in self.persons:
                self.persons[track.person].left_over = edge
        for person in self.persons.values():
            if not person.present:
                continue
            gone = self.t_s - person.last_s
            if person.left_over or gone > settings.identity.max_predict_s:
                person.present = False
                self.note(self.frame, "left", person.name, {"over": person.left_over, "unseen_s": round(gone, 3)})
        for crossing in self.crossings:
            pending = any(t.origin == "crossing" and not t.person and not t.closed for t in self.tracks)
            if crossing.resolved < 0 and self.t_s - crossing.start_s > settings.identity.max_predict_s and not pending:
                crossing.resolved = self.frame

    def _found_elsewhere(self, track: Track) -> bool:
        """Whether a face that came up near a missed person since may be that person: then evidence must decide."""
        if track.person not in self.persons:
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
            for t in self.tracks
        )

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

    def somebody_hidden(self) -> bool:
        """Whether fewer faces have come out of an open crossing than went in."""
        out = sum(1 for t in self.undecided() if t.origin == "crossing")
        return any(x.resolved < 0 and out < len(x.persons) + x.strangers for x in self.crossings)

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

    def note(self, frame: int, kind: str, person: str, detail: dict[str, float | str]) -> None:
        """Say why something was decided."""
        self.events.append(IdentityEvent(frame, kind, person, dict(detail)))


def _same_face(track: Track, face: Sight) -> bool:
    """Whether the only visible face of a crossing is still the one of the track, and not the other one come out."""
    last = track.last
    steady = gap_widths(last.box, face.box) < c.HELD_WIDTHS + c.HELD_SPEED_WIDTHS * (face.t_s - last.t_s)
    grown = abs(math.log((face.box[3] - face.box[1]) / max(last.box[3] - last.box[1], 1e-6)))
    return steady and grown < c.HELD_SIZE
