"""How a job ends when something is in its way: its driver must hear of it, and earlier results stay as they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors import job as job_room
from actors.cluster.snapshot import ClusterSnapshot
from dualface_ray.errors import NotAVideoError
from dualface_ray.media import plan_outputs
from dualface_ray.report import RunReport, VideoState, VideoTask, parse_report
from dualface_ray.request import refused
from dualface_ray.settings import resolve


def task(folder: Path, **more: object) -> VideoTask:
    source = folder / "in" / "talk.mp4"
    (outputs,) = plan_outputs([source], folder / "out", layout="stacked", container="mp4")
    return VideoTask(0, source, outputs, "f" * 64, **more)


@pytest.mark.parametrize("failing", [("with_leftovers",), ("remove_workspace", "remove_leftovers")])
def test_what_cannot_be_cleared_away_does_not_leave_the_driver_waiting(failing, tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    given = task(tmp_path)
    given.outputs.folder.mkdir()
    given.outputs.report.with_name(f".{given.outputs.report.name}.work").mkdir()
    monkeypatch.setattr(job_room, "here", lambda: "node")
    monkeypatch.setattr(job_room, "dashboard", lambda: False)
    monkeypatch.setattr(job_room, "grows", lambda: False)
    monkeypatch.setattr(job_room, "look", lambda: ClusterSnapshot(cpus=0))
    for name in failing:
        monkeypatch.setattr(job_room, name, fails)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    runner = job_room.JobRunner([given], resolve(placement_timeout_s=60), "test")
    runner.start()
    runner.cancel()
    deadline_s = time.monotonic() + 20
    while not (snapshot := runner.snapshot()).final:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert snapshot.videos[0].state.final
    if "remove_workspace" in failing:
        assert any("unfinished files stay" in note for note in snapshot.notes), snapshot.notes


def test_an_input_that_cannot_be_opened_today_leaves_the_report_of_its_result(tmp_path):
    given = task(tmp_path, state=VideoState.FAILED, error=NotAVideoError("no such file", where="talk.mp4"))
    settings, path = resolve(), given.outputs.report
    assert [found for found, _ in refused([given], settings)] == [given]
    path.parent.mkdir()
    path.write_bytes(b"nonsense")
    assert [found for found, _ in refused([given], settings)] == [given]
    done(given).save(path)
    assert refused([given], settings) == []
    assert parse_report(path.read_bytes(), "").state is VideoState.DONE
    assert [found for found, _ in refused([given], resolve(overwrite=True))] == [given]


def done(given: VideoTask) -> RunReport:
    """The report of a finished video."""
    from dualface_ray.report import counted_settings, input_record, versions

    return RunReport(
        state=VideoState.DONE,
        input=input_record(given.source),
        fingerprint=given.fingerprint,
        settings=counted_settings(resolve()),
        versions=versions(),
    )
