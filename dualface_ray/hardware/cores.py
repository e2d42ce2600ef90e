"""How many cores this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores this process may use: its CPU affinity, and no more than its control group's quota; at least 1.

    ``os.cpu_count`` says what the machine has; in a container with a quota that starts far too many threads.
    """
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, granted if quota is None else min(granted, math.ceil(quota)))


def cgroup_quota(root: Path = _CGROUPS, own: Path = _OWN) -> float | None:
    """The smallest CPU quota of this process's control group and the groups above it, in cores; None = unlimited.

    Version 2 says ``<microseconds or max> <period>`` in ``cpu.max``, version 1 has ``cpu.cfs_quota_us`` (-1 for
    unlimited) and ``cpu.cfs_period_us`` (kernel documentation, cgroup-v2 and sched-bwc). Inside a container the own
    group is usually mounted as the root, so the root is always looked at too.

    Args:
        root: where control groups are mounted.
        own: the file that names this process's groups.
    """
    found = [_v2(folder) for folder in _folders(root, own, "")]
    for controller in ("cpu", "cpu,cpuacct"):
        found += [_v1(folder) for folder in _folders(root / controller, own, "cpu")]
    limits = [quota for quota in found if quota is not None]
    return min(limits) if limits else None


def _folders(root: Path, own: Path, controller: str) -> list[Path]:
    """The group of this process below ``root`` and every group above it, ``root`` included."""
    folders = [root]
    for line in _read(own).splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        wanted = controller in names.split(",") if controller else number == "0" and not names
        if wanted and ".." not in PurePosixPath(path).parts:
            group = root
            for part in PurePosixPath(path).parts[1:]:
                group = group / part
                folders.append(group)
    return folders


def _v2(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()
    return _ratio(words[0], words[1]) if len(words) == 2 else None


def _v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip())


def _ratio(quota_us: str, period_us: str) -> float | None:
    """Cores of a quota, or None for ``max``, -1 and anything unreadable."""
    if not (quota_us.isdecimal() and period_us.isdecimal() and int(quota_us) and int(period_us)):
        return None
    return int(quota_us) / int(period_us)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
