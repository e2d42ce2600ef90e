"""The simulated cluster: close to the lower bound, in bounded time, with a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from dualface_ray.bench import run_schedule_bench
from dualface_ray.errors import OutputError


@pytest.fixture(scope="module")
def small():
    return run_schedule_bench(lanes=60, videos=6000, deaths_per_lane_hour=0.1, seed=3)


def test_a_small_cluster_comes_close_to_the_bound(small):
    assert small.deaths > 0
    assert small.begun_again > 0
    assert 0.95 <= small.share_of_bound <= 1.0
    assert small.makespan_s < 0.9 * small.fifo_makespan_s
    assert small.left_over == 0


def test_the_work_adds_up(small):
    assert sum(curve[-1] for curve in small.done_share.values()) == pytest.approx(1.0, abs=0.02)
    assert max(small.busy_share) <= 1.001
    assert min(small.busy_share[: len(small.busy_share) // 2]) > 0.9, "every lane is busy while there is work"


def test_the_same_seed_gives_the_same_job(small):
    again = run_schedule_bench(lanes=60, videos=6000, deaths_per_lane_hour=0.1, seed=3)
    assert (again.makespan_s, again.deaths, again.busy_share) == (small.makespan_s, small.deaths, small.busy_share)
    other = run_schedule_bench(lanes=60, videos=6000, deaths_per_lane_hour=0.1, seed=4)
    assert other.makespan_s != small.makespan_s


def test_the_picture_is_an_svg(small, tmp_path: Path):
    small.write_picture(tmp_path / "p.svg")
    root = ET.fromstring((tmp_path / "p.svg").read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall(".//{*}polyline")) == 4
    with pytest.raises(OutputError, match="picture"):
        small.write_picture(tmp_path / "none" / "p.svg")


def test_decisions_take_no_longer_with_more_videos():
    """Medians of one run each: ten times the videos and lanes, and still about the same time."""
    few = run_schedule_bench(lanes=10, videos=1000, deaths_per_lane_hour=0.0)
    many = run_schedule_bench(lanes=100, videos=20_000, deaths_per_lane_hour=0.0)
    assert many.decisions.median_us < 3 * few.decisions.median_us + 5


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_a_thousand_lanes_reach_98_percent_of_the_bound(seed):
    result = run_schedule_bench(lanes=1000, videos=100_000, deaths_per_lane_hour=0.1, seed=seed)
    assert result.deaths > 200
    assert 0.98 <= result.share_of_bound <= 1.0, result.rows()
    assert result.left_over == 0
    assert result.decisions.p99_us < 5000
