"""However a command ends, it is one line and the right exit code; nothing prints a traceback unasked."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path
from unittest.mock import Mock

import pytest

from dualface_ray.cli import signals
from dualface_ray.cli.app import execute
from dualface_ray.cli.faults import guarded
from dualface_ray.cli.follow import follow
from dualface_ray.cli.signals import terminated_is_interrupted
from dualface_ray.errors import Cancelled, ClusterError, DiskFullError, NameCollisionError, OutputExistsError
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
        (["run", "-dash.mp4", "-o", "out"], "No such option: -d. Write ./-dash.mp4 if that is a file."),
        (["run", "--dash.mkv", "-o", "out"], "Write ./--dash.mkv if"),
        (["run", "-outer.MP4"], "no input was named. Write ./-outer.MP4 if"),
        (["run", "-x", "-o", "out"], "No such option: -x. See dualface run --help."),
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


def test_any_file_there_whose_name_begins_with_a_dash_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x.tracks.jsonl").write_text("")
    assert execute(["inspect", "-x.tracks.jsonl"]) == 2
    assert capfd.readouterr().err == "dualface: No such option: -x. Write ./-x.tracks.jsonl if that is a file.\n"


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
        (OutputExistsError("exists", where="out/a.mp4", remedy="Use overwrite=True."), 2),
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


def test_remedies_are_said_as_they_are_typed(fake_api, capfd, monkeypatch):
    """Errors speak to Python of an argument, here of an option; what a file is called stays."""
    monkeypatch.delenv("DUALFACE_DEBUG", raising=False)
    fake_api(OutputExistsError("exists", where="out/overwrite=True.mp4", remedy="Use overwrite=True."))
    assert execute(["run", "a.mp4", "-o", "out"]) == 2
    assert capfd.readouterr().err == "dualface: out/overwrite=True.mp4: exists. Use --overwrite.\n"
    fake_api(ClusterError("nobody", remedy="Name no address=, or another working_dir=."))
    assert execute(["run", "a.mp4", "-o", "out", "--json"]) == 2
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert event["message"] == "nobody. Name no --address, or another --working-dir."


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


@pytest.mark.parametrize(
    ("pauses_s", "written"), [((), True), ((0.0,), True), ((0.0, 0.0), True), ((1.0,), False)], ids=str
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_summary_lets_it_be_written_and_a_later_one_hurries(number, pauses_s, written, monkeypatch):
    done, now_s = [], [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now_s[0])

    class Slow:
        def update(self, snapshot: JobSnapshot) -> None:
            pass

        say = update

        def finish(self, snapshot: JobSnapshot) -> None:
            signal.raise_signal(number)
            for pause_s in pauses_s:
                now_s[0] += pause_s
                signal.raise_signal(number)
            done.append("written")

    before = signal.getsignal(number)
    with terminated_is_interrupted():
        assert follow(PlayedJob(story(1)), Slow()) == 0
    assert bool(done) is written
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("pause_s", "hurried"), [(0.1, False), (1.0, True)])
def test_two_signals_at_once_are_one_wish(pause_s, hurried, monkeypatch):
    """``timeout`` sends two, and a terminal sends one to a whole pipeline whose members may pass it on."""
    now_s = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now_s[0])

    class Stubborn(PlayedJob):
        def cancel(self) -> None:
            now_s[0] += pause_s
            signal.raise_signal(signal.SIGTERM)
            super().cancel()

    job, shown = Stubborn(story(2)[:3]), Mock()
    shown.update.side_effect = lambda _: signal.raise_signal(signal.SIGTERM)
    with terminated_is_interrupted():
        if hurried:
            with pytest.raises(KeyboardInterrupt):
                follow(job, shown)
        else:
            assert follow(job, shown) == 130
    assert shown.finish.called is not hurried


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


@pytest.mark.parametrize("group", [[], ["models"], ["bench"]])
def test_a_command_that_was_not_named_shows_the_usual_help(group, capfd):
    assert execute([*group, "--help"]) == 0
    asked = capfd.readouterr()
    assert execute(group) == 2
    out, err = capfd.readouterr()
    assert (out, err.strip()) == ("", asked.out.strip())
    assert err.startswith(" ".join(["Usage: dualface", *group]))
    assert err.count("\n") > 5


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


LIBRARY = """
    import atexit, ctypes, os, signal, sys, threading, time, dualface_ray.cli, dualface_ray.cli.app as app
    from dualface_ray.cli.signals import settled

    libc = ctypes.CDLL(None)
    abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: libc._exit(66))
    name, when = getattr(signal, sys.argv[1]), sys.argv[2]

    def ask():
        os.kill(os.getpid(), name)
        time.sleep(0.1)

    def disconnect():
        libc.signal(signal.SIGTERM, None)  # the default: what Ray does, below Python
        if when == "disconnecting":
            ask()

    def execute(argv):
        libc.signal(signal.SIGTERM, abort)  # Ray does that while it connects
        if when == "connecting":
            ask()
        settled()
        if when == "settled":
            ask()
        return 3

    def call(argv):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # it must not take the signal either
        atexit.register(disconnect)
        return app.guarded(lambda: execute(argv))

    app.execute = call
    dualface_ray.cli.main()
