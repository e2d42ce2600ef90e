"""What a job shows in a notebook: its progress and result, tracks and a preview of what is done."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import InProcessLane, job_for

from dualface_ray.api import Job
from dualface_ray.errors import RequestError
from dualface_ray.media import plan_outputs
from dualface_ray.report import Preview, Tracks, VideoState, VideoTask
from dualface_ray.settings import resolve


@pytest.fixture(scope="module")
def done(models: None, talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job of two videos: one was done before, the other cannot be opened."""
    folder, settings = tmp_path_factory.mktemp("notebook"), resolve()
    source = Path(shutil.copy(talk, folder / "talk.mp4"))
    with InProcessLane(settings) as lane:
        made = job_for(source, folder / "out", settings)
        assert lane.run(made).error is None
    bad = plan_outputs([folder / "none.mp4"], folder / "out", layout="side_by_side", container="mp4")[0]
    return Job(
        [
            VideoTask(0, source, made.outputs, made.fingerprint, VideoState.SKIPPED),
            VideoTask(1, folder / "none.mp4", bad, "", VideoState.FAILED, RequestError("gone", where="none.mp4")),
        ],
        settings,
    )


def test_progress_and_result_show_themselves(done: Job) -> None:
    assert done.progress == done.result() == done.wait()
    assert "talk.mp4" in done._repr_html_()
    assert repr(done) == "<Job: 2 of 2 videos ended, final>"


def test_a_finished_video_has_tracks_and_a_preview(done: Job) -> None:
    tracks = done.tracks(0)
    assert isinstance(tracks, Tracks)
    assert len(tracks.pts_ticks) > 0
    sheet = done.preview(0, pictures=2)
    assert isinstance(sheet, Preview)
    assert sheet._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(("index", "what"), [(1, "failed"), (2, "no video 2"), (-1, "no video -1")])
def test_what_is_not_there_is_said(done: Job, index: int, what: str) -> None:
    for ask in (done.tracks, done.preview):
        with pytest.raises(RequestError, match=what) as caught:
            ask(index)
        assert caught.value.remedy


def test_what_lies_in_a_store_is_said(done: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    task = done.tasks[0]
    away = replace(task, outputs=replace(task.outputs, publish="s3://bucket/out"))
    monkeypatch.setattr(done, "tasks", (away, done.tasks[1]))
    with pytest.raises(RequestError, match="in a store"):
        done.tracks(0)
    monkeypatch.setattr(done, "tasks", (replace(task, origin="https://example.org/talk.mp4"), done.tasks[1]))
    with pytest.raises(RequestError, match="no local file"):
        done.preview(0)


def test_a_result_that_takes_too_long_is_said(done: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(done, "wait", lambda timeout_s: replace(done._last, final=False))
    with pytest.raises(RequestError, match="within 2 s"):
        done.result(2)
