"""What a machine was doing while something ran: the card by NVML, the cores by role of the processes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualface_ray.bench.nvml import GpuSampler

_TICKS_HZ = os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20


def core_seconds(processes: Path = Path("/proc")) -> dict[tuple[str, int], float]:
    """Core seconds used so far by every Ray actor of this machine (proc(5)), by its class and its process."""
    found: dict[tuple[str, int], float] = {}
    for folder in processes.glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace")
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # it has ended meanwhile
            continue
        if title.startswith("ray::"):
            found[title[5:].split(".")[0], int(folder.name)] = (int(fields[11]) + int(fields[12])) / _TICKS_HZ
    return found


class Busy:
    """Samples from entering to leaving; ``facts`` are there afterwards.

    Args:
        roles: kinds of actors whose cores are told.
        idle_bytes: memory of the card before anything of what is measured was there.
        sampler: of the card.
    """

    def __init__(self, roles: Sequence[str], idle_bytes: int = 0, sampler: GpuSampler | None = None) -> None:
        self._roles = roles
        self._idle_bytes = idle_bytes
        self._sampler = sampler or GpuSampler()
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Busy:
        self._sampler.__enter__()
        self._began_s = time.monotonic()
        self._before = core_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        after, passed_s = core_seconds(), time.monotonic() - self._began_s
        self._sampler.__exit__()
        for role in self._roles:
            spent = [now - self._before.get(actor, 0.0) for actor, now in after.items() if actor[0] == role]
            used = sum(spent) / max(passed_s, 1e-3)
            self.facts[f"cores_{role.removesuffix('Actor').lower()}"] = round(used, 2)
        load = self._sampler.load
        if load is not None:
            for name in ("gpu_mean", "gpu_peak", "nvdec_mean", "nvenc_mean"):
                share = getattr(load, name)
                if share is not None:
                    self.facts[name.removesuffix("_mean")] = round(share, 3)
            self.facts["vram_mib"] = round((load.memory_peak_bytes - self._idle_bytes) / _MIB)
