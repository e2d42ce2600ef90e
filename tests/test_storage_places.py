"""Files at addresses: found, described, fetched and published; every trouble is one clear line without a secret."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from dualface_ray.backends.storage import (
    RemoteLock,
    StoreFault,
    examine,
    fetch,
    open_store,
    publish,
    publish_bytes,
    withdraw,
)
from dualface_ray.backends.storage import buckets as buckets_module
from dualface_ray.backends.storage import faults as faults_module
from dualface_ray.backends.storage import lock as lock_module
from dualface_ray.backends.storage import transfer as transfer_module
from dualface_ray.backends.storage import wire as wire_module
from dualface_ray.errors import (
    AddressError,
    Cancelled,
    DiskFullError,
    InputError,
    InputMissingError,
    LimitExceededError,
    OutputBusyError,
    OutputError,
)
from dualface_ray.media import LOCK_NAME, Holder, address_parts, is_address, join_address, local_path, shown_address
from dualface_ray.settings import resolve
from tests.storage_servers import Server, Web, s3_here

SETTINGS = resolve(**{"storage.timeout_s": 3, "storage.attempts": 3, "job.min_free_disk_bytes": 0})
CONTENT = os.urandom(100_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(transfer_module, "_BLOCK_BYTES", 30_000)


@pytest.fixture
def web() -> Iterator[Server]:
    with Server(Web) as server:
        server.files["/a/talk.mp4"] = CONTENT
        yield server


@pytest.fixture
def memory() -> Iterator[str]:
    files = fsspec.filesystem("memory")
    yield "memory://place"
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with s3_here(monkeypatch) as server:
        yield server


# --- addresses ----------------------------------------------------------------------------------------------------
def test_addresses_are_told_from_paths():
    assert is_address("s3://bucket/x")
    assert is_address("HTTPS://host/x")
    assert not is_address("talk.mp4")
    assert not is_address("C:/talk.mp4")
    assert not is_address("a/b://c")
    assert not is_address(Path("s3://bucket/x"))
    assert local_path("file:///a/b%20c.mp4") == Path("/a/b c.mp4")
    assert local_path("s3://b/x") is None
    for wrong in ("file://host/x", "file://", "file:///a%00b"):
        with pytest.raises(AddressError):
            local_path(wrong)
    assert join_address("s3://b/x/", "y/z", "", "w") == "s3://b/x/y/z/w"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("s3://bucket/in/talk.mp4", ("s3://bucket", "in", "talk.mp4")),
        ("s3://bucket//../in/./talk.mp4", ("s3://bucket", "in", "talk.mp4")),
        ("https://u:p@host:81/a%20b/c%2Fd/t.mp4?x=../../e#f", ("https://host:81", "a b", "c", "d", "t.mp4")),
        ("http://host/..%2f..%2fetc/t.mp4", ("http://host", "etc", "t.mp4")),
    ],
)
def test_parts_of_an_address_stay_below_its_place(address, parts):
    assert address_parts(address) == parts


@pytest.mark.parametrize("address", ["s3://bucket", "s3://bucket/", "https://host/?a=b", "http://host/a/.."])
def test_an_address_without_a_name_is_refused(address):
    with pytest.raises(AddressError, match="names no file"):
        address_parts(address)


def test_secrets_of_addresses_are_not_shown():
    text = "GET https://me:pass@host/a.mp4?X-Amz-Signature=abc&t=1 failed, then s3://key:word@b/x and http://h/p"
    shown = shown_address(text)
    assert shown == "GET https://***@host/a.mp4?*** failed, then s3://***@b/x and http://h/p"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:p@ss@host/a.mp4", "https://***@host/a.mp4"),
        ("https://me:it's@host/a.mp4", "https://***@host/a.mp4"),
        ('https://host/a.mp4?sig=a"b)c d', "https://host/a.mp4?***"),
        ("https://host/my film.mp4?sig=secret", "https://host/my film.mp4?***"),
        ("https://host?sig=secret", "https://host?***"),
        ("HTTPS://host/a.mp4#token=secret", "HTTPS://host/a.mp4"),
        ("s3://bucket/a@b/it's #1.mp4", "s3://bucket/a@b/it's #1.mp4"),
        ("https://host/@me/a.mp4", "https://host/@me/a.mp4"),
    ],
)
def test_nothing_secret_of_an_address_is_shown(address: str, shown: str) -> None:
    assert shown_address(address) == shown


# --- the web ------------------------------------------------------------------------------------------------------
def test_a_web_file_arrives_whole_and_in_blocks(web, tmp_path):
    url = f"{web.url}/a/talk.mp4"
    found = examine(url, SETTINGS)
    assert found.size_bytes == len(CONTENT)
    assert found.identity
    assert found.ranges
    count = []
    fetch(url, tmp_path / "talk.mp4", SETTINGS, identity=found.identity, arrived=count.append)
    assert (tmp_path / "talk.mp4").read_bytes() == CONTENT
    assert sum(count) == len(CONTENT)
    assert len(web.seen) == 2 + 4 + 1
    assert [path.name for path in tmp_path.iterdir()] == ["talk.mp4"]


def test_a_server_without_parts_gives_the_file_in_one_go(web, tmp_path):
    def whole(handler):
        handler.answer(200, CONTENT)
        return True

    web.habits["/a/talk.mp4"] = whole
    found = examine(f"{web.url}/a/talk.mp4", SETTINGS)
    assert (found.ranges, found.size_bytes, found.identity) == (False, len(CONTENT), "")
    fetch(f"{web.url}/a/talk.mp4", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == CONTENT


def test_a_server_that_does_not_say_the_size_is_held_to_the_limit(web, tmp_path):
    small = resolve(**{"storage.max_file_bytes": 1 << 20, "job.min_free_disk_bytes": 0, "storage.attempts": 2})

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        try:
            for _ in range(200):
                handler.wfile.write(bytes(100_000))
        except OSError:
            pass
        return True

    web.habits["/a/talk.mp4"] = endless
    with pytest.raises(LimitExceededError, match="max_file_bytes"):
        fetch(f"{web.url}/a/talk.mp4", tmp_path / "t.mp4", small)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_large_is_not_begun(web, tmp_path):
    web.files["/big.mp4"] = bytes(2 << 20)
    small = resolve(**{"storage.max_file_bytes": 1 << 20})
    with pytest.raises(LimitExceededError):
        fetch(f"{web.url}/big.mp4", tmp_path / "t.mp4", small)
    with pytest.raises(DiskFullError):
        fetch(f"{web.url}/big.mp4", tmp_path / "t.mp4", resolve(**{"job.min_free_disk_bytes": 1 << 60}))
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_breaks_is_tried_again(web, tmp_path):
    troubles = iter(["drop", "", "503", "short", "", "drop"])

    def moody(handler):
        trouble = next(troubles, "")
        if trouble == "drop":
            handler.connection.close()
        elif trouble == "503":
            handler.answer(503)
        elif trouble == "short":
            handler.send_response(206)
            handler.send_header("Content-Length", "30000")
            handler.send_header("Content-Range", f"bytes 0-29999/{len(CONTENT)}")
            handler.end_headers()
            handler.wfile.write(b"x" * 100)
            handler.close_connection = True
        return bool(trouble)

    web.habits["/a/talk.mp4"] = moody
    fetch(f"{web.url}/a/talk.mp4", tmp_path / "t.mp4", SETTINGS)
    assert (tmp_path / "t.mp4").read_bytes() == CONTENT


def test_trouble_that_stays_ends_with_the_last_error(web, tmp_path):
    web.habits["/a/talk.mp4"] = lambda handler: handler.answer(503) is None
    with pytest.raises(InputError, match=r"cannot be fetched .*503.*Check the network"):
        fetch(f"{web.url}/a/talk.mp4?token=abc", tmp_path / "t.mp4", SETTINGS)
    assert len(web.seen) == 3
    with pytest.raises(InputError, match="cannot be fetched"):
        examine("http://127.0.0.1:1/a/talk.mp4", SETTINGS)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(404, InputMissingError, "no such file"), (403, InputMissingError, "denied"), (400, InputError, "400")],
)
def test_an_answer_that_will_not_change_is_not_asked_for_again(web, status, error, words):
    web.habits["/x.mp4"] = lambda handler: handler.answer(status) is None
    with pytest.raises(error, match=words) as caught:
        examine(f"http://me:geheim@{web.url[7:]}/x.mp4?sig=topsecret", SETTINGS)
    assert len(web.seen) == 1
    assert "geheim" not in str(caught.value)
    assert "topsecret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.remedy


def test_a_certificate_that_nobody_vouches_for_is_said_at_once():
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate"
    try:
        raise urllib.error.URLError(error) from error
    except urllib.error.URLError as wrapped:
        fault = faults_module.fault_of(wrapped, "https")
    assert fault.kind is faults_module.Fault.UNTRUSTED, "not passing: it is not asked for again"
    for told in (faults_module.input_fault, faults_module.output_fault, faults_module.request_fault):
        text = str(told(fault, "https://host/a.mp4"))
        assert "its certificate is not trusted: self-signed certificate" in text
        assert "SSL_CERT_FILE" in text


def test_a_file_that_changed_since_the_job_began_is_an_error(web, tmp_path):
    with pytest.raises(InputError, match="has changed"):
        fetch(f"{web.url}/a/talk.mp4", tmp_path / "t.mp4", SETTINGS, identity="another")


def test_a_fetch_ends_when_it_is_told_to(web, tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        fetch(f"{web.url}/a/talk.mp4", tmp_path / "t.mp4", SETTINGS, stop=stop)
    assert list(tmp_path.iterdir()) == []


def test_passwords_go_to_their_host_only(web, tmp_path):
    with Server(Web) as other:
        other.files["/b.mp4"] = CONTENT
        heads = []

        def note(handler):
            heads.append(handler.headers.get("Authorization"))
            return False

        def away(handler):
            note(handler)
            handler.answer(302, Location=f"{other.url}/b.mp4")
            return True

        other.habits["/b.mp4"] = note
        web.habits["/a.mp4"] = away
        web.habits["/a/talk.mp4"] = note
        fetch(f"http://me:pass@{web.url[7:]}/a/talk.mp4", tmp_path / "x", SETTINGS)
        assert set(heads) == {"Basic bWU6cGFzcw=="}
        heads.clear()
        examine(f"http://me:pass@{web.url[7:]}/a.mp4", SETTINGS)
        assert heads == ["Basic bWU6cGFzcw==", None]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://x/"])
def test_a_redirect_to_another_protocol_is_refused(web, target):
    web.habits["/x.mp4"] = lambda handler: handler.answer(302, Location=target) is None
    with pytest.raises(InputError, match="redirects"):
        examine(f"{web.url}/x.mp4", SETTINGS)
    assert len(web.seen) == 1


def test_a_redirect_from_outside_into_this_network_is_refused(web, monkeypatch):
    web.habits["/x.mp4"] = lambda handler: handler.answer(302, Location=f"{web.url}/a/talk.mp4") is None
    examine(f"{web.url}/x.mp4", SETTINGS)  # from inside it may
    monkeypatch.setattr(wire_module, "_inside", lambda _host, rule: rule is any)  # one that is of both kinds
    with pytest.raises(InputError, match="into this network"):
        examine(f"{web.url}/x.mp4", SETTINGS)


def test_a_host_is_inside_by_its_addresses(monkeypatch):
    for host in ("127.0.0.1", "localhost", "169.254.169.254", "::1", "::ffff:10.0.0.1", "2130706433", "0"):
        assert wire_module._inside(host, any), host
    assert not wire_module._inside("8.8.8.8", any)
    mixed = [(None, None, None, None, (address, 0)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_given: mixed)
    assert wire_module._inside("attacker.example", any)
    assert not wire_module._inside("attacker.example", all)


def test_redirects_end_somewhere(web):
    web.habits["/x.mp4"] = lambda handler: handler.answer(302, Location="/x.mp4") is None
    with pytest.raises(InputError, match="redirects too often"):
        examine(f"{web.url}/x.mp4", SETTINGS)
    assert len(web.seen) <= wire_module.MAX_REDIRECTS + 1


def test_a_packed_or_silent_answer_is_refused(web):
    web.habits["/x.mp4"] = lambda handler: handler.answer(200, b"abc", Content_Encoding="gzip") is None
    with pytest.raises(InputError, match="packs"):
        examine(f"{web.url}/x.mp4", SETTINGS)
    hanging = threading.Event()
    web.habits["/x.mp4"] = lambda _handler: hanging.wait(5) or True
    with pytest.raises(InputError, match="cannot be fetched"):
        examine(f"{web.url}/x.mp4", resolve(**{"storage.timeout_s": 0.2, "storage.attempts": 1}))
    hanging.set()


def test_the_web_is_for_reading_only(web, tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(OutputError):
        publish(tmp_path / "x", f"{web.url}/out/x", SETTINGS)
    with pytest.raises(OutputError):
        publish_bytes(b"x", f"{web.url}/out/x", SETTINGS)
    with pytest.raises(OutputError):
        withdraw(f"{web.url}/out/x", SETTINGS)
    assert open_store(web.url, SETTINGS).find("http://a/*") == ["http://a/*"]
    assert not web.seen


# --- buckets ------------------------------------------------------------------------------------------------------
def test_memory_holds_what_is_published(memory, tmp_path):
    (tmp_path / "talk.mp4").write_bytes(CONTENT)
    publish(tmp_path / "talk.mp4", f"{memory}/in/talk.mp4", SETTINGS)
    publish_bytes(b"{}", f"{memory}/in/sub/talk.report.json", SETTINGS)
    store = open_store(memory, SETTINGS)
    assert store.listing(memory) == {"in/talk.mp4": len(CONTENT), "in/sub/talk.report.json": 2}
    assert store.listing(f"{memory}/nowhere") == {}
    assert store.find(f"{memory}/in/*.mp4") == [f"{memory}/in/talk.mp4"]
    assert store.find(f"{memory}/**/*.json") == [f"{memory}/in/sub/talk.report.json"]
    assert store.find(f"{memory}/in") == [f"{memory}/in/talk.mp4"]
    fetch(f"{memory}/in/talk.mp4", tmp_path / "back.mp4", SETTINGS)
    assert (tmp_path / "back.mp4").read_bytes() == CONTENT
    assert b"".join(store.stream(f"{memory}/in/talk.mp4")) == CONTENT
    withdraw(f"{memory}/in/talk.mp4", SETTINGS)
    withdraw(f"{memory}/in/talk.mp4", SETTINGS)
    with pytest.raises(InputMissingError, match="no such file"):
        examine(f"{memory}/in/talk.mp4", SETTINGS)
    with pytest.raises(InputError, match="folder"):
        examine(f"{memory}/in", SETTINGS)


def test_s3_works_like_it(bucket, tmp_path):
    (tmp_path / "talk.mp4").write_bytes(CONTENT)
    publish(tmp_path / "talk.mp4", "s3://vault/in/talk.mp4", SETTINGS)
    assert bucket.files["/vault/in/talk.mp4"] == CONTENT
    found = examine("s3://vault/in/talk.mp4", SETTINGS)
    assert found.size_bytes == len(CONTENT)
    assert found.identity
    fetch("s3://vault/in/talk.mp4", tmp_path / "back.mp4", SETTINGS, identity=found.identity)
    assert (tmp_path / "back.mp4").read_bytes() == CONTENT
    bucket.files["/vault/in/sub/b.mkv"] = b"b"
    store = open_store("s3://vault", SETTINGS)
    assert store.find("s3://vault/in/*.mp4") == ["s3://vault/in/talk.mp4"]
    assert store.find("s3://vault/**") == ["s3://vault/in/sub/b.mkv", "s3://vault/in/talk.mp4"]
    assert store.listing("s3://vault/in") == {"talk.mp4": len(CONTENT), "sub/b.mkv": 1}
    bucket.files["/vault/in/talk.mp4"] = b"other"
    assert examine("s3://vault/in/talk.mp4", SETTINGS).identity != found.identity
    withdraw("s3://vault/in/talk.mp4", SETTINGS)
    assert "/vault/in/talk.mp4" not in bucket.files
    with pytest.raises(InputMissingError, match=r"s3://vault/in/talk\.mp4: no such file"):
        examine("s3://vault/in/talk.mp4", SETTINGS)


def test_s3_refusals_are_clear(bucket, monkeypatch, tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    bucket.habits["/vault/x"] = lambda handler: (
        handler.answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>") is None
    )
    with pytest.raises(OutputError, match="s3://vault/x: access is denied"):
        publish(tmp_path / "x", "s3://vault/x", SETTINGS)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    transfer_module._bucket.cache_clear()
    with pytest.raises(InputMissingError, match=r"no credentials.*AWS_PROFILE"):
        examine("s3://vault/in/talk.mp4", SETTINGS)


def test_unknown_and_uninstalled_protocols_are_named(monkeypatch):
    with pytest.raises(AddressError, match=r"unknown protocol 'ftp'.*s3://"):
        open_store("ftp://host/x", SETTINGS)
    with pytest.raises(AddressError, match="unknown protocol"):
        open_store("zip://x::http://y/z", SETTINGS)
    transfer_module._bucket.cache_clear()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(AddressError, match=r"gs://b/x.*pip install 'dualface-ray\[gcs\]'"):
        open_store("gs://b/x", SETTINGS)
    with pytest.raises(AddressError, match="must not hold a password") as caught:
        examine("memory://key:word@b/x", SETTINGS)
    assert "word" not in str(caught.value).replace("password", "")


def test_an_upload_that_arrives_short_is_noticed(memory, tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"12345")
    store = open_store(memory, SETTINGS)
    monkeypatch.setattr(store, "_files", _Short(store._files))
    with pytest.raises(OutputError, match="5 bytes were sent, 4 arrived"):
        publish(tmp_path / "x", f"{memory}/x", SETTINGS)


class _Short:
    def __init__(self, files):
        self._real = files

    def __getattr__(self, name):
        return getattr(self._real, name)

    def put_file(self, source, key, callback):
        self._real.pipe_file(key, Path(source).read_bytes()[:-1])


def test_faults_of_libraries_are_told_apart():
    class DefaultCredentialsError(Exception):
        pass

    class HttpError(Exception):
        def __init__(self, code):
            super().__init__("https://x/y?sig=abc failed")
            self.code = code

    kinds = {
        DefaultCredentialsError("x"): "credentials",
        HttpError(404): "missing",
        HttpError("403"): "denied",
        HttpError(500): "passing",
        TimeoutError("slow"): "passing",
        http.client.IncompleteRead(b"x", 3): "passing",
        FileNotFoundError("x"): "missing",
        PermissionError("x"): "denied",
        NotImplementedError("x"): "refused",
    }
    for error, kind in kinds.items():
        fault = faults_module.fault_of(error, "gs")
        assert fault.kind == kind, error
        assert "abc" not in fault.text
    chained = OSError("wrapped")
    chained.__cause__ = HttpError(403)
    assert faults_module.fault_of(chained, "s3").kind == "denied"
    with pytest.raises(StoreFault):
        faults_module.again(lambda: (_ for _ in ()).throw(faults_module.fault_of(TimeoutError(), "s3")), 2)
    assert set(buckets_module.PACKAGES) - {"memory"} == {"s3", "gs", "gcs"}


# --- the lock of a remote folder ----------------------------------------------------------------------------------
@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BEAT_S": 0.05, "STALE_S": 0.5, "_LOOK_S": 0.05, "_SETTLE_S": 0.02}.items():
        monkeypatch.setattr(lock_module, name, value)


@pytest.mark.usefixtures("hasty")
def test_a_remote_folder_is_one_jobs(memory):
    first, second = RemoteLock(f"{memory}/out", SETTINGS), RemoteLock(f"{memory}/out", SETTINGS)
    first.take()
    with pytest.raises(OutputBusyError, match=f"memory://place/out: .*process {os.getpid()} "):
        second.take()
    first.release()
    first.release()
    assert open_store(memory, SETTINGS).listing(memory) == {}
    second.take()
    second.release()


@pytest.mark.usefixtures("hasty")
def test_a_lock_whose_writing_went_unanswered_is_not_anothers(memory, monkeypatch):
    """The object was made, the answer was lost, and the next attempt hears that it is there."""
    store = type(open_store(memory, SETTINGS))
    real = store.put_bytes
    monkeypatch.setattr(store, "put_bytes", lambda *given, fresh=False: real(*given) and not fresh)
    lock = RemoteLock(f"{memory}/out", SETTINGS)
    lock.take()
    lock.release()


@pytest.mark.usefixtures("hasty")
def test_a_remote_lock_that_stands_still_is_taken_over_and_its_old_holder_notices(memory, monkeypatch):
    url = f"{memory}/out/{LOCK_NAME}"
    publish_bytes(Holder("other-host", "boot", 7, "then").to_json(), url, SETTINGS)
    first = RemoteLock(f"{memory}/out", SETTINGS)
    first.take()
    publish_bytes(Holder("other-host", "boot", 7, "then").to_json(), url, SETTINGS)
    for _ in range(200):
        if first.lost:
            break
        threading.Event().wait(0.02)
    assert "another job" in first.lost
    first.release()
    assert url.rpartition("/")[2] in open_store(memory, SETTINGS).listing(f"{memory}/out")


@pytest.mark.usefixtures("hasty")
def test_a_remote_lock_of_a_dead_process_of_this_machine_is_taken_over_at_once(memory, monkeypatch):
    monkeypatch.setattr(lock_module, "STALE_S", 30)
    here = Holder.here()
    dead = Holder(here.host, here.boot, 2**22 - 1, "then", "123")
    publish_bytes(dead.to_json(), f"{memory}/out/{LOCK_NAME}", SETTINGS)
    lock = RemoteLock(f"{memory}/out", SETTINGS)
    lock.take()
    lock.release()
    monkeypatch.setattr(lock_module, "STALE_S", 0.2)
    publish_bytes(b"nonsense", f"{memory}/out/{LOCK_NAME}", SETTINGS)
    lock = RemoteLock(f"{memory}/out", SETTINGS)
    lock.take()
    lock.release()


@pytest.mark.usefixtures("hasty")
def test_s3_decides_between_two_that_come_at_once(bucket):
    locks = [RemoteLock("s3://vault/out", SETTINGS) for _ in range(4)]
    results = []

    def take(lock):
        try:
            lock.take()
            results.append("held")
        except OutputBusyError:
            results.append("busy")

    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["busy", "busy", "busy", "held"]
    for lock in locks:
        lock.release()
