"""``dualface probe``: what this machine has."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys

from dualface_ray.cli.text import shown, size
from dualface_ray.hardware import cores, gpus, memory, shared_memory


def probe_machine(*, as_json: bool = False) -> int:
    """Print cores, memory, shared memory and cards; returns 0."""
    cards, main, shm = gpus(), memory(), shared_memory()
    if as_json:
        facts = {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": cores(),
            "memory": dataclasses.asdict(main) if main else None,
            "shared_memory": dataclasses.asdict(shm) if shm else None,
            "gpus": [dataclasses.asdict(card) for card in cards],
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        return 0
    lines = [
        ("system", f"{platform.platform()}, Python {platform.python_version()}"),
        ("cores", f"{cores()} usable by this process"),
        ("memory", f"{size(main.total_bytes)}, {size(main.free_bytes)} available" if main else "unknown"),
        ("shm", f"{size(shm.total_bytes)}, {size(shm.free_bytes)} free" if shm else "missing"),
    ]
    lines += [
        (f"gpu {card.index}", f"{card.name}, {size(card.memory_bytes)}, driver {card.driver}, {card.uuid}")
        for card in cards
    ]
    if not cards:
        lines.append(("gpu", "none that NVML sees"))
    sys.stdout.writelines(f"{name:<8}{shown(text)}\n" for name, text in lines)
    return 0
