"""CUDA devices as NVML sees them; no CUDA context is opened for it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card."""

    index: int
    name: str
    uuid: str
    memory_bytes: int
    driver: str


def gpus(library: Any = None) -> tuple[Gpu, ...]:
    """Every card of this machine; empty without NVML, without its driver or without a card.

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
        return tuple(_card(nvml, index, driver) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return ()
    finally:
        nvml.nvmlShutdown()


def _card(nvml: Any, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        driver=driver,
    )


def _pynvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _text(value: str | bytes) -> str:
    """Older versions of the library hand out bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
