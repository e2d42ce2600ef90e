"""Which Ray a job joins, what it says when there is none, and when it needs none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import ray

from dualface_ray import api
from dualface_ray.api import connect
from dualface_ray.errors import ClusterError, OutputError
from dualface_ray.hardware import Gpu, declared
from dualface_ray.media import OutputLock, Workspace, plan_outputs
from dualface_ray.report import (
    RunReport,
    VideoState,
    counted_settings,
    fingerprint,
    input_record,
    read_report,
    versions,
)
from dualface_ray.settings import resolve

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_RAY = """
import sys
from dualface_ray.cli.app import execute
code = execute(sys.argv[1:])
assert "ray" not in sys.modules
sys.exit(code)
"""


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_one_line_at_once(form: str, closed_port: int) -> None:
    with pytest.raises(ClusterError) as caught:
        connect(resolve(), form.format(closed_port))
    assert form.format(closed_port) in str(caught.value)
    assert "no Ray answers" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_an_address_that_cannot_be_is_the_same_error() -> None:
    with pytest.raises(ClusterError):
        connect(resolve(), "127.0.0.1:99999")


@pytest.mark.parametrize(
    "error",
    [ConnectionError("Failed to connect to\nRay cluster at 10.0.0.1:6379"), RuntimeError("Version mismatch")],
)
def test_a_ray_that_lets_nobody_in_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuses)
    with pytest.raises(ClusterError) as caught:
        connect(resolve(), "auto")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"auto: this Ray cannot be joined ({str(error).split()[0]}")
    assert "\n" not in str(caught.value)
    assert "token" in caught.value.remedy


def finished(source: Path, folder: Path) -> None:
    """What a finished run leaves, as far as the next one looks at it."""
    settings = resolve()
    (outputs,) = plan_outputs([source], folder, layout=settings.framing.layout, container=settings.encode.container)
    folder.mkdir()
    for path in (*outputs.videos, outputs.tracks):
        path.write_bytes(b"complete")
    RunReport(
        state=VideoState.DONE,
        input=input_record(source),
        fingerprint=fingerprint(source, settings),
        settings=counted_settings(settings),
        versions=versions(),
    ).save(outputs.report)


def command(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, "run", *argv],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_job_that_is_done_already_starts_no_ray(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(talk, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    done = command(str(talk), "-o", str(out), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["starting", "started", "video", "progress", "summary"]
    (video,) = events[-1]["videos"]
    assert (video["state"], video["source"]) == ("skipped", str(talk))
    assert video["outputs"] == [str(out / f"{talk.stem}.dualface.mp4")]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    shown = command(str(talk), "-o", str(out))
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "1 skipped"


def test_a_job_of_nothing_but_bad_inputs_starts_no_ray_and_leaves_their_reports(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(talk, out)
    done = command(str(talk), str(talk.with_name("missing.mp4")), "-o", str(out))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "1 skipped, 1 failed"
    assert read_report(out / "missing.report.json").state is VideoState.FAILED
    assert not [path for path in out.iterdir() if path.name.startswith(".")], "the lock is given back"


def test_cancelling_and_closing_such_a_job_is_harmless(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dualface_ray import run

    monkeypatch.setattr("dualface_ray.api.connect", lambda *_: pytest.fail("Ray is not needed"))
    finished(talk, tmp_path / "out")
    with run([talk], tmp_path / "out") as job:
        job.cancel()
        assert job.wait(0.0).exit_code == 0
        assert job.snapshot().videos[0].state is VideoState.SKIPPED
    job.close()


@pytest.mark.parametrize("again", [False, True])
def test_a_deleted_folder_that_the_next_job_has_made_anew_is_left_to_it(
    again: bool, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.Job, "_start", lambda *_: None)
    monkeypatch.setattr(api.Job, "_await_end", lambda *_: None)
    monkeypatch.setattr("actors.lane.remove_groups", lambda _: None)
    monkeypatch.setattr(ray, "kill", lambda *_, **__: None)
    out = tmp_path / "out"
    settings = resolve()
    job = api.Job(api.prepare([talk], out, settings), settings)
    job._actor = Mock()
    shutil.rmtree(out)
    next_one = OutputLock([out])
    if again:
        next_one.take()
    outputs = job.tasks[0].outputs
    parts = Workspace.of(outputs).folder / "span-0.json"
    parts.parent.mkdir(parents=True)
    parts.write_bytes(b"{}")
    job._lock.gone = out  # seen by its beat, before the next job came
    with pytest.raises(OutputError, match="the output folder is gone"):
        job.snapshot()
    assert parts.exists() == out.exists() == again
    job.cancel()  # as Ctrl-C does that comes just now
    assert job._actor.cancel.remote.call_count == 1, "there is nothing left to wait for"
    next_one.release()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a private Ray would be started with, on a machine of two RTX 4090 and 32 cores."""
    given: dict[str, Any] = {}
    cards = tuple(Gpu(n, "NVIDIA GeForce RTX 4090", f"GPU-{n}", 24 << 30, "550.67") for n in range(2))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(api, "declared", lambda profile: declared(profile, look=lambda: cards))
    monkeypatch.setattr(api, "cores", lambda: 32)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **arguments: given.update(arguments))
    return given


def test_a_private_ray_declares_what_the_profile_lets_this_machines_cards_do(started: dict[str, Any]) -> None:
    connect(resolve(**{"lane.profile": "rtx4090", "lane.cores": 16}))
    assert started["resources"] == {"nvdec_session": 12, "nvenc_session": 8}
    assert started["labels"] == {"dualface-driver": "550.67"}
    assert started["num_cpus"] == 32, "both cards' lanes have room"


@pytest.mark.parametrize("overrides", [{}, {"lane.profile": "rtx4090", "lane.backend": "cpu"}])
def test_without_a_profile_or_for_the_cpu_it_declares_nothing(
    overrides: dict[str, str], started: dict[str, Any]
) -> None:
    connect(resolve(**overrides))
    assert (started["resources"], started["labels"]) == ({}, {})
