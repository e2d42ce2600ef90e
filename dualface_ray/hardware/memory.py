"""Main memory, and shared memory, which the CPU lane's pools are made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SHM = Path("/dev/shm")  # noqa: S108 - POSIX shared memory lives there; nothing is written here
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Space:
    """Room of one kind, in bytes."""

    total_bytes: int
    free_bytes: int


def shared_memory(path: Path = _SHM) -> Space | None:
    """Size and free room of /dev/shm, or None where there is none (then a CPU lane cannot run)."""
    try:
        state = os.statvfs(path)
    except OSError:
        return None
    return Space(total_bytes=state.f_frsize * state.f_blocks, free_bytes=state.f_frsize * state.f_bavail)


def memory(path: Path = _MEMINFO) -> Space | None:
    """Main memory and what of it programs can still get (``MemAvailable``), or None where the kernel does not say."""
    fields: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[0].isdecimal() and words[1] == "kB":
            fields[name] = int(words[0]) * 1024
    if "MemTotal" not in fields or "MemAvailable" not in fields:
        return None
    return Space(total_bytes=fields["MemTotal"], free_bytes=fields["MemAvailable"])
