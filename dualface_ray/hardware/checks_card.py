"""The doctor's rules about one card, its profile, IPC, limits and folders: facts in, findings out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dualface_ray.hardware.checks import Finding
from dualface_ray.hardware.compare import Row
from dualface_ray.hardware.facts import CardFacts, CardProbe, Maybe, Unknown
from dualface_ray.hardware.profiles import Profile
from dualface_ray.hardware.surroundings import FolderFacts, Surroundings

_FEW_DESCRIPTORS, _MANY_DESCRIPTORS = 1024, 4096
"""Ray's daemons alone hold some hundred files; its own advice for clusters is 65536."""
_CARD_SHARE = 0.65
"""Part of a card that lanes plan for by default (``lane.vram_share``)."""
_FEW_INODES = 1000


def card_findings(card: CardFacts, share: float = _CARD_SHARE) -> Iterator[Finding]:
    """MIG, memory errors, other programs, memory in use."""
    name = f"gpu {card.index}"
    if card.mig is True:
        remedy = f"nvidia-smi -i {card.index} -mig 0 (as root, with nothing running on it)."
        yield Finding(name, "fail", "MIG is on: its slices share no IPC and not every decoder engine", remedy)
    if isinstance(card.ecc_errors, int) and card.ecc_errors > 0:
        text = f"{card.ecc_errors} uncorrected memory errors since the driver was loaded"
        yield Finding(name, "warn", text, "Reset the card (nvidia-smi -r) or reboot; if they come back, replace it.")
    if isinstance(card.processes, tuple) and card.processes:
        pids = ", ".join(str(one.pid) for one in card.processes[:6])
        text = f"{len(card.processes)} other programs use it (pid {pids})"
        yield Finding(name, "warn", text, "End them, or expect less speed and fewer encoder sessions.")
    if isinstance(card.used_bytes, int) and isinstance(card.vram_bytes, int) and card.vram_bytes:
        used = card.used_bytes / card.vram_bytes
        if used > 1 - share:
            text = f"{used:.0%} of its memory is in use; a lane plans for {share:.0%}"
            yield Finding(name, "warn", text, "End other programs on it, or lower lane.vram_share.")
    unknown = [
        label
        for label, value in (("name", card.name), ("uuid", card.uuid), ("memory", card.vram_bytes))
        if isinstance(value, Unknown)
    ]
    if unknown:
        yield Finding(name, "warn", f"NVML does not tell its {', '.join(unknown)}", "See nvidia-smi -q.")


def engine_finding(probe: CardProbe) -> Finding:
    """Whether NVDEC answers."""
    name, codecs = f"decoding {probe.card.index}", probe.decoding.codecs()
    if isinstance(codecs, Unknown):
        return Finding(name, "fail", f"NVDEC cannot be asked: {codecs.why}", "See the checks of libraries above.")
    if "h264" not in codecs:
        return Finding(name, "fail", "NVDEC does not decode H.264 here", "Set lane.backend=cpu for this machine.")
    return Finding(name, "ok", f"{probe.decoding.engines} engines: {', '.join(codecs)}")


def profile_findings(profile: Profile | None, rows: Sequence[Row], card: CardFacts) -> Iterator[Finding]:
    """Each figure of the profile that does not fit this card, and whether anybody has verified it."""
    name = f"profile {profile.name}" if profile else "profile"
    if profile is None:
        text = f"there is none for {card.name}; it is planned without session counting"
        yield Finding(name, "note", text, "dualface probe --output mine.yaml, then --set lane.profile=mine.yaml")
        return
    wrong = [row for row in rows if row.verdict == "differs"]
    for row in wrong:
        text = f"{row.figure}: the profile says {row.profile}, this machine {row.found}"
        remedy = "Choose the profile of this card."
        if row.figure != "card":
            remedy = "dualface probe --output mine.yaml, then --set lane.profile=mine.yaml"
        yield Finding(name, "fail", text, remedy)
    if not wrong:
        yield Finding(name, "ok", "nothing in it contradicts this machine")
    if profile.verified is None:
        text = "nobody has verified it on a real card; jobs refuse it"
        remedy = "dualface probe --verify --output mine.yaml, or lane.allow_unverified_profile=true"
        yield Finding(name, "note", text, remedy)


def ipc_finding(outcome: Maybe[str], around: Surroundings) -> Finding:
    """Whether device memory travels between processes, which every GPU lane needs."""
    name = "cuda ipc"
    if not isinstance(outcome, Unknown):
        return Finding(name, "ok", "memory of one process was read by another")
    if around.wsl:
        return Finding(name, "fail", outcome.why, "WSL has no CUDA IPC: run on Linux itself, or lane.backend=cpu.")
    hints = ["Run all processes of a lane as one user in one container, without a profile that forbids it (seccomp)"]
    if isinstance(around.ptrace_scope, int) and around.ptrace_scope >= 2:
        hints.append(
            f"try kernel.yama.ptrace_scope=1: {around.ptrace_scope} forbids pidfd_getfd, which drivers may use"
        )
    return Finding(name, "fail", outcome.why, "; ".join(hints) + ".")


def descriptors_finding(around: Surroundings) -> Finding:
    """Whether enough files may be open: Ray's processes and one shared-memory file per pool."""
    name, soft, hard = "open files", around.descriptors, around.most_descriptors
    text = f"at most {soft} at once" if soft >= 0 else "no limit"
    if soft < 0 or soft >= _MANY_DESCRIPTORS:
        return Finding(name, "ok", text)
    may = hard < 0 or hard >= _MANY_DESCRIPTORS
    remedy = (
        "ulimit -n 65536"
        if may
        else "Raise the hard limit: /etc/security/limits.conf, or docker run --ulimit nofile=65536."
    )
    return Finding(name, "warn" if soft >= _FEW_DESCRIPTORS else "fail", text, remedy)


def folder_finding(name: str, facts: FolderFacts, need_bytes: int) -> Finding:
    """Whether a folder can be written to and has room."""
    if facts.trouble:
        return Finding(name, "fail", f"{facts.path}: {facts.trouble}", "Use a folder that can be written to.")
    if isinstance(facts.free_bytes, Unknown):
        return Finding(name, "warn", f"{facts.path}: free space {facts.free_bytes}", "Check it with df.")
    text = f"{facts.free_bytes / 2**30:.1f} GiB free in {facts.path}"
    if facts.free_bytes < need_bytes:
        need = f"{need_bytes / 2**20:.0f} MiB"
        return Finding(name, "fail", text, f"Free at least {need}, or lower job.min_free_disk_bytes.")
    if isinstance(facts.free_inodes, int) and 0 <= facts.free_inodes < _FEW_INODES:
        return Finding(name, "warn", f"{text}, but room for {facts.free_inodes} files only", "Remove files (df -i).")
    return Finding(name, "ok", text)
