"""Submission: what is sent, where, with which token; every way it can fail; and one job on a real cluster."""

from __future__ import annotations

import http.server
import json
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from dualface_ray.cli.app import execute
from dualface_ray.errors import ActorError, ClusterError, ContactLostError, NoSuchJobError, RequestError
from dualface_ray.models import cache_dir
from dualface_ray.settings import resolve
from dualface_ray.submission import Cluster, Order, Submission, dashboard_address, new_id, pack, send
from dualface_ray.submission import handle as handle_module
from dualface_ray.submission import tail as tail_module
from dualface_ray.submission.cluster import ask_version
from dualface_ray.submission.handle import outcome
from dualface_ray.submission.order import changed
from dualface_ray.submission.tail import Tail
from dualface_ray.submission.token import token_headers
from tests.job_client import FOUND, Info, PlayedClient, PlayedJob, Status, ended

ROOT = Path(__file__).resolve().parent.parent
RUNNING = Info(Status("RUNNING"))


def played(client: PlayedClient) -> Cluster:
    return Cluster("http://head", {}, lambda _address, _headers: client, lambda _address, _headers: "2.60.0")


@pytest.fixture
def cluster(monkeypatch):
    """The command line talks to a played client."""
    client = PlayedClient()
    made = []

    def connect(address=None):
        made.append(address)
        return played(client)

    monkeypatch.setattr("dualface_ray.cli.submit.Cluster", connect)
    monkeypatch.setattr("dualface_ray.submission.handle.Cluster", connect)
    monkeypatch.setattr("dualface_ray.submission.probe._POLL_S", 0.0)
    monkeypatch.setattr(handle_module, "_POLL_S", 0.01)
    monkeypatch.setattr(tail_module, "_RETRY_S", 0.01)
    client.addresses = made
    return client


# --- the order ----------------------------------------------------------------------------------------------------
def test_the_command_says_it_all():
    settings = resolve(sets=["layout=stacked", "quality=18", "overwrite=true", "model_path=/models/my face.onnx"])
    order = Order(("/data/in/a b.mp4", "s3://bucket/*.mp4", "/data/in/it's.mp4"), "/data/out", settings, as_json=True)
    words = shlex.split(order.entrypoint())
    assert words[:4] == ["python", "-m", "dualface_ray", "run"]
    assert words[4:9] == ["/data/in/a b.mp4", "s3://bucket/*.mp4", "/data/in/it's.mp4", "-o", "/data/out"]
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert resolve(sets=sets) == settings
    assert len(sets) == 4
    assert words[-1] == "--json"
    assert "'s3://bucket/*.mp4'" in order.entrypoint(), "the cluster's shell would expand it, and split at spaces"


def test_every_setting_survives_the_journey():
    from dualface_ray.settings.keys import choices, leaf_keys
    from dualface_ray.settings.root import Settings

    for key, setting in leaf_keys(Settings).items():
        value = setting.default
        others = [word for word in choices(setting) if word != value]
        if others:
            trial = [f"{key}={word}" for word in others]
        elif isinstance(value, bool):
            trial = [f"{key}={str(not value).lower()}"]
        else:
            continue
        for text in trial:
            try:
                settings = resolve(sets=[text])
            except RequestError:
                continue  # it needs another one beside it
            assert changed(settings) == [text]
    settings = resolve(sets=["lookahead_s=1.5", "chunk_frames=8", "lane.count=3"])
    assert resolve(sets=changed(settings)) == settings
    assert changed(resolve()) == []


@pytest.mark.parametrize("text", ["a.mp4", "./a.mp4", "../a.mp4", "~/a.mp4", "in/*.mp4", "", "C:/a.mp4", "file:a.mp4"])
def test_relative_paths_are_refused(text, monkeypatch, capfd):
    for inputs, output in (((text,), "/out"), (("/in/a.mp4",), text)):
        with pytest.raises(RequestError, match="relative path") as caught:
            Order(inputs, output)
        assert caught.value.exit_code == 2
        assert "absolute path" in caught.value.remedy
    with pytest.raises(RequestError, match=r"detect\.model_path"):
        Order(("/in/a.mp4",), "/out", resolve(model_path="models/my.onnx"))
    with pytest.raises(RequestError, match="not UTF-8"):
        Order(("/in/caf\udce9.mp4",), "/out")


