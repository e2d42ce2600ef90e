"""Usual: the batches that lanes on this machine's card are first planned with, for building engines before a job. Pure.

one video, or as many as the card takes ─┐
1080p, or 4K; landscape, or both         ├─► decide ─► the batch of each plan ─► largest first, each once
settings, card ──────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

from actors.cluster.memory import CardOf, card_of
from actors.cluster.snapshot import ClusterSnapshot
from actors.placement import decide
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import Settings

_SIZES_PX = (1920 * 1080, 3840 * 2160)
_RATE = Fraction(30)
_MANY = 64
"""Videos: more than any lane takes at once."""


def usual_batches(settings: Settings, snapshot: ClusterSnapshot, cards: CardOf = card_of) -> tuple[int, ...]:
    """Batches that a lane may be given here, the largest first; those of the restarts after it are left out.

    Args:
        settings: as of a job.
        snapshot: this machine, as its node of Ray would declare it.
        cards: memory of a node's cards.

    Returns:
        Empty where no lane on a card can be planned at all.

    Raises:
        PlacementError, ProfileError: as ``decide``.
    """
    found = set()
    for videos in _jobs(settings):
        for lane in decide(settings, snapshot, videos, cards=cards).lanes:
            if lane.memory is not None:
                found.add(lane.memory.plan.shape.batch)
    return tuple(sorted(found, reverse=True))


def _jobs(settings: Settings) -> Iterator[list[VideoNeeds]]:
    frames, ahead = settings.quota_frames(_RATE), settings.lookahead_frames(_RATE)
    for pixels, count, both in product(_SIZES_PX, (1, 2, _MANY), (False, True)):
        ring = frames * pixels * 3 // 2
        yield [VideoNeeds(ring, ring, frames, ahead, portrait=both and place % 2 == 1) for place in range(count)]
