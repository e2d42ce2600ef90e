"""Labels: whose is a nameless track? Decided jointly, with evidence, and only by a margin.

undecided tracks x {A, B if free, somebody else} ─► every joint labelling ─► best, second best
    margin reached ─► decided      else ─► ask for embeddings      look-ahead used up ─► guess, in doubt
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dualface_ray.identity import constants as c
from dualface_ray.identity.gallery import Evidence, Person, evidence
from dualface_ray.identity.sights import OTHER, Track
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class Verdict:
    """The likeliest label of one track and how far it leads."""

    track_id: int
    label: str
    margin: float
    evidence: Evidence


def judge(
    undecided: Sequence[Track], free: Sequence[Person], settings: Settings, others: bool, order: int = 0
) -> list[Verdict]:
    """Judge all undecided tracks of one shot together against the persons who are not elsewhere in the picture.

    ``others``: it may well be somebody else, for strangers were seen, or one of the two has not been met yet. The
    margin of a track is the lead of the best joint labelling over the best one that labels this track otherwise.
    ``order``, when both are free: 1 = in another shot A was on B's left, -1 = on the right, 0 = unknown.
    """
    crowded = others or len(undecided) > len(free)
    presence = c.PRESENCE_STRANGERS if crowded else c.PRESENCE_EVIDENCE
    table = [
        [evidence(track, p, settings, _elsewhere(track, p), track.origin == "crossing" and len(free) > 1) for p in free]
        for track in undecided
    ]
    best_by: list[dict[int, float]] = [{} for _ in undecided]
    best_total = -math.inf
    best: list[int] = []
    chosen = [-1] * len(undecided)

    def descend(i: int, used: int, total: float) -> None:
        nonlocal best_total, best
        if i == len(undecided):
            if order and {0, 1} <= set(chosen):
                a, b = (undecided[chosen.index(p)].first_x for p in (0, 1))
                total += c.ORDER_EVIDENCE * (order if a < b else -order)
            if total > best_total:
                best_total, best = total, chosen.copy()
            for k, label in enumerate(chosen):
                if total > best_by[k].get(label, -math.inf):
                    best_by[k][label] = total
            return
        chosen[i] = -1
        descend(i + 1, used, total)
        for p in range(len(free)):
            if not used >> p & 1:
                chosen[i] = p
                descend(i + 1, used | 1 << p, total + table[i][p].nats + presence)
        chosen[i] = -1

    descend(0, 0, 0.0)
    verdicts = []
    for i, track in enumerate(undecided):
        label = best[i]
        rivals = [total for other, total in best_by[i].items() if other != label]
        lead = best_total - max(rivals) if rivals else math.inf
        shown = table[i][label] if label >= 0 else max(table[i], key=lambda e: e.nats, default=Evidence(0.0))
        verdicts.append(Verdict(track.track_id, free[label].name if label >= 0 else OTHER, lead, shown))
    return verdicts


def _elsewhere(track: Track, person: Person) -> bool:
    """Whether the place of a track says nothing about this person."""
    return track.shot != person.last_shot or track.origin == "changed"


def principal_order(tracks: Sequence[Track]) -> list[Track]:
    """Candidates for a place that nobody has had yet, best first: large, long seen, sure, alive."""

    def weight(track: Track) -> tuple[float, int]:
        alive = c.STATIC_PENALTY if track.roam < c.STATIC_WIDTHS and track.hits >= 2 else 1.0
        dwell = min(track.hits, 6) ** 0.5
        score = sum(sight.score for sight in track.sights) / len(track.sights)
        return alive * dwell * score * math.exp(track.motion.log_h), -track.track_id

    return sorted(tracks, key=weight, reverse=True)
