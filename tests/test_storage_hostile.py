"""Web servers that lie, stall, flood and lead astray: one typed error in bounded time and memory, without secrets."""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Iterator

import pytest

from dualface_ray.backends.storage import RemoteLock, StoreFault, examine, fetch, open_store, publish_bytes
from dualface_ray.backends.storage import faults as faults_module
from dualface_ray.backends.storage import lock as lock_module
from dualface_ray.backends.storage import transfer as transfer_module
from dualface_ray.backends.storage import web as web_module
from dualface_ray.backends.storage import wire as wire_module
from dualface_ray.errors import InputError, InputMissingError
from dualface_ray.media import LOCK_NAME
from dualface_ray.settings import resolve
from tests.storage_servers import Server, Web

SETTINGS = resolve(**{"storage.timeout_s": 5, "storage.attempts": 2, "job.min_free_disk_bytes": 0})
HASTY = resolve(**{"storage.timeout_s": 0.3, "storage.attempts": 1, "job.min_free_disk_bytes": 0})
CONTENT = bytes(range(250)) * 400
SECRETS = ("geheim", "topsecret", "elsewhere")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(transfer_module, "_BLOCK_BYTES", 30_000)


@pytest.fixture
def web() -> Iterator[Server]:
    with Server(Web) as server:
        server.files["/talk.mp4"] = CONTENT
        yield server


def secret(server: Server, path: str = "/x.mp4") -> str:
    return f"http://me:geheim@{server.url[7:]}{path}?sig=topsecret"


def lead(server: Server, location: str, code: int = 302) -> None:
    server.habits["/x.mp4"] = lambda handler: handler.answer(code, Location=location) is None


def kept(error: BaseException) -> str:
    """Its one line, after a look for secrets."""
    text = str(error)
    assert not [word for word in SECRETS if word in text], text
    assert error.__cause__ is None
    return text


# --- redirects ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, InputMissingError, "access is denied. Check its permissions"),
        (404, InputMissingError, "no such file. Check the address"),
        (400, InputError, "the server answers 400"),
        (503, InputError, "the server answers 503"),
    ],
)
def test_an_error_behind_a_redirect_names_the_host_it_led_to(web, status, error, words):
    with Server(Web) as other:
        other.habits["/store/b.mp4"] = lambda handler: handler.answer(status) is None
        lead(web, f"http://you:elsewhere@{other.url[7:]}/store/b.mp4?key=elsewhere")
        with pytest.raises(error) as caught:
            examine(secret(web), SETTINGS)
        text = kept(caught.value)
        assert f"redirected to {other.url[7:]}: {words}" in text
        assert text.startswith(f"http://***@{web.url[7:]}/x.mp4?***: ")


def test_a_redirect_to_where_nobody_listens_names_the_host(web):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{nobody.getsockname()[1]}"
        lead(web, f"http://{host}/b.mp4?key=elsewhere")
        with pytest.raises(InputError, match=f"redirected to {host}: ") as caught:
            examine(secret(web), SETTINGS)
        kept(caught.value)


