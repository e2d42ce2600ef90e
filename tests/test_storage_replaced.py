"""A remote file that is replaced while it is fetched: the old one, the new one or one clear error, never a mixture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import fsspec
import pytest

from dualface_ray.backends.storage import RemoteFile, RemoteReader, StoreFault, examine, fetch, open_store
from dualface_ray.backends.storage import faults as faults_module
from dualface_ray.backends.storage import transfer as transfer_module
from dualface_ray.errors import Cancelled, InputError
from dualface_ray.settings import resolve
from tests.storage_servers import Server, Web, s3_here

SETTINGS = resolve(**{"storage.timeout_s": 5, "storage.attempts": 3, "job.min_free_disk_bytes": 0})
OLD, NEW = b"old " * 25_000, b"new!" * 25_000
NAME = "/a/talk.mp4"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(transfer_module, "_BLOCK_BYTES", 30_000)


@pytest.fixture
def web() -> Iterator[Server]:
    with Server(Web) as server:
        server.files[NAME] = OLD
        yield server


def saying(server: Server, **heads: Callable[[bytes], str]) -> Callable:
    """A habit: parts, with these headers and no others."""

    def answer(handler) -> bool:
        content = server.files[NAME]
        handler.part(content, **{name: make(content) for name, make in heads.items()})
        return True

    return answer


MARKS = {
    "etag": {"ETag": lambda content: f'"{content[:3].decode()}"'},
    "weak etag": {"ETag": lambda content: f'W/"{content[:3].decode()}"'},
    "date": {"Last_Modified": lambda content: f"Mon, 23 Nov 2026 04:00:0{int(content == NEW)} GMT"},
    "date behind a weak etag": {
        "ETag": lambda _content: 'W/"1"',
        "Last_Modified": lambda content: f"Mon, 23 Nov 2026 04:00:0{int(content == NEW)} GMT",
    },
}


def when(server: Server, number: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Act once, when this block (1 = the first) has arrived."""
    left = [number]

    def arrived(_bytes: int) -> None:
        left[0] -= 1
        if not left[0]:
            act()

    return arrived


def put(server: Server, content: bytes) -> Callable[[], None]:
    return lambda: server.files.update({NAME: content})


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("block", [1, 3, 4])
def test_the_new_file_is_fetched_from_its_beginning(web, tmp_path, kind, block):
    web.habits[NAME] = saying(web, **MARKS[kind])
    fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS, arrived=when(web, block, put(web, NEW)))
    assert (tmp_path / "t.mp4").read_bytes() == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["t.mp4"]


def test_a_job_that_knows_the_old_one_does_not_take_the_new_one(web, tmp_path):
    url = f"{web.url}{NAME}"
    known = examine(url, SETTINGS).identity
    with pytest.raises(InputError, match="has changed since the job began"):
        fetch(url, tmp_path / "t.mp4", SETTINGS, identity=known, arrived=when(web, 2, put(web, NEW)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_all_the_time_is_one_clear_error(web, tmp_path):
    versions = iter(range(10**6))
    web.habits[NAME] = lambda handler: handler.part(OLD, ETag=f'"{next(versions) // 3}"') is None
    with pytest.raises(InputError, match=r"talk\.mp4: it was replaced while it was fetched\. Run again when nobody"):
        fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_mirrors_that_name_one_file_differently_are_named_as_a_cause(web, tmp_path):
    answers = iter(range(10**6))
    web.habits[NAME] = lambda handler: handler.part(OLD, ETag=f'"mirror-{next(answers) % 2}"') is None
    with pytest.raises(InputError, match="leads to servers that name it differently"):
        fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS)


def test_servers_of_two_minds_are_noticed_even_if_the_last_word_is_the_first(web, tmp_path):
    """Behind one name some serve the old file and some the new one."""
    third = iter([False, False, True])

    def answer(handler) -> bool:
        content = NEW if next(third, False) else OLD
        handler.part(content, **{name: make(content) for name, make in MARKS["etag"].items()})
        return True

    web.habits[NAME] = answer
    fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == OLD


def test_a_shorter_or_longer_one_is_noticed_without_any_mark(web, tmp_path):
    web.habits[NAME] = saying(web)
    for size in (10_000, 70_001, 120_000):
        web.files[NAME] = OLD
        fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS, arrived=when(web, 2, put(web, NEW[:size].ljust(size))))
        assert (tmp_path / "t.mp4").read_bytes() == web.files[NAME]


def test_servers_that_say_nothing_or_now_and_then_something_go_on_working(web, tmp_path):
    heads = iter(["ETag", "", "Last_Modified"] * 10)

    def moody(handler) -> bool:
        name = next(heads)
        handler.part(OLD, **({name: '"same"'} if name else {}))
        return True

    for habit in (saying(web), moody):
        web.habits[NAME] = habit
        fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS)
        assert (tmp_path / "t.mp4").read_bytes() == OLD


