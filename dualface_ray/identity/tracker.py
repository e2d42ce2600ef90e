"""The tracker's memory: who is known, which faces are followed, which overlaps are open.

    following (one examined frame) ─┐
    crossings (faces that meet)    ─┼─► Tracker ─► knots, resolve (boxes of a window)
    naming    (whose is a track)   ─┘

Everything is counted in this object; two trackers know nothing of each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dualface_ray.identity import constants as c
from dualface_ray.identity.gallery import Person, embedding_distance
from dualface_ray.identity.sights import OTHER, Sight, Track
from dualface_ray.identity.tracks import PERSONS, IdentityEvent


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
    order: int = 0
    """Who of the two was on the left when both were seen last: 1 = A, -1 = B, 0 = they have not been seen together."""
    strangers: dict[int, Person] = field(default_factory=dict)
    """Whose faces were embedded and are nobody's of the two, by number."""
    strangers_seen: bool = False
    same_face: float = 0.42
    """Embedding distance above which a face is kept out of a gallery that has others."""

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

    def seen(self, person: Person, track: Track, face: Sight) -> None:
        """A person's track has a new sight (or a track has just been named)."""
        gone = face.t_s - person.last_s
        if person.known and not person.present:
            self.note(face.frame, "entered", person.name, {"after_s": round(gone, 3)})
        person.known = person.present = True
        person.unmet = person.hidden = False
        if 0 < gone < c.INTERPOLATE_S:
            person.seen_s += gone
        person.last_s, person.last_shot, person.left_over = face.t_s, track.shot, ""
        person.motion = track.motion.copy()
        person.remember(face)

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

    def seen_together(self) -> None:
        """Take in who is on whose left in this frame."""
        x: dict[str, float] = {}
        for track in self.tracks:
            if track.person in self.persons and not track.closed and track.missed_from < 0:
                x[track.person] = track.last.box[0] + track.last.box[2]
        if len(x) == len(self.persons):
            self.order = 1 if x["A"] < x["B"] else -1

    def recognise(self, track: Track) -> None:
        """Find out which of the strangers a track is that was embedded, or take it in as a new one."""
        if not track.probes or track.stranger >= 0:
            return
        far = {
            number: distance
            for number, stranger in self.strangers.items()
            if (distance := embedding_distance(track.probes, stranger.embeddings)) is not None
        }
        nearest = min(far, key=far.__getitem__, default=-1)
        if nearest < 0 or far[nearest] >= self.same_face:
            nearest = track.track_id
            self.strangers[nearest] = Person(OTHER, known=True)
        track.stranger = nearest
        stranger = self.strangers[nearest]
        stranger.seen_s += track.last.t_s - track.born_s
        stranger.enrol(track.probes[0], self.t_s)
        if len(self.strangers) > c.STRANGERS:
            del self.strangers[min(self.strangers, key=lambda number: self.strangers[number].seen_s)]

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
