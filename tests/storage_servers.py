"""Little servers for the storage tests: a web server with bad habits on demand, and as much of S3 as is needed."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import fsspec
import pytest

from dualface_ray.backends.storage import transfer as transfer_module

S3_SECRET = "s3-secret-key"


def s3_environment(url: str) -> dict[str, str]:
    """What makes s3fs take a server on this machine for S3, with credentials that nobody checks."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def s3_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """S3 on this machine; the library keeps its connections by its settings, so each test has its own."""
    pytest.importorskip("s3fs")
    with Server(Bucket) as server:
        for name, value in s3_environment(server.url).items():
            monkeypatch.setenv(name, value)
        _forget_s3()
        yield server
        _forget_s3()


def _forget_s3() -> None:
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    transfer_module._bucket.cache_clear()


class Server:
    """A server on this machine in a thread; ``with Server(Handler) as server: server.url``."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.http.files = {}
        self.http.seen = []
        self.http.habits = {}
        self.files: dict[str, bytes] = self.http.files
        self.seen: list[str] = self.http.seen
        """Requests so far."""
        self.habits: dict[str, Callable] = self.http.habits
        """By path: called with the handler, may answer itself and return True."""
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def part(self, content: bytes, **headers: str) -> None:
        """The whole, or the range that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self.answer(200, content, **headers)
            return
        start = int(asked[1])
        end = min(len(content), int(asked[2]) + 1 if asked[2] else len(content))
        if start >= len(content):
            self.answer(416, Content_Range=f"bytes */{len(content)}")
            return
        self.answer(206, content[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(content)}", **headers)


class Web(_Quiet):
    """Serves ``files`` with ranges and ETags."""

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        path = unquote(urlsplit(self.path).path)
        habit = self.server.habits.get(path)
        if habit is not None and habit(self):
            return
        content = self.server.files.get(path)
        if content is None:
            self.answer(404)
            return
        self.part(content, ETag=f'"{hashlib.md5(content).hexdigest()}"')

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for


class Bucket(_Quiet):
    """S3 as botocore speaks it: list, head, get, put (also only when absent), delete; keys are ``/bucket/key``."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query, keep_blank_values=True)
        self.server.seen.append(f"{self.command} {path}")
        if "list-type" in query:
            self._list(path.strip("/"), query)
        elif path in self.server.files:
            content = self.server.files[path]
            self.part(content, ETag=f'"{_etag(content)}"', Last_Modified="Mon, 23 Nov 2026 04:00:00 GMT")
        elif path.count("/") == 1:
            self.answer(200)
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def do_PUT(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.seen.append(f"PUT {path}")
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            content = _unchunked(content)
        habit = self.server.habits.get(path)
        if habit is not None and habit(self):
            return
        if self.headers.get("If-None-Match") == "*" and path in self.server.files:
            self.answer(412, b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>")
            return
        self.server.files[path] = content
        self.answer(200, ETag=f'"{_etag(content)}"')

    def do_DELETE(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.seen.append(f"DELETE {path}")
        self.server.files.pop(path, None)
        self.answer(204)

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys, folders = [], set()
        for path, content in sorted(self.server.files.items()):
            root, _, key = path.strip("/").partition("/")
            if root != bucket or not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                keys.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{_etag(content)}</ETag>"
                    "<LastModified>2026-11-23T04:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
                )
        inner = "".join(keys) + "".join(
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders
        )
        count = len(keys) + len(folders)
        self.answer(
            200,
            (
                '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>{bucket}</Name><KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>"
            ).encode(),
            Content_Type="application/xml",
        )


def _etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def _unchunked(content: bytes) -> bytes:
    """Undo ``aws-chunked``: sizes in hex before each piece, checksums behind the last."""
    pieces = []
    while True:
        head, _, content = content.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(content[:size])
        content = content[size + 2 :]
