"""GpuMeter: how busy a card is right now, as NVML says; no CUDA context is opened for it."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

from dualface_ray.hardware.gpus import gpus
from dualface_ray.hardware.visible import visible


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One look at a card. Shares from 0 to 1, over a window of NVML's own (a sixth of a second to one second)."""

    gpu: float
    """Share of the time in which some kernel ran."""
    nvdec: float | None
    """None where the card does not tell."""
    nvenc: float | None
    memory_bytes: int
    """In use on the whole card, by whomever."""


class GpuMeter:
    """Reads one card; ``open`` gives None where NVML, its driver or the card is missing."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._open = True

    @staticmethod
    def open(uuid: str = "", library: Any = None) -> GpuMeter | None:
        """A meter of the card with this UUID (``GPU-…``); of the first that this process may use when it is empty.

        An instance of a card in MIG mode opens, but NVML does not tell how busy it is: ``read`` gives None.

        Args:
            uuid: as NVML writes it.
            library: a module with the interface of ``pynvml``; the installed one when missing.
        """
        try:
            nvml = library if library is not None else importlib.import_module("pynvml")
        except ImportError:
            return None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return None
        if not uuid and "CUDA_VISIBLE_DEVICES" in os.environ:
            uuid = next((card.uuid for card in visible(gpus(nvml))), "")
            if not uuid:
                nvml.nvmlShutdown()
                return None
        try:
            # Old versions of the library take bytes only, new ones both.
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid.encode()) if uuid else nvml.nvmlDeviceGetHandleByIndex(0)
        except nvml.NVMLError:
            nvml.nvmlShutdown()
            return None
        return GpuMeter(nvml, handle)

    def read(self) -> GpuReading | None:
        """One look; None where the card does not tell or the meter is closed."""
        if not self._open:
            return None
        nvml = self._nvml
        try:
            gpu = nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100
            memory = int(nvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        except nvml.NVMLError:
            return None
        return GpuReading(gpu, self._engine("Decoder"), self._engine("Encoder"), memory)

    def close(self) -> None:
        """Let go of NVML; harmless when called twice."""
        if self._open:
            self._open = False
            self._nvml.nvmlShutdown()

    def _engine(self, name: str) -> float | None:
        try:
            share, _window_us = getattr(self._nvml, f"nvmlDeviceGet{name}Utilization")(self._handle)
        except self._nvml.NVMLError:
            return None
        return float(share) / 100
