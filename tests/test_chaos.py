"""Chaos: actors and drivers are killed in mid-job, and every video comes out as if nothing had been."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dualface_ray.api import Job
from dualface_ray.bench.chaos import SETTINGS, command, make_clips, plans, run_chaos_bench
from dualface_ray.bench.killer import Killer, actor_processes
from dualface_ray.bench.sameness import checked, unfinished
from dualface_ray.report import VideoState
from dualface_ray.settings import resolve

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("models")]


@pytest.fixture(autouse=True)
def private_ray() -> Iterator[None]:
    """A Ray of its own for each test, gone afterwards."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()


@pytest.mark.timeout(400)
def test_every_kind_of_actor_dies_once_and_nothing_is_lost(tmp_path: Path) -> None:
    from dualface_ray.api import run

    settings = resolve(**{**SETTINGS, "lane.count": 1, "reid": "off"})
    videos = make_clips(tmp_path / "in", 2, 3.0)
    with run(videos, tmp_path / "calm", settings=settings) as job:
        assert job.wait(200).exit_code == 0
    killed: list[str] = []
    with run(videos, tmp_path / "stormy", settings=settings) as job:
        for role in ("EncoderActor", "DecoderActor", "InferenceActor"):
            until(job, lambda lanes: any(lane.endswith("ready") for lane in lanes))
            found = [process for name, process in actor_processes() if name == role]
            if not found:
                break  # the job was faster
            found[0].kill()
            killed.append(role)
            until(job, lambda lanes: not any(lane.endswith("ready") for lane in lanes))
        snapshot = job.wait(200)
    assert {video.state for video in snapshot.videos} == {VideoState.DONE}, snapshot
    assert checked(plans(videos, tmp_path / "calm", settings), plans(videos, tmp_path / "stormy", settings)) == {}
    assert unfinished(tmp_path) == []
    assert len(killed) >= 2


def until(job: Job, condition: Callable[[tuple[str, ...]], bool], seconds: float = 90) -> None:
    """Wait for the lanes to be so, or for the job's end."""
    deadline_s = time.monotonic() + seconds
    while not (snapshot := job.snapshot()).final and not condition(snapshot.lanes):
        assert time.monotonic() < deadline_s, snapshot
        time.sleep(0.05)


def test_a_command_ends_with_whoever_started_it() -> None:
    code = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: exit(7))
print("up", flush=True)
time.sleep(60)
"""
    with suppress(KeyboardInterrupt), command([sys.executable, "-c", code]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        raise KeyboardInterrupt
    assert process.returncode == 7, "it was asked, and has cleaned up"


def test_the_killer_finds_actors_of_lanes_and_nobody_else() -> None:
    sleep = ["-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(["ray::JobActor", *sleep], executable=sys.executable) as other,
        subprocess.Popen(["ray::EncoderActor", *sleep], executable=sys.executable) as actor,
    ):
        killer = Killer(0.02, random.Random(0))
        with killer.at_work():
            assert actor.wait(50) == -9
        assert killer.killed == ["EncoderActor"]
        assert other.poll() is None
        other.kill()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_random_actor_dies_every_few_seconds(tmp_path: Path) -> None:
    """Twenty clips on two lanes; and the driver dies, too."""
    said: list[str] = []
    result = run_chaos_bench(tmp_path, clips=20, every_s=4.0, seconds=5.0, say=said.append)
    sys.stdout.writelines(f"{name:<24}{value}\n" for name, value in result.rows())
    assert sum(result.faults.values()) >= 5
    assert result.lost == 0
    assert result.wrong == {}
    assert result.left_behind == ()
    assert result.processes_left == 0
    assert result.driver is not None
    assert result.driver.done_before >= 6
    assert result.driver.touched == ()
    assert result.driver.wrong == {}
    assert result.driver.exit_code == 0
    assert result.sound
