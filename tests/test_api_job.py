"""How a job ends in the hands of whoever started it, without Ray."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.exceptions

from dualface_ray.api import Job, contact, hold, job
from dualface_ray.errors import ActorError, OutputBusyError, OutputError
from dualface_ray.media import LOCK_NAME, OutputLock, Workspace, plan_outputs, segment_path, write_atomic
from dualface_ray.report import JobSnapshot, VideoProgress, VideoState, VideoTask
from dualface_ray.settings import resolve


class Played:
    """Stands in for the job's process."""

    def __init__(self, tasks: tuple[VideoTask, ...], *_: object) -> None:
        self.tasks = tasks
        self.calls: list[str] = []
        self.states = [VideoState.RUNNING] * len(tasks)
        self.obeys = True
        self.error: Exception | None = None
        self.notes: tuple[str, ...] = ()

    def snapshot(self) -> JobSnapshot:
        if self.error is not None:
            raise self.error
        videos = tuple(VideoProgress(n, "talk.mp4", (), state) for n, state in enumerate(self.states))
        return JobSnapshot(videos, notes=self.notes, final=all(state.final for state in self.states))

    def cancel(self) -> None:
        self.calls.append("cancel")
        if self.obeys:
            self.states = [state if state.final else VideoState.CANCELLED for state in self.states]

    def end(self, *, lanes: bool) -> None:
        self.calls.append("end with lanes" if lanes else "end")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Job, Played]]:
    """Starts a job of one video for each named folder, none of which is ever touched."""
    monkeypatch.setattr(job, "connect", lambda *_: None)
    monkeypatch.setattr(job, "Contact", Played)
    monkeypatch.setattr(job, "POLL_S", 0.01)
    monkeypatch.setattr(job, "settle", lambda tasks, _: tasks)
    monkeypatch.setattr(job, "refused", lambda *_: [])
    monkeypatch.setattr(hold, "WRITERS_TIMEOUT_S", 0.1)

    def begin(*folders: str) -> tuple[Job, Played]:
        sources = [tmp_path / "in" / folder / "talk.mp4" for folder in folders or ("",)]
        plans = plan_outputs(sources, tmp_path / "out", layout="stacked", container="mp4")
        tasks = [VideoTask(n, *both, "f" * 64) for n, both in enumerate(zip(sources, plans, strict=True))]
        job = Job(tasks, resolve())
        return job, job._contact  # type: ignore[return-value]

    return begin


def unfinished(task: VideoTask, *, half_named: bool = False) -> list[Path]:
    """What lies beside the results of a video in the middle of its work."""
    outputs, space = task.outputs, Workspace.of(task.outputs)
    space.make()
    space.record("span-0000").write_text("{}")
    paths = [segment_path(outputs.videos[0], 0), outputs.tracks.with_name(f"{outputs.tracks.name}.0123abcd.part")]
    for path in paths:
        path.touch()
    if half_named:
        write_atomic(outputs.videos[0], b"no report yet")
        paths.append(outputs.videos[0])
    return paths


def test_a_finished_job_is_final_and_gives_its_folder_back(start, tmp_path):
    job, process = start()
    with job:
        assert not job.snapshot().final
        assert (tmp_path / "out" / LOCK_NAME).exists()
        process.states = [VideoState.DONE]
        assert job.wait(5).final
        assert not (tmp_path / "out" / LOCK_NAME).exists()
    job.close()
    assert process.calls == ["end"]
    assert job.snapshot().videos[0].state is VideoState.DONE


def test_leaving_it_cancels_what_runs(start):
    job, process = start()
    with job:
        pass
    assert process.calls == ["cancel", "end"]
    assert job.snapshot().exit_code == 130


def test_a_job_that_does_not_stop_in_time_is_ended_and_cleared_away_for(start, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "CANCEL_TIMEOUT_S", 0.05)
    job_, process = start("a", "b")
    process.obeys, process.states = False, [VideoState.DONE, VideoState.RUNNING]
    unfinished(job_.tasks[1], half_named=True)
    job_.cancel()
    assert process.calls == ["cancel", "end with lanes"]
    snapshot = job_.snapshot()
    assert [video.state for video in snapshot.videos] == [VideoState.DONE, VideoState.CANCELLED]
    assert (snapshot.final, snapshot.exit_code) == (True, 130)
    assert [path for path in (tmp_path / "out").rglob("*") if not path.is_dir()] == []
    job_.close()
    assert len(process.calls) == 3


def test_a_second_ctrl_c_ends_it_at_once_and_leaves_nothing(start, tmp_path, monkeypatch):
    job_, process = start()
    process.obeys = False
    unfinished(job_.tasks[0])

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), job_:
        job_.cancel()
    assert process.calls == ["cancel", "end with lanes"]
    assert list((tmp_path / "out").iterdir()) == []
    assert job_.snapshot().exit_code == 130


