"""CUDA devices as NVML sees them, a MIG card as its instances; no CUDA context is opened for it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from dualface_ray.hardware.mig import instance_name, instances


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card, or one instance of a card in MIG mode."""

    index: int
    """Of the card; its instances have the same."""
    name: str
    uuid: str
    """``GPU-…``, of an instance ``MIG-…``."""
    memory_bytes: int
    driver: str


def gpus(library: Any = None) -> tuple[Gpu, ...]:
    """What CUDA could use of this machine; empty without NVML, without its driver or without a card.

    A card that has fallen off the bus, or in MIG mode without an instance, is left out.

    Args:
        library: a module with the interface of ``pynvml``; the installed one when missing.
    """
    nvml = library if library is not None else _pynvml()
    if nvml is None:
        return ()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        found = [_card(nvml, index, driver) for index in range(nvml.nvmlDeviceGetCount())]
        return tuple(one for card in found for one in card)
    except nvml.NVMLError:
        return ()
    finally:
        nvml.nvmlShutdown()


def _card(nvml: Any, index: int, driver: str) -> list[Gpu]:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name, parts = _text(nvml.nvmlDeviceGetName(handle)), instances(nvml, handle)
        named = [(handle, name)]
        if parts is not None:
            named = [(one, instance_name(name, _text(nvml.nvmlDeviceGetName(one)))) for one in parts]
        return [
            Gpu(
                index=index,
                name=own,
                uuid=_text(nvml.nvmlDeviceGetUUID(one)),
                memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(one).total),
                driver=driver,
            )
            for one, own in named
        ]
    except nvml.NVMLError:
        return []


def _pynvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _text(value: str | bytes) -> str:
    """Older versions of the library hand out bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
