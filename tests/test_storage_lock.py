"""Two jobs never write to one folder; a dead job's lock is in nobody's way."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualface_ray.errors import OutputBusyError, OutputError
from dualface_ray.media import FileLock, Holder, OutputLock, folder_gone, is_gone, lock, writing_in

ROOT = Path(__file__).resolve().parent.parent
HOLD = """
import sys, time
from pathlib import Path
from dualface_ray.media import OutputLock, writing_in
folder = Path(sys.argv[2])
if sys.argv[1] == "lock":
    held = OutputLock([folder])
    held.take()
    print("held", flush=True)
    time.sleep(60)
with writing_in(folder):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other() -> Iterator:
    """Starts processes that hold something; they are gone afterwards."""
    started = []

    def start(what: str, folder: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, what, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_lock_is_one_jobs_and_leaves_nothing(tmp_path):
    folders = [tmp_path / "out", tmp_path / "out" / "sub"]
    first, second = OutputLock(folders), OutputLock(folders[1:])
    first.take()
    with pytest.raises(OutputBusyError, match=f"process {os.getpid()} on .* since 20") as caught:
        second.take()
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    assert caught.value.where == str(folders[1])
    first.release()
    first.release()
    second.take()
    second.release()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "sub"]


def test_a_busy_folder_frees_those_taken_before_it(tmp_path):
    holder = OutputLock([tmp_path / "b"])
    holder.take()
    with pytest.raises(OutputBusyError):
        OutputLock([tmp_path / "a", tmp_path / "b"]).take()
    free = OutputLock([tmp_path / "a"])
    free.take()
    free.release()
    holder.release()


def test_a_killed_holder_is_replaced_at_once(tmp_path, other):
    process = other("lock", tmp_path)
    with pytest.raises(OutputBusyError, match=f"process {process.pid} "):
        OutputLock([tmp_path]).take()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / lock.LOCK_NAME).exists()
    began_s = time.monotonic()
    after = OutputLock([tmp_path])
    after.take()
    assert time.monotonic() - began_s < 1
    assert Holder.parse((tmp_path / lock.LOCK_NAME).read_bytes()).pid == os.getpid()
    after.release()


def test_a_new_job_waits_until_the_old_ones_writers_have_ended(tmp_path, other, monkeypatch):
    process = other("writer", tmp_path)
    monkeypatch.setattr(lock, "WRITERS_TIMEOUT_S", 0.3)
    with pytest.raises(OutputBusyError, match="still write"):
        OutputLock([tmp_path]).take()
    monkeypatch.setattr(lock, "WRITERS_TIMEOUT_S", 20)
    threading.Timer(0.5, process.kill).start()
    began_s = time.monotonic()
    after = OutputLock([tmp_path])
    after.take()
    assert 0.3 < time.monotonic() - began_s < 10
    after.release()


def test_writers_of_one_job_work_side_by_side(tmp_path):
    held = OutputLock([tmp_path / "out"])
    held.take()
    with writing_in(tmp_path / "out"), writing_in(tmp_path / "out"):
        pass
    held.release()
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError, match="the output folder is gone"), writing_in(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists(), "only the driver makes it"


def foreign(folder: Path) -> Path:
    path = folder / lock.LOCK_NAME
    path.write_bytes(Holder("other-host", "another-boot", 7, "2026-01-01 00:00:00 UTC").to_json())
    os.utime(path, (1, 1))
    return path


def test_a_lock_of_another_machine_is_taken_over_when_it_stands_still(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "STALE_S", 0.6)
    monkeypatch.setattr(lock, "_LOOK_S", 0.05)
    foreign(tmp_path)
    began_s = time.monotonic()
    held = OutputLock([tmp_path])
    held.take()
    assert time.monotonic() - began_s >= 0.6
    held.release()


def test_a_lock_of_another_machine_that_beats_is_respected(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "STALE_S", 5)
    monkeypatch.setattr(lock, "_LOOK_S", 0.05)
    path = foreign(tmp_path)
    threading.Timer(0.4, os.utime, [path]).start()
    with pytest.raises(OutputBusyError, match="process 7 on other-host"):
        OutputLock([tmp_path]).take()
    assert path.exists()


def test_a_busy_folder_leaves_the_lock_of_another_machine_beside_it_alone(tmp_path):
    path = foreign(tmp_path)
    holder = OutputLock([tmp_path / "sub"])
    holder.take()
    with pytest.raises(OutputBusyError):
        OutputLock([tmp_path, tmp_path / "sub"]).take()
    holder.release()
    assert path.exists(), "its holder may live, and would find that it has lost the folder"


def test_of_two_that_hold_one_file_the_first_notices(tmp_path, monkeypatch):
    """Where locks do not cross machines, both may have found the file empty."""
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    held = OutputLock([tmp_path])
    held.take()
    path = tmp_path / lock.LOCK_NAME
    assert Holder.parse(path.read_bytes())
    path.write_bytes(Holder("other-host", "another-boot", 7, "then").to_json())
    until(lambda: held.lost)
    held.release()
    assert path.exists()


def test_a_folder_is_signed_before_others_are_watched(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "STALE_S", 0.5)
    foreign(tmp_path)
    held, seen = OutputLock([tmp_path, tmp_path / "sub"]), []
    watch = held._watch
    monkeypatch.setattr(
        held,
        "_watch",
        lambda doubtful: (seen.append((tmp_path / "sub" / lock.LOCK_NAME).read_bytes()), watch(doubtful)),
    )
    held.take()
    held.release()
    assert Holder.parse(seen[0]).pid == os.getpid()


def test_a_beating_lock_keeps_its_stamp_fresh_and_notices_its_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    held = OutputLock([tmp_path])
    held.take()
    path = tmp_path / lock.LOCK_NAME
    os.utime(path, (1, 1))
    until(lambda: path.stat().st_mtime > 1)
    path.unlink()
    path.write_bytes(Holder("other-host", "another-boot", 7, "then").to_json())
    until(lambda: held.lost)
    held.release()
    assert path.exists()


def test_a_folder_that_is_deleted_is_gone_and_nobody_has_taken_it_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    held = OutputLock([tmp_path / "out"])
    held.take()
    held.look()
    assert held.gone is None
    shutil.rmtree(tmp_path / "out")
    until(lambda: held.gone)
    assert (held.gone, held.lost, held.notes) == (tmp_path / "out", "", [])
    error = folder_gone(held.gone)
    assert (error.exit_code, error.where) == (1, str(tmp_path / "out"))
    assert error.remedy
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_one_folder_of_several_may_be_deleted_and_comes_back_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    out = tmp_path / "out"
    held = OutputLock([out / "a", out / "b"])
    held.take()
    shutil.rmtree(out / "a")
    until(lambda: held.notes)
    assert (held.gone, held.lost) == (None, "")
    assert held.notes == [f"{out / 'a'}: this folder was deleted, and what was in it is lost; the other videos go on"]
    (out / "a").mkdir()  # by the user, who may want what is still to come
    until((out / "a" / lock.LOCK_NAME).exists)
    with pytest.raises(OutputBusyError):
        OutputLock([out / "a"]).take()
    shutil.rmtree(out)
    until(lambda: held.gone)
    assert held.gone == out
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_no_folder(tmp_path):
    (tmp_path / "out").mkdir()
    assert not is_gone(tmp_path / "out")
    (tmp_path / "out").rmdir()
    (tmp_path / "out").touch()
    assert is_gone(tmp_path / "out")


def test_a_lock_file_that_was_removed_is_made_anew(tmp_path, monkeypatch):
    """To go on does no harm as long as nobody else is there, but without the file a second job would be let in."""
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    held = OutputLock([tmp_path])
    held.take()
    path = tmp_path / lock.LOCK_NAME
    path.unlink()
    until(lambda: held.notes)
    assert (held.gone, held.lost) == (None, "")
    assert held.notes == [f"{path}: was removed and has been made anew, for it keeps other jobs out of this folder"]
    with pytest.raises(OutputBusyError, match=f"process {os.getpid()} "):
        OutputLock([tmp_path]).take()
    os.utime(path, (1, 1))
    until(lambda: path.stat().st_mtime > 1)
    held.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["lock", "folder"])