def test_when_its_process_dies_the_next_run_goes_on_with_what_is_done(start, tmp_path):
    job, process = start()
    unfinished(job.tasks[0])
    process.error = ActorError("the job's process died", where="job")
    for _ in range(2):
        with pytest.raises(ActorError, match="died"):
            job.wait(5)
    job.cancel()
    job.close()
    assert process.calls == ["end with lanes"]
    assert [path.name for path in (tmp_path / "out").rglob("*")] == [".talk.report.json.work", "span-0000.json"]


@pytest.mark.parametrize("what", ["deleted", "taken over"])
def test_a_job_that_has_lost_its_folder_leaves_it_to_others(what, start, tmp_path):
    job, process = start()
    if what == "deleted":
        shutil.rmtree(tmp_path / "out")
        job._hold.look()
    else:
        parts = unfinished(job.tasks[0])
        job._hold._lock.lost = "another job has taken it over"
    for _ in range(2):
        with pytest.raises(OutputError if what == "deleted" else OutputBusyError):
            job.snapshot()
    job.cancel()  # as Ctrl-C does that comes just now: there is nothing left to wait for
    job.close()
    assert process.calls == ["end with lanes"]
    assert not (tmp_path / "out").exists() if what == "deleted" else all(path.exists() for path in parts)


def test_a_folder_that_is_deleted_with_its_parents_stays_away(start, tmp_path):
    job, process = start("deep/er", "deep/est")
    shutil.rmtree(tmp_path / "out")
    process.states = [VideoState.FAILED, VideoState.FAILED]
    with pytest.raises(OutputError, match=f"^{tmp_path / 'out'}: the output folder is gone"):
        job.wait(5)
    job.close()
    assert not (tmp_path / "out").exists()


def test_results_that_were_taken_away_after_the_last_one_was_done_are_no_fault(start, tmp_path):
    job, process = start()
    job._last = process.snapshot()
    process.states = [VideoState.DONE]
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert job.wait(5).exit_code == 0
    job.close()


def test_a_deleted_subfolder_is_said_and_the_others_go_on(start, tmp_path):
    job, process = start("a", "b")
    process.notes = ("lane 0 was started again",)
    job.snapshot()
    shutil.rmtree(tmp_path / "out" / "a")
    process.states = [VideoState.DONE, VideoState.DONE]
    job._hold.look()
    assert not job._hold.trouble
    snapshot = job.snapshot()
    assert snapshot.exit_code == 0
    assert snapshot.notes[0] == "lane 0 was started again"
    assert "out/a: this folder was deleted" in snapshot.notes[1]
    job.close()


def test_notes_never_change_their_order(start):
    """Displays show those that are new since the last snapshot."""
    job, process = start()
    job._hold._lock.notes.append("from the folder")
    first = job.snapshot().notes
    process.notes = ("from the job",)
    assert job.snapshot().notes == (*first, "from the job") == ("from the folder", "from the job")
    job.close()


def test_the_next_job_waits_for_nothing_of_one_that_was_closed(start, tmp_path):
    job, _ = start()
    job.close()
    after = OutputLock([tmp_path / "out"])
    after.take()
    after.release()


# --- the job's process ----------------------------------------------------------------------------------------------
DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: JobActor
\tpid: 7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed
by the OOM killer due to high memory usage. (2) ray stop --force was called."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A contact whose process answers as given: with a snapshot or an error, one after the other."""

    def make(*answers: object) -> contact.Contact:
        given = iter(answers)

        def get(*_: object, **__: object) -> object:
            answer = next(given)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(ray, "get", get)
        monkeypatch.setattr(contact, "_AGAIN_S", 0.0)
        found = contact.Contact.__new__(contact.Contact)
        found._actor = type("Actor", (), {"snapshot": type("Method", (), {"remote": lambda _: None})()})()
        return found

    return make


def test_who_was_stopped_for_long_asks_again(asked, monkeypatch):
    """Ctrl-Z in the middle of a question: when the driver goes on, its time has run out, and nothing is wrong."""
    monkeypatch.setattr(contact, "ANSWER_TIMEOUT_S", 0.0)
    fine = JobSnapshot(())
    assert asked(ray.exceptions.GetTimeoutError(), fine).snapshot() is fine
    with pytest.raises(ActorError, match="has not answered for 0 s"):
        asked(ray.exceptions.GetTimeoutError(), ray.exceptions.GetTimeoutError(), fine).snapshot()


def test_a_process_that_cannot_be_reached_just_now_is_not_dead(asked):
    fine = JobSnapshot(())
    away = [ray.exceptions.ActorUnavailableError("no route", b"\0" * 16)] * 5
    assert asked(*away, fine).snapshot() is fine


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (DIED, "Worker unexpectedly exits with a connection error code 2. End of file"),
        (
            "The actor died because of an error raised in its creation task\n  File x\nOSError: no space left",
            "OSError: no",
        ),
        ("", "unknown"),
    ],
)
def test_why_the_process_died_is_said_in_one_line(text, cause, asked):
    with pytest.raises(ActorError) as caught:
        asked(ray.exceptions.RayActorError(error_msg=text)).snapshot()
    assert f"the job's process died ({cause}" in str(caught.value)
    assert "\n" not in str(caught.value)
