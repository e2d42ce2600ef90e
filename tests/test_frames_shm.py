"""Shared memory between real processes: attached by token, too small in one line, and gone after any death."""

from __future__ import annotations

import base64
import contextlib
import errno
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualface_ray.backends.cpu.arena import CpuArena
from dualface_ray.errors import SharedMemoryError
from dualface_ray.frames import GenerationPage, SharedBlock, free_bytes, shm_directory, sweep
from dualface_ray.frames import shm as shm_module

MIB = 1 << 20
LINUX = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="nameless files are Linux's")

OWNER = """
import sys
from pathlib import Path
from dualface_ray.frames import SharedBlock, shm as module
size, nameless, directory = int(sys.argv[1]), sys.argv[2] == "nameless", sys.argv[3]
if directory:
    module.shm_directory = lambda: Path(directory)
block = SharedBlock.create(size, nameless=nameless)
block.array()[:] = 42
print(block.token.hex(), flush=True)
for line in sys.stdin:
    if line == "seal\\n":
        block.seal()
        print("sealed", flush=True)
block.close()
"""

CONSUMER = """
import sys
from dualface_ray.frames import SharedBlock
block = SharedBlock.attach(bytes.fromhex(sys.argv[1]))
print(int(block.array().min()), flush=True)
for line in sys.stdin:
    print(int(block.array().min()), flush=True)
"""