"""


@pytest.mark.parametrize("when", ["connecting", "settled", "disconnecting"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whatever_a_library_does_about_signals_the_exit_code_stands(name: str, when: str) -> None:
    """Ray's own handler aborts the process, and in the last second there is none, which ends it with -15."""
    code = textwrap.dedent(LIBRARY)
    done = subprocess.run(
        [sys.executable, "-c", code, name, when], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    wanted = (130, "dualface: stopped\n") if when == "connecting" else (3, "")
    assert (done.returncode, done.stderr) == wanted


def test_a_command_that_minds_no_signal_ends_by_it() -> None:
    """Where somebody set the default, it is the default that happens."""
    code = (
        "import os, signal; from dualface_ray.cli.signals import listen; listen();"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGTERM); signal.pause()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM


def test_a_signal_that_is_ignored_from_the_start_stays_so_in_the_whole_command() -> None:
    """``nohup`` and background jobs of scripts."""
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import dualface_ray.cli, dualface_ray.cli.app as app, time\n"
        "app.execute = lambda argv: (os.kill(os.getpid(), signal.SIGHUP), time.sleep(0.2), 3)[-1]\n"
        "dualface_ray.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (3, b"")


def test_ctrl_c_while_the_commands_are_read_is_one_line() -> None:
    code = (
        "import os, signal, sys; import dualface_ray.cli\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'dualface_ray.cli.app': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "dualface_ray.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (130, b"dualface: stopped\n")


# --- whoever was to read it -----------------------------------------------------------------------------------------
def played(*argv: str, endless: bool = False, silent: bool = False, **streams: object) -> subprocess.Popen[str]:
    """A command whose job is played, with the interpreter's own flush at the end.

    Args:
        argv: further options.
        endless: the job runs until it is cancelled.
        silent: it does not say RUNNING and CALLS.
        streams: for the process.
    """
    code = textwrap.dedent(SLOW).format(root=str(ROOT))
    if not endless:
        code = code.replace("story(2)[:5], endless=True", "story(2), pause_s=0.01")
    if silent:
        code = (
            code.replace("print(", "str(")
            .replace(", file=sys.stderr, flush=True) or", ") and")
            .replace(", *job.calls, file=sys.stderr)", ")")
        )
    return subprocess.Popen([sys.executable, "-c", code, *argv], cwd=ROOT, text=True, **streams)


def test_a_reader_that_leaves_stops_the_job():
    """``dualface run --json | head -2``."""
    with played("--json", endless=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["event"] == "starting"
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(30) == 130
    *_, last, calls = err.splitlines()
    assert last == "dualface: stopped: nobody reads its output any more"
    assert calls == "CALLS wait cancel close"
    assert "Traceback" not in err


def test_a_reader_that_leaves_after_the_end_does_not_change_the_exit_code():
    read, write = os.pipe()
    os.close(read)
    with played(stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        err = process.stderr.read()
        assert process.wait(30) == 0, err
    assert err.splitlines()[-1] == "CALLS wait close"
    assert "Traceback" not in err
    assert "Exception" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("options", [(), ("--json",), ("--quiet",)])
def test_a_log_that_cannot_be_written_does_not_end_the_job(options):
    with Path("/dev/full").open("w") as full, played(*options, silent=True, stdout=full, stderr=full) as process:
        assert process.wait(30) == 0


@pytest.mark.parametrize("options", [(), ("--json",), ("--quiet",)])
def test_a_job_without_standard_output_and_error_goes_on(options):
    def close() -> None:
        os.close(1)
        os.close(2)

    with played(*options, silent=True, preexec_fn=close) as process:
        assert process.wait(30) == 0


def test_a_terminal_that_is_closed_ends_the_job_in_order(tmp_path):
    """It sends SIGHUP, and then nothing can be written any more."""
    calls = tmp_path / "calls"
    code = textwrap.dedent(SLOW).format(root=str(ROOT))
    code = code.replace('print("CALLS", *job.calls, file=sys.stderr)', f"open({str(calls)!r}, 'w').write(str(code))")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", f"import os; os.chdir({str(ROOT)!r})\n{code}"])
    heard = b""
    while b"RUNNING" not in heard:
        heard += os.read(terminal, 4096)
    time.sleep(0.3)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert calls.read_text() == "130"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_answer_that_cannot_be_written_is_said():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dualface_ray", "--version"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "dualface: standard output cannot be written (No space left on device)\n",
    )
