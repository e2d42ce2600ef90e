"""Lane plans: how many lanes, on what, with which share of the machine. Pure functions of settings and a snapshot.

snapshot, profiles ─► candidates ─► best first, spread over machines ─► open one video each ─► deal the rest ─► plans
                          └─ why a card cannot be used: reasons ─► PlacementError when nothing at all can run
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

from actors.cluster.candidates import Candidates, find_candidates
from actors.cluster.memory import Card, CardOf, Memory, Need, card_of, first_memory, needs_of
from actors.cluster.slots import NVDEC, NVENC, Slot, Stock
from actors.cluster.snapshot import NODE_ID_LABEL, ClusterSnapshot, NodeSnapshot, snapshot_of
from dualface_ray.backends import DevicePlan
from dualface_ray.errors import PlacementError, VramBudgetError
from dualface_ray.hardware import Profile, ThreadBudget, load_profile, thread_budget
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import Settings

__all__ = ["ClusterSnapshot", "Decision", "LanePlan", "NodeSnapshot", "decide", "plan_lanes", "snapshot_of"]

Profiles = Callable[[str], Profile]


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
    nvdec_sessions: int = 0
    nvenc_sessions: int = 0
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
        return self.memory.device_plan(role, self.encoder, self.nvenc_sessions) if self.memory else DevicePlan()

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


@dataclass(frozen=True, slots=True)
class Decision:
    """Lanes to start, and why other cards or cores stay idle (one sentence each)."""

    lanes: tuple[LanePlan, ...]
    idle: tuple[str, ...] = ()
    error: VramBudgetError | None = None
    """Why a card cannot hold even one of the videos; None = each that was chosen can."""


def plan_lanes(
    settings: Settings,
    snapshot: ClusterSnapshot,
    ring_bytes: Sequence[Need],
    profiles: Profiles = load_profile,
    cards: CardOf = card_of,
) -> list[LanePlan]:
    """Decide the lanes of a job.

    One lane a GPU, or one a node on the CPU unless ``lane.count`` says otherwise; never more lanes than videos. What
    others have reserved is left to them; when nothing is free, the lanes are planned as if it were and wait for it.

    Args:
        settings: of the job.
        snapshot: what the cluster declares.
        ring_bytes: for each video, what it takes (a plain number: the bytes of its frames in any pool).
        profiles: static profiles by name.
        cards: memory of a node's cards.

    Raises:
        VramBudgetError: no card holds even one of the videos; with every item of the sum.
        PlacementError: the settings ask for a device, cores or sessions that the cluster does not declare; the message
            names the resource, who declares it, and how to.
        ProfileError: a node names a profile that does not exist or that nobody has verified.
    """
    if not ring_bytes:
        return []
    candidates = find_candidates(settings, snapshot, profiles)
    count, gpus = settings.lane.count, snapshot.total("GPU")
    if candidates.backend == "cuda" and settings.lane.join_cpu == "none" and count > gpus:
        raise PlacementError(
            f"{count} lanes but {gpus:g} GPUs", where="lane.count", remedy="Ask for fewer lanes, or set lane.join_cpu."
        )
    decision = decide(settings, snapshot.idle(), ring_bytes, profiles, cards=cards)
    whole = decision.lanes
    if not whole or (candidates.backend == "cpu" and len(whole) < min(count, len(ring_bytes))):
        raise decision.error or candidates.nothing_fits()
    return list(decide(settings, snapshot, ring_bytes, profiles, cards=cards).lanes or whole)


def decide(
    settings: Settings,
    snapshot: ClusterSnapshot,
    ring_bytes: Sequence[Need],
    profiles: Profiles = load_profile,
    *,
    first_number: int = 0,
    at_most: int | None = None,
    cards: CardOf = card_of,
) -> Decision:
    """The lanes that can start in what nobody has reserved; none at all is no error here.

    Args:
        settings: of the job.
        snapshot: what the cluster declares and what of it is taken.
        ring_bytes: for each video that waits, what it takes (a plain number: the bytes of its frames in any pool).
        profiles: static profiles by name.
        first_number: of the lane ids.
        at_most: lanes, besides ``lane.count`` and the number of videos.
        cards: memory of a node's cards.
    """
    videos = len(ring_bytes)
    candidates = find_candidates(settings, snapshot, profiles)
    limit = min(n for n in (videos, settings.lane.count or videos, at_most) if n is not None)
    idle = list(candidates.reasons)
    stock = Stock.of(snapshot, candidates.slots)
    least = settings.lane.cores or 1
    chosen: list[Slot] = []
    for slot in _preferred(candidates.slots):
        if len(chosen) == limit:
            break
        missing = stock.open(slot, least)
        if missing:
            idle.append(f"{slot.node.name}: one {_what(slot)} waits for {missing}")
        else:
            chosen.append(slot)
    _share_cores(settings, chosen, candidates)
    stock.deal(chosen, videos)
    needs = needs_of(ring_bytes)

    @cache  # lanes are mostly alike, and there may be thousands of videos
    def memory_of(card: Card, streams: int, decoders: int) -> Memory | VramBudgetError:
        return first_memory(settings, needs, card, streams=streams, decoders=decoders)

    def memory_for(slot: Slot) -> Memory | VramBudgetError:
        decoders = slot.profile.lane.decoders.value if slot.profile else 1
        return memory_of(cards(slot.node, slot.profile), slot.streams, decoders)

    plans: list[LanePlan] = []
    error: VramBudgetError | None = None
    for slot in chosen:
        plan = _planned(settings, slot, f"lane-{first_number + len(plans)}", needs, memory_for)
        if isinstance(plan, LanePlan):
            plans.append(plan)
        else:
            error = error or plan
            idle.append(f"{slot.node.name}: one {_what(slot)} stays out: {plan.what}")
    return Decision(tuple(plans), tuple(dict.fromkeys(idle)), error)


def _preferred(slots: Sequence[Slot]) -> list[Slot]:
    """Cards before cores, then one of each machine before the second of any (they share caps), faster ones first."""
    seen: dict[str, int] = {}
    order: list[tuple[bool, int, float, str, int, Slot]] = []
    for slot in sorted(slots, key=lambda s: (not s.gpu, -s.speed, s.node.node_id)):
        turn = seen[slot.node.machine] = seen.get(slot.node.machine, 0) + 1
        order.append((not slot.gpu, turn, -slot.speed, slot.node.node_id, len(order), slot))
    return [entry[-1] for entry in sorted(order, key=lambda entry: entry[:-1])]


def _share_cores(settings: Settings, chosen: Sequence[Slot], candidates: Candidates) -> None:
    """Divide each node's free cores over its slots; a lane on a card takes no more than its profile where others wait.

    Lanes that encode on the CPU, or run there, take no more streams than their cores can feed.
    """
    by_node: dict[str, list[Slot]] = {}
    for slot in chosen:
        by_node.setdefault(slot.node.node_id, []).append(slot)
    for slots in by_node.values():
        left, mixed = int(slots[0].node.free("CPU")), len({slot.gpu for slot in slots}) > 1
        for place, slot in enumerate(slots):
            share = left // (len(slots) - place)
            if mixed and slot.gpu and slot.profile is not None:
                share = min(share, slot.profile.lane.cores.value)
            slot.cores = settings.lane.cores or max(1, share)
            left -= slot.cores
            if not settings.lane.streams:
                if not slot.gpu:
                    slot.most_streams = max(1, slot.cores // 2)
                elif slot.encoder == "cpu":
                    slot.most_streams = min(slot.most_streams, slot.cores)


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
        speed=slot.speed if slot.gpu else slot.speed * slot.cores,
    )


def _planned(
    settings: Settings,
    slot: Slot,
    lane_id: str,
    needs: Sequence[VideoNeeds],
    memory_for: Callable[[Slot], Memory | VramBudgetError],
) -> LanePlan | VramBudgetError:
    """The lane of a slot, the largest that its card can hold; or why the card holds none of the videos."""
    if not slot.gpu:
        return _plan(settings, slot, lane_id, slot.streams, [need.host_bytes for need in needs])
    memory = memory_for(slot)
    return memory if isinstance(memory, VramBudgetError) else _on_card(settings, slot, lane_id, memory)


def _on_card(settings: Settings, slot: Slot, lane_id: str, memory: Memory) -> LanePlan:
    """A lane within this memory, with the ever smaller ones that it may be started again with."""
    shape, smaller = memory.plan.shape, memory.smaller()
    each = -(-shape.streams // shape.decoders)
    return replace(
        _plan(settings, slot, lane_id, shape.streams, []),
        pool_bytes=shape.arena_bytes,
        pool_slots=each * settings.quota_frames(Fraction(settings.input.max_fps)),
        decoders=shape.decoders,
        encoders=shape.encoders,
        memory=memory,
        notes=memory.notes,
        smaller=None if smaller is None else _on_card(settings, slot, lane_id, smaller),
    )


def _what(slot: Slot) -> str:
    return slot.profile.card if slot.gpu and slot.profile else "GPU" if slot.gpu else "CPU lane"
