"""LanePlan: everything a lane's actors are started with, and how a slot with its share becomes one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from actors.cluster.memory import Memory
from actors.cluster.slots import NVDEC, NVENC, Slot
from actors.cluster.snapshot import DRIVER_LABEL, NODE_ID_LABEL
from dualface_ray.backends import DevicePlan
from dualface_ray.errors import VramBudgetError
from dualface_ray.framing import layout_shape
from dualface_ray.hardware import ThreadBudget, thread_budget
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class LanePlan:
    """Everything a lane's actors are started with."""

    lane_id: str
    backend: str
    cores: int
    gpus: int
    streams: int
    """Videos at once."""
    threads: ThreadBudget
    pool_bytes: int
    """Of one decoder's pool."""
    pool_slots: int
    """Of one decoder's pool."""
    decoders: int = 1
    """Decoder actors, each with a pool of its own."""
    encoders: int = 1
    """Encoder actors."""
    node_id: str = ""
    """The Ray node it belongs to; empty = wherever there is room."""
    machine: str = ""
    profile: str = ""
    """Name of the card's static profile; empty without one."""
    encoder: str = ""
    """nvenc, cpu, or empty: the backend finds out."""
    encode_at_once: int = 0
    """Encoders on the CPU that may work at once in each encoder process; 0 = the backend finds out."""
    nvdec_sessions: int = 0
    nvenc_sessions: int = 0
    machine_sessions: int = -1
    """Encoder sessions that all cards of its machine may have together; 0 = no such cap, -1 = the backend finds out."""
    discard: bool = False
    """Benchmarks only: pictures are composed and thrown away, nothing is encoded or written."""
    speed: float = 1.0
    """First guess for the schedule, in seconds of video a second for the whole lane."""
    smaller: LanePlan | None = None
    """What the lane is started with again when its device memory did not suffice; None = nothing smaller is planned."""
    notes: tuple[str, ...] = ()
    """What is less than the first plan promised; it goes into the reports of the videos (degradations)."""
    memory: Memory | None = None
    """Of the card, added up; None on a CPU."""

    @property
    def bundle(self) -> dict[str, float]:
        """The lane's placement-group bundle."""
        bundle: dict[str, float] = {"CPU": float(self.cores)}
        if self.gpus:
            bundle["GPU"] = float(self.gpus)
        if self.nvdec_sessions:
            bundle[NVDEC] = float(self.nvdec_sessions)
        if self.nvenc_sessions:
            bundle[NVENC] = float(self.nvenc_sessions)
        return bundle

    def device_plan(self, role: str) -> DevicePlan:
        """What the plan tells the backend in a process of this lane.

        Args:
            role: ``decoder``, ``inference`` or ``encoder``.
        """
        found = DevicePlan()
        if self.memory is not None:
            found = self.memory.device_plan(role, self.encoder, self.nvenc_sessions)
        found = replace(found, sleeps=self.backend == "cuda" and self.encoder == "cpu" and not self.discard)
        if role != "encoder":
            return found
        return replace(found, encode_at_once=self.encode_at_once, machine_sessions=self.machine_sessions)

    def adapted(self, settings: Settings) -> Settings:
        """The job's settings as this lane works with them: a small card may get a smaller batch or look-ahead."""
        return self.memory.adapted(settings) if self.memory else settings

    @property
    def label_selector(self) -> list[dict[str, str]] | None:
        """``bundle_label_selector`` of its placement group: the planned node and no other."""
        return [{NODE_ID_LABEL: self.node_id}] if self.node_id else None

    @property
    def kind(self) -> str:
        """Lanes of one kind are about equally fast: what the schedule learns of one holds for the others at first."""
        return f"{self.profile or self.backend}/{self.encoder or 'any'}/{self.cores}/{self.streams}"

    @property
    def text(self) -> str:
        """One readable line."""
        what = self.backend if not self.profile else f"{self.backend} ({self.profile})"
        where = f"{self.gpus} GPU, " if self.gpus else ""
        encoders = f", {self.nvenc_sessions} encoder sessions" if self.nvenc_sessions else ""
        videos = "1 video at once" if self.streams == 1 else f"{self.streams} videos at once"
        memory = f", {self.memory.short}" if self.memory else ""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{self.lane_id}: {what}, {where}{cores}, {videos}{encoders}{memory}"


