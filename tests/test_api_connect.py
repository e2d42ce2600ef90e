"""Which Ray a job joins, what it says when there is none, and when it needs none."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray

from dualface_ray.api import connect, connection, temporary
from dualface_ray.errors import ClusterError, ResourceError
from dualface_ray.hardware import Gpu, declared
from dualface_ray.media import plan_outputs
from dualface_ray.report import (
    RunReport,
    VideoState,
    counted_settings,
    fingerprint,
    input_record,
    read_report,
    versions,
)
from dualface_ray.settings import resolve

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_RAY = """
import sys
from dualface_ray.cli.app import execute
code = execute(sys.argv[1:])
assert "ray" not in sys.modules
sys.exit(code)
"""


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_one_line_at_once(form: str, closed_port: int) -> None:
    with pytest.raises(ClusterError) as caught:
        connect(resolve(), form.format(closed_port))
    assert form.format(closed_port) in str(caught.value)
    assert "no Ray answers" in str(caught.value)
    assert "for a private Ray name no address=, nor RAY_ADDRESS" in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_an_address_that_cannot_be_is_the_same_error() -> None:
    with pytest.raises(ClusterError):
        connect(resolve(), "127.0.0.1:99999")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Failed to connect to\nRay cluster at 10.0.0.1:6379"),
        RuntimeError("Version mismatch"),
        ray.exceptions.RayError("Token authentication is enabled but no authentication token was found"),
    ],
)
def test_a_ray_that_lets_nobody_in_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuses)
    with pytest.raises(ClusterError) as caught:
        connect(resolve(), "auto")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"auto: this Ray cannot be joined ({str(error).split()[0]}")
    assert "\n" not in str(caught.value)
    assert "token" in caught.value.remedy


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/tmp/" + "x" * 60, "at most"),
        ("/" + "x/" * 2500, "at most"),
        ("/tmp/\udcff", "is not UTF-8"),
        ("relative", "is relative"),
        ("/proc/none", "cannot write to /proc/none/ray"),
        ("/dev/null", "Not a directory"),
        ("", "is relative"),
    ],
)
def test_a_place_where_ray_cannot_start_is_known_before(
    name: str, folder: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was not known"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(name, folder)
    with pytest.raises(ResourceError, match=said) as caught:
        connect(resolve())
    assert caught.value.exit_code == 1
    assert caught.value.where.startswith(f"{name}=")
    assert f"Set {name} to" in caught.value.remedy
    assert len(str(caught.value).encode()) < 500


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_is_rays_own(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest of its sockets, below a folder of just the length that may be, and of one byte more."""
    from ray._private.utils import validate_socket_filepath

    below = f"/ray/session_2026-11-23_15-44-36_942227_{os.getpid()}/sockets/plasma_store"
    root = "/tmp/".ljust(temporary.MAX_SOCKET_BYTES - len(below) + more, "x")
    monkeypatch.setenv("TMPDIR", root)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(Path, "mkdir", lambda *_args, **_more: None)
    monkeypatch.setattr(os, "access", lambda *_args: True)
    ours = pytest.raises(ResourceError, match="at most") if more else nullcontext()
    with ours:
        temporary.check_temporary()
    with pytest.raises(OSError, match="107 bytes") if more else nullcontext():
        validate_socket_filepath(root + below)


def finished(source: Path, folder: Path) -> None:
    """What a finished run leaves, as far as the next one looks at it."""
    settings = resolve()
    (outputs,) = plan_outputs([source], folder, layout=settings.framing.layout, container=settings.encode.container)
    folder.mkdir()
    for path in (*outputs.videos, outputs.tracks):
        path.write_bytes(b"complete")
    RunReport(
        state=VideoState.DONE,
        input=input_record(source),
        fingerprint=fingerprint(source, settings),
        settings=counted_settings(settings),
        versions=versions(),
    ).save(outputs.report)


