"""Bench: measurements that compare, in one run, this system with something that bounds it.

    make_demo ─► clip ─► reference ─► pipeline ─► reference ─► pipeline ─► ratios pair by pair ─► rows of a table
                                         └─ memory of all processes over time
    scenes with truth ─► recorded detections ─► identity and framing, peers' trackers ─► one table of scores
    SCENES ─► clip, truth ─► RecordedRun ─► identity and framing ─► scores beside those of peers
    any video ─► record ─► RecordedRun ─► replay, with other settings ─► tracks, plans
    pictures on a card ─► one context, large batches | a context for each stream ─► rates, latencies
    slots on a card ─► drawn there | brought down and drawn by OpenCV ─► rates
    a job ─► its actors and its driver killed ─► the same results, and what it cost
    simulated lanes and videos, virtual clock ─► the real schedule ─► makespan beside a lower bound
    a few videos, the lanes of one rack, lanes that share their speed ─► the real units and queue ─► the same

Knows how to run the whole product and other programs beside it; nothing of the product may know this room. No figure
leaves it that was not measured in the same run as its reference.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualface_ray.bench.batching import run_batching_bench
    from dualface_ray.bench.chaos import ChaosBench, run_chaos_bench
    from dualface_ray.bench.compose import ComposeBench, run_compose_bench
    from dualface_ray.bench.contexts import BatchingBench
    from dualface_ray.bench.cpu import CpuBench, run_cpu_bench
    from dualface_ray.bench.identity import run_identity_bench
    from dualface_ray.bench.lane import LaneRow, run_lane_bench
    from dualface_ray.bench.outcome import ScheduleBench
    from dualface_ray.bench.recorded import RecordedRun, record
    from dualface_ray.bench.replaying import Replay, replay, write_replay
    from dualface_ray.bench.schedule import run_schedule_bench
    from dualface_ray.bench.scoreboard import IdentityBench
    from dualface_ray.bench.small import SMALL_HEADER, run_small_bench

__all__ = [
    "SMALL_HEADER",
    "BatchingBench",
    "ChaosBench",
    "ComposeBench",
    "CpuBench",
    "IdentityBench",
    "LaneRow",
    "RecordedRun",
    "Replay",
    "ScheduleBench",
    "record",
    "replay",
    "run_batching_bench",
    "run_chaos_bench",
    "run_compose_bench",
    "run_cpu_bench",
    "run_identity_bench",
    "run_lane_bench",
    "run_schedule_bench",
    "run_small_bench",
    "write_replay",
]

_HOMES = {
    "SMALL_HEADER": "small",
    "LaneRow": "lane",
    "run_lane_bench": "lane",
    "BatchingBench": "contexts",
    "ChaosBench": "chaos",
    "run_chaos_bench": "chaos",
    "ComposeBench": "compose",
    "CpuBench": "cpu",
    "IdentityBench": "scoreboard",
    "RecordedRun": "recorded",
    "Replay": "replaying",
    "ScheduleBench": "outcome",
    "record": "recorded",
    "replay": "replaying",
    "run_batching_bench": "batching",
    "run_compose_bench": "compose",
    "run_cpu_bench": "cpu",
    "run_identity_bench": "identity",
    "run_schedule_bench": "schedule",
    "run_small_bench": "small",
    "write_replay": "replaying",
}


def __getattr__(name: str) -> Any:
    """Load a benchmark when it is first asked for; it brings backends and Ray."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