def test_who_comes_after_the_lock_was_removed_has_the_folder(what, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.5)
    held, after = OutputLock([tmp_path / "out"]), OutputLock([tmp_path / "out"])
    held.take()
    if what == "lock":
        (tmp_path / "out" / lock.LOCK_NAME).unlink()
    else:
        shutil.rmtree(tmp_path / "out")
    after.take()
    until(lambda: held.lost)
    held.release()
    assert (tmp_path / "out" / lock.LOCK_NAME).exists()
    after.release()


def test_a_lock_that_cannot_be_made_anew_yet_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    held, tried = OutputLock([tmp_path]), []
    held.take()
    take = FileLock.take

    def fails(self: FileLock) -> bool:
        tried.append(self.path)
        if len(tried) < 3:
            raise OSError(errno.EROFS, "Read-only file system")
        return take(self)

    monkeypatch.setattr(FileLock, "take", fails)
    (tmp_path / lock.LOCK_NAME).unlink()
    until(lambda: held.notes)
    assert len(tried) == 3
    held.release()


def test_a_disk_that_does_not_answer_is_no_deleted_folder(tmp_path, monkeypatch):
    held = OutputLock([tmp_path])
    held.take()

    def fails(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as context:
        context.setattr(lock.os, "stat", fails)
        held.look()
    assert held.gone is None
    held.release()


def test_where_nobody_knows_locks_the_beat_decides(tmp_path, monkeypatch):
    """Some cluster file systems have no flock at all."""
    monkeypatch.setattr(lock, "STALE_S", 0.5)
    monkeypatch.setattr(lock, "_LOOK_S", 0.05)
    monkeypatch.setattr(lock, "BEAT_S", 0.1)
    for module in ("filelock", "lock"):
        monkeypatch.setattr(f"dualface_ray.media.{module}.try_flock", lambda *_a, **_k: None)
    held = OutputLock([tmp_path])
    held.take()
    with pytest.raises(OutputBusyError):
        OutputLock([tmp_path]).take()
    held.release()


@pytest.mark.parametrize("content", [b"", b"\0\0", b"[1]", b'{"host": 1}', b'{"host":"a","boot":"b","pid":"x"}'])
def test_a_lock_file_with_nonsense_in_it_is_no_obstacle(tmp_path, content):
    (tmp_path / lock.LOCK_NAME).write_bytes(content)
    held = OutputLock([tmp_path])
    held.take()
    held.release()


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        OutputLock([tmp_path / "file"]).take()
    (tmp_path / "elsewhere").touch()
    (tmp_path / lock.LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        OutputLock([tmp_path]).take()
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_a_lock_file_made_anew_is_not_mistaken_for_the_old_one(tmp_path):
    path = tmp_path / "x.lock"
    first, second = FileLock(path), FileLock(path)
    assert first.take()
    assert not second.take(shared=True)
    first.release()
    assert first.take(shared=True)
    assert second.take(shared=True)
    second.release()
    first.release()
    assert first.take()
    first.release(remove=True)
    assert not path.exists()
    assert second.take()
    second.write(b"long content")
    second.write(b"x")
    assert second.read() == b"x"
    second.release(remove=True)


def until(condition) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
