"""What lies in the output folder already: done, made with other settings, somebody else's, or no report at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dualface_ray.errors import OutputExistsError
from dualface_ray.report import RunReport, VideoState, VideoTask, input_record
from dualface_ray.request import prepare, preparing, refused, settle
from dualface_ray.settings import resolve


@pytest.fixture(autouse=True)
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "ensure", lambda *_args: None)


@pytest.fixture
def ask(talk: Path, tmp_path: Path) -> Callable[..., VideoTask]:
    """What a request with these settings makes of the video."""
    return lambda **settings: prepare(talk, tmp_path / "out", resolve(**settings))[0]


def finish(task: VideoTask, state: VideoState = VideoState.DONE) -> None:
    """As a run leaves it."""
    task.outputs.folder.mkdir(exist_ok=True)
    done = state is VideoState.DONE
    names = tuple(path.name for path in task.outputs.videos) if done else ()
    for path in (*task.outputs.videos, task.outputs.tracks) if done else ():
        path.write_bytes(b"complete")
    record = input_record(task.source)
    RunReport(state=state, input=record, fingerprint=task.fingerprint, outputs=names).save(task.outputs.report)


@pytest.mark.parametrize("changed", [{"layout": "separate"}, {"container": "mkv"}, {"quality": 21}])
def test_other_settings_take_no_result_away_whatever_its_files_are_called(ask, changed):
    task = ask()
    finish(task)
    with pytest.raises(OutputExistsError, match=r"talk\.dualface\.mp4: was made from another input or with other"):
        ask(**changed)
    assert ask(**changed, overwrite=True).state is VideoState.WAITING
    assert ask().state is VideoState.SKIPPED
    task.outputs.videos[0].unlink()
    with pytest.raises(OutputExistsError, match=r"talk\.tracks\.jsonl: was made from another input"):
        ask(**changed)
    task.outputs.tracks.unlink()
    assert ask(**changed).state is VideoState.WAITING, "a report alone is no result"


def test_a_result_of_which_a_part_is_missing_is_made_again(ask):
    task = ask()
    finish(task)
    task.outputs.tracks.unlink()
    assert ask().state is VideoState.WAITING


@pytest.mark.parametrize("name", ["talk.dualface.mp4", "talk.tracks.jsonl"])
@pytest.mark.parametrize("failed", [False, True])
def test_what_is_not_ours_stays(ask, name, failed):
    task = ask()
    task.outputs.folder.mkdir()
    if failed:
        finish(task, VideoState.FAILED)
        assert ask().state is VideoState.WAITING, "a failure is tried again"
    (task.outputs.folder / name).write_text("somebody else's")
    said = "is of a run that failed" if failed else "has no report beside it"
    with pytest.raises(OutputExistsError, match=said) as caught:
        ask()
    assert caught.value.where == str(task.outputs.folder / name)
    assert "overwrite=True" in caught.value.remedy
    assert ask(overwrite=True).state is VideoState.WAITING


@pytest.mark.parametrize("content", ["garbage", "", '{"schema": 99, "state": "done", "input": {"path": "x"}}', None])
def test_a_file_that_is_no_report_is_a_wrong_request(ask, content):
    """Of the whole job, as any result that is in its way is; nothing says that it may be replaced."""
    task = ask()
    task.outputs.folder.mkdir()
    if content is None:
        os.mkfifo(task.outputs.report)
    else:
        task.outputs.report.write_text(content)
    with pytest.raises(OutputExistsError, match=r"talk\.report\.json: ") as caught:
        ask()
    assert caught.value.exit_code == 2
    assert "overwrite=True" in caught.value.remedy
    assert ask(overwrite=True).state is VideoState.WAITING


def test_the_report_of_a_failure_replaces_no_file_that_is_no_report(tmp_path):
    (tmp_path / "out").mkdir()
    settings = resolve()
    tasks = prepare([tmp_path / "one.mp4", tmp_path / "two.mp4"], tmp_path / "out", settings)
    tasks[0].outputs.report.write_text("garbage")
    assert [task.source.name for task, _ in refused(tasks, settings)] == ["two.mp4"]
    assert len(refused(tasks, resolve(overwrite=True))) == 2


def test_what_a_replaced_result_is_called_is_known(talk, tmp_path, ask):
    """Its videos, if the new ones have other names; never another file, whatever stands in the report."""
    old = ask()
    finish(old)

    def names(inputs: list[Path], **settings: object) -> tuple[str, ...]:
        resolved = resolve(**settings)
        return settle(prepare(inputs, tmp_path / "out", resolved), resolved)[0].replaced

    both = {"container": "mkv", "overwrite": True}
    assert names([talk], **both) == ("talk.dualface.mp4",)
    assert names([talk], layout="separate", overwrite=True) == ("talk.dualface.mp4",)
    assert names([talk], overwrite=True, quality=21) == (), "the same names"
    mine = tmp_path / "elsewhere"
    mine.mkdir()
    (mine / "link").symlink_to(old.outputs.videos[0])
    assert names([talk, old.outputs.videos[0]], **both) == (), "it is an input"
    assert names([talk, mine / "link"], allow_symlinks=True, **both) == ()
    report = RunReport(state=VideoState.DONE, input=input_record(talk), outputs=(
        "talk.A.mov", "../talk.dualface.mp4", str(talk), "/etc/passwd", "talk.tracks.jsonl", "other.dualface.mp4",
        "talk.dualface.mkv", "talk.B.avi", "", ".", "talk.A.mov",
    ))  # fmt: skip
    report.save(old.outputs.report)
    assert names([talk], **both) == ("talk.A.mov",)
    old.outputs.report.write_text("garbage")
    assert names([talk], **both) == ()
