"""Hardware: what this machine has and how a lane shares it.

    affinity, cgroup ─► cores ─┐
    streams of the lane ───────┴─► thread_budget ─► ThreadBudget (decode, infer, encode, compose)
    /dev/shm ─► shared_memory;  /proc ─► memory_bytes;  NVML, where there is one ─► gpus, GpuMeter
    configs/profiles/<card>.yaml ─► load_profile ─► Profile (static figures, each with its source)

Looks and computes; changes nothing and never fails because something is absent; only a profile that is asked for and
missing, damaged or unverified is an error. May not know frames, videos or Ray.
"""

from __future__ import annotations

from dualface_ray.hardware.cores import cores
from dualface_ray.hardware.gpus import Gpu, gpus
from dualface_ray.hardware.memory import Space, memory, shared_memory
from dualface_ray.hardware.meter import GpuMeter, GpuReading
from dualface_ray.hardware.profiles import (
    Profile,
    check_verified,
    load_profile,
    profile_for,
    profile_names,
    read_profile,
)
from dualface_ray.hardware.threads import ThreadBudget, thread_budget

__all__ = [
    "Gpu",
    "GpuMeter",
    "GpuReading",
    "Profile",
    "Space",
    "ThreadBudget",
    "check_verified",
    "cores",
    "gpus",
    "load_profile",
    "memory",
    "profile_for",
    "profile_names",
    "read_profile",
    "shared_memory",
    "thread_budget",
]