def test_an_order_has_inputs_and_fits_a_shell():
    with pytest.raises(RequestError, match="no input"):
        Order((), "/out")
    many = Order(tuple(f"/data/in/a rather long name {i}.mp4" for i in range(3000)), "/out")
    assert many.entrypoint() == "python -m dualface_ray run --list dualface-inputs.txt -o /out"
    assert many.files()["dualface-inputs.txt"].decode().splitlines() == list(many.inputs)
    assert Order(many.inputs[:1000], "/out").files() == {}
    with pytest.raises(RequestError, match="cannot stand in one"):
        Order((*many.inputs, "/data/a\nb.mp4"), "/out").files()


def test_a_list_of_inputs_travels(cluster, tmp_path, capfd):
    (tmp_path / "inputs.txt").write_text("# of today\n/data/in/a.mp4\n\ns3://bucket/b.mp4\n")
    argv = ["submit", "--list", str(tmp_path / "inputs.txt"), "-o", "/out", "--quiet", "--id", "mine"]
    assert execute(argv) == 0
    assert (
        cluster.jobs["mine"].entrypoint == "python -m dualface_ray run /data/in/a.mp4 s3://bucket/b.mp4 -o /out --quiet"
    )
    (tmp_path / "inputs.txt").write_text("".join(f"/data/in/a-rather-long-name-{i}.mp4\n" for i in range(3000)))
    assert execute([*argv[:-1], "many"]) == 0
    job = cluster.jobs["many"]
    assert job.entrypoint == "python -m dualface_ray run --list dualface-inputs.txt -o /out --quiet"
    assert job.runtime_env["working_dir"].endswith(".zip")
    pack(None, tmp_path / "t.zip", extra={"dualface-inputs.txt": b"/a.mp4\n"})
    with zipfile.ZipFile(tmp_path / "t.zip") as archive:
        assert archive.read("dualface-inputs.txt") == b"/a.mp4\n"
    capfd.readouterr()


def test_ids():
    assert re.fullmatch(r"dualface-\d{8}-\d{6}-[0-9a-f]{4}", new_id())
    assert new_id("My-job_1.2") == "My-job_1.2"
    for name in ("", "a b", "a/b", "-a", "ä", "x" * 101):
        with pytest.raises(RequestError, match="not a name"):
            new_id(name)


# --- address and token --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "env", "wanted"),
    [
        (None, {}, "http://127.0.0.1:8265"),
        ("http://head:8265/", {"RAY_API_SERVER_ADDRESS": "http://other:1"}, "http://head:8265"),
        ("head", {}, "http://head:8265"),
        ("head:9000", {}, "http://head:9000"),
        ("https://ray.example.com/team", {}, "https://ray.example.com/team"),
        ("http://[::1]:8265", {}, "http://[::1]:8265"),
        (None, {"RAY_API_SERVER_ADDRESS": "http://a:1", "RAY_ADDRESS": "http://b:1"}, "http://a:1"),
        (None, {"RAY_ADDRESS": "http://b:1"}, "http://b:1"),
        (None, {"RAY_ADDRESS": "10.0.0.1:6379"}, "http://127.0.0.1:8265"),
        (None, {"RAY_ADDRESS": "auto"}, "http://127.0.0.1:8265"),
    ],
)
def test_the_address(given, env, wanted):
    assert dashboard_address(given, env) == wanted


@pytest.mark.parametrize(
    "text", ["ray://head:10001", "http://", "http://head:x", "http://user:pw@head", "http://:pw@head", "s3://b/c"]
)
def test_what_is_no_dashboard(text):
    with pytest.raises(ClusterError, match="not the address of a dashboard") as caught:
        dashboard_address(text, {})
    assert "pw" not in str(caught.value)


