"""However a command ends, it is one line and the right exit code; nothing prints a traceback unasked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

from dualface_ray.cli.app import execute
from dualface_ray.cli.faults import guarded
from dualface_ray.cli.follow import follow, terminated_is_interrupted
from dualface_ray.errors import Cancelled, DiskFullError, NameCollisionError, OutputExistsError
from dualface_ray.report import JobSnapshot, VideoState
from tests.cli_jobs import PlayedJob, story, video

ROOT = Path(__file__).resolve().parent.parent


def cli(*argv: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("DUALFACE_DEBUG", "RAY_ADDRESS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "dualface_ray", *argv],
        cwd=cwd or ROOT,
        env={**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def fake_api(monkeypatch):
    """Stands in for dualface_ray.api, so that these tests start no Ray."""

    def install(job: PlayedJob | BaseException) -> list[dict[str, object]]:
        calls: list[dict[str, object]] = []

        def run(inputs, output, *, list_file, settings, address, say, looking):
            found = {"inputs": inputs, "output": output, "list": list_file, "settings": settings, "address": address}
            calls.append(found)
            if isinstance(job, BaseException):
                raise job
            return job

        module = types.ModuleType("dualface_ray.api")
        module.run = run
        monkeypatch.setitem(sys.modules, "dualface_ray.api", module)
        return calls

    return install


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["run"], "Missing option '--output'"),
        (["run", "-o", "out"], "no input was named"),
        (["run", "a.mp4"], "Missing option '--output'"),
        (["run", "a.mp4", "-o", "out", "--layout", "diagonal"], "See dualface run --help."),
        (["run", "a.mp4", "-o", "out", "--set", "layuot=stacked"], "Did you mean framing.layout?"),
        (["run", "a.mp4", "-o", "out", "--config", "none.yaml"], "none.yaml"),
        (["run", "a.mp4", "-o", "out", "--set", "slots_per_stream=9"], "lane.slots_per_stream"),
        (["run", "a.mp4", "-o", "out", "--layout", "stacked", "--set", "lookahead_s=x"], "framing.lookahead_s"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option"),
        (["demo", "--scene", "nowhere"], "no such scene"),
        (["demo", "--seconds", "0"], "0.5 to 3600"),
        (["demo", "--seconds", "x"], "--seconds"),
        (["demo", "--faces", "none"], "no such folder"),
        (["run", "a.mp4", "-o", "out", "--set", "lane.profile=nosuch"], "'nosuch': is no profile. Known are a100"),
        (["demo", "--set", "lane.profile=nosuch"], "is no profile"),
        (["bench", "identity", "--set", "lane.profile=nosuch"], "is no profile"),
        (["bench", "lane", "a.mp4", "--set", "lane.profile=nosuch"], "is no profile"),
        (["doctor", "--set", "lane.profile=nosuch"], "is no profile"),
        (["bench", "cpu", "--pairs", "0"], "measure nothing"),
        (["bench", "identity", "--seconds", "0"], "1 to 600"),
        (["bench", "identity", "--set", "nothing=1"], "unknown setting"),
        (["models", "pull", "nobody"], "Known are centerface"),
        (["inspect", "none.tracks.jsonl"], "none.tracks.jsonl"),
    ],
)
def test_wrong_requests_are_one_line_and_two(argv, part, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert execute(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("dualface: ")
    assert part in err
    assert list(tmp_path.iterdir()) == []


def test_layout_and_overwrite_win_over_the_file_and_clash_with_set(fake_api, tmp_path, monkeypatch, capfd):
    calls = fake_api(PlayedJob(story(1)))
    config = tmp_path / "c.yaml"
    config.write_text("framing: {layout: separate}\nencode: {quality: 30}\n")
    argv = ["run", "a.mp4", "b.mp4", "-o", str(tmp_path / "out"), "--config", str(config)]
    argv += ["--layout", "stacked", "--overwrite", "--set", "gop_s=1", "--set", "min_score=0.6", "--address", "auto"]
    assert execute(argv) == 0
    (call,) = calls
    settings = call["settings"]
    assert call["inputs"] == ["a.mp4", "b.mp4"]
    assert call["address"] == "auto"
    assert (settings.framing.layout, settings.encode.quality, settings.encode.gop_s) == ("stacked", 30, 1.0)
    assert settings.job.overwrite is True
    assert execute([*argv, "--set", "layout=separate"]) == 0
    assert calls[1]["settings"].framing.layout == "stacked"
    capfd.readouterr()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NameCollisionError("two inputs share it", where="out/a.mp4", remedy="Rename one."), 2),
        (OutputExistsError("exists", where="out/a.mp4", remedy="Use --overwrite."), 2),
        (DiskFullError("no space", where="out"), 1),
        (Cancelled("stopped"), 130),
        (KeyboardInterrupt(), 130),
        (RuntimeError("a\nbug"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_errors_of_the_job_are_one_line(fake_api, error, code, capfd, monkeypatch):
    monkeypatch.delenv("DUALFACE_DEBUG", raising=False)
    fake_api(error)
    assert execute(["run", "a.mp4", "-o", "out"]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("dualface: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert execute(["run", "a.mp4", "-o", "out", "--json"]) == code
    out, err = capfd.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["starting", "error"]
    assert lines[-1]["exit_code"] == code
    assert err.count("\n") == 1


def test_debug_brings_the_traceback(fake_api, capfd, monkeypatch):
    monkeypatch.setenv("DUALFACE_DEBUG", "1")
    fake_api(RuntimeError("a bug"))
    assert execute(["run", "a.mp4", "-o", "out"]) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("dualface: internal error: RuntimeError: a bug")


def test_a_failed_video_is_exit_code_one_and_the_job_is_closed(fake_api, capfd):
    job = PlayedJob(story(2, fail=0))
    fake_api(job)
    assert execute(["run", "a.mp4", "b.mp4", "-o", "out", "--quiet"]) == 1
    assert job.calls == ["wait", "close"]
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_json_owns_standard_output(fake_api, capfd):
    fake_api(PlayedJob(story(3)))
    assert execute(["run", "a.mp4", "-o", "out", "--json", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "summary"
    assert err == ""


SLOW = """
    import sys, types
    sys.path.insert(0, {root!r})
    from tests.cli_jobs import PlayedJob, story
    job = PlayedJob(story(2)[:5], endless=True)
    api = types.ModuleType("dualface_ray.api")
    api.run = lambda *a, **k: print("RUNNING", file=sys.stderr, flush=True) or job
    sys.modules["dualface_ray.api"] = api
    from dualface_ray.cli.app import execute
    code = execute(["run", "a.mp4", "-o", "out", *sys.argv[1:]])
    print("CALLS", *job.calls, file=sys.stderr)
    sys.exit(code)
