"""ScheduleBench: what a simulated job showed, as a table and as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dualface_ray.bench.chart import Curve, chart
from dualface_ray.errors import OutputError


@dataclass(frozen=True, slots=True)
class Decisions:
    """How long calls of ``next_for`` took, in microseconds of this machine."""

    count: int
    median_us: float
    p99_us: float
    worst_us: float


@dataclass(slots=True)
class ScheduleBench:
    """What a simulated job showed; all times but those of the decisions and ``wall_s`` are virtual."""

    lanes: int
    videos: int
    deaths_per_lane_hour: float
    seed: int
    makespan_s: float = 0.0
    lower_bound_s: float = 0.0
    deaths: int = 0
    begun_again: int = 0
    lost_work_s: float = 0.0
    decisions: Decisions = field(default_factory=lambda: Decisions(0, 0.0, 0.0, 0.0))
    wall_s: float = 0.0
    busy_share: tuple[float, ...] = ()
    """Share of the capacity at work, at equal distances from 0 to the makespan."""
    done_share: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """For each kind of lane, its share of all work done by then."""
    fifo_makespan_s: float = 0.0
    """The same job, first come, first served."""
    left_over: int = 0
    """Videos or lanes' notes that the schedule still holds at the end: 0, or it leaks."""

    @property
    def share_of_bound(self) -> float:
        """Lower bound over makespan: 1 is perfect."""
        return self.lower_bound_s / self.makespan_s if self.makespan_s else 1.0

    def write_picture(self, path: Path) -> None:
        """Write the curves as an SVG.

        Raises:
            OutputError: the file cannot be written.
        """
        lines = [Curve("capacity at work", self.busy_share)]
        lines += [Curve(f"work done by {kind} lanes", values) for kind, values in self.done_share.items()]
        text = chart(
            f"{self.lanes} lanes, {self.videos} videos, {self.deaths} deaths: {self.share_of_bound:.1%} of the bound",
            lines,
            end_s=self.makespan_s,
            mark_s=self.lower_bound_s,
        )
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"the picture cannot be written: {error.strerror}", where=str(path)) from error

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        return [
            ("lanes, videos", f"{self.lanes} of {len(self.done_share)} speeds, {self.videos}"),
            ("deaths per lane-hour", f"{self.deaths_per_lane_hour:g}"),
            ("lower bound", f"{self.lower_bound_s:.0f} s (all work over the capacity alive, or the longest videos)"),
            ("makespan", f"{self.makespan_s:.0f} s"),
            ("share of the bound", f"{self.share_of_bound:.2%}"),
            ("first come, first served", f"{self.fifo_makespan_s:.0f} s"),
            ("deaths", f"{self.deaths}; {self.begun_again} videos begun again, {self.lost_work_s:.0f} s of video lost"),
            ("decisions", f"{self.decisions.count}"),
            ("median / p99 / worst", " / ".join(f"{us:.0f} us" for us in _times(self.decisions))),
            ("held at the end", f"{self.left_over}"),
            ("real time", f"{self.wall_s:.1f} s"),
        ]


def _times(decisions: Decisions) -> tuple[float, float, float]:
    return decisions.median_us, decisions.p99_us, decisions.worst_us