def test_the_token_is_found_where_ray_finds_it(tmp_path):
    home, named = tmp_path / "home", tmp_path / "token"
    (home / ".ray").mkdir(parents=True)
    env = {"HOME": str(home)}
    assert token_headers(env) == {}
    (home / ".ray" / "auth_token").write_text("from-home\n")
    assert token_headers(env) == {"Authorization": "Bearer from-home"}
    named.write_text("from-path")
    env["RAY_AUTH_TOKEN_PATH"] = str(named)
    assert token_headers(env)["Authorization"] == "Bearer from-path"
    env["RAY_AUTH_TOKEN"] = "from-env"
    assert token_headers(env)["Authorization"] == "Bearer from-env"
    assert token_headers({**env, "RAY_AUTH_MODE": "disabled"}) == {}
    with pytest.raises(RequestError, match="RAY_AUTH_TOKEN_PATH"):
        token_headers({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what the path's first part says."""

    def do_GET(self):
        kind = self.path.split("/")[1]
        self.server.seen.append(self.headers.get("Authorization"))
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/ray/api/version")
            self.end_headers()
            return
        body = {"ray": b'{"ray_version": "2.60.0"}', "other": b"<html>", "list": b"[]"}.get(kind, b"no")
        self.send_response(200 if body != b"no" else int(kind))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        made.seen = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("401", "asks for a token, and there is none here"),
        ("403", "refuses this token"),
        ("404", "no Ray dashboard .HTTP 404"),
        ("502", "no Ray dashboard .HTTP 502"),
        ("redirect", "no Ray dashboard .HTTP 302"),
        ("other", "no Ray dashboard"),
        ("list", "no Ray dashboard"),
    ],
)
def test_whoever_answers(server, path, says):
    with pytest.raises(ClusterError, match=says) as caught:
        ask_version(f"http://127.0.0.1:{server.server_port}/{path}", {})
    assert caught.value.remedy
    assert caught.value.exit_code == 2


def test_a_dashboard_says_its_version_and_gets_the_token(server):
    assert ask_version(f"http://127.0.0.1:{server.server_port}/ray", {"Authorization": "Bearer x"}) == "2.60.0"
    assert server.seen == ["Bearer x"]


def test_nobody_answers(server):
    for address, says in (
        ("http://127.0.0.1:9", "nobody listens"),
        ("http://nobody.invalid:8265", "no machine of that name"),
        (f"https://127.0.0.1:{server.server_port}", "no TLS"),
    ):
        with pytest.raises(ClusterError, match=says) as caught:
            ask_version(address, {}, timeout_s=5)
        assert caught.value.remedy
    with pytest.raises(ClusterError, match="no answer within"), _silent() as port:
        ask_version(f"http://127.0.0.1:{port}", {}, timeout_s=0.2)


class _silent:  # noqa: N801 - reads as a word
    """A port that takes connections and says nothing."""

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        return self._socket.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        self._socket.close()


# --- what Ray's client raises -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            RuntimeError("The Ray jobs CLI & SDK require the ray[default] installation"),
            ClusterError,
            "cannot send jobs",
        ),
        (RuntimeError("... 500: No available agent to submit job, please try again later."), ClusterError, "job agent"),
        (RuntimeError("... status code 500: Job x already exists"), ClusterError, "been there already"),
        (RuntimeError("Request failed with status code 413: Maximum request body size"), ClusterError, "larger"),
        (type("AuthenticationError", (Exception,), {})("no"), ClusterError, "refuses this token"),
        (RuntimeError("a\nstrange thing"), ClusterError, "not taken: a strange thing"),
        (ConnectionError("gone"), ClusterError, "not taken: gone"),
    ],
)
def test_a_submission_that_fails(error, kind, says):
    client = PlayedClient()
    client.fail["submit"] = error
    with pytest.raises(kind, match=says) as caught:
        send(Order(("/a.mp4",), "/out"), lambda: played(client))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_job_that_is_not_there_and_a_cluster_that_is_gone():
    client = PlayedClient()
    job = Submission("nope", cluster=played(client))
    for call in (lambda: job.status, job.logs, job.stop, job.outcome, job.wait):
        with pytest.raises(NoSuchJobError, match=r"nope: the cluster knows no such job"):
            call()
    client.fail["info"] = ConnectionError("refused")
    with pytest.raises(ContactLostError, match="does not answer"):
        _ = job.status
    assert ContactLostError.exit_code == 1
    assert issubclass(ContactLostError, ActorError)


def test_rays_own_client_is_used_and_the_environment_does_not_overrule(monkeypatch):
    import ray.job_submission

    from dualface_ray.submission.cluster import REQUEST_TIMEOUT_S, _ray_client

    seen = {}

    class Client:
        def __init__(self, address, headers):
            seen.update(address=address, headers=headers, env=os.environ.get("RAY_ADDRESS"))

        def _do_request(self, *arguments, **options):
            return arguments, options

    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Client)
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")
    client = _ray_client("http://head:8265", {"Authorization": "Bearer x"})
    assert seen == {"address": "http://head:8265", "headers": {"Authorization": "Bearer x"}, "env": None}
    assert os.environ["RAY_ADDRESS"] == "http://elsewhere:8265"
    assert client._do_request("GET", "/x", data=1) == (("GET", "/x"), {"timeout": REQUEST_TIMEOUT_S, "data": 1})


