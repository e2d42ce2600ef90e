"""Timeline: integer ticks, exact fractions, and what becomes of the source's time stamps.

    raw PTS (or none) ─► PtsRepair ─► strictly increasing ticks ─┬─ timing.mode=source: used as they are
                             └─ counters       └─ SteadyRate     └─ timing.mode=cfr: CfrClock ─► frame per tick
                                                  (holes)

Knows numbers only; may not know files, frames or codecs.
"""

from __future__ import annotations

from dualface_ray.timeline.cfr import CfrClock, CfrPlan, plan_cfr
from dualface_ray.timeline.repair import ClockJoin, PtsRepair
from dualface_ray.timeline.steady import SteadyRate
from dualface_ray.timeline.ticks import Rounding, frame_ticks, rescale, round_fraction, seconds, track_timescale

__all__ = [
    "CfrClock",
    "CfrPlan",
    "ClockJoin",
    "PtsRepair",
    "Rounding",
    "SteadyRate",
    "frame_ticks",
    "plan_cfr",
    "rescale",
    "round_fraction",
    "seconds",
    "track_timescale",
]
