"""Changes: which lanes start, drain or are lost when nodes join and leave while a job runs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from actors.cluster.memory import Orientation
from actors.cluster.snapshot import ClusterSnapshot
from actors.placement import LanePlan, decide
from dualface_ray.errors import DualfaceError, PlacementError, ProfileError
from dualface_ray.hardware import Profile, load_profile
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do now; all empty most of the time."""

    start: tuple[LanePlan, ...] = ()
    """Lanes for nodes that joined, or for what others have given back."""
    drain: tuple[str, ...] = ()
    """Ids of lanes on nodes that are about to leave: they finish what they have and take nothing more."""
    lost: tuple[str, ...] = ()
    """Ids of lanes whose node is gone: their videos go back to the queue."""
    missing: DualfaceError | None = None
    """Why no lane could be planned: what is left of the cluster declares no card, or a profile that cannot be used."""


def changes(
    settings: Settings,
    snapshot: ClusterSnapshot,
    lanes: Sequence[LanePlan],
    placed: Collection[str],
    ring_bytes: Sequence[int],
    *,
    next_number: int,
    profiles: Callable[[str], Profile] = load_profile,
    orientations: Collection[Orientation] = (),
) -> Changes:
    """Compare the lanes of a running job with the cluster as it is now.

    Args:
        settings: of the job.
        snapshot: the cluster now; what its nodes have in use includes the lanes that are placed.
        lanes: of the job, without those closed.
        placed: ids of the lanes whose placement group Ray has granted.
        ring_bytes: for each video that still waits, what its frames take in a pool.
        next_number: of the first new lane's id; ids are never used twice.
        profiles: static profiles by name.
        orientations: of all videos that are not done; see ``decide``.
    """
    alive = {node.node_id: node for node in snapshot.nodes}
    pinned = [lane for lane in lanes if lane.node_id]
    lost = tuple(lane.lane_id for lane in pinned if lane.node_id not in alive)
    drain = tuple(lane.lane_id for lane in pinned if lane.node_id in alive and alive[lane.node_id].draining)
    kept = [lane for lane in lanes if lane.lane_id not in {*lost, *drain}]
    room = None if not settings.lane.count else max(0, settings.lane.count - len(kept))
    if not ring_bytes or room == 0 or not alive:
        return Changes(drain=drain, lost=lost)
    waiting = [(lane.node_id, lane.bundle) for lane in kept if lane.lane_id not in placed]
    try:
        decision = decide(
            settings,
            snapshot.with_bundles(waiting),
            ring_bytes,
            profiles,
            first_number=next_number,
            at_most=room,
            orientations=orientations,
        )
    except (PlacementError, ProfileError) as error:  # a job that runs goes on with the lanes it has
        return Changes(drain=drain, lost=lost, missing=error)
    return Changes(_only_new(settings, decision.lanes, kept), drain, lost, decision.error)


def _only_new(settings: Settings, plans: Sequence[LanePlan], kept: Sequence[LanePlan]) -> tuple[LanePlan, ...]:
    """Without CPU lanes for cores that a lane of ours on the same node merely left over."""
    if settings.lane.join_cpu == "cores":
        return tuple(plans)
    busy = {lane.node_id for lane in kept}
    return tuple(plan for plan in plans if plan.gpus or plan.node_id not in busy)
