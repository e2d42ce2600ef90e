"""The product as its users run it: real Ray, real files, real deaths."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dualface_ray.api import Job
from dualface_ray.errors import NameCollisionError, OutputError, OutputExistsError
from dualface_ray.report import JobSnapshot, VideoState, read_report

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("models")]

SMALL = {"framing.width_px": 640, "framing.height_px": 360}
"""A small picture: these tests are about processes."""
SLOW = {**SMALL, "preset": "veryslow"}
"""Slow enough to be caught in mid-video."""
ROLES = ("DecoderActor", "InferenceActor", "EncoderActor", "JobActor")


@pytest.fixture(scope="module", autouse=True)
def private_ray() -> Iterator[None]:
    """One Ray for this module; it must be gone afterwards."""
    import ray

    before = shm_files()
    yield
    ray.shutdown()
    assert shm_files() - before == set()


def shm_files() -> set[str]:
    """What lies in shared memory by name, but for Ray's own store."""
    return {p.name for p in Path("/dev/shm").iterdir() if not p.name.startswith(("plasma", "sem."))}


def actor_pids(role: str) -> list[int]:
    """Processes of one kind of actor below this one's Ray."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if line.startswith(f"ray::{role}"):
            found.append(process.pid)
    return found


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".part" in path.name or ".segment" in path.name]


def run_job(inputs: list[Path], out: Path, **overrides: object) -> JobSnapshot:
    from dualface_ray.api import run

    with run(inputs, out, **{**SMALL, **overrides}) as job:
        return job.wait(120)


def test_several_videos_and_every_kind_of_bad_file(talk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = [folder / "one.mp4", folder / "two.mp4"]
    for path in good:
        path.write_bytes(talk.read_bytes())
    bad = [folder / name for name in ("missing.mp4", "empty.mp4", "text.mp4", "cut.mp4", "folder.mp4")]
    bad[1].touch()
    bad[2].write_text("this is no video\n" * 50)
    bad[3].write_bytes(talk.read_bytes()[:3000])
    bad[4].mkdir()
    snapshot = run_job([*good, *bad], tmp_path / "out")
    assert snapshot.final
    assert snapshot.exit_code == 1
    states = [video.state for video in snapshot.videos]
    assert states == [VideoState.DONE] * 2 + [VideoState.FAILED] * 5
    for video, path in zip(snapshot.videos[2:], bad, strict=True):
        assert video.error.startswith(str(path)), video.error
        assert "\n" not in video.error
        report = read_report(tmp_path / "out" / f"{path.stem}.report.json")
        assert report.state is VideoState.FAILED
        assert report.error is not None
        assert report.error.what
    assert leftovers(tmp_path) == []


def test_the_same_request_again_is_already_done(talk: Path, tmp_path: Path) -> None:
    first = run_job([talk], tmp_path)
    stamp = (tmp_path / "talk.dualface.mp4").stat().st_mtime_ns
    again = run_job([talk], tmp_path)
    assert [first.videos[0].state, again.videos[0].state] == [VideoState.DONE, VideoState.SKIPPED]
    assert again.exit_code == 0
    assert (tmp_path / "talk.dualface.mp4").stat().st_mtime_ns == stamp
    with pytest.raises(OutputExistsError, match="overwrite"):
        run_job([talk], tmp_path, layout="stacked")
    assert (tmp_path / "talk.dualface.mp4").stat().st_mtime_ns == stamp
    assert run_job([talk], tmp_path, layout="stacked", overwrite=True).videos[0].state is VideoState.DONE


def test_two_inputs_of_one_name_are_refused_before_anything_starts(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.mkv").write_bytes(talk.read_bytes())
    (tmp_path / "talk.mp4").write_bytes(talk.read_bytes())
    with pytest.raises(NameCollisionError):
        run_job([tmp_path / "talk.mkv", tmp_path / "talk.mp4"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_actor_never_hangs_the_job(role: str, talk: Path, tmp_path: Path) -> None:
    """SIGKILL in mid-video: a clear error or a finished video, nothing half-written, no process left."""
    from dualface_ray.api import run
    from dualface_ray.errors import ActorError

    with run([talk], tmp_path / "out", **SLOW) as job:
        until_running(job)
        (pid,) = actor_pids(role)
        os.kill(pid, signal.SIGKILL)
        if role == "JobActor":
            with pytest.raises(ActorError, match="died"):
                job.wait(60)
        else:
            snapshot = job.wait(90)
            assert snapshot.final
            assert snapshot.videos[0].state is VideoState.DONE, snapshot.videos[0].error
            assert snapshot.videos[0].attempts == 2
            assert any("died" in note for note in snapshot.notes)
    assert leftovers(tmp_path) == []
    deadline = time.monotonic() + 20
    while any(actor_pids(name) for name in ROLES):
        assert time.monotonic() < deadline, "actors are left"
        time.sleep(0.1)


def test_a_video_that_keeps_killing_its_lane_is_given_up(talk: Path, tmp_path: Path) -> None:
    from dualface_ray.api import run

    with run([talk], tmp_path / "out", **SLOW, max_attempts=1) as job:
        until_running(job)
        os.kill(actor_pids("EncoderActor")[0], signal.SIGKILL)
        snapshot = job.wait(60)
    assert snapshot.videos[0].state is VideoState.FAILED
    assert "given up" in snapshot.videos[0].error
    assert leftovers(tmp_path) == []
    assert read_report(tmp_path / "out" / "talk.report.json").state is VideoState.FAILED


def test_cancel_leaves_nothing(talk: Path, tmp_path: Path) -> None:
    from dualface_ray.api import run

    with run([talk], tmp_path / "out", **SLOW) as job:
        until_running(job)
        job.cancel()
        assert job.snapshot().exit_code == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_a_deleted_output_folder_ends_the_job_and_stays_away(talk: Path, tmp_path: Path) -> None:
    from dualface_ray.api import run

    with run([talk], tmp_path / "out", **SLOW) as job:
        until_running(job)
        shutil.rmtree(tmp_path / "out")
        with pytest.raises(OutputError, match="the output folder is gone"):
            job.wait(60)
    assert not (tmp_path / "out").exists()


def until_running(job: Job) -> None:
    """Wait until a few frames are encoded; a job that ends or stands still before that fails the test."""
    deadline = time.monotonic() + 120
    while (snapshot := job.snapshot()).videos[0].frames_done < 5:
        assert not snapshot.final, snapshot
        assert time.monotonic() < deadline, snapshot
        time.sleep(0.02)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "dualface_ray", *words]


def test_the_command_line_runs_and_speaks_json(talk: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("run", str(talk), "-o", str(tmp_path), "--json"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines
    assert (tmp_path / "talk.dualface.mp4").exists()


def test_a_wrong_request_is_one_line_and_exit_code_2(talk: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("run", str(talk), "-o", str(tmp_path / "out"), "--set", "framing.layuot=stacked"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "layuot" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_command_leaves_no_actor(number: signal.Signals, talk: Path, tmp_path: Path) -> None:
    """Ctrl-C cleans up and says 130; after SIGKILL of the driver its Ray goes down by itself."""
    process = subprocess.Popen(
        command("run", str(talk), "-o", str(tmp_path / "out"), "--set", "preset=placebo", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if any(video.get("frames_done", 0) > 3 for video in event.get("videos", [])):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    # Ray's own two agents notice the death of their raylet only after about a minute; nothing of ours may last
    ours = [child for child in children if "Agent" not in child.name()]
    assert len(ours) >= len(children) - 2
    process.send_signal(number)
    process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert list((tmp_path / "out").iterdir()) == []
    deadline = time.monotonic() + 30
    while any(alive(child) for child in ours):
        assert time.monotonic() < deadline, f"{sum(child.is_running() for child in ours)} processes are left"
        time.sleep(0.2)
