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


def card_findings(card: CardFacts, share: float = _CARD_SHARE, *, mps: bool = False) -> Iterator[Finding]:
    """MIG, compute mode, other programs, memory in use.

    Args:
        card: a card or an instance of one.
        share: of its memory that a lane plans for.
        mps: NVIDIA's MPS runs.
    """
    name = f"gpu {card.label}"
    if card.mig is True and not card.instance:
        remedy = (
            f"nvidia-smi mig -i {card.index} -cgi PROFILE -C makes one; nvidia-smi -i {card.index} -mig 0 ends MIG."
        )
        yield Finding(name, "fail", "MIG is on, and no instance can be used: CUDA sees nothing of this card", remedy)
    if card.decoders == 0:
        remedy = "Use an instance with decoders (nvidia-smi mig -lgip, DEC), or lane.allow_cpu_decode=true."
        yield Finding(name, "fail", f"this instance ({card.name}) has no NVDEC", remedy)
    if card.compute_mode == "prohibited" or (card.compute_mode == "exclusive" and not mps):
        takes = "no program" if card.compute_mode == "prohibited" else "one process at a time, a lane has several"
        remedy = f"nvidia-smi -i {card.index} -c DEFAULT (as root)"
        more = "." if card.compute_mode == "prohibited" else ", or start MPS (nvidia-cuda-mps-control -d) before Ray."
        yield Finding(name, "fail", f"compute mode {card.compute_mode}: it takes {takes}", remedy + more)
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


def instances_finding(left: Sequence[CardFacts]) -> Finding | None:
    """Whether Ray, which counts cards, would leave instances of cards in MIG mode idle."""
    parts = [card for card in left if card.instance]
    cards = len({card.index for card in parts})
    if len(parts) <= cards:
        return None
    text = f"{len(parts)} instances of {cards} card{'s' if cards > 1 else ''} in MIG mode: Ray counts cards, "
    text += "so a run of its own has one lane a card, on the first instance"
    remedy = f"Name them to a Ray of yours: CUDA_VISIBLE_DEVICES=MIG-…,MIG-… ray start --num-gpus={len(parts)}."
    return Finding("mig", "note", text, remedy)


def engine_finding(probe: CardProbe) -> Finding:
    """Whether NVDEC answers."""
    name, codecs = f"decoding {probe.card.label}", probe.decoding.codecs()
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
        remedy = "WSL has CUDA IPC with some drivers only: run on Linux itself, or lane.backend=cpu."
        return Finding(name, "fail", outcome.why, remedy)
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
