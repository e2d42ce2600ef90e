"""``bench schedule``: the real scheduling code with simulated lanes on a virtual clock, against a lower bound.

seed ─► videos, lanes, deaths ─► events in virtual time ─► Schedule (timed) ─► makespan ─┐
             └─ all work over the capacity that was alive ─► lower bound ────────────────┴─► share, table, picture
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actors.backlog.schedule import Schedule
from dualface_ray.bench.firstcome import FirstCome
from dualface_ray.bench.outcome import ScheduleBench
from dualface_ray.bench.simulation import AHEAD_S, Simulation


def run_schedule_bench(
    *,
    lanes: int = 1000,
    videos: int = 100_000,
    deaths_per_lane_hour: float = 0.1,
    seed: int = 0,
    prefetch: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> ScheduleBench:
    """Simulate a job and measure the schedule.

    Videos are log-normal around eight minutes (10 s to 3 h). Lanes are of three speeds; the schedule is told the same
    wrong speed for all of them. Each lane dies at the stated rate and is back a minute later; of what it had begun, the
    segments it had finished are kept.

    Args:
        lanes: how many.
        videos: how many.
        deaths_per_lane_hour: rate of a Poisson process for each lane, in virtual hours.
        seed: of everything random.
        prefetch: also ask for each lane's next video ahead.
        clock: for timing decisions.
    """
    result = Simulation(lanes, videos, deaths_per_lane_hour, seed, prefetch, clock, Schedule(AHEAD_S)).run()
    plain = Simulation(lanes, videos, deaths_per_lane_hour, seed, False, clock, FirstCome()).run()
    result.fifo_makespan_s = plain.makespan_s
    return result