def test_an_attempt_after_a_break_does_not_go_on_with_another_file(web, tmp_path):
    """The connection breaks in the middle, and when the server is back it has another file of the same size."""
    asked = iter(range(100))

    def breaking(handler) -> bool:
        if next(asked) != 3:
            return False
        web.files[NAME] = NEW
        handler.connection.close()
        return True

    web.habits[NAME] = breaking
    fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == NEW


def test_a_file_in_one_go_is_held_against_its_end_too(web, tmp_path):
    """Written over in place while the server sends it: one answer, two contents."""
    asked = iter(range(100))

    def whole(handler) -> bool:
        content = web.files[NAME]
        if next(asked) == 1:
            web.files[NAME], content = NEW, OLD[:50_000] + NEW[50_000:]
            handler.answer(200, content, ETag='"old"')
        else:
            handler.answer(200, content, ETag=f'"{content[:3].decode()}"')
        return True

    web.habits[NAME] = whole
    fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == NEW


def test_a_signature_that_ran_out_with_the_last_byte_is_no_loss(web, tmp_path):
    """Each answer has said what it is from; nothing is left to ask for."""
    url, gone = f"{web.url}{NAME}?sig=1", lambda: web.habits.update({NAME: lambda handler: handler.answer(403) is None})
    fetch(url, tmp_path / "t.mp4", SETTINGS, arrived=when(web, 4, gone))
    assert (tmp_path / "t.mp4").read_bytes() == OLD
    web.habits[NAME] = saying(web)
    with pytest.raises(InputError, match="access is denied"):
        fetch(url, tmp_path / "u.mp4", SETTINGS, arrived=when(web, 4, gone))


def test_examining_does_not_mix_two_files_either(web, monkeypatch):
    url = f"{web.url}{NAME}"
    monkeypatch.setattr("dualface_ray.backends.storage.reader._BLOCK_BYTES", 30_000)
    reader = RemoteReader(open_store(url, SETTINGS), examine(url, SETTINGS), "talk.mp4", SETTINGS)
    assert reader.read(100) == OLD[:100]
    web.files[NAME] = NEW
    reader.seek(60_000)
    with pytest.raises(StoreFault, match="replaced"):
        reader.read(100)


def test_a_stop_ends_the_pause_before_another_attempt(web, tmp_path, monkeypatch):
    monkeypatch.setattr(faults_module, "PAUSE_S", 60.0)
    monkeypatch.setattr(faults_module, "MAX_PAUSE_S", 60.0)
    stop = threading.Event()

    def failing(handler) -> bool:
        stop.set()
        handler.answer(503)
        return True

    web.habits[NAME] = failing
    with pytest.raises(Cancelled):
        fetch(f"{web.url}{NAME}", tmp_path / "t.mp4", SETTINGS, stop=stop)


def test_what_two_descriptions_have_in_common_decides():
    one = RemoteFile("x", 5, "a", marks={"ETag": "a", "LastModified": "1"})
    assert not one.differs(one)
    assert not one.differs(RemoteFile("x", -1, ""))
    assert not one.differs(replace(one, marks={"created": "9"}))
    assert one.differs(replace(one, marks={"LastModified": "2"}))
    assert one.differs(replace(one, size_bytes=6))


# --- buckets ------------------------------------------------------------------------------------------------------
@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    files.pipe_file("/place/talk.mp4", OLD)
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("content", [NEW, NEW[:40_000], NEW + NEW])
def test_an_object_is_fetched_anew(memory, tmp_path, content):
    def change() -> None:
        memory.pipe_file("/place/talk.mp4", content)

    fetch("memory://place/talk.mp4", tmp_path / "t.mp4", SETTINGS, arrived=when(memory, 2, change))
    assert (tmp_path / "t.mp4").read_bytes() == content


def test_an_object_that_vanishes_is_missing(memory, tmp_path):
    def remove() -> None:
        memory.rm_file("/place/talk.mp4")

    with pytest.raises(InputError, match="no such file"):
        fetch("memory://place/talk.mp4", tmp_path / "t.mp4", SETTINGS, arrived=when(memory, 4, remove))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [NEW, NEW[:40_000]])
def test_an_object_of_s3_is_fetched_anew(tmp_path, monkeypatch, content):
    with s3_here(monkeypatch) as server:
        server.files[NAME] = OLD
        fetch(f"s3:/{NAME}", tmp_path / "t.mp4", SETTINGS, arrived=when(server, 2, put(server, content)))
        assert (tmp_path / "t.mp4").read_bytes() == content
        known = examine(f"s3:/{NAME}", SETTINGS)
        assert known.marks.keys() >= {"ETag", "LastModified"}
        assert b"".join(open_store("s3://a", SETTINGS).stream(f"s3:/{NAME}")) == content
