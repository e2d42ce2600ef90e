"""Hardware: what this machine has and how a lane shares it.

    affinity, cgroup ─► cores ─┐
    streams of the lane ───────┴─► thread_budget ─► ThreadBudget (decode, infer, encode, compose)
    /dev/shm ─► shared_memory;  /proc ─► memory_bytes;  NVML, where there is one ─► gpus, GpuMeter
    configs/profiles/<card>.yaml ─► load_profile ─► Profile (static figures, each with its source)
    probe_* ─ a process for each part ─► facts ─► compare, measured_profile (figures);  examine_machine ─► Finding

Looks and computes; changes nothing and never fails because something is absent; only a profile that is asked for and
missing, damaged or unverified is an error. ``probe_*`` run when somebody asks for them, never behind the user's back.
May not know frames, videos or Ray.
"""

from __future__ import annotations

from dualface_ray.hardware.cores import cores
from dualface_ray.hardware.facts import (
    CardFacts,
    CardProbe,
    CodecLimits,
    DiskFacts,
    DriverFacts,
    EngineFacts,
    LibraryFacts,
    Process,
    SessionFacts,
    Unknown,
    plain,
)
from dualface_ray.hardware.gpus import Gpu, gpus
from dualface_ray.hardware.measured import (
    Row,
    compare,
    compare_cpu,
    confirmed,
    measured_cpu_profile,
    measured_profile,
    profile_text,
    session_text,
)
from dualface_ray.hardware.memory import Space, memory, shared_memory
from dualface_ray.hardware.meter import GpuMeter, GpuReading
from dualface_ray.hardware.probing import (
    probe_card,
    probe_disk,
    probe_driver,
    probe_ipc,
    probe_libraries,
    visible,
)
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
    "CardFacts",
    "CardProbe",
    "CodecLimits",
    "DiskFacts",
    "DriverFacts",
    "EngineFacts",
    "Gpu",
    "GpuMeter",
    "GpuReading",
    "LibraryFacts",
    "Process",
    "Profile",
    "Row",
    "SessionFacts",
    "Space",
    "ThreadBudget",
    "Unknown",
    "check_verified",
    "compare",
    "compare_cpu",
    "confirmed",
    "cores",
    "gpus",
    "load_profile",
    "measured_cpu_profile",
    "measured_profile",
    "memory",
    "plain",
    "probe_card",
    "probe_disk",
    "probe_driver",
    "probe_ipc",
    "probe_libraries",
    "profile_for",
    "profile_names",
    "profile_text",
    "read_profile",
    "session_text",
    "shared_memory",
    "thread_budget",
    "visible",
]