# --- the look at the cluster --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (
            PlayedJob([ended()], ['{"dualface": null, "python": "3.12.3", "problem": "ModuleNotFoundError: x"}\n']),
            r"Python 3\.12\.3 has no dualface_ray \(ModuleNotFoundError: x\)\. Use the image",
        ),
        (PlayedJob([ended(127)], ["sh: 1: python: not found\n"]), "no `python` on the path"),
        (PlayedJob([ended(1)], ["Traceback\nSyntaxError: old\n"]), "nothing can run there: Traceback SyntaxError: old"),
        (PlayedJob([ended(None, "runtime_env setup\nfailed")]), "nothing can run there: runtime_env setup failed"),
    ],
)
def test_a_cluster_that_cannot_do_it(probe, says):
    client = PlayedClient(probe=probe)
    with pytest.raises(ClusterError, match=says):
        send(Order(("/a.mp4",), "/out"), lambda: played(client))
    assert client.jobs == {}, "neither a job nor a probe is left"


def test_a_probe_that_never_starts_is_stopped():
    from dualface_ray.submission.probe import look

    client = PlayedClient(probe=PlayedJob([Info(Status("PENDING"), "waiting for\nresources")]))
    times = iter(range(0, 1000, 60))
    with pytest.raises(ClusterError, match="within 180 s: waiting for resources"):
        look(played(client), "j", {}, clock=lambda: next(times), sleep=lambda _: None)
    assert client.calls[-1].startswith("stop j-probe-")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    client = PlayedClient(probe=PlayedJob([Info(Status("PENDING"))]))
    with pytest.raises(KeyboardInterrupt):
        look(played(client), "j", {}, sleep=interrupted)
    assert client.calls[-1].startswith("stop j-probe-")


def test_another_version_is_said_and_goes():
    client = PlayedClient(probe=PlayedJob([ended()], [FOUND.replace("0.1.0", "9.9.9")]))
    said = []
    job = send(Order(("/a.mp4",), "/out"), lambda: played(client), say=said.append)
    assert said == ["note: the cluster does the work with its dualface-ray 9.9.9; here it is 0.1.0"]
    assert list(client.jobs) == [job.id]
    sent = client.jobs[job.id]
    assert sent.entrypoint == "python -m dualface_ray run /a.mp4 -o /out"
    assert sent.runtime_env == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "40"}}, "as little as possible"


def test_a_name_is_used_once():
    client = PlayedClient()
    send(Order(("/a.mp4",), "/out"), lambda: played(client), name="mine")
    before = list(client.calls)
    with pytest.raises(ClusterError, match="mine: a job of that name"):
        send(Order(("/a.mp4",), "/out"), lambda: played(client), name="mine")
    assert client.calls[len(before) :] == ["info mine"], "before anything runs"


# --- a folder that travels ----------------------------------------------------------------------------------------
def test_a_working_tree_travels_without_what_git_ignores(tmp_path):
    tree = tmp_path / "tree"
    (tree / "pkg").mkdir(parents=True)
    (tree / "pkg" / "a.py").write_text("a = 1\n")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "new.txt").write_text("not added yet")
    (tree / "out").mkdir()
    (tree / "out" / "huge.mp4").write_bytes(b"x" * 1000)
    (tree / ".gitignore").write_text("out/\n")
    (tree / "link").symlink_to("/etc/passwd")
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    subprocess.run(["git", "-C", str(tree), "add", "pkg"], check=True)
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    size = pack(tree, first)
    assert size == first.stat().st_size
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == [".gitignore", "new.txt", "pkg/a.py", "run.sh"]
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o111
    for path in tree.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    pack(tree, second)
    assert first.read_bytes() == second.read_bytes(), "the same files are not uploaded twice"


