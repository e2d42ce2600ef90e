"""Visible: which of a machine's cards ``CUDA_VISIBLE_DEVICES`` leaves to this process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from dualface_ray.hardware.facts import Maybe


class _Numbered(Protocol):
    """A card as NVML counts it."""

    @property
    def index(self) -> int: ...

    @property
    def uuid(self) -> Maybe[str]: ...


_Card = TypeVar("_Card", bound=_Numbered)


def visible(cards: Iterable[_Card], environment: Mapping[str, str] = os.environ) -> tuple[_Card, ...]:
    """The cards that ``CUDA_VISIBLE_DEVICES`` leaves, its numbers read in the order of the PCI bus (NVML's order)."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    found = tuple(cards)
    if given is None:
        return found
    kept: list[_Card] = []
    for word in (part.strip() for part in given.split(",")):
        fits = [
            card
            for card in found
            if (word.isdecimal() and card.index == int(word))
            or (word.startswith("GPU-") and isinstance(card.uuid, str) and card.uuid.startswith(word))
        ]
        if len(fits) != 1:
            break  # CUDA itself ignores everything behind an entry that names nothing
        kept += [card for card in fits if card not in kept]
    return tuple(kept)
