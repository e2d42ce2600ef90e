"""A few videos on the lanes of one rack: close to the bound, whatever the first guesses."""

from __future__ import annotations

import json
import random
from itertools import product

import pytest

from actors.backlog.workqueue import WorkQueue
from dualface_ray.bench import SMALL_HEADER, run_schedule_bench, run_small_bench
from dualface_ray.bench.bound import lower_bound
from dualface_ray.bench.rack import MIXED, LaneKind, Rack
from dualface_ray.bench.small import MIXED_RACKS, RACKS, WRONG
from dualface_ray.cli.bench import bench_small
from dualface_ray.errors import ActorError


def best(costs: list[float], rates: list[float]) -> float:
    """By trying everything."""
    return min(
        max(sum(c for c, p in zip(costs, places, strict=True) if p == place) / rate for place, rate in enumerate(rates))
        for places in product(range(len(rates)), repeat=len(costs))
    )


def test_nothing_undercuts_the_bound():
    chance = random.Random(0)
    reached = 0
    for _ in range(40):
        costs = [chance.lognormvariate(0, 1) for _ in range(chance.randint(1, 6))]
        rates = [chance.uniform(0.2, 2) for _ in range(chance.randint(1, 3))]
        bound, end = lower_bound(costs, rates), best(costs, rates)
        assert bound <= end * (1 + 1e-9)
        reached += end < 1.1 * bound
    assert reached > 10
    assert lower_bound([6, 1], [2, 1]) == 3, "the longest on the fastest"
    assert lower_bound([6, 6], [2, 1]) == 4, "two on two, and not all on the fastest"
    assert lower_bound([2, 2, 2], [1, 1]) == 3


def share(rack: str, videos: int, seed: int, *, cut: bool, right: bool) -> float:
    kinds = dict(RACKS)[rack]
    guesses = [kind.speed if right else WRONG for kind in kinds]
    job = Rack(kinds, guesses, videos, seed, cut=cut, queue=WorkQueue())
    return job.bound_s / job.run()


@pytest.mark.parametrize(
    ("rack", "cut", "least"),
    [
        ("4 rtx4090", True, 0.78),
        ("4 rtx4090", False, 0.86),
        ("2 l40s, 2 t4", True, 0.62),
        ("2 l40s, 2 t4", False, 0.75),
        ("2 x 8 cores, 2 rtx4090", False, 0.6),
        ("three speeds", False, 0.95),
    ],
)
@pytest.mark.parametrize("right", [True, False])
def test_twenty_videos(rack, cut, least, right):
    """Before speeds were learned from progress, the last three were at 0.3 and less."""
    for seed in range(3):
        assert least < share(rack, 20, seed, cut=cut, right=right) <= 1.0


def test_the_same_seed_gives_the_same_job():
    assert share("three speeds", 12, 5, cut=True, right=False) == share("three speeds", 12, 5, cut=True, right=False)


def test_sizes_and_rates_are_told_from_one_another():
    """Four equal lanes, videos from 720p25 to 2160p60: cut as if all were alike, some parts take far longer."""

    def mean(*, told: bool) -> float:
        _, kinds = MIXED_RACKS[2]
        jobs = [
            Rack(
                kinds, [kind.speed for kind in kinds], 20, seed, cut=True, queue=WorkQueue(), pictures=MIXED, told=told
            )
            for seed in range(3)
        ]
        return sum(job.bound_s / job.run() for job in jobs) / len(jobs)

    assert mean(told=True) > 0.85 > 1.1 * mean(told=False)


def test_few_videos_on_lanes_of_wrong_speeds():
    """The other simulation: whole videos, and places that do not share their speed."""
    shares = [
        run_schedule_bench(lanes=4, videos=20, deaths_per_lane_hour=0.0, seed=seed).share_of_bound for seed in range(4)
    ]
    assert min(shares) > 0.95
    assert run_schedule_bench(lanes=50, videos=1000, deaths_per_lane_hour=0.0).share_of_bound > 0.92


def test_a_row_for_each_rack_and_number():
    rows = run_small_bench(videos=(3,), seeds=1)
    alike = [row for row in rows if row.pictures == "1080p30"]
    assert len(alike) == 2 * len(RACKS) - 1, "lanes that encode differently cannot share a video"
    assert len(rows) - len(alike) == 2 * 2 * len(MIXED_RACKS), "cut and whole, told and not told"
    for row in rows:
        assert len(row.cells()) == len(SMALL_HEADER)
        assert 0 < row.wrong.worst <= row.wrong.mean <= 1.0
        assert 0 < row.first_come.worst <= 1.0


def test_the_command_prints_a_table_and_json(monkeypatch, capsys):
    rows = run_small_bench(videos=(2,), seeds=1)
    monkeypatch.setattr("dualface_ray.bench.small.run_small_bench", lambda: rows)
    assert bench_small() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "lanes"
    assert len(lines) == len(rows) + 1
    assert bench_small(as_json=True) == 0
    assert json.loads(capsys.readouterr().out)[0]["videos"] == 2


def test_a_job_that_does_not_end_is_an_error():
    class Idle(WorkQueue):
        def next_for(self, *_: object) -> None:
            return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualface_ray.bench.rack.LONGEST_S", 100.0)
        with pytest.raises(ActorError, match="2 videos never end"):
            Rack([LaneKind("card", 1.0, 1)], [1.0], 2, 0, cut=True, queue=Idle()).run()
