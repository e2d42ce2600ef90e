"""The manifest counts attempts across drivers, and no fault of its file stops a job."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actors.backlog import rowfile as module
from actors.backlog.manifest import Manifest, manifest_path
from dualface_ray.errors import NotAVideoError
from dualface_ray.media import plan_outputs
from dualface_ray.report import VideoState, VideoTask

ROOT = Path(__file__).resolve().parent.parent


def tasks_of(folder: Path, *names: str, mark: str = "f") -> list[VideoTask]:
    sources = [folder / f"{name}.mp4" for name in names]
    plans = plan_outputs(sources, folder / "out", layout="stacked", container="mp4")
    return [VideoTask(i, s, p, mark) for i, (s, p) in enumerate(zip(sources, plans, strict=True))]


def opened(tmp_path: Path, key: str = "out") -> Manifest:
    return Manifest.open(tmp_path / "state" / "m.sqlite", key)


def test_attempts_of_a_video_that_was_under_way_carry_on(tmp_path):
    tasks = tasks_of(tmp_path, "a", "b")
    first = opened(tmp_path)
    first.begin(tasks)
    assert first.attempts("v00000") == 0
    first.unit("v00000", "v00000", "whole", VideoState.RUNNING, 1, "lane-0", "node-1")
    first.unit("v00001-s003", "v00001", "span", VideoState.RUNNING, 2)
    first.video("v00000", VideoState.RUNNING)
    first.video("v00001", VideoState.RUNNING)
    first.close()
    # the next job has the videos in another order, and so other stream ids
    again = opened(tmp_path)
    again.begin(tasks_of(tmp_path, "b", "a"))
    assert again.attempts("v00001") == 1
    assert again.attempts("v00000-s003") == 2
    assert again.attempts("v00000-s004") == 0
    assert [row.state for row in again.rows().videos] == [VideoState.WAITING] * 2
    assert not again.notes
    again.close()
    again.close()


@pytest.mark.parametrize("state", [VideoState.FAILED, VideoState.DONE, VideoState.CANCELLED])
def test_a_video_that_had_ended_gets_a_fresh_start(tmp_path, state):
    first = opened(tmp_path)
    first.begin(tasks_of(tmp_path, "a"))
    first.unit("v00000", "v00000", "whole", VideoState.FAILED, 2)
    first.video("v00000", state, "broken")
    first.close()
    again = opened(tmp_path)
    again.begin(tasks_of(tmp_path, "a"))
    assert again.attempts("v00000") == 0
    again.close()
    assert opened(tmp_path).rows().units == ()


def test_other_settings_are_a_fresh_start(tmp_path):
    first = opened(tmp_path)
    first.begin(tasks_of(tmp_path, "a"))
    first.unit("v00000", "v00000", "whole", VideoState.RUNNING, 2)
    first.close()
    again = opened(tmp_path)
    again.begin(tasks_of(tmp_path, "a", mark="g"))
    assert again.attempts("v00000") == 0


def test_videos_of_other_jobs_are_kept_only_while_unfinished(tmp_path):
    first = opened(tmp_path)
    first.begin(tasks_of(tmp_path, "a", "b"))
    first.unit("v00000", "v00000", "whole", VideoState.RUNNING, 1)
    first.video("v00000", VideoState.RUNNING)
    first.video("v00001", VideoState.DONE)
    first.close()
    other = opened(tmp_path)
    other.begin(tasks_of(tmp_path, "c"))
    assert [Path(row.source).stem for row in other.rows().videos] == ["a", "c"]
    other.close()
    third = opened(tmp_path)
    third.begin(tasks_of(tmp_path, "a"))
    assert third.attempts("v00000") == 1


def test_a_finished_unit_has_its_times_and_a_failed_task_its_error(tmp_path):
    (task,) = tasks_of(tmp_path, "a")
    failed = VideoTask(0, task.source, task.outputs, state=VideoState.FAILED, error=NotAVideoError("no", where="a"))
    manifest = opened(tmp_path)
    manifest.begin([failed])
    assert manifest.rows().videos[0].error == "a: no"
    manifest.unit("v00000", "v00000", "whole", VideoState.RUNNING, 1)
    began_s = manifest.rows().units[0].began_s
    manifest.unit("v00000", "v00000", "whole", VideoState.DONE, 1)
    (row,) = manifest.rows().units
    assert row.began_s == began_s > 0
    assert row.ended_s >= began_s


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text", b"this is no database\n" * 100),
        ("empty tail", b"SQLite format 3\0" + bytes(84)),
        ("zeros", bytes(8192)),
    ],
)
def test_a_file_that_is_no_manifest_is_set_aside(tmp_path, name, content):
    path = tmp_path / "state" / "m.sqlite"
    path.parent.mkdir()
    path.write_bytes(content)
    manifest = opened(tmp_path)
    manifest.begin(tasks_of(tmp_path, "a"))
    manifest.unit("v00000", "v00000", "whole", VideoState.RUNNING, 1)
    manifest.close()
    again = opened(tmp_path)
    again.begin(tasks_of(tmp_path, "a"))
    assert again.attempts("v00000") == 1
    if name == "text":
        assert len(manifest.notes) == 1
        assert "set aside" in manifest.notes[0]
        assert path.with_name("m.sqlite.set-aside").read_bytes() == content


def test_damage_in_the_middle_is_noticed(tmp_path):
    manifest = opened(tmp_path)
    names = [f"clip{number:04d}" for number in range(400)]
    manifest.begin(tasks_of(tmp_path, *names))
    manifest.close()
    path = tmp_path / "state" / "m.sqlite"
    content = bytearray(path.read_bytes())
    assert len(content) > 40_000
    content[8192 : len(content) - 4096] = os.urandom(len(content) - 12288)
    path.write_bytes(content)
    again = opened(tmp_path)
    again.begin(tasks_of(tmp_path, *names))
    again.unit("v00007", "v00007", "whole", VideoState.RUNNING, 1)
    again.close()
    assert "set aside" in again.notes[0]
    assert opened(tmp_path).rows().units[0].attempts == 1


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA application_id = 77",
        f"PRAGMA user_version = {module.SCHEMA + 1}",
        "UPDATE about SET value = 'elsewhere'",
        "DROP TABLE unit",
        "INSERT INTO video VALUES ('k', 's', 'f', 'dreaming', '', 0)",
    ],
)
def test_a_foreign_database_is_set_aside(tmp_path, statement):
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "state" / "m.sqlite") as database:
        database.execute(statement)
    database.close()
    manifest = opened(tmp_path)
    assert "set aside" in manifest.notes[0]
    manifest.begin(tasks_of(tmp_path, "a"))
    manifest.close()
    assert opened(tmp_path).notes == ()


def test_without_a_place_to_write_the_job_goes_on(tmp_path):
    (tmp_path / "state").write_text("a file where a folder should be")
    manifest = opened(tmp_path)
    manifest.begin(tasks_of(tmp_path, "a"))
    manifest.unit("v00000", "v00000", "whole", VideoState.RUNNING, 1)
    manifest.flush()
    assert manifest.attempts("v00000") == 1
    assert "not written down" in manifest.notes[0]
    manifest.close()


def test_a_manifest_that_is_held_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.1)
    holder = opened(tmp_path)
    holder.begin(tasks_of(tmp_path, "a"))
    began_s = time.monotonic()
    other = opened(tmp_path)
    assert time.monotonic() - began_s < 5
    assert "locked" in other.notes[0]
    other.begin(tasks_of(tmp_path, "a"))
    other.close()
    holder.unit("v00000", "v00000", "whole", VideoState.RUNNING, 1)
    holder.close()
    assert holder.notes == ()


def test_a_disk_that_fills_ends_the_writing_down_not_the_job(tmp_path):
    manifest = opened(tmp_path)
    manifest.begin(tasks_of(tmp_path, "a"))
    manifest._file._database.execute("PRAGMA max_page_count = 1")
    for number in range(4000):
        manifest.unit(f"v00000-s{number:03d}", "v00000", "span", VideoState.RUNNING, 1, "lane" * 50)
    manifest.flush()
    assert "full" in manifest.notes[0]
    manifest.unit("v00000", "v00000", "whole", VideoState.RUNNING, 3)
    manifest.flush()
    assert manifest.attempts("v00000") == 3
    assert len(manifest.notes) == 1


def test_old_manifests_go(tmp_path):
    opened(tmp_path).close()
    old = tmp_path / "state" / "old.sqlite"
    other = tmp_path / "state" / "notes.txt"
    for path in (old, other):
        path.touch()
        os.utime(path, (0, 0))
    opened(tmp_path).close()
    assert not old.exists()
    assert other.exists()


def test_the_place_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = manifest_path("/somewhere/out")
    assert path.is_relative_to(tmp_path)
    assert path != manifest_path("/somewhere/else")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert manifest_path("/somewhere/out").is_relative_to(Path.home())


_WRITER = """
import sys
from pathlib import Path
from tests.test_manifest import opened, tasks_of
from dualface_ray.report import VideoState
folder = Path(sys.argv[1])
manifest = opened(folder)
assert not manifest.notes, manifest.notes
manifest.begin(tasks_of(folder, "a", "b", "c"))
attempts = manifest.attempts("v00000")
print(attempts, flush=True)
while True:
    attempts += 1
    for video in ("v00000", "v00001", "v00002"):
        manifest.video(video, VideoState.RUNNING, f"turn {attempts}")
        manifest.unit(video, video, "whole", VideoState.RUNNING, attempts)
    manifest.flush()
    print(attempts, flush=True)
"""


def test_a_writer_killed_at_any_point_loses_nothing_it_had_written(tmp_path):
    """SIGKILL in the midst of transactions, several times over the same file: whole turns only, the last included."""
    chance = random.Random(4)
    told = 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        found = int(writer.stdout.readline())
        assert found >= told
        writer.stdout.readline()
        time.sleep(chance.random() * 0.2)
        writer.send_signal(signal.SIGKILL)
        told = int(("0\n" + writer.stdout.read()).splitlines()[-1] or 0) or told
        writer.stdout.close()
        writer.wait()
    final = opened(tmp_path)
    attempts = {row.attempts for row in final.rows().units}
    assert len(attempts) == 1
    assert attempts.pop() >= told > 10
    assert not final.notes
