"""Naming: when is a nameless track decided to be A, B or nobody of the two?

decide ─► second chances ─► judge (labels) ─► margin reached: name it
│                           └─► not reached: ask for embeddings, or guess when frames must be shown
└─► places nobody had yet: the principal faces, left first
"""

from __future__ import annotations

from dualface_ray.identity import constants as c
from dualface_ray.identity.gallery import Person
from dualface_ray.identity.labels import Verdict, judge, principal_order
from dualface_ray.identity.sights import OTHER, Track
from dualface_ray.identity.tracker import Tracker
from dualface_ray.settings import Settings


def decide(
    tracker: Tracker, settings: Settings, deadline: int, may_probe: bool, *, ending: bool = False
) -> list[Track]:
    """Name what can be named; return the tracks that only embeddings can settle.

    Args:
        tracker: after an examined frame.
        settings: thresholds.
        deadline: tracks born at or before this frame are about to be shown.
        may_probe: embeddings may still be asked for at this frame.
        ending: the shot ends here, and with it all tracks; no place for what was seen only once.
    """
    _drop_guesses(tracker)
    _give_second_chances(tracker)
    waiting = tracker.undecided()
    if not waiting:
        return []
    free = tracker.free()
    asked: list[Track] = []
    if free:
        others = tracker.strangers_seen or not all(p.known for p in tracker.persons.values())
        elsewhere = len(free) == len(tracker.persons) and all(p.last_shot != tracker.shot for p in free)
        verdicts = judge(waiting, free, settings, others, tracker.order if elsewhere else 0)
        for track, verdict in zip(waiting, verdicts, strict=True):
            if _settle(tracker, track, verdict, settings, deadline, may_probe):
                asked.append(track)
    if asked:
        # Two faces for two people: whom the better one shows tells who the other one is.
        every = len(waiting) > len(free) or any(p.unmet for p in free)
        return asked if every or len(asked) < 2 else [max(asked, key=_clarity)]
    if not tracker.free() and all(p.known for p in tracker.persons.values()):
        for track in tracker.undecided():
            if track.hits >= c.MIN_HITS:
                _name(tracker, track, OTHER, "both persons are elsewhere", None)
            else:
                track.guess = OTHER
    elif not all(p.known for p in tracker.persons.values()):
        _give_places(tracker, deadline, ending)
    free_names = {p.name for p in tracker.free()} | {p.name for p in tracker.persons.values() if not p.known}
    for track in tracker.undecided():
        if track.guess in tracker.persons and track.guess not in free_names:
            track.guess = OTHER
    return []


def _settle(
    tracker: Tracker, track: Track, verdict: Verdict, settings: Settings, deadline: int, may_probe: bool
) -> bool:
    """Decide, guess or return True for "ask"."""
    track.guess = verdict.label
    urgent = track.born <= deadline
    ready = track.hits >= c.MIN_HITS or urgent
    reid = settings.identity.reid
    hidden = track.origin == "crossing" and tracker.somebody_hidden()
    enough = verdict.margin >= settings.identity.decide_margin
    fresh = tracker.t_s - track.probed_s >= c.PROBE_EVERY_S
    if reid != "off" and ready and may_probe and fresh and track.probe_rounds < c.PROBE_ROUNDS:
        must = reid == "always" or any(p.unmet for p in tracker.free()) or _was_away(tracker, track, verdict, settings)
        must &= track.probe_rounds == 0
        unsure = not enough and (not hidden or urgent)
        if must or unsure or (enough and hidden and track.probe_rounds == 0 and urgent):
            return True
    if hidden and not track.probes and reid != "off":
        enough = False  # one visible face of two: the descriptor may show the other one's shirt
    old = tracker.t_s - track.born_s > c.MAX_DOUBT_S
    if (enough and ready) or old:
        if verdict.label == OTHER and not all(p.known for p in tracker.persons.values()):
            return False  # not one of the known: perhaps the other place's owner
        _name(tracker, track, verdict.label, "evidence" if enough else "best guess", verdict)
    return False


def _was_away(tracker: Tracker, track: Track, verdict: Verdict, settings: Settings) -> bool:
    """Whether the likely person comes back from another shot or a long absence: then clothes do not make the man."""
    person = tracker.persons.get(verdict.label)
    if person is None:  # somebody who may be given a place is remembered by the face
        return any(_is_long_gone(tracker, p, settings) for p in tracker.free())
    return (
        track.origin == "changed"
        or person.last_shot != track.shot
        or track.born_s - person.last_s > settings.identity.max_predict_s
    )


def _is_long_gone(tracker: Tracker, person: Person, settings: Settings) -> bool:
    return not person.is_cast and tracker.t_s - person.last_s > settings.identity.replace_after_s