def planned(
    settings: Settings,
    slot: Slot,
    lane_id: str,
    needs: Sequence[VideoNeeds],
    memory_for: Callable[[Slot], Memory | VramBudgetError],
) -> LanePlan | VramBudgetError:
    """The lane of a slot, the largest that its card can hold; or why the card holds none of the videos.

    Args:
        settings: of the job.
        slot: with its share of cores and streams dealt out.
        lane_id: its name.
        needs: of the videos that wait.
        memory_for: what a lane may take of the slot's card.
    """
    if not slot.gpu:
        return _plan(settings, slot, lane_id, slot.streams, [need.host_bytes for need in needs])
    memory = memory_for(slot)
    return memory if isinstance(memory, VramBudgetError) else _on_card(settings, slot, lane_id, memory)


def _plan(settings: Settings, slot: Slot, lane_id: str, streams: int, ring_bytes: Sequence[int]) -> LanePlan:
    """A lane as its slot says, with a pool for the largest videos that it may hold at once."""
    pool_bytes = max(1, sum(sorted(ring_bytes, reverse=True)[:streams]))
    if settings.lane.pool_budget_bytes:
        pool_bytes = min(pool_bytes, settings.lane.pool_budget_bytes)
    return LanePlan(
        lane_id=lane_id,
        backend="cuda" if slot.gpu else "cpu",
        cores=slot.cores,
        gpus=1 if slot.gpu else 0,
        streams=streams,
        threads=thread_budget(slot.cores, streams),
        pool_bytes=pool_bytes,
        pool_slots=streams * settings.quota_frames(Fraction(settings.input.max_fps)),
        node_id=slot.node.node_id,
        machine=slot.node.machine,
        profile=slot.profile.name if slot.profile else "",
        encoder=slot.encoder,
        nvdec_sessions=streams * slot.decoder_sessions,
        nvenc_sessions=streams * slot.encoder_sessions,
        machine_sessions=_machine_sessions(slot),
        speed=slot.speed if slot.gpu else slot.speed * slot.cores,
    )


def _machine_sessions(slot: Slot) -> int:
    """What the profile says of all cards of the machine together; -1 without one."""
    if slot.profile is None:
        return -1
    cap = slot.profile.session_cap(slot.node.labels.get(DRIVER_LABEL, "")) if slot.shares_machine_cap else None
    return cap or 0


def _on_card(settings: Settings, slot: Slot, lane_id: str, memory: Memory) -> LanePlan:
    """A lane within this memory, with the ever smaller ones that it may be started again with."""
    shape, smaller = memory.plan.shape, memory.smaller()
    each = -(-shape.streams // shape.decoders)
    found = _plan(settings, slot, lane_id, shape.streams, [])
    files = len(layout_shape(settings).canvases)
    threads = replace(found.threads, encode=thread_budget(slot.cores, shape.streams * files).encode)
    return replace(
        found,
        threads=threads,
        encode_at_once=encoders_at_once(slot.cores, threads.encode, shape.streams * files, shape.encoders),
        pool_bytes=shape.arena_bytes,
        pool_slots=each * settings.quota_frames(Fraction(settings.input.max_fps)),
        decoders=shape.decoders,
        encoders=shape.encoders,
        memory=memory,
        notes=memory.notes,
        smaller=None if smaller is None else _on_card(settings, slot, lane_id, smaller),
    )


def encoders_at_once(cores: int, threads: int, sessions: int, processes: int) -> int:
    """Encoders on the CPU that may work at once in each encoder process of a lane.

    Together they are to keep to the lane's cores, for the threads that feed the card need theirs, and to leave none of
    them idle, however the streams are spread. A session is encoded by one worker at a time, so where all sessions
    together need no more than the cores, as in plans that nobody has changed, no process needs a limit of its own: a
    part for each would have five streams wait in one process for the core that three in another leave. Where they
    need more (two files a video, or streams that the settings ask for), each process gets its part, rounded up: a
    full lane deals its streams evenly, so every process has more sessions than its part.

    The profile's ``lane.cores`` is in ``cores`` where lanes on the CPU share the node. Its ``lane.encoders`` is not
    asked: it counts what NVENC, or a machine with just those cores, does at once.

    Args:
        cores: of the lane.
        threads: of one encoder.
        sessions: encoders that are open at once in the whole lane: its streams, by the files of each.
        processes: encoder processes.
    """
    most = max(1, cores // max(1, threads))
    return most if sessions <= most else -(-most // max(1, processes))
