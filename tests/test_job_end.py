"""How a job ends when something is in its way: its driver must hear of it, and earlier results stay as they are."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from actors import folders as folders_room
from actors import job as job_room
from actors.cluster.snapshot import ClusterSnapshot
from dualface_ray.errors import ActorError, NotAVideoError, OutputError
from dualface_ray.media import OutputLock, plan_outputs
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
        monkeypatch.setattr(folders_room, name, fails)
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


def test_a_deleted_folder_ends_the_job_and_nothing_makes_it_anew(tmp_path, monkeypatch):
    given = task(tmp_path)
    folder = given.outputs.folder
    for name in ("dashboard", "grows"):
        monkeypatch.setattr(job_room, name, lambda: False)
    monkeypatch.setattr(job_room, "here", lambda: "node")
    lock = OutputLock([folder])
    lock.take()
    runner = job_room.JobRunner([given], resolve(), "test")
    runner._folders.require(given)
    shutil.rmtree(folder)
    for end in (
        lambda: runner._folders.require(given),
        lambda: runner._give_up(given.stream_id, NotAVideoError("no video")),
    ):
        with pytest.raises(OutputError, match="the output folder is gone"):
            end()
    runner._end_rest(ActorError("its lane died"), VideoState.FAILED)
    assert runner.snapshot().videos[0].state is VideoState.FAILED
    assert not folder.exists(), "a report would have made it anew"
    lock.release()


def test_a_folder_that_nobody_has_locked_is_never_gone(tmp_path, monkeypatch):
    """Results on their way to an object store lie in a scratch folder without a lock file."""
    given = task(tmp_path)
    for name in ("dashboard", "grows"):
        monkeypatch.setattr(job_room, name, lambda: False)
    monkeypatch.setattr(job_room, "here", lambda: "node")
    job_room.JobRunner([given], resolve(), "test")._folders.require(given)


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
