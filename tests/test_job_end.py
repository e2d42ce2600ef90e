"""How a job ends when something is in its way: its driver must hear of it, and earlier results stay as they are."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from actors import folders as folders_room
from actors import job as job_room
from actors.cluster.snapshot import ClusterSnapshot
from actors.messages import SegmentJob, StreamKey
from dualface_ray.errors import ActorError, NotAVideoError
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


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dashboard", "grows"):
        monkeypatch.setattr(job_room, name, lambda: False)
    monkeypatch.setattr(job_room, "here", lambda: "node")


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("when", ["given up", "job ends"])
def test_a_deleted_folder_fails_its_videos_and_nothing_makes_it_anew(when: str, tmp_path):
    given = task(tmp_path)
    folder = given.outputs.folder
    folder.mkdir()
    runner = job_room.JobRunner([given], resolve(), "test")
    assert runner._books.gone(given.stream_id) is None
    shutil.rmtree(folder)
    if when == "given up":
        runner._give_up(given.stream_id, NotAVideoError("cannot be written"))
    else:
        runner._end_rest(ActorError("its lane died"), VideoState.FAILED)
    (video,) = runner.snapshot().videos
    assert video.state is VideoState.FAILED
    assert "the output folder is gone" in video.error
    assert not folder.exists(), "a report would have made it anew"


class FreeLane:
    """One that takes whatever it gets."""

    draining, free = False, 9

    def __init__(self) -> None:
        self.plan = Mock(lane_id="lane-0", node_id="node")
        self.given: list[str] = []
        self.jobs: dict[StreamKey, SegmentJob] = {}
        self.failure: ActorError | None = None
        self.guilty: frozenset[StreamKey] = frozenset()

    def assign(self, job: SegmentJob) -> None:
        self.given.append(job.stream_id)
        self.jobs[job.key] = job
        self.free -= 1


@pytest.mark.usefixtures("no_cluster")
def test_a_deleted_subfolder_costs_only_what_was_to_go_into_it(tmp_path):
    sources = [tmp_path / "in" / name / "talk.mp4" for name in "ab"]
    plans = plan_outputs(sources, tmp_path / "out", layout="stacked", container="mp4")
    given = [
        VideoTask(n, source, outputs, "f" * 64) for n, (source, outputs) in enumerate(zip(sources, plans, strict=True))
    ]
    for one in given:
        one.outputs.folder.mkdir(parents=True)
    runner, lane = job_room.JobRunner(given, resolve(), "test"), FreeLane()
    shutil.rmtree(given[0].outputs.folder)
    for unit in runner._units.release(2):
        runner._queue.add([unit])
        runner._hand_out(lane, unit, 0.0)
    first, second = runner.snapshot().videos
    assert (first.state, second.state) == (VideoState.FAILED, VideoState.RUNNING)
    assert f"{given[0].outputs.folder}: the output folder is gone" in first.error
    assert lane.given == [given[1].stream_id]
    assert not given[0].outputs.folder.exists()


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize("known", [True, False])
def test_only_the_video_that_stood_still_comes_nearer_to_its_end(known: bool, tmp_path, monkeypatch):
    sources = [tmp_path / f"{name}.mp4" for name in "ab"]
    plans = plan_outputs(sources, tmp_path / "out", layout="stacked", container="mp4")
    given = [
        VideoTask(n, source, outputs, "f" * 64) for n, (source, outputs) in enumerate(zip(sources, plans, strict=True))
    ]
    given[0].outputs.folder.mkdir()
    runner, lane = job_room.JobRunner(given, resolve(max_attempts=1), "test"), FreeLane()
    monkeypatch.setattr(job_room.Fleet, "bury", lambda self, lane, now_s: None)
    for unit in runner._units.release(2):
        runner._queue.add([unit])
        runner._hand_out(lane, unit, 0.0)
    lane.failure = ActorError("no progress with b.mp4 for 130 s", where="lane-0")
    lane.guilty = frozenset(key for key in lane.jobs if known and key[0] == lane.given[1])
    runner._bury(lane, 0.0)
    first, second = runner.snapshot().videos
    assert (first.state, second.state) == (VideoState.WAITING if known else VideoState.FAILED, VideoState.FAILED)
    assert "no progress with b.mp4" in second.error


@pytest.mark.usefixtures("no_cluster")
def test_a_folder_that_the_driver_has_not_made_is_never_gone(tmp_path):
    """Results on their way to an object store lie in a scratch folder that comes and goes."""
    given = task(tmp_path)
    assert job_room.JobRunner([given], resolve(), "test")._books.gone(given.stream_id) is None


def test_an_input_that_cannot_be_opened_today_leaves_the_report_of_its_result(tmp_path):
    given = task(tmp_path, state=VideoState.FAILED, error=NotAVideoError("no such file", where="talk.mp4"))
    settings, path = resolve(), given.outputs.report
    assert [found for found, _ in refused([given], settings)] == [given]
    path.parent.mkdir()
    path.write_bytes(b"somebody's own file")
    assert refused([given], settings) == []
    assert [found for found, _ in refused([given], resolve(overwrite=True))] == [given]
    path.unlink()
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
