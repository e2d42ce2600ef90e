"""What ``dualface probe`` shows, as lines of a name and a text."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dualface_ray.cli.text import shown, size
from dualface_ray.hardware import (
    CardProbe,
    DiskFacts,
    DriverFacts,
    EngineFacts,
    LibraryFacts,
    Profile,
    Row,
    Unknown,
    cores,
    memory,
    session_text,
    shared_memory,
)

Lines = list[tuple[str, str]]


def machine_lines(driver: DriverFacts) -> Lines:
    """System, cores, memory, driver."""
    main, shm = memory(), shared_memory()
    lines = [
        ("system", f"{platform.platform()}, Python {platform.python_version()}"),
        ("cores", f"{cores()} usable by this process"),
        ("memory", f"{size(main.total_bytes)}, {size(main.free_bytes)} available" if main else "unknown"),
        ("shm", f"{size(shm.total_bytes)}, {size(shm.free_bytes)} free" if shm else "missing"),
    ]
    if driver.cards:
        lines.append(("driver", f"{driver.driver}, speaks CUDA up to {driver.cuda}"))
    if driver.error or not driver.cards:
        lines.append(("gpu", f"none that NVML sees ({driver.error})" if not driver.cards else driver.error))
    return lines


def card_lines(probe: CardProbe, profile: Profile | None) -> Lines:
    """One card and its engines."""
    card = probe.card
    vram = card.vram_bytes if isinstance(card.vram_bytes, Unknown) else size(card.vram_bytes)
    used = card.used_bytes if isinstance(card.used_bytes, Unknown) else size(card.used_bytes)
    lines = [(f"gpu {card.index}", f"{card.name}, {vram}, {used} in use, {card.uuid}")]
    lines.append(("", f"profile {profile.name if profile else 'none packaged'}, compute {card.compute_capability}"))
    lines.append(("", f"MIG {_switch(card.mig)}, ECC {_switch(card.ecc)}, uncorrected errors: {card.ecc_errors}"))
    busy = [("GPU", card.gpu_share), ("NVDEC", card.nvdec_share), ("NVENC", card.nvenc_share)]
    lines.append(("", "busy: " + ", ".join(f"{name} {_share(share)}" for name, share in busy)))
    lines.append(("", _processes(probe)))
    lines.append(("decoding", _engines(probe.decoding)))
    lines.append(("encoding", _engines(probe.encoding)))
    found = probe.sessions
    lines.append(("sessions", str(found) if isinstance(found, Unknown) else session_text(found)))
    if not isinstance(found, Unknown) and found.disturbed:
        lines.append(("", "note: other programs used the card meanwhile; end them and probe again for a sure count"))
    return lines


def library_lines(found: LibraryFacts) -> Lines:
    """Versions, then what does not open."""
    lines = [("versions" if not n else "", f"{name} {value}") for n, (name, value) in enumerate(found.versions.items())]
    closed = [trouble if name in trouble else f"{name}: {trouble}" for name, trouble in found.opened.items() if trouble]
    closed = closed or ["all of the driver's libraries open"]
    return lines + [("" if n else "libraries", text) for n, text in enumerate(closed)]


def disk_line(found: DiskFacts) -> str:
    """Speed and how it was read."""
    free = found.free_bytes if isinstance(found.free_bytes, Unknown) else size(found.free_bytes)
    head = f"{found.folder} ({found.filesystem}), {free} free, reads "
    if isinstance(found.bytes_per_s, Unknown):
        return f"{head}{found.bytes_per_s}"
    return f"{head}{size(int(found.bytes_per_s))}/s ({size(found.read_bytes)} with {found.method})"


def node_options(node: Mapping[str, Any]) -> str:
    """What ``ray start`` takes for a node with such cards, for a shell."""
    labels = ",".join(f"{name}={value}" for name, value in node["labels"].items())
    resources = shlex.quote(json.dumps(node["resources"]))
    return f"ray start … --num-gpus={node['num_gpus']} --resources={resources} --labels={labels}"


def row_lines(rows: Sequence[Row]) -> list[str]:
    """A table: figure, profile, found, verdict."""
    if not rows:
        return []
    table = [("figure", "profile", "found", "verdict")]
    table += [(r.figure, r.profile, r.found, f"{r.verdict} ({r.note})" if r.note else r.verdict) for r in rows]
    table = [(shown(a), shown(b), shown(c), shown(d)) for a, b, c, d in table]
    widths = [min(60, max(len(line[n]) for line in table)) for n in range(3)]
    return ["  ".join([*(line[n].ljust(widths[n]) for n in range(3)), line[3]]).rstrip() for line in table]


def _engines(facts: EngineFacts) -> str:
    codecs = facts.codecs()
    if codecs == ():
        return "none" if facts.engines in (0, None) else f"no codec; {facts.engines} engines"
    limits = []
    for one in facts.limits:
        if one.supported is True:
            text = f"{one.codec} {one.bits} bit"
            if isinstance(one.max_width_px, int) and one.max_width_px:
                text += f" to {one.max_width_px}x{one.max_height_px}"
            limits.append(text)
    trouble = [str(codecs)] if isinstance(codecs, Unknown) else []
    if not limits:
        return "; ".join(trouble)
    head = f"{facts.engines} engine{'' if facts.engines == 1 else 's'}"
    return "; ".join([f"{head}: {', '.join(limits)}", *trouble])


def _processes(probe: CardProbe) -> str:
    found = probe.card.processes
    if isinstance(found, Unknown):
        return f"programs on it: {found}"
    if not found:
        return "no other program on it that NVML shows"
    parts = []
    for one in found[:6]:
        used = "memory unknown" if isinstance(one.memory_bytes, Unknown) else size(one.memory_bytes)
        parts.append(f"pid {one.pid} ({one.kind}, {used})")
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    return "other programs on it: " + ", ".join(parts) + more


def _switch(value: bool | Unknown) -> str:
    return str(value) if isinstance(value, Unknown) else "on" if value else "off"


def _share(value: float | Unknown) -> str:
    return str(value) if isinstance(value, Unknown) else f"{value:.0%}"