class Child:
    """A Python process that is spoken to by lines and always ends with the test."""

    def __init__(self, script: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> str:
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> str:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


@pytest.fixture
def child():
    children: list[Child] = []

    def start(script: str, *arguments: object) -> Child:
        children.append(Child(script, *arguments))
        return children[-1]

    yield start
    for one in children:
        one.kill()
        one.process.stdin.close()
        one.process.stdout.close()


def holders(token: bytes) -> list[int]:
    """Processes that hold the block of a token open or mapped (a nameless file lives exactly as long as they)."""
    fields = json.loads(token)
    device = f"{os.major(fields['dev']):02x}:{os.minor(fields['dev']):02x}"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            maps = [line.split() for line in (process / "maps").read_text().splitlines()]
            if any(line[3] == device and int(line[4]) == fields["ino"] for line in maps):
                found.append(int(process.name))
    return found


def wait_until(condition, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# --- within one process -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nameless", [True, False])
def test_a_block_is_zeroed_shared_and_read_only_for_others(nameless, tmp_path, monkeypatch):
    if not nameless:
        monkeypatch.setattr(shm_module, "shm_directory", lambda: tmp_path)
    owner = SharedBlock.create(10_000, nameless=nameless)
    other = SharedBlock.attach(owner.token)
    assert (owner.array() == 0).all()
    owner.array(100, 3)[:] = (1, 2, 3)
    seen = other.array(99, 5)
    assert seen.tolist() == [0, 1, 2, 3, 0]
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1
    assert len(list(tmp_path.iterdir())) == (0 if nameless else 1)
    owner.seal()
    owner.seal()
    assert list(tmp_path.iterdir()) == []
    owner.close()
    owner.close()
    assert seen.tolist() == [0, 1, 2, 3, 0]  # the mapping of an importer outlives the owner's
    other.close()
    assert seen.tolist() == [0, 1, 2, 3, 0]  # and a view its block
    for call in (other.array, owner.array):
        with pytest.raises(SharedMemoryError, match="closed"):
            call()


def test_no_array_leaves_its_block():
    block = SharedBlock.create(100)
    for offset, count in ((-1, 5), (0, 101), (96, 5), (101, None), (0, -1)):
        with pytest.raises(SharedMemoryError):
            block.array(offset, count)
    assert block.array(100, 0).size == 0
    block.close()


def test_descriptors_are_given_back():
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # what earlier tests left behind must not be counted here
    before = descriptors()
    for _ in range(20):
        arena = CpuArena.create(4096, 4)
        other = CpuArena.attach(arena.handle)
        other.close()
        arena.close()
        with pytest.raises(SharedMemoryError):
            CpuArena.attach(arena.handle)
        with pytest.raises(SharedMemoryError):
            SharedBlock.create(1 << 50)
    assert descriptors() == before


def test_the_generation_page_stands_alone():
    page = GenerationPage.create(1000)
    other = GenerationPage.attach(page.token)
    assert page.values.shape == (1000,)
    assert page.values.dtype == np.uint64
    page.values[999] = 2**63 + 1
    assert int(other.values[999]) == 2**63 + 1
    for one in (other, page, page):
        one.close()
    assert page.values.size == 0


# --- too small ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("slots", [1, 1 << 60])
def test_more_than_there_is_is_one_clear_line(slots):
    size = free_bytes() + (64 << 20) if slots == 1 else 4096
    with pytest.raises(SharedMemoryError) as caught:
        CpuArena.create(size, slots)
    line = str(caught.value)
    assert "\n" not in line
    assert str(shm_directory()) in line
    assert "MiB are needed" in line
    assert "MiB are free" in line
    assert "lane.pool_budget_bytes" in line


@pytest.mark.parametrize("nameless", [True, False])
def test_space_that_vanishes_between_the_check_and_the_reservation_is_noticed(nameless, tmp_path, monkeypatch):
    if not nameless:
        monkeypatch.setattr(shm_module, "shm_directory", lambda: tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SharedMemoryError, match="MiB are needed"):
        SharedBlock.create(MIB, nameless=nameless)
    assert list(tmp_path.iterdir()) == []


@LINUX
def test_a_small_shm_raises_instead_of_dying():
    """In a mount namespace whose /dev/shm has 4 MiB, with the check before the reservation switched off as well."""
    script = """
from dualface_ray.errors import SharedMemoryError
from dualface_ray.frames import SharedBlock, shm as module
def refused(size):
    try:
        SharedBlock.create(size)
    except SharedMemoryError as error:
        return str(error)
print(refused(8 << 20))
kept = SharedBlock.create(2 << 20)
module.free_bytes = lambda: 1 << 40
print(refused(3 << 20) is not None)
more = SharedBlock.create(1 << 20)
kept.array()[:] = 1
more.array()[:] = 1
print("alive")
"""
    first, second, third = _in_small_shm(4, script)
    assert first.startswith("/dev/shm: 8.0 MiB are needed and 4.0 MiB are free. ")
    assert (second, third) == ("True", "alive")


def _in_small_shm(mib: int, script: str, *arguments: str) -> list[str]:
    """Run Python where /dev/shm is a fresh mount of this size; the lines it prints."""
    unshare = shutil.which("unshare") or "unshare"
    enter = [unshare, "-rm", "sh", "-c", f'mount -t tmpfs -o size={mib}m none /dev/shm && exec "$@"', "sh"]
    with contextlib.suppress(OSError):
        if subprocess.run([*enter, "true"], capture_output=True).returncode == 0:
            command = [*enter, sys.executable, "-c", script, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()
    return pytest.skip("this system lets nobody make a mount namespace")


# --- tokens -------------------------------------------------------------------------------------------------------
@LINUX
def test_a_token_that_no_longer_holds_is_noticed(tmp_path):
    block = SharedBlock.create(4096)
    good = json.loads(block.token)
    for change, message in (
        ({"start": good["start"] + 1}, "another process has its number"),
        ({"pid": 2**22 + 1}, "its owner is gone"),
        ({"ino": good["ino"] + 1}, "reuses the number"),
        ({"size": 4095}, "reuses the number"),
        ({"fd": 10**6}, "its owner is gone or has closed it"),
        ({"fd": "x"}, "damaged"),
    ):
        with pytest.raises(SharedMemoryError, match=message):
            SharedBlock.attach(json.dumps(good | change).encode())
    for damaged in (b"", b"\xff\xfe", b"[]", b"null", b"{}", b'{"size":1}'):
        with pytest.raises(SharedMemoryError, match="damaged"):
            SharedBlock.attach(damaged)
    block.close()
    with pytest.raises(SharedMemoryError, match="gone or has closed it"):
        SharedBlock.attach(block.token)
    reader, writer = os.pipe()
    os.dup2(reader, good["fd"])  # the number now means a pipe, and opening one may wait for ever
    with pytest.raises(SharedMemoryError, match="reuses the number"):
        SharedBlock.attach(block.token)
    for descriptor in {reader, writer, good["fd"]}:
        os.close(descriptor)


def test_an_arena_of_another_machine_or_kind_is_refused():
    arena = CpuArena.create(4096, 4)
    for change, message in (
        ({"node": "elsewhere"}, "it lives on elsewhere"),
        ({"kind": "cuda"}, "cuda memory"),
        ({"token": b"["}, "damaged"),
        ({"token": b'["!", "!"]'}, "damaged"),
    ):
        with pytest.raises(SharedMemoryError, match=message):
            CpuArena.attach(replace(arena.handle, **change))
    arena.close()


@LINUX
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_so():
    block = SharedBlock.create(4096)
    script = """
import os, sys
from dualface_ray.errors import SharedMemoryError
from dualface_ray.frames import SharedBlock
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    SharedBlock.attach(bytes.fromhex(sys.argv[1]))
except SharedMemoryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, block.token.hex()], capture_output=True, text=True, timeout=60)
    assert "this process may not open it. Run all processes as one user" in done.stdout, done.stderr
    block.close()


# --- deaths -------------------------------------------------------------------------------------------------------
@LINUX
def test_nothing_remains_whoever_is_killed_first(child):
    names = set(Path("/dev/shm").iterdir())
    owner = child(OWNER, MIB, "nameless", "")
    token = owner.hear()
    consumers = [child(CONSUMER, token) for _ in range(2)]
    assert [one.hear() for one in consumers] == ["42", "42"]
    assert set(holders(bytes.fromhex(token))) == {one.process.pid for one in (owner, *consumers)}
    consumers[0].kill()
    assert consumers[1].say("again") == "42"
    owner.kill()
    assert consumers[1].say("again") == "42"  # the consumer is not hurt by the owner's death
    late = child(CONSUMER, token)
    late.process.wait(30)
    assert late.process.returncode != 0
    assert holders(bytes.fromhex(token)) == [consumers[1].process.pid]
    consumers[1].kill()
    assert holders(bytes.fromhex(token)) == []
    assert not [path for path in set(Path("/dev/shm").iterdir()) - names if path.name.startswith("dualface")]


@LINUX
def test_the_bytes_come_back():
    """Counted in a mount of its own, where nobody else takes or frees any."""
    script = """
import os, signal, subprocess, sys, time
def used():
    space = os.statvfs("/dev/shm")
    return (space.f_blocks - space.f_bfree) * space.f_frsize
def start(*arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", *arguments], text=True, **pipes)
owner = start(sys.argv[1], str(32 << 20), "nameless", "")
token = owner.stdout.readline().strip()
consumer = start(sys.argv[2], token)
assert consumer.stdout.readline() == "42\\n"
print(used() >> 20)
for victim in (owner, consumer):
    victim.kill()
    victim.wait()
    print(used() >> 20, os.listdir("/dev/shm"))
"""
    assert _in_small_shm(64, script, OWNER, CONSUMER) == ["32", "32 []", "0 []"]


@pytest.mark.parametrize("seed", range(6))
def test_a_named_file_goes_with_its_owner_at_any_moment(child, tmp_path, seed):
    owner = child(OWNER, MIB, "named", tmp_path)
    if seed < 2:  # somewhere between start and end of its making
        wait_until(lambda: any(tmp_path.iterdir()))
        time.sleep(random.Random(seed).uniform(0, 0.01))
    else:
        consumer = child(CONSUMER, owner.hear())
        assert consumer.hear() == "42"
        assert len(list(tmp_path.iterdir())) == 1
        if seed == 3:
            assert owner.say("seal") == "sealed"
            assert list(tmp_path.iterdir()) == []
        elif seed == 4:
            consumer.kill()
            owner.end()
            assert list(tmp_path.iterdir()) == []
        elif seed == 5:
            owner.process.send_signal(signal.SIGINT)
    owner.kill()
    assert wait_until(lambda: not list(tmp_path.iterdir()))
    if seed in (2, 3, 5):
        assert consumer.say("again") == "42"


def test_a_process_that_only_makes_and_drops_named_files_can_be_killed_anywhere(child, tmp_path):
    script = """
import sys
from pathlib import Path
from dualface_ray.frames import SharedBlock, shm as module
module.shm_directory = lambda: Path(sys.argv[1])
print("ready", flush=True)
while True:
    SharedBlock.create(4096, nameless=False).close()
"""
    rolls = random.Random(7)
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        owner = child(script, folder)
        assert owner.hear() == "ready"
        time.sleep(rolls.uniform(0, 0.03))
        owner.kill()
        assert wait_until(lambda folder=folder: not list(folder.iterdir()))


def test_a_named_file_whose_guardian_died_too_goes_with_the_next_one(child, tmp_path):
    owner = child(OWNER, MIB, "named", tmp_path)
    assert owner.hear()
    (path,) = tmp_path.iterdir()

    def guardians() -> list[int]:
        processes = [
            process for process in Path("/proc").glob("[0-9]*") if str(path).encode() in _command_line(process)
        ]
        return [int(process.name) for process in processes]

    assert wait_until(lambda: len(guardians()) == 1)  # while it starts, its command line is empty
    os.kill(guardians()[0], signal.SIGKILL)
    assert sweep(tmp_path) == 0  # its owner lives
    assert path.exists()
    owner.kill()
    assert path.exists()
    (tmp_path / "somebody-elses").touch()
    assert sweep(tmp_path) == 1
    assert [other.name for other in tmp_path.iterdir()] == ["somebody-elses"]


def _command_line(process: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes()
    return b""


@LINUX
def test_without_a_way_to_nameless_memory_a_name_is_used(monkeypatch, tmp_path):
    monkeypatch.setattr(shm_module, "shm_directory", lambda: tmp_path)  # no /dev/shm here
    block = SharedBlock.create(MIB)
    assert len(list(tmp_path.iterdir())) == 1
    other = SharedBlock.attach(block.token)
    block.close()
    assert list(tmp_path.iterdir()) == []
    assert other.array().sum() == 0
    other.close()
    with pytest.raises(SharedMemoryError, match="gone or has closed it"):
        SharedBlock.attach(block.token)


def test_a_folder_that_cannot_be_written_is_one_clear_line(monkeypatch, tmp_path):
    missing = tmp_path / "missing"
    monkeypatch.setattr(shm_module, "shm_directory", lambda: missing)
    monkeypatch.setattr(shm_module, "free_bytes", lambda: MIB)
    with pytest.raises(SharedMemoryError, match="cannot make a file there: No such file or directory"):
        SharedBlock.create(100)


# --- Ray ----------------------------------------------------------------------------------------------------------
@LINUX
@pytest.mark.ray
def test_it_works_between_ray_workers(tmp_path):
    """Owner and consumer as actors; the owner is killed while the consumer reads, and nothing remains."""
    ray = pytest.importorskip("ray")

    class Owner:
        def __init__(self) -> None:
            self.arena = CpuArena.create(MIB, 8)
            self.arena.generations[3] = 8

        def handle(self) -> object:
            return self.arena.handle

    class Consumer:
        def __init__(self, handle: object) -> None:
            self.arena = CpuArena.attach(handle)

        def generation(self) -> int:
            return int(self.arena.generations[3])

    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 * MIB, log_to_driver=False)
    try:
        owner = ray.remote(num_cpus=0)(Owner).remote()
        reference = owner.handle.remote()
        consumer = ray.remote(num_cpus=0)(Consumer).remote(reference)
        assert ray.get(consumer.generation.remote(), timeout=60) == 8
        handle = ray.get(reference)
        ray.kill(owner)
        tokens = [base64.b64decode(part) for part in json.loads(handle.token)]
        assert wait_until(lambda: all(len(holders(token)) == 1 for token in tokens))
        assert ray.get(consumer.generation.remote(), timeout=60) == 8
        ray.kill(consumer)
        assert wait_until(lambda: not any(holders(token) for token in tokens))
    finally:
        ray.shutdown()
