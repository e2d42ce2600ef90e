"""A long video cut into parts by a real job: on several lanes, over deaths, over a killed driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from dualface_ray.bench.killer import actor_processes
from dualface_ray.bench.sameness import time_stamps, unfinished
from dualface_ray.media import plan_outputs
from dualface_ray.report import VideoState, read_report, read_tracks

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("models")]

CUT = {
    "lane.backend": "cpu",
    "lane.count": 2,
    "lane.cores": 1,
    "framing.width_px": 320,
    "framing.height_px": 180,
    "job.segment_min_s": 10,
    "job.segment_max_s": 12,
    "job.max_attempts": 5,
}
"""Parts of at least ten seconds on two lanes."""


@pytest.fixture(autouse=True)
def private_ray() -> Iterator[None]:
    """A Ray of its own for each test, gone afterwards."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds, small, with key frames every two."""
    from dualface_ray.demo import make_demo

    path = tmp_path_factory.mktemp("long") / "long.mp4"
    make_demo(path, seconds=40, width_px=320, height_px=180, rate=Fraction(25))
    return path


def parts_done(out: Path) -> dict[str, int]:
    """Records of finished parts and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob(".*.work/span-*.json")}


def check_result(clip: Path, out: Path) -> None:
    """Every frame once, in order, the same two people all the way, nothing left."""
    (plan,) = plan_outputs([clip], out, layout="side_by_side", container="mp4")
    source, made = time_stamps(clip), time_stamps(plan.videos[0])
    assert len(made) == len(source) == 1000
    assert all(a < b for a, b in pairwise(made))
    tracks = read_tracks(plan.tracks)
    assert len(tracks) == len(source)
    assert (tracks.states == 0).mean() > 0.95
    assert (tracks.boxes_px[:, 0, 2] < tracks.boxes_px[:, 1, 0]).all(), "A stays the person on the left"
    assert read_report(plan.report).state is VideoState.DONE
    assert unfinished(out) == []


def command(clip: Path, out: Path) -> list[str]:
    words = [sys.executable, "-m", "dualface_ray", "run", str(clip), "-o", str(out), "--json"]
    return words + [item for name, value in CUT.items() for item in ("--set", f"{name}={value}")]


@pytest.mark.timeout(400)
def test_parts_run_side_by_side_and_a_death_costs_one_of_them(long_clip: Path, tmp_path: Path) -> None:
    from dualface_ray.api import run

    out = tmp_path / "out"
    with run(long_clip, out, **CUT) as job:
        deadline_s = time.monotonic() + 200
        most = 0
        while not parts_done(out):
            snapshot = job.snapshot()
            assert not snapshot.final, snapshot
            assert time.monotonic() < deadline_s, snapshot
            most = max(most, snapshot.units_running)
            time.sleep(0.02)
        assert most == 2, "two parts at once"
        stamps = parts_done(out)
        next(process for role, process in actor_processes() if role == "EncoderActor").kill()
        while not job.snapshot().final and (now := parts_done(out)):
            assert all(now.get(name, stamp) == stamp for name, stamp in stamps.items()), "done once"
            time.sleep(0.05)
        snapshot = job.wait(200)
    assert snapshot.videos[0].state is VideoState.DONE, snapshot
    assert snapshot.videos[0].frames_done == snapshot.videos[0].frames_total == 1000
    assert not any("one piece" in note for note in read_report(out / "long.report.json").degradations)
    check_result(long_clip, out)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_finished_parts_survive_the_driver(long_clip: Path, tmp_path: Path) -> None:
    """SIGKILL in mid-job; the same command again takes them as done."""
    out = tmp_path / "out"
    first = subprocess.Popen(command(long_clip, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 300
    while len(parts_done(out)) < 2:
        assert first.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    below = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    psutil.wait_procs([child for child in below if "Agent" not in child.name()], timeout=60)
    stamps = parts_done(out)
    assert len(stamps) >= 2
    second = subprocess.Popen(command(long_clip, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while second.poll() is None:
        now = parts_done(out)
        assert all(now.get(name, stamp) == stamp for name, stamp in stamps.items()), "a finished part was done again"
        time.sleep(0.05)
    assert second.returncode == 0
    check_result(long_clip, out)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_ctrl_c_leaves_no_part(long_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(command(long_clip, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 200
    while not parts_done(out):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert list(out.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(300)
def test_one_lane_with_several_decoders_gives_one_video_more_than_one_of_them(
    long_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a card with several decoder processes: the parts of a single video are dealt out over them."""
    import actors.job
    from actors.lane import Lane
    from actors.messages import SegmentJob, Work
    from dualface_ray.api import connect, prepare
    from dualface_ray.settings import resolve

    used: set[tuple[Work, int, int]] = set()

    class Wide(Lane):
        def __init__(self, plan, settings, job_id):
            super().__init__(replace(plan, decoders=2, encoders=2, streams=2), settings, job_id)

        def assign(self, job: SegmentJob) -> None:
            super().assign(job)
            job = self.jobs[job.key]
            used.add((job.work, job.decoder, job.encoder))

    monkeypatch.setattr(actors.job, "Lane", Wide)
    settings = resolve(**(CUT | {"lane.count": 1, "lane.cores": 2, "lane.streams": 2}))
    tasks = prepare(long_clip, tmp_path / "out", settings)
    connect(settings)
    runner = actors.job.JobRunner(tasks, settings, "wide")
    runner.start()
    while not runner.snapshot().final:
        time.sleep(0.05)
    assert runner.snapshot().videos[0].state is VideoState.DONE, runner.snapshot()
    spans = {(decoder, encoder) for work, decoder, encoder in used if work is Work.SPAN}
    assert spans == {(0, 0), (1, 1)}
    check_result(long_clip, tmp_path / "out")