def command(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY, "run", *argv],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_job_that_is_done_already_starts_no_ray(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(talk, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    done = command(str(talk), "-o", str(out), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["starting", "started", "video", "progress", "summary"]
    (video,) = events[-1]["videos"]
    assert (video["state"], video["source"]) == ("skipped", str(talk))
    assert video["outputs"] == [str(out / f"{talk.stem}.dualface.mp4")]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    shown = command(str(talk), "-o", str(out))
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "1 skipped"


def test_a_job_of_nothing_but_bad_inputs_starts_no_ray_and_leaves_their_reports(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(talk, out)
    done = command(str(talk), str(talk.with_name("missing.mp4")), "-o", str(out))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "1 skipped, 1 failed"
    assert read_report(out / "missing.report.json").state is VideoState.FAILED
    assert not [path for path in out.iterdir() if path.name.startswith(".")], "the lock is given back"


def test_cancelling_and_closing_such_a_job_is_harmless(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dualface_ray import run

    monkeypatch.setattr("dualface_ray.api.job.connect", lambda *_: pytest.fail("Ray is not needed"))
    finished(talk, tmp_path / "out")
    with run([talk], tmp_path / "out") as job:
        job.cancel()
        assert job.wait(0.0).exit_code == 0
        assert job.snapshot().videos[0].state is VideoState.SKIPPED
    job.close()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a private Ray would be started with, on a machine of two RTX 4090 and 32 cores."""
    given: dict[str, Any] = {}
    cards = tuple(Gpu(n, "NVIDIA GeForce RTX 4090", f"GPU-{n}", 24 << 30, "550.67") for n in range(2))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(connection, "declared", lambda profile: declared(profile, look=lambda: cards))
    monkeypatch.setattr(connection, "cores", lambda: 32)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **arguments: given.update(arguments))
    return given


def test_a_private_ray_declares_what_the_profile_lets_this_machines_cards_do(started: dict[str, Any]) -> None:
    connect(resolve(**{"lane.profile": "rtx4090", "lane.cores": 16}))
    assert started["resources"] == {"nvdec_session": 12, "nvenc_session": 8}
    assert started["labels"] == {"dualface-driver": "550.67"}
    assert started["num_cpus"] == 32, "both cards' lanes have room"


@pytest.mark.parametrize("overrides", [{}, {"lane.profile": "rtx4090", "lane.backend": "cpu"}])
def test_without_a_profile_or_for_the_cpu_it_declares_nothing(
    overrides: dict[str, str], started: dict[str, Any]
) -> None:
    connect(resolve(**overrides))
    assert (started["resources"], started["labels"]) == ({}, {})


@pytest.mark.parametrize(("given", "cards"), [(None, 2), ("1", 1), ("-1", 0), ("", 0), ("0,0", 0), ("GPU-1,GPU-0", 2)])
def test_a_private_ray_is_told_the_cards_that_cuda_would_show(
    given: str | None, cards: int, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    for overrides in ({}, {"lane.profile": "rtx4090"}):
        connect(resolve(**overrides))
        assert started["num_gpus"] == cards
    connect(resolve(**{"lane.backend": "cpu"}))
    assert started["num_gpus"] is None, "nobody asks for cards"


@pytest.fixture
def handlers() -> Iterator[None]:
    """Whatever a test does to signals is undone."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def rays(*_: object) -> None:
    """The handler that Ray sets for SIGTERM when it starts."""
    sys.exit(15)


class StopError(Exception):
    """What the caller's own handler raises."""


def ours(*_: object) -> None:
    raise StopError


@pytest.mark.usefixtures("started", "handlers")
def test_the_callers_handlers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    real = signal.signal
    signal.signal(signal.SIGTERM, ours)
    monkeypatch.setattr("ray.init", lambda **_: signal.signal(signal.SIGTERM, rays))
    connect(resolve())
    assert signal.getsignal(signal.SIGTERM) is ours
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.signal is real


@pytest.mark.usefixtures("started", "handlers")
def test_where_there_is_no_handler_rays_stays_in_place_of_the_one_below_python(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ctypes.CDLL(None)

    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, rays)
        libc.signal(signal.SIGTERM, ctypes.c_void_p(signal.SIG_IGN))

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr("ray.init", init)
    connect(resolve())
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("started", "handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("times", [1, 2])
def test_a_wish_to_stop_waits_until_ray_has_started(
    number: signal.Signals, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half connected, Ray crashes the process at its exit; who insists is heard at once."""
    done = []

    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, rays)
        for _ in range(times):
            signal.raise_signal(number)
        done.append("connected")

    signal.signal(number, ours)
    monkeypatch.setattr("ray.init", init)
    with pytest.raises(StopError):
        connect(resolve())
    assert bool(done) is (times == 1)
    assert signal.getsignal(number) is ours


def test_what_ray_starts_is_in_a_group_of_its_own_with_no_signal_blocked(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z, a closed terminal and ``timeout`` reach a whole group, and Ray must outlive them to end in order."""
    asked = "import os, signal; print(os.getpgid(0) == os.getpid(), sorted(signal.pthread_sigmask(0, ())))"
    answers = []

    def starts(**_: object) -> None:
        process = subprocess.run(
            [sys.executable, "-c", asked],
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}),  # as Ray does
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(process.stdout.strip())

    monkeypatch.setattr("ray.init", starts)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        connect(resolve())
        starts()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert answers[0] == f"True [{signal.SIGINT!r}]"
    assert answers[1].startswith("False "), "only Ray's"
