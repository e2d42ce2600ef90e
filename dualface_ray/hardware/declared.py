"""Declared: what this machine would tell Ray of its cards, where we start Ray ourselves and nobody else declares it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dualface_ray.hardware.gpus import Gpu, gpus
from dualface_ray.hardware.profiles import profile_named
from dualface_ray.hardware.visible import visible


class Declared(NamedTuple):
    """For ``ray start`` or ``ray.init``: custom resources, labels and cards of a node."""

    resources: dict[str, int]
    labels: dict[str, str]
    cards: int | None = None
    """What its numbers can reach; None = nothing is known, and Ray counts by itself."""


def declared(
    profile: str, environment: Mapping[str, str] = os.environ, look: Callable[[], tuple[Gpu, ...]] = gpus
) -> Declared:
    """Session counts and labels for the cards that this process sees; no more than their number without a profile.

    Args:
        profile: name or path, as the setting ``lane.profile`` gives it; empty = none.
        environment: of this process; ``CUDA_VISIBLE_DEVICES`` counts.
        look: finds the machine's cards.

    Raises:
        ProfileError: there is no such profile, or it is not valid.
    """
    known, there = profile_named(profile), look()
    cards = visible(there, environment)
    count = _reached(cards, environment) if there else None
    if known is None or known.kind == "cpu" or not cards:
        return Declared({}, {}, count)
    driver = cards[0].driver
    return Declared(known.node_resources(len(cards), driver), {"dualface-driver": driver} if driver else {}, count)


def _reached(cards: Sequence[Gpu], environment: Mapping[str, str]) -> int:
    """Ray hands out entries of ``CUDA_VISIBLE_DEVICES``, else numbers of cards, which reach one instance of each."""
    return len(cards) if "CUDA_VISIBLE_DEVICES" in environment else len({card.index for card in cards})
