"""Fetched inputs on a node: once for all its processes, ahead of their turn, gone after use, swept after deaths."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualface_ray.backends.storage import Patience, ScratchStore, scratch_input, scratch_outputs, scratch_root
from dualface_ray.backends.storage import faults as faults_module
from dualface_ray.errors import Cancelled, InputMissingError, OutputError
from dualface_ray.media import FileLock
from dualface_ray.settings import Settings, resolve
from tests.storage_servers import Server, Web

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return resolve(**{"storage.scratch_dir": str(tmp_path / "scratch"), "storage.attempts": 2, "storage.timeout_s": 10})


@pytest.fixture
def web(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(faults_module, "PAUSE_S", 0.01)
    with Server(Web) as server:
        for name in "abcd":
            server.files[f"/{name}.mp4"] = name.encode() * 1000
        yield server


def place(settings: Settings, url: str) -> Path:
    return scratch_input(scratch_root(settings), url, "", url.rpartition("/")[2])


def leftovers(settings: Settings) -> list[Path]:
    return [path for path in scratch_root(settings).rglob("*") if path.is_file()]


def fetches(web: Server, name: str) -> int:
    return sum(line.startswith(f"/{name}.mp4 bytes=0-999") for line in web.seen)


def test_a_file_is_there_while_it_is_used(settings, web):
    store, url = ScratchStore(settings), f"{web.url}/a.mp4"
    path = place(settings, url)
    with store.using(url, path) as first:
        assert first.read_bytes() == b"a" * 1000
        with store.using(url, path), ScratchStore(settings).using(url, path) as again:
            assert again == path
        assert path.exists()
    assert leftovers(settings) == []
    assert fetches(web, "a") == 1
    assert path.parent.parent.stat().st_mode & 0o077 == 0


def test_local_files_pass_through(settings, tmp_path):
    with ScratchStore(settings).using("", tmp_path / "x") as path:
        assert path == tmp_path / "x"
    ScratchStore(settings).prefetch("", tmp_path / "x")
    assert not scratch_root(settings).exists()


def test_many_at_once_fetch_it_once(settings, web):
    url, stores = f"{web.url}/a.mp4", [ScratchStore(settings) for _ in range(3)]
    inside = threading.Barrier(6)
    seen = []

    def use(store):
        with store.using(url, place(settings, url)) as path:
            inside.wait(20)
            seen.append(path.read_bytes())

    threads = [threading.Thread(target=use, args=(store,)) for store in stores * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"a" * 1000] * 6
    assert fetches(web, "a") == 1
    assert leftovers(settings) == []


def test_who_waits_for_anothers_fetch_moves_as_it_does(settings, web):
    """A slow line is no hang, whichever process of the node has the file on its way."""
    store, url = ScratchStore(settings), f"{web.url}/a.mp4"
    path = place(settings, url)
    other = FileLock(path.parent.parent / f"{path.parent.name}.fetching")
    path.parent.parent.mkdir(parents=True, mode=0o700)
    scratch_root(settings).chmod(0o700)
    assert other.take()
    done = threading.Event()

    def use():
        with store.using(url, path):
            done.set()

    thread = threading.Thread(target=use)
    thread.start()
    until(path.parent.exists)
    for size_mb in (1, 2, 8):
        (path.parent / "a.part").write_bytes(bytes(size_mb << 20))
        until(lambda: store.progress >= size_mb * 16)  # noqa: B023
    assert not done.is_set()
    other.release(remove=True)
    thread.join(20)
    assert done.is_set()
    assert fetches(web, "a") == 1


def test_what_was_fetched_ahead_is_used_without_asking_again(settings, web):
    store, url = ScratchStore(settings), f"{web.url}/a.mp4"
    path = place(settings, url)
    store.prefetch(url, path)
    store.prefetch(url, path)
    until(path.exists)
    asked = len(web.seen)
    with store.using(url, path):
        assert len(web.seen) == asked
        store.prefetch(url, path)
    assert leftovers(settings) == []
    store.close()


def test_only_so_many_wait_ahead(settings, web):
    store = ScratchStore(settings)
    paths = []
    for name in "abc":
        url = f"{web.url}/{name}.mp4"
        paths.append(place(settings, url))
        store.prefetch(url, paths[-1])
        until(paths[-1].exists)
    until(lambda: [path.exists() for path in paths] == [False, False, True])
    store.close()
    store.close()
    assert leftovers(settings) == []
    store.prefetch(f"{web.url}/a.mp4", paths[0])
    assert leftovers(settings) == []


@pytest.mark.parametrize("used", [False, True])
def test_what_is_forgotten_while_it_is_fetched_leaves_nothing(settings, web, used):
    go = threading.Event()
    web.habits["/a.mp4"] = lambda _handler: go.wait(10) and False
    store, url = ScratchStore(settings), f"{web.url}/a.mp4"
    path = place(settings, url)
    store.prefetch(url, path)
    until(lambda: web.seen)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "prefetch-a.mp4")
    store.forget(path.parent)
    store.forget(path.parent)
    if used:  # somebody comes for it after all, while the one who was told to stop still waits for the server
        threading.Timer(0.1, go.set).start()
        with store.using(url, path):
            assert path.read_bytes() == b"a" * 1000
    go.set()
    thread.join(20)
    assert list(path.parent.parent.iterdir()) == []
    store.close()


def test_closing_waits_for_those_who_were_forgotten(settings, web):
    go = threading.Event()
    web.habits["/a.mp4"] = lambda _handler: go.wait(10) and False
    store, url = ScratchStore(settings), f"{web.url}/a.mp4"
    store.prefetch(url, place(settings, url))
    until(lambda: web.seen)
    store.forget(place(settings, url).parent)
    threading.Timer(0.2, go.set).start()
    store.close()
    assert go.is_set()
    assert list((scratch_root(settings) / "in").iterdir()) == []


def test_a_use_that_comes_while_it_is_fetched_ahead_waits_for_it(settings, web):
    go = threading.Event()
    web.habits["/a.mp4"] = lambda _handler: go.wait(10) and False
    store, url = ScratchStore(settings), f"{web.url}/a.mp4"
    path = place(settings, url)
    store.prefetch(url, path)
    threading.Timer(0.3, go.set).start()
    with store.using(url, path):
        assert path.read_bytes() == b"a" * 1000
    assert fetches(web, "a") == 1
    store.close()  # the thread that fetched it holds it for a moment longer
    assert leftovers(settings) == []


def test_trouble_ahead_is_met_by_whoever_uses_it(settings, web):
    store, url = ScratchStore(settings), f"{web.url}/none.mp4"
    path = place(settings, url)
    store.prefetch(url, path)
    until(lambda: web.seen)
    with pytest.raises(InputMissingError, match="no such file"), store.using(url, path):
        pass
    store.close()
    assert leftovers(settings) == []


def test_a_dismissed_use_stops_waiting(settings, web):
    hold, stop = threading.Event(), threading.Event()
    web.habits["/a.mp4"] = lambda _handler: hold.wait(10) and False
    url = f"{web.url}/a.mp4"
    path = place(settings, url)
    first = threading.Thread(target=lambda: use_quietly(settings, url, path))
    first.start()
    until(lambda: web.seen)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Cancelled), ScratchStore(settings).using(url, path, "", stop):
        pass
    hold.set()
    first.join()
    assert leftovers(settings) == []


def use_quietly(settings, url, path):
    with ScratchStore(settings).using(url, path):
        pass


HOLD = """
import sys, time
from pathlib import Path
from dualface_ray.backends.storage import ScratchStore
from dualface_ray.settings import resolve
settings = resolve(**{"storage.scratch_dir": sys.argv[1]})
with ScratchStore(settings).using(sys.argv[2], Path(sys.argv[3])), ScratchStore(settings).holding(Path(sys.argv[4])):
    (Path(sys.argv[4]) / "talk.mp4.part").write_text("half")
    print("held", flush=True)
    time.sleep(60)