"""


ENDLESS = """
    import sys, time, dualface_ray.bench, dualface_ray.demo
    from dualface_ray.cli.app import execute

    def endless(*arguments, **_):
        folder = arguments[0] if arguments[0].is_dir() else arguments[0].parent
        (folder / "in").mkdir()
        print("RUNNING", file=sys.stderr, flush=True)
        time.sleep(60)

    dualface_ray.bench.run_chaos_bench = dualface_ray.demo.make_demo = endless
    sys.exit(execute(sys.argv[1:]))
"""


@pytest.mark.parametrize("argv", [["bench", "chaos"], ["demo", "-o", "out"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_laid_out_goes_with_whoever_ends_it(argv, number, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ENDLESS), *argv],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
    ) as process:
        for line in process.stderr:
            if "RUNNING" in line:
                break
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "dualface: stopped\n"
    assert [path.name for path in tmp_path.rglob("*")] == (["out"] if "out" in argv else [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"]])
def test_a_signal_cancels_the_job_and_closes_it(number, options):
    code = textwrap.dedent(SLOW).format(root=str(ROOT))
    with subprocess.Popen(
        [sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        for line in process.stderr:
            if "RUNNING" in line:
                break
        time.sleep(0.3)  # into the wait, where a user would press it; earlier is covered by KeyboardInterrupt above
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "CALLS wait cancel close"
    assert "Traceback" not in err
    if options == ["--json"]:
        summary = json.loads(out.splitlines()[-1])
        assert (summary["event"], summary["exit_code"]) == ("summary", 130)
        assert {v["state"] for v in summary["videos"]} == {"cancelled"}
    elif options == ["--quiet"]:
        assert out == ""
    else:
        assert "2 cancelled" in out


class Interrupted(PlayedJob):
    """Ctrl-C comes after the last snapshot has been shown, or while the job is closed."""

    def __init__(self, snapshots, *, when: str) -> None:
        super().__init__(snapshots)
        self.when = when

    def wait(self, timeout_s=None, on_progress=None):
        last = super().wait(timeout_s, on_progress)
        if self.when == "waiting":
            raise KeyboardInterrupt
        return last

    def close(self) -> None:
        super().close()
        if self.when == "closing":
            raise KeyboardInterrupt


@pytest.mark.parametrize("when", ["waiting", "closing"])
@pytest.mark.parametrize(("fail", "code"), [(None, 0), (1, 1)])
def test_a_signal_when_everything_is_done_does_not_change_the_exit_code(fake_api, when, fail, code, capfd):
    job = Interrupted(story(2, fail=fail), when=when)
    fake_api(job)
    assert execute(["run", "a.mp4", "-o", "out", "--json"]) == code
    out, err = capfd.readouterr()
    assert "stop" not in out + err
    assert json.loads(out.splitlines()[-1])["exit_code"] == code
    assert job.calls[-1] == "close"


def test_a_signal_before_the_last_video_is_done_is_a_cancelled_job(fake_api, capfd):
    fake_api(Interrupted(story(2)[:-2], when="waiting"))
    assert execute(["run", "a.mp4", "-o", "out"]) == 130
    out, err = capfd.readouterr()
    assert "1 done, 1 cancelled" in out
    assert "stopping" in err


@pytest.mark.parametrize(("times", "written"), [(1, True), (2, False)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_summary_lets_it_be_written_and_a_second_one_hurries(number, times, written):
    done = []

    class Slow:
        def update(self, snapshot: JobSnapshot) -> None:
            pass

        say = update

        def finish(self, snapshot: JobSnapshot) -> None:
            for _ in range(times):
                signal.raise_signal(number)
            done.append("written")

    before = signal.getsignal(number)
    assert follow(PlayedJob(story(1)), Slow()) == 0
    assert bool(done) is written
    assert signal.getsignal(number) is before


def test_ending_the_interpreter_while_ray_starts_counts_as_interrupted():
    with pytest.raises(KeyboardInterrupt), terminated_is_interrupted():
        sys.exit(15)


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_is_interrupted():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signal_handlers_are_put_back(fake_api, capfd):
    before = signal.getsignal(signal.SIGTERM)
    fake_api(PlayedJob(story(1)))
    execute(["run", "a.mp4", "-o", "out", "--quiet"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_left_is_no_traceback():
    command = f"{sys.executable} -m dualface_ray probe | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")


def test_names_the_terminal_cannot_write_are_no_fault(fake_api):
    snapshot = JobSnapshot((video(source="in/\u4f60\udcff.mp4", state=VideoState.DONE, frames_done=3),), final=True)
    code = textwrap.dedent(SLOW).replace("story(2)[:5], endless=True", "[SNAP]").format(root=str(ROOT))
    code = code.replace("job = ", f"from dualface_ray.report import *\nSNAP = {snapshot_code(snapshot)}\njob = ")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"done" in done.stdout


def snapshot_code(snapshot: JobSnapshot) -> str:
    only = snapshot.videos[0]
    return (
        f"JobSnapshot((VideoProgress(0, {only.source!r}, ('out/x.mp4',), VideoState.DONE, frames_done=3),), final=True)"
    )


def test_guarded_returns_the_commands_own_code():
    assert guarded(lambda: 7) == 7


def test_starting_the_command_line_brings_no_heavy_library():
    code = (
        "import sys\n"
        "from dualface_ray.cli.app import execute\n"
        "codes = [execute(['--help']), execute(['run', '--help']), execute(['--version']), execute(['bogus'])]\n"
        "assert codes == [0, 0, 0, 2], codes\n"
        "heavy = {'ray', 'av', 'cv2', 'onnxruntime', 'onnx', 'numpy', 'dualface_ray.api'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, capture_output=True, timeout=60)


def test_probe_and_doctor_speak_both_languages():
    facts = json.loads(cli("probe", "--json").stdout)
    assert facts["cores"] >= 1
    assert facts["shared_memory"]["total_bytes"] >= facts["shared_memory"]["free_bytes"] > 0
    assert "usable by this process" in cli("probe").stdout
    checks = [json.loads(line) for line in cli("doctor", "--json").stdout.splitlines()]
    names = {check["name"] for check in checks}
    assert {"python", "configs", "shared memory", "disk here", "cores", "gpu", "ray address"} <= names
    assert all(check["remedy"] for check in checks if check["state"] == "fail")


def test_doctor_finds_a_missing_model_and_names_the_command(tmp_path):
    done = cli("doctor", DUALFACE_CACHE=str(tmp_path / "empty"))
    line = next(line for line in done.stdout.splitlines() if "centerface" in line)
    assert line.startswith("note")
    assert "dualface models pull centerface" in line


def test_models_list_says_licence_and_state(tmp_path):
    specs = [
        json.loads(line) for line in cli("models", "list", "--json", DUALFACE_CACHE=str(tmp_path)).stdout.splitlines()
    ]
    assert {spec["name"] for spec in specs} >= {"centerface", "dlib-resnet"}
    assert all(spec["licence"] and not spec["cached"] for spec in specs)
    assert "MIT" in cli("models", "list").stdout


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_at_the_exit_changes_nothing(name: str) -> None:
    """Libraries clean up there; an interrupt in the middle of it has ended in a crash instead of the exit code."""
    code = (
        "import atexit, os, signal, dualface_ray.cli, dualface_ray.cli.app as app; app.execute = lambda argv: 130;"
        "atexit.register(os.kill, os.getpid(), signal.NAME); dualface_ray.cli.main()"
    )
    code = code.replace("NAME", name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "")
