"""Lane plans: how many lanes, on what, with which share of the machine. Pure functions of settings and a snapshot.

snapshot, profiles ─► candidates ─► best first, spread over machines ─► open one video each ─► deal the rest ─► plans
                          └─ why a card cannot be used: reasons ─► PlacementError when nothing at all can run
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from actors.candidates import Candidates, find_candidates
from actors.slots import NVDEC, NVENC, Slot, Stock
from actors.snapshot import NODE_ID_LABEL, ClusterSnapshot, NodeSnapshot, snapshot_of
from dualface_ray.errors import PlacementError
from dualface_ray.hardware import Profile, ThreadBudget, load_profile, thread_budget
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
        return f"{self.lane_id}: {what}, {where}{self.cores} cores, {videos}{encoders}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Lanes to start, and why other cards or cores stay idle (one sentence each)."""

    lanes: tuple[LanePlan, ...]
    idle: tuple[str, ...] = ()


def plan_lanes(
    settings: Settings, snapshot: ClusterSnapshot, ring_bytes: Sequence[int], profiles: Profiles = load_profile
) -> list[LanePlan]:
    """Decide the lanes of a job.

    One lane a GPU, or one a node on the CPU unless ``lane.count`` says otherwise; never more lanes than videos. What
    others have reserved is left to them; when nothing is free, the lanes are planned as if it were and wait for it.

    Args:
        settings: of the job.
        snapshot: what the cluster declares.
        ring_bytes: for each video, what its frames take in a pool.
        profiles: static profiles by name.

    Raises:
        PlacementError: the settings ask for a device, cores or sessions that the cluster does not declare; the message
            names the resource, who declares it, and how to.
        ProfileError: a node names a profile that does not exist or that nobody has verified.
    """
    if not ring_bytes:
        return []
    candidates = find_candidates(settings, snapshot, profiles)
    count, cards = settings.lane.count, snapshot.total("GPU")
    if candidates.backend == "cuda" and settings.lane.join_cpu == "none" and count > cards:
        raise PlacementError(
            f"{count} lanes but {cards:g} GPUs", where="lane.count", remedy="Ask for fewer lanes, or set lane.join_cpu."
        )
    whole = decide(settings, snapshot.idle(), ring_bytes, profiles).lanes
    if not whole or (candidates.backend == "cpu" and len(whole) < min(count, len(ring_bytes))):
        raise candidates.nothing_fits()
    return list(decide(settings, snapshot, ring_bytes, profiles).lanes or whole)


def decide(
    settings: Settings,
    snapshot: ClusterSnapshot,
    ring_bytes: Sequence[int],
    profiles: Profiles = load_profile,
    *,
    first_number: int = 0,
    at_most: int | None = None,
) -> Decision:
    """The lanes that can start in what nobody has reserved; none at all is no error here.

    Args:
        settings: of the job.
        snapshot: what the cluster declares and what of it is taken.
        ring_bytes: for each video that waits, what its frames take in a pool.
        profiles: static profiles by name.
        first_number: of the lane ids.
        at_most: lanes, besides ``lane.count`` and the number of videos.
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
    plans = [_plan(settings, slot, first_number + number, ring_bytes) for number, slot in enumerate(chosen)]
    return Decision(tuple(plans), tuple(dict.fromkeys(idle)))


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


def _plan(settings: Settings, slot: Slot, number: int, ring_bytes: Sequence[int]) -> LanePlan:
    streams = slot.streams
    decoders = min(streams, slot.profile.lane.decoders.value if slot.gpu and slot.profile else 1)
    each = -(-streams // decoders)
    pool_bytes = max(1, sum(sorted(ring_bytes, reverse=True)[:each]))
    if settings.lane.pool_budget_bytes:
        pool_bytes = min(pool_bytes, settings.lane.pool_budget_bytes // decoders)
    elif slot.gpu and slot.profile is not None:
        pool_bytes = min(pool_bytes, int(slot.profile.vram_bytes.value * settings.lane.vram_share / decoders))
    return LanePlan(
        lane_id=f"lane-{number}",
        backend="cuda" if slot.gpu else "cpu",
        cores=slot.cores,
        gpus=1 if slot.gpu else 0,
        streams=streams,
        threads=thread_budget(slot.cores, streams),
        pool_bytes=pool_bytes,
        pool_slots=each * settings.quota_frames(Fraction(settings.input.max_fps)),
        decoders=decoders,
        node_id=slot.node.node_id,
        machine=slot.node.machine,
        profile=slot.profile.name if slot.profile else "",
        encoder=slot.encoder,
        nvdec_sessions=streams * slot.decoder_sessions,
        nvenc_sessions=streams * slot.encoder_sessions,
        speed=slot.speed if slot.gpu else slot.speed * slot.cores,
    )


def _what(slot: Slot) -> str:
    return slot.profile.card if slot.gpu and slot.profile else "GPU" if slot.gpu else "CPU lane"