def test_a_folder_outside_git_travels_without_hidden_files(tmp_path, monkeypatch):
    monkeypatch.setattr("dualface_ray.submission.package._in_git", lambda _: False)
    for name in (".venv/x", "__pycache__/y", ".secret", "pkg/z.py", "venv/v"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_text("x")
    pack(tmp_path / "t", tmp_path / "t.zip")
    with zipfile.ZipFile(tmp_path / "t.zip") as archive:
        assert archive.namelist() == ["pkg/z.py"]


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "small.py").write_text("x")
    (folder / "talk.mp4").write_bytes(os.urandom(200_000))
    with pytest.raises(RequestError, match=r"larger than the .* MiB .*largest: talk\.mp4 \(0 MiB\)"):
        pack(folder, tmp_path / "t.zip", 100_000)
    with (folder / "sparse.mp4").open("wb") as sparse:
        sparse.truncate(1 << 40)
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"sparse\.mp4 \(1048576 MiB\)"):
        pack(folder, tmp_path / "t.zip")
    assert time.monotonic() - began < 5
    with pytest.raises(RequestError, match="no such folder"):
        pack(tmp_path / "none", tmp_path / "t.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="nothing in this folder"):
        pack(tmp_path / "empty", tmp_path / "t.zip")


def test_the_limit_is_rays_own():
    from ray._private import ray_constants

    from dualface_ray.submission.package import MAX_BYTES

    assert MAX_BYTES <= ray_constants.DASHBOARD_CLIENT_MAX_SIZE
    assert MAX_BYTES < ray_constants.GRPC_CPP_MAX_MESSAGE_SIZE


def test_the_folder_goes_along_and_its_zip_does_not_stay(tmp_path):
    (tmp_path / "pkg.py").write_text("x")
    client, said = PlayedClient(), []
    job = send(Order(("/a.mp4",), "/out"), lambda: played(client), working_dir=tmp_path, say=said.append)
    sent = client.jobs[job.id].runtime_env["working_dir"]
    assert sent.endswith(".zip")
    assert not Path(sent).exists()
    assert client.next_probe.runtime_env["working_dir"] == sent, "the probe runs where the job will"
    assert said[0].startswith("sending 0.0 MiB")


# --- following ----------------------------------------------------------------------------------------------------
def lines(client: PlayedClient, **options) -> list[str]:
    client.jobs["j"] = client.next_job
    return [line for line in Tail(played(client), "j", **options).lines() if line is not None]


def test_lines_come_whole_and_once_through_lost_connections(monkeypatch):
    monkeypatch.setattr(tail_module, "_RETRY_S", 0.0)
    gone = RuntimeError("WebSocket connection closed unexpectedly")
    log = ["one\ntw", "o\n", gone, "three\n", ConnectionError("again"), "fo", "ur\nlast"]
    assert lines(PlayedClient(PlayedJob([RUNNING, ended()], log))) == ["one", "two", "three", "four", "last"]


def test_a_log_that_ends_before_the_job_is_taken_up_again(monkeypatch):
    monkeypatch.setattr(tail_module, "_RETRY_S", 0.0)
    client = PlayedClient(PlayedJob([RUNNING, RUNNING, ended()], ["one\n"]))
    assert lines(client) == ["one"]
    assert client.calls.count("tail j") == 3


def test_where_no_web_socket_passes_the_log_is_asked_for(monkeypatch):
    monkeypatch.setattr(tail_module, "_RETRY_S", 0.0)
    client = PlayedClient(PlayedJob([*[RUNNING] * 7, ended()], ["one\n", "two\n"]))
    client.fail["tail"] = ConnectionError("426 upgrade required")
    assert lines(client) == ["one", "two"]
    assert client.calls.count("tail j") == 5


def test_a_cluster_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(tail_module, "_RETRY_S", 0.0)
    client = PlayedClient()
    client.fail |= {"tail": ConnectionError("refused"), "info": ConnectionError("refused")}
    times = iter(range(0, 10_000, 50))
    with pytest.raises(ContactLostError, match=r"has not answered for 120 s.*goes on.*--follow j"):
        lines(client, clock=lambda: next(times))


@pytest.mark.parametrize(
    ("info", "code", "says"),
    [
        (ended(0), 0, ""),
        (ended(1, "Job entrypoint command failed with exit code 1"), 1, ""),
        (ended(2), 2, ""),
        (ended(-9), 1, "signal 9"),
        (ended(137), 1, "out of memory"),
        (ended(None, "Job supervisor actor died:\nnode lost"), 1, "broke off: Job supervisor actor died: node lost"),
        (ended(None, status="STOPPED"), 130, "stopped"),
    ],
)
def test_how_a_job_ended(info, code, says):
    result = outcome(info)
    assert result.exit_code == code
    assert says in result.text
    assert bool(result.text) == bool(says)


def test_the_handle_in_python(cluster):
    from dualface_ray import submit

    cluster.next_job = PlayedJob([RUNNING, ended()], ["hello\n"])
    job = submit("/in/a.mp4", "/out", layout="stacked", address="http://head:8265")
    assert "Submission(" in repr(job)
    assert cluster.addresses == ["http://head:8265"]
    assert "--set framing.layout=stacked" in cluster.jobs[job.id].entrypoint
    assert job.status == "running"
    seen = []
    assert job.wait(on_line=seen.append).exit_code == 0
    assert (seen, job.logs(), job.status) == (["hello"], "hello\n", "succeeded")
    assert job.stop() is False
    with pytest.raises(RequestError, match="complete settings and single ones"):
        submit("/in/a.mp4", "/out", settings=resolve(), layout="stacked")


def test_waiting_with_a_time_limit_and_pending(cluster, monkeypatch):
    monkeypatch.setattr(handle_module, "_PENDING_QUIET_S", 0.0)
    pending = Info(Status("PENDING"), "waiting for\nthe runtime environment")
    cluster.endless = True
    cluster.jobs["j"] = PlayedJob([pending])
    said = []
    assert Submission("j", cluster=played(cluster)).wait(timeout_s=0.8, on_status=said.append) is None
    assert said == ["waiting for the runtime environment"]


# --- the command --------------------------------------------------------------------------------------------------
ARGV = ["submit", "/data/in/a.mp4", "-o", "/data/out"]


def test_the_command_follows_and_returns_the_jobs_code(cluster, capfd, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("framing: {layout: separate}\n")
    cluster.next_job = PlayedJob([RUNNING, ended(1)], ["dualface: /data/in/a.mp4: running\n", "table \x1b[2J\n"])
    argv = [*ARGV, "--config", str(config), "--set", "quality=30", "--overwrite", "--id", "mine", "--address", "head"]
    assert execute(argv) == 1
    out, err = capfd.readouterr()
    assert out == "dualface: /data/in/a.mp4: running\ntable \N{REPLACEMENT CHARACTER}[2J\n"
    assert err.splitlines() == ["dualface: submitted mine to http://head:8265"]
    words = shlex.split(cluster.jobs["mine"].entrypoint)
    assert sorted(words[i + 1] for i, word in enumerate(words) if word == "--set") == [
        "encode.quality=30",
        "framing.layout=separate",
        "job.overwrite=true",
    ]
    assert cluster.addresses == ["head"]


def test_the_command_may_only_send(cluster, capfd):
    assert execute([*ARGV, "--no-follow", "--id", "mine"]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "dualface: submitted mine to http://head:8265",
        "dualface: follow it: dualface submit --follow mine --address http://head:8265",
        "dualface: stop it: dualface submit --stop mine --address http://head:8265",
    ]
    assert execute(["submit", "--status", "mine"]) == 0
    assert capfd.readouterr().out == "mine: succeeded, exit code 0\n"
    assert execute(["submit", "--follow", "mine", "--quiet"]) == 0
    assert capfd.readouterr().out == "hello\n"
    assert execute(["submit", "--stop", "mine"]) == 0
    assert capfd.readouterr().err == "dualface: mine had ended already\n"


def test_json_is_one_object_a_line(cluster, capfd):
    events = ['{"event": "starting"}\n', "not json {\n", '{"event": "summary", "exit_code": 2}\n', "[1]\n"]
    cluster.next_job = PlayedJob([RUNNING, ended(2)], events)
    assert execute([*ARGV, "--json", "--id", "mine"]) == 2
    out, err = capfd.readouterr()
    assert err == ""
    seen = [json.loads(line) for line in out.splitlines()]
    assert [item["event"] for item in seen] == ["submitted", "starting", "log", "summary", "log", "job"]
    assert seen[0] == {"event": "submitted", "id": "mine", "address": "http://head:8265"}
    assert seen[-1] == {"event": "job", "id": "mine", "status": "failed", "exit_code": 2, "text": ""}
    assert cluster.jobs["mine"].entrypoint.endswith("--json")
    assert execute(["submit", "--status", "mine", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["exit_code"] == 2


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["submit"], "no input was given"),
        (["submit", "/a.mp4"], "name the folder of the results"),
        (["submit", "a.mp4", "-o", "/out"], "a.mp4: a relative path"),
        (["submit", "/a.mp4", "-o", "out"], "out: a relative path"),
        (["submit", "/a.mp4", "-o", "/out", "--set", "layuot=x"], "Did you mean framing.layout?"),
        (["submit", "/a.mp4", "-o", "/out", "--config", "none.yaml"], "none.yaml"),
        (["submit", "/a.mp4", "-o", "/out", "--set", "lane.profile=nosuch"], "'nosuch': is no profile. Known are a100"),
        (["submit", "/a.mp4", "-o", "/out", "--set", "lane.profile=mine.yaml"], "lane.profile=mine.yaml: a relative"),
        (["submit", "/a.mp4", "-o", "/out", "--id", "a b"], "not a name"),
        (["submit", "/a.mp4", "-o", "/out", "--stop", "x"], "one job that is there already"),
        (["submit", "--follow", "x", "--stop", "y"], "one job that is there already"),
        (["submit", "/a.mp4", "--status", "x"], "--status and INPUT do not go together"),
        (["submit", "--follow", "x", "-o", "/out"], "--follow and --output do not go together"),
        (["submit", "--list", "x.txt", "--stop", "x", "--id", "y"], "--stop and --list and --id do not go together"),
        (["submit", "--follow", "x"], "x: the cluster knows no such job"),
        (["submit", "--stop", "x"], "x: the cluster knows no such job"),
        (["submit", "/a.mp4", "-o", "/out", "--working-dir", "/nowhere"], "no such folder"),
    ],
)
def test_wrong_requests_are_one_line_and_two(cluster, argv, part, capfd):
    assert execute(argv) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("dualface: ")
    assert part in err
    assert not [call for call in cluster.calls if call.startswith("submit")]


def test_lost_contact_says_how_to_come_back(cluster, capfd, monkeypatch):
    monkeypatch.setattr(Tail.__init__, "__defaults__", (time.monotonic, 0.0))
    info = PlayedClient.get_job_info

    def gone_after_the_probe(self, job_id):
        if "submit mine" in self.calls:
            raise ConnectionError("refused")
        return info(self, job_id)

    monkeypatch.setattr(PlayedClient, "get_job_info", gone_after_the_probe)
    cluster.fail["tail"] = ConnectionError("refused")
    assert execute([*ARGV, "--id", "mine"]) == 1
    err = capfd.readouterr().err
    assert "submit --follow mine" in err
    assert err.splitlines()[-1].startswith("dualface: http://head:8265: the cluster has not answered")


def test_nobody_at_a_terminal_is_asked_nothing(cluster, capfd, monkeypatch):
    cluster.next_job = PlayedJob([RUNNING], ["hello\n"])
    cluster.endless = True

    def interrupt(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Submission, "wait", interrupt)
    assert execute([*ARGV, "--id", "mine", "--json"]) == 130
    last = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert last == {"event": "job", "id": "mine", "status": "running", "exit_code": None, "text": "left running"}
    assert "stop mine" not in cluster.calls
    assert execute(["submit", "--follow", "mine"]) == 130
    err = capfd.readouterr().err
    assert "mine goes on" in err
    assert "stop it: dualface submit --stop mine" in err


def test_submitting_brings_no_media_library():
    code = (
        "import sys\n"
        "from dualface_ray import submit, Submission\n"
        "from dualface_ray.cli.app import execute\n"
        "assert execute(['submit', 'a.mp4', '-o', 'out']) == 2\n"
        "heavy = {'ray', 'av', 'cv2', 'onnxruntime', 'onnx', 'dualface_ray.api', 'actors'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, capture_output=True, timeout=60)


# --- a real cluster -----------------------------------------------------------------------------------------------
class RealHead:
    """``ray start --head`` with a token, a dashboard and a home of its own; only this one is ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = [_free_port() for _ in range(4)]
        self.address = f"http://127.0.0.1:{ports[0]}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "DUALFACE_"))}
        self.env = {
            **kept,
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DUALFACE_CACHE": str(cache_dir()),
            "RAY_AUTH_MODE": "token",
        }
        ray = [sys.executable, "-m", "ray.scripts.scripts"]
        subprocess.run(
            [*ray, "get-auth-token", "--generate"], env=self.env, check=True, capture_output=True, timeout=60
        )
        options = ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        options += ["--dashboard-host=127.0.0.1", f"--dashboard-port={ports[0]}", f"--port={ports[1]}"]
        options += [f"--dashboard-agent-listen-port={ports[2]}", f"--ray-client-server-port={ports[3]}"]
        self._log = folder / "head.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*ray, "start", "--head", f"--temp-dir={folder / 'ray'}", *options],
                env=self.env,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *argv],
            env={**self.env, **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def submit(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "dualface_ray", "submit", "--address", self.address, *argv, **env)

    def wait_until_up(self) -> None:
        end_s = time.monotonic() + 180
        while not self._is_up():
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < end_s, self._log.read_text()[-3000:]
            time.sleep(0.5)

    def _is_up(self) -> bool:
        try:
            return bool(ask_version(self.address, token_headers(self.env), timeout_s=2))
        except ClusterError:
            return False

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        sys.stderr.write(self._log.read_text()[-3000:])  # shown when the test fails


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head(models):
    folder = Path(tempfile.mkdtemp(prefix="dualface-", dir="/tmp"))  # Ray's sockets need a short path
    made = RealHead(folder)
    try:
        made.wait_until_up()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


class Terminal:
    """A command with a terminal of its own, on which keys are pressed."""

    def __init__(self, argv: list[str], env: dict[str, str], cwd: Path) -> None:
        # the wrapper makes the terminal the controlling one, so that Ctrl-C reaches the command as a signal
        wrapper = (
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        self._master, inner = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", wrapper, *argv], env=env, cwd=cwd, stdin=inner, stdout=inner, stderr=inner
        )
        os.close(inner)
        self.text = ""

    def expect(self, part: str, timeout_s: float = 180) -> None:
        end_s = time.monotonic() + timeout_s
        while part not in self.text:
            assert time.monotonic() < end_s, f"no {part!r} in {self.text!r}"
            if select.select([self._master], [], [], 0.5)[0]:
                try:
                    self.text += os.read(self._master, 4096).decode(errors="replace")
                except OSError:  # the other side is closed
                    break
        assert part in self.text, self.text

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def close(self) -> int:
        try:
            while self._process.poll() is None:
                self.expect("\N{NULL}", 60)
        except AssertionError:
            self._process.wait(30)
        os.close(self._master)
        return self._process.returncode


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_a_job_on_a_real_cluster(head, tmp_path):
    """Token, Ctrl-C with both answers, following again, the same job by Ray's own command, the exit codes."""
    from fractions import Fraction

    from dualface_ray.demo import make_demo

    clip, out = tmp_path / "in" / "talk.mp4", tmp_path / "out"
    clip.parent.mkdir()
    make_demo(clip, seconds=12, width_px=640, height_px=360, rate=Fraction(30))
    argv = [str(clip), "-o", str(out)]

    # nobody without the token gets in
    for env, says in (({"RAY_AUTH_MODE": "disabled"}, "asks for a token"), ({"RAY_AUTH_TOKEN": "x"}, "refuses this")):
        done = head.submit(*argv, **env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert says in done.stderr

    # Ctrl-C and yes: nothing is left
    command = ["-m", "dualface_ray", "submit", "--address", head.address, *argv]
    terminal = Terminal([*command, "--id", "first"], head.env, head.folder)
    terminal.expect("talk.mp4: running")
    terminal.press("\x03")
    terminal.expect("Stop first as well? [y/N]")
    terminal.press("y\n")
    assert terminal.close() == 130
    assert "the job was stopped" in terminal.text
    assert "first: stopped, exit code 130" in head.submit("--status", "first").stdout
    assert [path.name for path in out.rglob("*") if path.is_file() and ".part" in path.name] == []
    assert not (out / "talk.report.json").exists()

    # Ctrl-C and no: it goes on and is found again
    terminal = Terminal([*command, "--id", "second"], head.env, head.folder)
    terminal.expect("talk.mp4: running")
    terminal.press("\x03")
    terminal.expect("Stop second as well? [y/N]")
    terminal.press("n\n")
    assert terminal.close() == 130
    assert "submit --follow second" in terminal.text
    followed = head.submit("--follow", "second")
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert "talk.mp4: running" in followed.stdout, "the log comes from its beginning"
    assert "1 done: 360 frames" in followed.stdout
    report = json.loads((out / "talk.report.json").read_text())
    assert report["state"] == "done"
    assert (out / "talk.dualface.mp4").stat().st_size > 0

    # Ray's own command does the same, with the checkout sent along: all is done already
    plain = ["-m", "ray.scripts.scripts", "job", "submit", "--working-dir", str(ROOT), "--"]
    done = head.run(*plain, "python", "-m", "dualface_ray", "run", *argv, RAY_API_SERVER_ADDRESS=head.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" in done.stdout

    # the exit code is the job's; other settings for the same output are a wrong request
    wrong = head.submit(*argv, "--layout", "stacked", "--json")
    assert wrong.returncode == 2, wrong.stdout + wrong.stderr
    events = [json.loads(line) for line in wrong.stdout.splitlines()]
    assert events[0]["event"] == "submitted"
    assert [event["code"] for event in events if event["event"] == "error"] == ["output_exists"]
    assert events[-1]["exit_code"] == 2