"""


def test_files_of_a_dead_process_are_swept_and_those_of_a_living_one_are_not(settings, web):
    url, root = f"{web.url}/a.mp4", scratch_root(settings)
    path, out = place(settings, url), scratch_outputs(root, "s3://vault/out")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), url, str(path), str(out)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    assert ScratchStore(settings).sweep() == 0
    with ScratchStore(settings).using(url, path):
        pass
    assert path.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (out / "talk.mp4.part").exists()
    assert ScratchStore(settings).sweep() == 2
    assert leftovers(settings) == []
    assert fetches(web, "a") == 1


def test_a_scratch_folder_of_somebody_else_is_refused(settings, web):
    root = scratch_root(settings)
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    url = f"{web.url}/a.mp4"
    with (
        pytest.raises(OutputError, match=r"scratch.*storage\.scratch_dir"),
        ScratchStore(settings).using(url, place(settings, url)),
    ):
        pass
    root.rmdir()
    root.symlink_to("/tmp")
    with pytest.raises(OutputError), ScratchStore(settings).holding(root / "out" / "x"):
        pass


@pytest.mark.parametrize("trouble", ["open", "link", "inner link", "other names"])
def test_the_sweep_takes_nothing_that_is_not_scratch(settings, tmp_path, trouble):
    """Who gets at the folder could have ``in`` mean any other one, and every ``*.lock`` there would go."""
    root, home, key = scratch_root(settings), tmp_path / "home", "0123456789abcdef0123"
    name = "poetry" if trouble == "other names" else key
    (home / "in" / name).mkdir(parents=True)
    (home / "in" / f"{name}.lock").touch()
    (home / "in" / name / "work").touch()
    home.chmod(0o700)
    if trouble == "link":
        root.symlink_to(home)
    elif trouble == "inner link":
        root.mkdir(mode=0o700)
        (root / "in").symlink_to(home / "in")
    else:
        home.rename(root)
        home = root
    if trouble == "open":
        root.chmod(0o777)
    assert ScratchStore(settings).sweep() == 0
    assert (home / "in" / name / "work").exists()
    assert (home / "in" / f"{name}.lock").exists()


def test_places_depend_on_address_and_content():
    root = Path("/s")
    one = scratch_input(root, "https://h/a.mp4", "1", "a.mp4")
    assert one.name == "a.mp4"
    assert one != scratch_input(root, "https://h/a.mp4", "2", "a.mp4")
    assert scratch_outputs(root, "s3://b/out/") == scratch_outputs(root, "s3://b/out")


def test_a_transfer_that_waits_counts_as_alive_for_a_bounded_time():
    now = [100.0]
    patience = Patience(resolve(**{"storage.attempts": 2, "storage.timeout_s": 10}), clock=lambda: now[0])
    values = [patience.value]
    now[0] += 50
    assert patience.value == 0, "nothing is on"
    with patience.active():
        for _ in range(5):
            now[0] += 3
            values.append(patience.value)
        patience.moved(1 << 20)
        values.append(patience.value)
        now[0] += 36
        values.append(patience.value)
        now[0] += 500
        assert patience.value == values[-1], "beyond its limits it is a hang"
    now[0] += 7
    assert patience.value == values[-1]
    assert values == sorted(set(values))


def until(condition) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
