"""MIG: the instances that a card is cut into; CUDA sees them in the card's place, with memory and engines of their own.

NVML counts cards; an instance has a handle of its own, which can be asked for name, UUID, memory and programs, but not
how busy it is. Ray counts cards, too (docs/cluster.md).
"""

from __future__ import annotations

from typing import Any

PREFIX = "MIG-"
"""How an instance's UUID begins, where a card's begins with ``GPU-``."""


def instances(nvml: Any, card: Any) -> tuple[Any, ...] | None:
    """Handles of the instances that this process may use; None where the card is not in MIG mode.

    Args:
        nvml: a module with the interface of ``pynvml``, initialised.
        card: the card's handle.
    """
    if not hasattr(nvml, "nvmlDeviceGetMigMode"):  # an old version of the library
        return None
    try:
        if not nvml.nvmlDeviceGetMigMode(card)[0]:
            return None
        most = int(nvml.nvmlDeviceGetMaxMigDeviceCount(card))
    except nvml.NVMLError:  # a card that cannot be cut
        return None
    found = (_instance(nvml, card, index) for index in range(most))
    return tuple(one for one in found if one is not None)


def _instance(nvml: Any, card: Any, index: int) -> Any:
    """None for one that is not made, or another container's."""
    try:
        return nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
    except nvml.NVMLError:
        return None


def instance_name(card: str, told: str) -> str:
    """What an instance is called: the card's name and its profile, as CUDA says it.

    Args:
        card: the card's name.
        told: what NVML calls the instance.
    """
    return told if " MIG" in told else f"{card} MIG"
