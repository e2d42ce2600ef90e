"""Inputs that are refused are not opened: no pipe is waited for, nothing of what a link leads to is told."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dualface_ray import run
from dualface_ray.report import JobSnapshot, VideoState, input_fingerprint, read_report


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray is not needed"))


def ended(source: Path, out: Path, **settings: object) -> JobSnapshot:
    """What becomes of a job that opens nothing; one that waits for ever is left behind."""
    found: list[JobSnapshot] = []

    def work() -> None:
        with run(source, out, **settings) as job:
            found.append(job.wait(0.0))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30.0)
    assert found, "it hangs"
    return found[0]


def test_a_pipe_in_a_folder_fails_alone_and_nobody_waits_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "text.mp4").write_text("no video")
    snapshot = ended(folder, tmp_path / "out")
    assert [video.error_code for video in snapshot.videos] == ["input_missing", "not_a_video"]
    report = read_report(tmp_path / "out" / "pipe.report.json")
    assert report.error is not None
    assert "is a pipe" in report.error.what
    assert (report.input.size_bytes, report.input.fingerprint) == (0, "")
    assert read_report(tmp_path / "out" / "text.report.json").input.size_bytes == 8, "refused for what is in it"


@pytest.mark.parametrize("allowed", [False, True])
def test_what_a_refused_link_leads_to_is_not_told(allowed: bool, tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_text("what nobody asked for")
    (tmp_path / "link.mp4").symlink_to(target)
    ended(tmp_path / "link.mp4", tmp_path / "out", allow_symlinks=allowed)
    report = read_report(tmp_path / "out" / "link.report.json")
    assert report.state is VideoState.FAILED
    told = (21, input_fingerprint(target)) if allowed else (0, "")
    assert (report.input.size_bytes, report.input.fingerprint) == told


def test_devices_and_sockets_have_no_fingerprint(tmp_path: Path) -> None:
    for name in ("zero", "null"):
        assert ended(Path("/dev") / name, tmp_path / name).exit_code == 1
        assert read_report(tmp_path / name / f"{name}.report.json").input.fingerprint == ""
