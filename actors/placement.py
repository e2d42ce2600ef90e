"""Lane plans: how many lanes, on what, with which share of the machine. Pure functions of settings and a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dualface_ray.errors import PlacementError
from dualface_ray.hardware import ThreadBudget, thread_budget
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What a cluster declares: the sums of its nodes' resources as Ray counts them."""

    cpus: float
    gpus: float = 0.0


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
    decoders: int = 1
    """Decoder actors, each with a pool of its own."""
    encoders: int = 1
    """Encoder actors."""

    @property
    def bundle(self) -> dict[str, float]:
        """The lane's placement-group bundle."""
        bundle: dict[str, float] = {"CPU": float(self.cores)}
        if self.gpus:
            bundle["GPU"] = float(self.gpus)
        return bundle

    @property
    def text(self) -> str:
        """One readable line."""
        where = f"{self.gpus} GPU, " if self.gpus else ""
        return f"{self.lane_id}: {self.backend}, {where}{self.cores} cores, {self.streams} videos at once"


def plan_lanes(settings: Settings, snapshot: ClusterSnapshot, ring_bytes: Sequence[int]) -> list[LanePlan]:
    """Decide the lanes of a job.

    One lane a GPU, or on the CPU one lane for all cores unless ``lane.count`` says otherwise; never more lanes than
    videos. A CPU lane's pool has room for the largest videos that can run in it at once, within its budget.

    Args:
        settings: of the job.
        snapshot: what the cluster declares.
        ring_bytes: for each video, what its frames take in a pool.

    Raises:
        PlacementError: the settings ask for a device or cores that the cluster does not declare.
    """
    lane, videos = settings.lane, len(ring_bytes)
    backend = lane.backend
    if backend == "auto":
        backend = "cuda" if snapshot.gpus >= 1 else "cpu"
    if backend == "cuda" and snapshot.gpus < 1:
        raise PlacementError(
            "no GPU is declared in this Ray cluster",
            where="lane.backend=cuda",
            remedy="Start Ray where the driver sees the card, or set lane.backend=cpu.",
        )
    natural = int(snapshot.gpus) if backend == "cuda" else 1
    count = max(1, min(lane.count or natural, videos))
    if backend == "cuda" and count > snapshot.gpus:
        raise PlacementError(f"{count} lanes but {snapshot.gpus:g} GPUs", where="lane.count")
    cores = lane.cores or int(snapshot.cpus // count)
    if cores < 1 or cores * count > snapshot.cpus:
        raise PlacementError(
            f"{count} lanes of {max(cores, 1)} cores are more than the {snapshot.cpus:g} that the cluster declares",
            where="lane.cores",
            remedy="Ask for fewer lanes or fewer cores a lane.",
        )
    streams = lane.streams or (16 if backend == "cuda" else max(1, cores // 2))
    streams = max(1, min(streams, -(-videos // count)))
    quota = settings.quota_frames(Fraction(settings.input.max_fps))
    largest = sorted(ring_bytes, reverse=True)[:streams]
    pool_bytes = max(1, sum(largest))
    if lane.pool_budget_bytes:
        pool_bytes = min(pool_bytes, lane.pool_budget_bytes)
    return [
        LanePlan(
            lane_id=f"lane-{number}",
            backend=backend,
            cores=cores,
            gpus=1 if backend == "cuda" else 0,
            streams=streams,
            threads=thread_budget(cores, streams),
            pool_bytes=pool_bytes,
            pool_slots=streams * quota,
        )
        for number in range(count)
    ]
