"""Hardware: what this machine has and how a lane shares it.

    affinity, cgroup ─► cores ─┐
    streams of the lane ───────┴─► thread_budget ─► ThreadBudget (decode, infer, encode, compose)
    /dev/shm ─► shared_memory;  /proc ─► memory_bytes;  NVML, where there is one ─► gpus, GpuMeter
    configs/profiles/<card>.yaml ─► load_profile ─► Profile (each figure with its source) ─► declared, node_labels
    probe_* ─ a process for each part ─► facts ─► compare, measured_profile (figures);  *_finding ─► Finding

Looks and computes; changes nothing and never fails because something is absent; only a profile that is asked for and
missing, damaged or unverified is an error. ``probe_*`` run when somebody asks for them, never behind the user's back.
May not know frames, videos or Ray.
"""

from __future__ import annotations

from dualface_ray.hardware.checks import (
    Finding,
    age_findings,
    capability_finding,
    cupy_findings,
    driver_finding,
    library_findings,
    module_findings,
    mps_finding,
    order_finding,
    visible_finding,
)
from dualface_ray.hardware.checks_card import (
    card_findings,
    descriptors_finding,
    engine_finding,
    folder_finding,
    instances_finding,
    ipc_finding,
    profile_findings,
)
from dualface_ray.hardware.checks_health import health_findings
from dualface_ray.hardware.compare import Row, compare, compare_cpu, confirmed, session_text
from dualface_ray.hardware.cores import cores
from dualface_ray.hardware.declared import Declared, declared
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
from dualface_ray.hardware.labels import node_labels, profile_of
from dualface_ray.hardware.measured import measured_cpu_profile, measured_profile, profile_text
from dualface_ray.hardware.memory import Space, memory, shared_memory
from dualface_ray.hardware.meter import GpuMeter, GpuReading
from dualface_ray.hardware.probing import (
    probe_card,
    probe_disk,
    probe_driver,
    probe_ipc,
    probe_libraries,
)
from dualface_ray.hardware.profiles import (
    Profile,
    check_verified,
    load_profile,
    profile_for,
    profile_named,
    profile_names,
    read_profile,
)
from dualface_ray.hardware.surroundings import FolderFacts, Surroundings, folder_facts, surroundings
from dualface_ray.hardware.threads import ThreadBudget, thread_budget
from dualface_ray.hardware.visible import unsure_order, visible

__all__ = [
    "CardFacts",
    "CardProbe",
    "CodecLimits",
    "Declared",
    "DiskFacts",
    "DriverFacts",
    "EngineFacts",
    "Finding",
    "FolderFacts",
    "Gpu",
    "GpuMeter",
    "GpuReading",
    "LibraryFacts",
    "Process",
    "Profile",
    "Row",
    "SessionFacts",
    "Space",
    "Surroundings",
    "ThreadBudget",
    "Unknown",
    "age_findings",
    "capability_finding",
    "card_findings",
    "check_verified",
    "compare",
    "compare_cpu",
    "confirmed",
    "cores",
    "cupy_findings",
    "declared",
    "descriptors_finding",
    "driver_finding",
    "engine_finding",
    "folder_facts",
    "folder_finding",
    "gpus",
    "health_findings",
    "instances_finding",
    "ipc_finding",
    "library_findings",
    "load_profile",
    "measured_cpu_profile",
    "measured_profile",
    "memory",
    "module_findings",
    "mps_finding",
    "node_labels",
    "order_finding",
    "plain",
    "probe_card",
    "probe_disk",
    "probe_driver",
    "probe_ipc",
    "probe_libraries",
    "profile_findings",
    "profile_for",
    "profile_named",
    "profile_names",
    "profile_of",
    "profile_text",
    "read_profile",
    "session_text",
    "shared_memory",
    "surroundings",
    "thread_budget",
    "unsure_order",
    "visible",
    "visible_finding",
]
