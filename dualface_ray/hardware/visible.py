"""Visible: which of a machine's cards ``CUDA_VISIBLE_DEVICES`` leaves to this process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from dualface_ray.hardware.facts import Maybe
from dualface_ray.hardware.mig import PREFIX


class _Numbered(Protocol):
    """A card as NVML counts it, or an instance of one (``MIG-…``)."""

    @property
    def index(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def uuid(self) -> Maybe[str]: ...


_Card = TypeVar("_Card", bound=_Numbered)


def visible(cards: Iterable[_Card], environment: Mapping[str, str] = os.environ) -> tuple[_Card, ...]:
    """The cards that ``CUDA_VISIBLE_DEVICES`` leaves, in its order.

    Numbers are read in the order of the PCI bus (NVML's order), which is CUDA's own only with
    ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` or where all cards are alike (``unsure_order``).
    """
    given = environment.get("CUDA_VISIBLE_DEVICES")
    found = tuple(cards)
    if given is None:
        return found
    kept: list[_Card] = []
    for word in given.split(","):
        card = _named(word.strip(), found)
        if card is None:
            break  # CUDA itself ignores everything behind an entry that names nothing
        if card in kept:
            return ()  # and shows none at all where one is named twice
        kept.append(card)
    return tuple(kept)


def unsure_order(cards: Iterable[_Numbered], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether numbers in ``CUDA_VISIBLE_DEVICES`` may mean other cards to CUDA, which counts the fastest as 0."""
    words = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    numbers = any(word.strip().isdecimal() for word in words)
    return numbers and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and len({card.name for card in cards}) > 1


def _named(word: str, cards: Sequence[_Card]) -> _Card | None:
    """By number, by the beginning of a card's UUID, or by an instance's whole one."""
    if word.isdecimal():  # of a card in MIG mode CUDA takes the first instance
        return next((card for card in cards if card.index == int(word)), None)
    if word.startswith(PREFIX):
        return next((card for card in cards if card.uuid == word), None)
    fits = [card for card in cards if isinstance(card.uuid, str) and card.uuid.startswith(word)]
    return fits[0] if word.startswith("GPU-") and len(fits) == 1 else None
