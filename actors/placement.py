"""Placement: how many lanes, on what, with which share of the machine. Pure functions of settings and a snapshot.

snapshot, profiles ─► candidates ─► best first, spread over machines ─► open one video each ─► deal the rest ─► LanePlan
                          └─ why a card cannot be used: reasons ─► PlacementError when nothing at all can run
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

from actors.cluster.candidates import find_candidates
from actors.cluster.memory import Card, CardOf, Memory, Need, Orientation, card_of, first_memory, needs_of
from actors.cluster.slots import Slot, Stock
from actors.cluster.snapshot import ClusterSnapshot, NodeSnapshot, snapshot_of
from actors.plan import LanePlan, planned
from dualface_ray.errors import PlacementError, VramBudgetError
from dualface_ray.hardware import Profile, load_profile
from dualface_ray.settings import Settings

__all__ = ["ClusterSnapshot", "Decision", "LanePlan", "NodeSnapshot", "decide", "plan_lanes", "snapshot_of"]

Profiles = Callable[[str], Profile]


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
    orientations: Collection[Orientation] = (),
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
        orientations: of videos besides these, that may come as well.

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
    decision = decide(settings, snapshot.idle(), ring_bytes, profiles, cards=cards, orientations=orientations)
    whole = decision.lanes
    if not whole or (candidates.backend == "cpu" and len(whole) < min(count, len(ring_bytes))):
        raise decision.error or candidates.nothing_fits()
    return list(decide(settings, snapshot, ring_bytes, profiles, cards=cards, orientations=orientations).lanes or whole)


def decide(
    settings: Settings,
    snapshot: ClusterSnapshot,
    ring_bytes: Sequence[Need],
    profiles: Profiles = load_profile,
    *,
    first_number: int = 0,
    at_most: int | None = None,
    cards: CardOf = card_of,
    orientations: Collection[Orientation] = (),
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
        orientations: of videos that do not wait but may come back from a lane that dies: a lane has to be ready for
            these, too.
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
    _share_cores(settings, chosen)
    stock.deal(chosen, videos)
    needs = needs_of(ring_bytes)

    @cache  # lanes are mostly alike, and there may be thousands of videos
    def memory_of(card: Card, streams: int, decoders: int) -> Memory | VramBudgetError:
        return first_memory(settings, needs, card, streams=streams, decoders=decoders, orientations=orientations)

    def memory_for(slot: Slot) -> Memory | VramBudgetError:
        decoders = slot.profile.lane.decoders.value if slot.profile else 1
        return memory_of(cards(slot.node, slot.profile), slot.streams, decoders)

    plans: list[LanePlan] = []
    error: VramBudgetError | None = None
    for slot in chosen:
        plan = planned(settings, slot, f"lane-{first_number + len(plans)}", needs, memory_for)
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


def _share_cores(settings: Settings, chosen: Sequence[Slot]) -> None:
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


def _what(slot: Slot) -> str:
    return slot.profile.card if slot.gpu and slot.profile else "GPU" if slot.gpu else "CPU lane"