def test_an_error_in_the_middle_of_a_file_names_the_host_too(web, tmp_path):
    with Server(Web) as other:
        other.files["/b.mp4"] = CONTENT
        lead(web, f"{other.url}/b.mp4?key=elsewhere")

        def gone(_bytes: int) -> None:
            other.habits["/b.mp4"] = lambda handler: handler.answer(403) is None

        with pytest.raises(InputMissingError, match=f"redirected to {other.url[7:]}: access is denied") as caught:
            fetch(secret(web), tmp_path / "t.mp4", SETTINGS, arrived=gone)
        kept(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed_also_to_names_that_need_escapes(web, tmp_path, code):
    web.files["/ä b/talk (1).mp4"] = CONTENT
    lead(web, "/ä b/talk (1).mp4?x=ö y".encode().decode("latin-1"), code)
    fetch(f"{web.url}/x.mp4", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == CONTENT


def test_a_user_stays_with_a_redirect_on_his_own_host(web):
    heads = []
    web.habits["/talk.mp4"] = lambda handler: heads.append(handler.headers.get("Authorization")) or False
    lead(web, "/talk.mp4")
    examine(secret(web), SETTINGS)
    assert heads == ["Basic bWU6Z2VoZWlt"]


@pytest.mark.parametrize(
    "location",
    [
        *(
            "",
            "http://",
            "http:///b.mp4",
            "http://[::1/b.mp4",
            "http://127.0.0.1:99999/b.mp4",
            "http://127.0.0.1:0/b.mp4",
        ),
        *("http://127.0.0.1:x/b.mp4", "http://a b/c", "http://a\\@b/c", "http://\x7f/", "javascript:1", "//"),
        "http://" + "a" * 70 + ".example/",
    ],
)
def test_a_redirect_to_what_is_no_place_is_one_error(web, location):
    lead(web, location)
    with pytest.raises(InputError) as caught:
        examine(secret(web), SETTINGS)
    kept(caught.value)


def test_a_host_in_disguise_is_not_followed(web):
    """Escapes in a host are read by some and not by others: what our rule looks up must be what is called."""
    lead(web, f"http://%31%32%37.0.0.1:{web.http.server_port}/talk.mp4")
    with pytest.raises(InputError, match="redirects"):
        examine(f"{web.url}/x.mp4", SETTINGS)
    assert len(web.seen) == 1


@pytest.mark.parametrize("length", [2, 3])
def test_circles_end(web, length):
    for number in range(length):
        following = f"/{(number + 1) % length}.mp4"
        web.habits[f"/{number}.mp4"] = lambda handler, to=following: handler.answer(302, Location=to) is None
    with pytest.raises(InputError, match="redirects too often"):
        examine(f"{web.url}/0.mp4", SETTINGS)
    assert len(web.seen) == 6


def test_what_a_redirect_says_beside_is_not_read(web):
    sent = [0]

    def endless(handler) -> bool:
        handler.send_response(302)
        handler.send_header("Location", "/talk.mp4")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            while sent[0] < 64 << 20:
                sent[0] += handler.wfile.write(bytes(1 << 20))
        return True

    web.habits["/x.mp4"] = endless
    assert examine(f"{web.url}/x.mp4", SETTINGS).size_bytes == len(CONTENT)
    assert sent[0] < 48 << 20


# --- addresses ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["127.0.0.1:99999", "127.0.0.1:x", "[::1", "", "%31%32%37.0.0.1", "a..é"])
def test_an_address_that_is_none_is_one_error_without_its_secrets(place):
    with pytest.raises(InputError, match="it is no web address") as caught:
        examine(f"http://me:geheim@{place}/b.mp4?sig=topsecret", SETTINGS)
    kept(caught.value)


def test_a_space_in_an_address_is_asked_for_as_an_escape(web):
    with pytest.raises(InputError, match="a space is written %20"):
        examine(f"{web.url}/a b.mp4", SETTINGS)
    assert not web.seen


def test_names_that_need_escapes_are_fetched(web, tmp_path):
    web.files["/ä b.mp4"] = CONTENT
    fetch(f"{web.url}/ä%20b.mp4?x=ö#part", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == CONTENT
    assert web.seen[0].startswith("/%C3%A4%20b.mp4?x=%C3%B6 bytes=")


@pytest.mark.parametrize("words", ["line", "reason", "version", "header"])
def test_a_server_that_repeats_what_it_was_asked_does_not_get_it_into_our_errors(web, words):
    def echo(handler) -> bool:
        line = handler.raw_requestline.strip()
        answers = {
            "line": b"500 unknown command: " + line,
            "reason": b"HTTP/1.1 500 cannot " + line + b"\r\nContent-Length: 0\r\n",
            "version": b"HTTP/9" + line + b" 200 fine\r\n",
            "header": b"HTTP/1.1 200 fine\r\n" + line + b" " + b"x" * 70_000,
        }
        handler.wfile.write(answers[words] + b"\r\n")
        handler.close_connection = True
        return True

    web.habits["/x.mp4"] = echo
    with pytest.raises(InputError, match="cannot be fetched") as caught:
        examine(secret(web), SETTINGS)
    kept(caught.value)


# --- sizes and parts ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", ["\xb2", "9" * 5000, "-5", "1e3", " ", "*", "0x10"])
def test_a_size_that_is_no_number_is_no_size(web, number):
    web.habits["/x.mp4"] = lambda handler: handler.answer(206, b"x", Content_Range=f"bytes 0-0/{number}") is None
    found = examine(f"{web.url}/x.mp4", SETTINGS)
    assert (found.size_bytes, found.ranges) == (-1, False)
    web.habits["/x.mp4"] = lambda handler: handler.answer(200, b"x", Content_Length=number) is None
    assert examine(f"{web.url}/x.mp4", SETTINGS).size_bytes == -1


def lying(server: Server, answer) -> None:
    """Right about the first byte, and then not."""

    def habit(handler) -> bool:
        if handler.headers.get("Range") == "bytes=0-0":
            return False
        answer(handler)
        return True

    server.habits["/talk.mp4"] = habit


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("bytes 0-29999/100000", "another part"),
        ("bytes 30000-60000/100000", "another part"),
        ("bytes */100000", "another part"),
        ("", "another part"),
        ("bytes 30000-59999/100001", "replaced"),
    ],
)
def test_a_server_that_gives_another_part_is_not_believed(web, tmp_path, part, words):
    def second(handler) -> None:
        if handler.headers["Range"].startswith("bytes=0-"):
            handler.part(CONTENT)
        else:
            handler.answer(206, CONTENT[:30_000], **({"Content_Range": part} if part else {}))

    lying(web, second)
    with pytest.raises(InputError, match=words):
        fetch(f"{web.url}/talk.mp4", tmp_path / "t.mp4", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_page_in_place_of_a_part_is_not_taken_for_it(web, tmp_path):
    """A session ran out: the server says 200 and shows where to sign in."""
    lying(web, lambda handler: handler.answer(200, b"<html>sign in</html>" * 2000, Content_Type="text/html"))
    with pytest.raises(InputError, match=r"replaced|no longer gives parts"):
        fetch(f"{web.url}/talk.mp4", tmp_path / "t.mp4", SETTINGS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [200, 206])
def test_more_than_was_promised_is_not_taken(web, tmp_path, status):
    def more(handler) -> None:
        start, end = (int(text) for text in handler.headers["Range"][6:].split("-"))
        content = CONTENT[start : end + 1] + b"and more"
        handler.answer(status, content, Content_Range=f"bytes {start}-{end}/{len(CONTENT)}")

    lying(web, more)
    with pytest.raises(InputError, match=r"more than it was asked for|no longer gives|replaced"):
        fetch(f"{web.url}/talk.mp4", tmp_path / "t.mp4", SETTINGS)


@pytest.mark.parametrize("chunks", [[b"01234", b"56789"], [b"0123456789"], []])
def test_the_end_of_the_connection_is_not_waited_for(chunks):
    """Python 3.10's ``read1`` does not know when all has come, and a server may keep the connection open."""

    class Old:
        length = sum(map(len, chunks))
        left = iter(chunks)

        def read1(self, _most: int) -> bytes:
            return next(self.left)

    assert list(web_module._pieces(Old(), 10)) == chunks


def test_a_file_without_parts_that_ends_early_is_not_taken_for_the_whole(web, tmp_path):
    """The second time it does not say how long it is, and goes away in the middle."""
    asked = iter(range(100))

    def broken(handler) -> bool:
        if next(asked) % 3 == 0:
            handler.answer(200, CONTENT)
            return True
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:30_000])
        handler.close_connection = True
        return True

    web.habits["/talk.mp4"] = broken
    with pytest.raises(InputError, match="the connection ended early"):
        fetch(f"{web.url}/talk.mp4", tmp_path / "t.mp4", SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_chunks_of_an_impossible_size_take_no_memory(web):
    def chunks(handler) -> bool:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(b"-1\r\n" + bytes(8 << 20))
        return True

    web.habits["/talk.mp4"] = chunks
    with contextlib.suppress(StoreFault):
        for piece in open_store(web.url, SETTINGS).stream(f"{web.url}/talk.mp4"):
            assert len(piece) <= 1 << 20


# --- time ---------------------------------------------------------------------------------------------------------
def drip(handler, content: bytes) -> bool:
    """A few bytes now and then, never long enough apart for a time-out; complete in a few seconds."""
    with contextlib.suppress(OSError):
        for start in range(0, len(content), 10):
            handler.wfile.write(content[start : start + 10])
            time.sleep(0.05)
    handler.close_connection = True
    return True


def test_a_head_that_drips_in_is_not_waited_for(web):
    head = b"HTTP/1.1 200 fine\r\nContent-Length: 1\r\nX-Slow: " + b"x" * 300 + b"\r\n\r\nx"
    web.habits["/talk.mp4"] = lambda handler: drip(handler, head)
    with pytest.raises(InputError, match="too slowly"):
        examine(f"{web.url}/talk.mp4", HASTY)


def test_a_body_that_drips_in_is_not_waited_for(web, tmp_path):
    def slow(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 206 fine\r\nContent-Range: bytes 0-499/500\r\nContent-Length: 500\r\n\r\n")
        drip(handler, bytes(500))

    web.files["/talk.mp4"] = bytes(500)
    lying(web, slow)
    with pytest.raises(InputError, match="too slowly"):
        fetch(f"{web.url}/talk.mp4", tmp_path / "t.mp4", HASTY)


def test_promises_without_end_are_not_waited_for(web):
    def flood(handler) -> bool:
        end_s = time.monotonic() + 5
        with contextlib.suppress(OSError):
            while time.monotonic() < end_s:
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            handler.answer(200, b"x")
        handler.close_connection = True
        return True

    web.habits["/talk.mp4"] = flood
    with pytest.raises(InputError, match="too slowly"):
        examine(f"{web.url}/talk.mp4", HASTY)


def test_only_waiting_is_counted_against_a_server(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    class Line(io.RawIOBase):
        size, takes_s = 0, 0.0

        def readinto(self, buffer) -> int:
            now[0] += self.takes_s
            return self.size

    line = Line()
    raw = wire_module._Raw(line, 10.0)
    line.size, line.takes_s = 1, 6.0
    raw.readinto(bytearray(1))
    raw.readinto(bytearray(1))
    with pytest.raises(TimeoutError):  # a head has so much time, whatever comes
        raw.readinto(bytearray(1))
    raw.body()
    line.size, line.takes_s = 5000, 4.0
    for _ in range(20):  # as fast as is asked for
        raw.readinto(bytearray(5000))
        now[0] += 100.0  # a slow disk of ours
    line.size = 3000
    for _ in range(11):
        raw.readinto(bytearray(3000))
    with pytest.raises(TimeoutError):
        raw.readinto(bytearray(3000))
    raw.close()
    assert line.closed


# --- a lock that somebody has meddled with ------------------------------------------------------------------------
@pytest.mark.parametrize("content", [b"[" * 4096, b'{"pid":' * 500, b"\xff\xfe", b"9" * 4096])
def test_a_lock_of_nonsense_that_stands_still_is_taken_over(monkeypatch, content):
    for name, value in {"STALE_S": 0.1, "_LOOK_S": 0.02, "_SETTLE_S": 0.01}.items():
        monkeypatch.setattr(lock_module, name, value)
    publish_bytes(content, f"memory://nonsense/out/{LOCK_NAME}", SETTINGS)
    lock = RemoteLock("memory://nonsense/out", SETTINGS)
    lock.take()
    lock.release()
    assert open_store("memory://nonsense", SETTINGS).listing("memory://nonsense") == {}
