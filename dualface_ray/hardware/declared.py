"""Declared: what this machine would tell Ray of its cards, where we start Ray ourselves and nobody else declares it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from dualface_ray.hardware.gpus import Gpu, gpus
from dualface_ray.hardware.profiles import profile_named
from dualface_ray.hardware.visible import visible


class Declared(NamedTuple):
    """For ``ray start`` or ``ray.init``: custom resources and labels of a node."""

    resources: dict[str, int]
    labels: dict[str, str]


def declared(
    profile: str, environment: Mapping[str, str] = os.environ, look: Callable[[], tuple[Gpu, ...]] = gpus
) -> Declared:
    """Session counts and labels for the cards that this process sees; nothing without a profile or a card.

    Args:
        profile: name or path, as the setting ``lane.profile`` gives it; empty = none.
        environment: of this process; ``CUDA_VISIBLE_DEVICES`` counts.
        look: finds the machine's cards.

    Raises:
        ProfileError: there is no such profile, or it is not valid.
    """
    known = profile_named(profile)
    if known is None or known.kind == "cpu":
        return Declared({}, {})
    cards = visible(look(), environment)
    if not cards:
        return Declared({}, {})
    driver = cards[0].driver
    return Declared(known.node_resources(len(cards), driver), {"dualface-driver": driver} if driver else {})
