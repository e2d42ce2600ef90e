"""``bench schedule --small``: a few videos on the lanes of one rack, with right and with wrong first guesses.

RACKS x videos x seeds ─► Rack (real units, queue, schedule) ─► makespan over lower bound: mean, and the worst
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from actors.backlog.workqueue import WorkQueue
from dualface_ray.bench.firstcome import FirstUnits
from dualface_ray.bench.rack import LaneKind, Rack, UnitQueue

WRONG = 5.0
"""What the schedule is told of every lane's speed where it is told nothing better."""
_RTX4090 = LaneKind("rtx4090", 17.0, 6, 2.0)
_L40S = LaneKind("l40s", 45.0, 12, 2.0)
_T4 = LaneKind("t4", 9.0, 4, 2.0)
_CORES8 = LaneKind("8 cores", 4.8, 4, 1.0, "cpu")
"""Speeds and slots as the packaged profiles say. A card is about as fast with half of its videos, as measured on an
H200 (4 / 8 / 16 streams: 2522 / 4105 / 4540 fps); of lanes on cores that is not known."""
_LATE = replace(_RTX4090, late_s=10.0)
"""A lane on cores is there first: its models are smaller, and no engine is loaded."""
RACKS: tuple[tuple[str, tuple[LaneKind, ...]], ...] = (
    ("4 rtx4090", (_RTX4090,) * 4),
    ("2 l40s, 2 t4", (_L40S, _T4, _L40S, _T4)),
    ("2 x 8 cores, 2 rtx4090", (_CORES8, _CORES8, _LATE, _LATE)),
    (
        "three speeds",
        (LaneKind("gpu", 15.0, 8), LaneKind("small-gpu", 6.0, 4), LaneKind("cpu", 1.2, 1), LaneKind("cpu", 1.2, 1)),
    ),
)
"""Name, and the lanes in the order in which they ask."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Lower bound over makespan, over some seeds; 1 is perfect."""

    mean: float
    worst: float

    @property
    def text(self) -> str:
        """Mean and worst."""
        return f"{self.mean:.2f} ({self.worst:.2f})"


@dataclass(frozen=True, slots=True)
class SmallRow:
    """One rack with one number of videos."""

    lanes: str
    videos: int
    cut: bool
    """Whether long videos are cut."""
    bound_s: float
    """Mean of the lower bound."""
    right: Shares
    """With first guesses that are right."""
    wrong: Shares
    """With the same guess for every lane."""
    first_come: Shares
    """First come, first served."""

    def cells(self) -> tuple[str, ...]:
        """As a line of the table."""
        how = "cut" if self.cut else "whole"
        shares = (self.right.text, self.wrong.text, self.first_come.text)
        return (self.lanes, str(self.videos), how, f"{self.bound_s:.0f} s", *shares)


SMALL_HEADER = ("lanes", "videos", "done", "bound", "guesses right", "guesses wrong", "first come")


def run_small_bench(*, videos: Sequence[int] = (20, 60), seeds: int = 10) -> list[SmallRow]:
    """Simulate every rack.

    Args:
        videos: how many, one row each.
        seeds: jobs that each figure is taken from.
    """
    rows = []
    for name, kinds in RACKS:
        mixed = len({kind.encoder for kind in kinds}) > 1  # such lanes' parts could not be joined
        for count in videos:
            for cut in (False,) if mixed else (True, False):
                right = _shares(kinds, [kind.speed for kind in kinds], count, seeds, cut, WorkQueue)
                wrong = _shares(kinds, [WRONG] * len(kinds), count, seeds, cut, WorkQueue)
                plain = _shares(kinds, [WRONG] * len(kinds), count, seeds, cut, FirstUnits)
                rows.append(SmallRow(name, count, cut, right[1], right[0], wrong[0], plain[0]))
    return rows


def _shares(
    kinds: Sequence[LaneKind],
    guesses: Sequence[float],
    videos: int,
    seeds: int,
    cut: bool,
    queue: Callable[[], UnitQueue],
) -> tuple[Shares, float]:
    shares, bounds = [], []
    for seed in range(seeds):
        rack = Rack(kinds, guesses, videos, seed, cut=cut, queue=queue())
        bounds.append(rack.bound_s)
        shares.append(rack.bound_s / rack.run())
    return Shares(statistics.mean(shares), min(shares)), statistics.mean(bounds)
