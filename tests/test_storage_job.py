"""Real jobs over real protocols: inputs from a web server, inputs from and results to an S3 on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualface_ray.report import parse_report
from tests.storage_servers import S3_SECRET, Bucket, Server, Web, s3_environment

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("models")]
ROOT = Path(__file__).resolve().parent.parent
SMALL = ("reid=off", "quality=30", "lane.cores=1", "job.watchdog_s=170")


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where remote files lie meanwhile; nothing may be left there."""
    folder = tmp_path / "scratch"
    yield folder
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def dualface(*words: str, scratch: Path, **env: str) -> tuple[int, list[dict], str]:
    """Run the command line; its exit code, its events and what it says on standard error."""
    sets = [word for pair in (*SMALL, f"storage.scratch_dir={scratch}") for word in ("--set", pair)]
    done = subprocess.run(
        [sys.executable, "-m", "dualface_ray", "run", *words, *sets, "--json"],
        capture_output=True,
        text=True,
        timeout=170,
        cwd=ROOT,
        env={**os.environ, **env},
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_videos_from_a_web_server_and_one_that_is_missing(talk, tmp_path, scratch):
    with Server(Web) as server:
        server.files["/in/talk.mp4"] = talk.read_bytes()
        base = server.url.replace("http://", "http://user:geheim@")
        (tmp_path / "list.txt").write_text(f"# two\n{base}/in/talk.mp4?signature=topsecret\n{base}/in/none.mp4\n")
        code, events, err = dualface("--list", str(tmp_path / "list.txt"), "-o", str(tmp_path / "out"), scratch=scratch)
    assert code == 1, err
    done, missing = events[-1]["videos"]
    assert (done["state"], missing["state"]) == ("done", "failed"), done["error"]
    assert done["source"].endswith("/in/talk.mp4?***")
    assert "no such file" in missing["error"]
    assert (tmp_path / "out" / "talk.dualface.mp4").stat().st_size > 10_000
    report = (tmp_path / "out" / "talk.report.json").read_text()
    assert parse_report(report.encode(), "").input.path == done["source"]
    everything = report + err + json.dumps(events) + (tmp_path / "out" / "none.report.json").read_text()
    for secret in ("geheim", "topsecret"):
        assert secret not in everything


def test_from_s3_to_s3_and_again(talk, tmp_path, scratch):
    """The report comes last; the same command again has nothing to do; other settings touch nothing."""
    with Server(Bucket) as server:
        env = s3_environment(server.url)
        server.files["/vault/in/x/talk.mp4"] = server.files["/vault/in/y/talk.mp4"] = talk.read_bytes()
        words = ("s3://vault/in/**/*.mp4", "-o", "s3://vault/out")
        code, events, err = dualface(*words, scratch=scratch, **env)
        assert code == 0, (err, events[-1])
        names = ["talk.dualface.mp4", "talk.report.json", "talk.tracks.jsonl"]
        made = sorted(path for path in server.files if path.startswith("/vault/out"))
        assert made == [f"/vault/out/{folder}/{name}" for folder in "xy" for name in names]
        assert events[-1]["videos"][0]["outputs"] == ["s3://vault/out/x/talk.dualface.mp4"]
        puts = [line for line in server.seen if line.startswith("PUT /vault/out/x/")]
        assert puts[-1] == "PUT /vault/out/x/talk.report.json"
        assert S3_SECRET not in server.files["/vault/out/x/talk.report.json"].decode() + json.dumps(events) + err

        before = dict(server.files)
        server.seen.clear()
        code, events, _ = dualface(*words, scratch=scratch, **env)
        assert code == 0
        assert [video["state"] for video in events[-1]["videos"]] == ["skipped", "skipped"]
        assert not [line for line in server.seen if line.startswith("PUT")]
        code, _, err = dualface(*words, "--layout", "stacked", scratch=scratch, **env)
        assert code == 2
        assert "s3://vault/out/x/talk.dualface.mp4" in err
        assert server.files == before


@pytest.mark.long
def test_an_s3_that_refuses_the_results_fails_the_video_with_one_line(talk, tmp_path, scratch):
    pytest.importorskip("s3fs")
    with Server(Bucket) as server:
        env = s3_environment(server.url)
        denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        server.habits["/vault/out/talk.tracks.jsonl"] = lambda handler: handler.answer(403, denied) is None
        code, events, err = dualface(str(talk), "-o", "s3://vault/out", scratch=scratch, **env)
        assert code == 1, err
        (video,) = events[-1]["videos"]
        assert video["error"].startswith("s3://vault/out/talk.tracks.jsonl: access is denied")
        report = parse_report(server.files["/vault/out/talk.report.json"], "")
        assert report.error.what == "access is denied"


def test_a_relative_path_is_refused_on_a_cluster(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dualface_ray", "run", "talk.mp4", "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:1"},
    )
    assert done.returncode == 2
    assert "relative path" in done.stderr
    assert str(ROOT / "talk.mp4") in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_second_job_is_refused_and_takes_over_once_the_first_driver_is_killed(talk, tmp_path):
    """SIGKILL leaves lanes that are just dying, and a lock: the next run waits for the ones and takes the other."""
    out = tmp_path / "out"
    words = ["run", str(talk), "-o", str(out), "--json", *(w for pair in SMALL for w in ("--set", pair))]
    command = [sys.executable, "-m", "dualface_ray", *words]
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    first = subprocess.Popen([*command, "--set", "preset=placebo"], stdout=subprocess.PIPE, text=True, env=env)
    assert first.stdout is not None
    for line in first.stdout:
        if any(video.get("frames_done", 0) > 3 for video in json.loads(line).get("videos", [])):
            break
    second = subprocess.run(command, capture_output=True, text=True, timeout=170, env=env)
    assert second.returncode == 2
    assert f"another job writes to this folder (process {first.pid} " in second.stderr
    assert (out / ".dualface.lock").exists()
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    third = subprocess.run(command, capture_output=True, text=True, timeout=170, env=env)
    assert third.returncode == 0, third.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "talk.dualface.mp4",
        "talk.report.json",
        "talk.tracks.jsonl",
    ]