def _give_places(tracker: Tracker, deadline: int, ending: bool) -> None:
    """Places that nobody had yet: the principal faces take them, left first."""
    open_names = [p.name for p in tracker.persons.values() if not p.known]
    waiting = [t for t in tracker.undecided() if t.guess not in tracker.persons or not tracker.persons[t.guess].known]
    due = [t for t in waiting if t.born <= deadline]
    if not due:
        for track, name in zip(sorted(principal_order(waiting)[:2], key=lambda t: t.first_x), open_names, strict=False):
            track.guess = name
        return
    steady = [t for t in waiting if t.hits >= c.MIN_HITS] or ([] if ending else due)
    chosen = principal_order(steady)[: len(open_names)]
    for track, name in zip(sorted(chosen, key=lambda t: t.first_x), open_names, strict=False):
        _name(tracker, track, name, "first seen", None)


def _drop_guesses(tracker: Tracker) -> None:
    """Whoever has gone before a place was given to anybody had none."""
    unknown = {person.name for person in tracker.persons.values() if not person.known}
    for track in tracker.tracks:
        if track.closed and not track.person and track.guess in unknown:
            track.guess = ""


def _give_second_chances(tracker: Tracker) -> None:
    """While somebody is missing, a long-standing bystander may be that person after all."""
    if not tracker.free():
        return
    for track in tracker.tracks:
        if track.closed or track.person != OTHER or track.rechecks >= c.RECHECKS:
            continue
        if tracker.t_s - track.checked_s >= c.RECHECK_S:
            track.person, track.guess = "", OTHER
            track.rechecks += 1
            track.probe_rounds = 0


def _name(tracker: Tracker, track: Track, label: str, reason: str, verdict: Verdict | None) -> None:
    track.person = track.guess = label
    track.checked_s = tracker.t_s
    if label == OTHER:
        tracker.strangers_seen = True
        tracker.recognise(track)
        return
    person = tracker.persons[label]
    detail: dict[str, float | str] = {"reason": reason}
    if verdict is not None:
        detail["margin"] = round(min(verdict.margin, 99.0), 2)
        if verdict.evidence.look >= 0:
            detail["descriptor_distance"] = round(verdict.evidence.look, 4)
        if verdict.evidence.embedding >= 0:
            detail["embedding_distance"] = round(verdict.evidence.embedding, 4)
    if person.known and (person.present or not person.unmet):
        tracker.note(track.born, "re-identified", label, detail | {"after": track.origin})
    else:  # for the first time here, even when a cast knows the face
        tracker.note(track.born, "entered", label, detail)
        person.present = True
    tracker.seen(person, track, track.last)
    for sight in track.sights:
        person.remember(sight)
    if track.probes and verdict is not None and reason == "evidence":
        person.enrol(track.probes[0], tracker.t_s)
    _resolve(tracker, track)


def _resolve(tracker: Tracker, track: Track) -> None:
    for crossing in tracker.crossings:
        if crossing.resolved >= 0 or track.person not in crossing.persons or track.born < crossing.start:
            continue
        crossing.resolved = track.born
        before = crossing.sides[crossing.persons.index(track.person)]
        moved = (track.first_x - before) / max(track.motion.width, 1e-6)
        tracker.note(track.born, "crossed", "".join(crossing.persons), {"moved_widths": round(moved, 2)})


def replace_owners(tracker: Tracker, settings: Settings) -> None:
    """Give a place to a long-standing third face when its owner was a picture, or a guest who is long gone.

    Who was seen for longer is told over all shots in which the face was recognised.
    """
    strangers = [t for t in tracker.live() if t.person == OTHER and not t.is_static and t.missed_from < 0]
    for person in tracker.persons.values():
        if person.is_cast:
            continue
        mine = next((t for t in tracker.tracks if not t.closed and t.person == person.name), None)
        for track in strangers:
            dwell = tracker.t_s - track.born_s
            still = mine is not None and mine.is_static and dwell > c.PLACE_DWELL_S + c.STATIC_S
            known = tracker.strangers.get(track.stranger)
            seen_s = max(dwell, known.seen_s if known is not None else 0.0)
            gone = mine is None and _is_long_gone(tracker, person, settings) and seen_s > person.seen_s
            if still or (gone and dwell > c.PLACE_DWELL_S):
                if mine is not None:
                    mine.person = OTHER
                tracker.persons[person.name] = Person(person.name)
                if known is not None:
                    tracker.persons[person.name].embeddings = known.embeddings
                    tracker.persons[person.name].seen_s = known.seen_s
                    del tracker.strangers[track.stranger]
                tracker.note(tracker.frame, "replaced", person.name, {"reason": "a picture" if still else "long gone"})
                _name(tracker, track, person.name, "replaced", None)
                strangers.remove(track)
                break


def _clarity(track: Track) -> tuple[int, float, int]:
    """How well a track's face can be recognised."""
    return int(track.last.clean), track.last.score * (track.last.box[3] - track.last.box[1]), -track.track_id
