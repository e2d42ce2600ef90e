"""``bench schedule --small``: a few videos on the lanes of one rack, with right and with wrong first guesses.

RACKS x videos, of one size or of several, x seeds ─► Rack (real units, queue, schedule) ─► lower bound over makespan
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from actors.backlog.workqueue import WorkQueue
from dualface_ray.bench.firstcome import FirstUnits
from dualface_ray.bench.rack import ALIKE, MIXED, LaneKind, Picture, Rack, UnitQueue

WRONG = 5.0
"""What the schedule is told of every lane's speed where it is told nothing better."""
_RTX4090 = LaneKind("rtx4090", 17.0, 6, 2.0)
_L40S = LaneKind("l40s", 45.0, 12, 2.0)
_T4 = LaneKind("t4", 9.0, 4, 2.0)
_CORES8 = LaneKind("8 cores", 4.8, 4, 1.0, "cpu", by_pixels=0.3)
"""Speeds and slots as the packaged profiles say. A card is about as fast with half of its videos, as measured on an
H200 (4 / 8 / 16 streams: 2522 / 4105 / 4540 fps); of lanes on cores that is not known. Cores spend most of a frame's
time on what does not grow with the picture (``frame_cost``), a card's decoder none."""
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
MIXED_RACKS = (*RACKS[:2], ("4 x 8 cores", (_CORES8,) * 4))
"""Those that get videos of several sizes and rates, too: their lanes agree on how much longer a larger one takes."""


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
    pictures: str
    """Their sizes and rates, and whether the queue is told them."""
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
        return (self.lanes, str(self.videos), self.pictures, how, f"{self.bound_s:.0f} s", *shares)


SMALL_HEADER = ("lanes", "videos", "pictures", "done", "bound", "guesses right", "guesses wrong", "first come")


def run_small_bench(*, videos: Sequence[int] = (20, 60), seeds: int = 10) -> list[SmallRow]:
    """Simulate every rack.

    Args:
        videos: how many, one row each; the largest number with mixed sizes and rates, too, told and not told.
        seeds: jobs that each figure is taken from; half as many with mixed sizes, which take longer.
    """
    jobs = [(rack, count, _ALIKE, seeds) for rack in RACKS for count in videos]
    jobs += [(rack, max(videos), folder, -(-seeds // 2)) for rack in MIXED_RACKS for folder in _MIXED]
    rows = []
    for (name, kinds), count, folder, chances in jobs:
        apart = len({kind.encoder for kind in kinds}) > 1  # such lanes' parts could not be joined
        for cut in (False,) if apart else (True, False):
            job = _Job(kinds, count, cut, folder, chances)
            right, bound_s = job.shares([kind.speed for kind in kinds], WorkQueue)
            wrong, _ = job.shares([WRONG] * len(kinds), WorkQueue)
            plain, _ = job.shares([WRONG] * len(kinds), FirstUnits)
            rows.append(SmallRow(name, count, folder.name, cut, bound_s, right, wrong, plain))
    return rows


@dataclass(frozen=True, slots=True)
class _Folder:
    name: str
    pictures: tuple[Picture, ...]
    told: bool = True


_ALIKE = _Folder("1080p30", ALIKE)
_MIXED = (_Folder("mixed, not told", MIXED, told=False), _Folder("mixed", MIXED))


@dataclass(frozen=True, slots=True)
class _Job:
    kinds: Sequence[LaneKind]
    videos: int
    cut: bool
    folder: _Folder
    seeds: int

    def shares(self, guesses: Sequence[float], queue: Callable[[], UnitQueue]) -> tuple[Shares, float]:
        """Over some seeds; and the mean of the lower bound."""
        shares, bounds = [], []
        for seed in range(self.seeds):
            rack = Rack(
                self.kinds,
                guesses,
                self.videos,
                seed,
                cut=self.cut,
                queue=queue(),
                pictures=self.folder.pictures,
                told=self.folder.told,
            )
            bounds.append(rack.bound_s)
            shares.append(rack.bound_s / rack.run())
        return Shares(statistics.mean(shares), min(shares)), statistics.mean(bounds)
