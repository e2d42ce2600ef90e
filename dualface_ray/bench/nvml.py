"""GpuSampler: how busy the card was while something ran, looked at in a thread beside it.

with GpuSampler(uuid) as sampler: ...work... ─► sampler.load: means and peaks, or None without NVML
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dualface_ray.hardware import GpuMeter, GpuReading

PERIOD_S = 0.1
"""NVML renews its figures a few times a second; looking more often tells nothing new."""


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """A summary of readings; shares from 0 to 1."""

    samples: int
    gpu_mean: float
    gpu_peak: float
    nvdec_mean: float | None
    nvenc_mean: float | None
    memory_peak_bytes: int
    """Of the whole card."""

    def text(self) -> str:
        """One line for a table."""
        engines = ", ".join(
            f"{name} {share:.0%}"
            for name, share in (("NVDEC", self.nvdec_mean), ("NVENC", self.nvenc_mean))
            if share is not None
        )
        return (
            f"GPU {self.gpu_mean:.0%} (peak {self.gpu_peak:.0%}){', ' if engines else ''}{engines}, "
            f"memory {self.memory_peak_bytes / (1 << 20):.0f} MiB"
        )


def summary(readings: Sequence[GpuReading]) -> GpuLoad | None:
    """The summary of some readings; None of none."""
    if not readings:
        return None
    return GpuLoad(
        len(readings),
        _mean([one.gpu for one in readings]) or 0.0,
        max(one.gpu for one in readings),
        _mean([one.nvdec for one in readings if one.nvdec is not None]),
        _mean([one.nvenc for one in readings if one.nvenc is not None]),
        max(one.memory_bytes for one in readings),
    )


class GpuSampler:
    """Samples from entering to leaving; ``load`` is there afterwards.

    Args:
        uuid: of the card, as NVML writes it; empty = the first.
        period_s: between readings.
        open_meter: for machines without a card.
    """

    def __init__(
        self,
        uuid: str = "",
        period_s: float = PERIOD_S,
        open_meter: Callable[[str], GpuMeter | None] = GpuMeter.open,
    ) -> None:
        self._uuid = uuid
        self._period_s = period_s
        self._open = open_meter
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._readings: list[GpuReading] = []
        self.load: GpuLoad | None = None
        """None before the end, and without NVML."""

    def __enter__(self) -> GpuSampler:
        meter = self._open(self._uuid)
        if meter is not None:
            self._thread = threading.Thread(target=self._sample, args=(meter,), name="gpu-sampler", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.load = summary(self._readings)

    def _sample(self, meter: GpuMeter) -> None:
        try:
            while True:
                reading = meter.read()
                if reading is not None:
                    self._readings.append(reading)
                if self._stop.wait(self._period_s):
                    return
        finally:
            meter.close()


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
