"""The check of the GPU backend, as far as it goes without a card: found from anywhere, failing for clear reasons."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import pytest
from gpu_check import exhaustion, material, runner, scenes, steps

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "gpu_check"
LIMITS_S = {
    "versions": 60,
    "compile_kernels": 120,
    "signatures": 60,
    "letterbox": 60,
    "centerface_kernel": 60,
    "composition": 60,
    "arena": 60,
    "decoder_capabilities": 60,
    "decode_h264": 60,
    "decode_odd_size": 60,
    "decode_hevc": 60,
    "decode_vp9": 60,
    "decode_ranges": 120,
    "decode_av1": 60,
    "decode_cropped": 60,
    "decode_growing": 60,
    "decode_shrinking": 60,
    "decode_refused": 60,
    "decode_past_support": 60,
    "decode_damage": 60,
    "decode_many": 120,
    "engine_build": 400,
    "embedder_build": 400,
    "engine_run": 120,
    "detector": 120,
    "overlapping": 120,
    "embedder": 240,
    "encode": 120,
    "encode_ten_bits": 120,
    "nvenc": 60,
    "throughput": 120,
    "lane": 200,
    "probe": 300,
    "short_clips": 300,
    "soak": 420,
    "second_card": 500,
    "one_long": 500,
    "scenes": 540,
    "oom": 300,
}
"""In the order in which they run."""
BY_NAME_ONLY = {"short_clips", "soak", "second_card", "one_long", "scenes", "oom"}
NO_CUPY = "raise ImportError('no CuPy in this test')\n"
HALF_A_CUPY = """
from types import SimpleNamespace

runtime = SimpleNamespace(
    memGetInfo=lambda: (5 << 20, 8 << 20),
    malloc=lambda size: size,
    free=lambda address: print("freed", address >> 20, "MiB", flush=True),
)
cuda = SimpleNamespace(runtime=runtime)
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to call from, and CuPy missing, whatever this machine has."""
    stand_in, empty = tmp_path / "stand_in", tmp_path / "empty"
    stand_in.mkdir()
    empty.mkdir()
    (stand_in / "cupy.py").write_text(NO_CUPY)
    monkeypatch.setenv("PYTHONPATH", str(stand_in))
    return empty


def check(*words: str | Path, cwd: Path, bare: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-S"] if bare else []), str(FOLDER), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


# --- the register --------------------------------------------------------------------------------------------------
def test_every_step_is_registered_once_with_its_limit():
    runner.load_steps()
    assert list(steps.STEPS) == list(LIMITS_S)
    assert steps.SLOW == LIMITS_S
    assert steps.EXTRA == BY_NAME_ONLY
    written = [
        node.name
        for path in sorted(FOLDER.glob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(d).startswith("step(") for d in node.decorator_list)
    ]
    assert sorted(written) == sorted(LIMITS_S), "two of one name would hide one another"
    assert {function.__module__ for function in steps.STEPS.values()} == {
        f"gpu_check.{name}" for name in runner.MODULES
    }


# --- the command ---------------------------------------------------------------------------------------------------
def test_help_needs_neither_this_folder_nor_any_package(elsewhere):
    done = check("--help", cwd=elsewhere, bare=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Checks the GPU backend" in done.stdout
    for option in ("cache", "media", "out", "budget-s", "only", "skip", "soak-min", "scene-s", "seed", "faces", "clip"):
        assert f"--{option} " in done.stdout
    assert "--step" not in done.stdout


@pytest.mark.parametrize("option", ["--only", "--skip"])
def test_steps_that_there_are_not_are_refused_with_those_that_there_are(elsewhere, option):
    done = check(option, "versions,nonsense", cwd=elsewhere, bare=True)
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: no such steps: ['nonsense']; known: {', '.join(LIMITS_S)}\n")
    assert done.stdout == ""


def test_a_step_without_a_device_fails_with_its_cause_in_one_line(elsewhere, tmp_path):
    done = check("--only", "compile_kernels", "--media", elsewhere, "--out", tmp_path / "logs", cwd=elsewhere)
    assert (done.returncode, done.stderr) == (1, "")
    first, line, *log, last = done.stdout.splitlines()
    assert first.startswith(f"1 steps, logs in {tmp_path / 'logs'}, media {elsewhere}")
    assert line.startswith("FAIL compile_kernels (")
    assert " s) - DeviceError: cuda: CuPy cannot be imported (no CuPy in this test). " in line
    assert all(one.startswith("  | ") for one in log)
    assert last == "0 passed, 1 failed: compile_kernels"
    assert (
        (tmp_path / "logs" / "compile_kernels.log").read_text().splitlines()[-1].startswith("CAUSE DeviceError: cuda: ")
    )
    assert list(elsewhere.iterdir()) == []


def test_steps_without_time_are_named_and_not_passed(elsewhere, tmp_path):
    done = check("--only", "arena,versions", "--budget-s", "0", "--out", tmp_path, cwd=elsewhere)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1:] == [
        "SKIP versions - no time left",
        "SKIP arena - no time left",
        "0 passed, 0 failed",
    ]


@pytest.mark.parametrize(
    ("code", "limit_s", "line"),
    [
        ("print('seen')", 60, "PASS some ("),
        ("print('CAUSE Error: why'); raise SystemExit(1)", 60, " s) - Error: why"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 60, " s) - ended with -11"),
        ("import time; time.sleep(60)", 0.1, " s) - ended with no end after 0 s"),
    ],
)
def test_a_step_is_one_line_and_its_log(tmp_path, capsys, code, limit_s, line):
    with (tmp_path / "some.log").open("w") as log:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log, text=True)
    passed = runner.settle("some", child, limit_s, tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{'PASS' if passed else 'FAIL'} some (")
    assert line in said[0]
    assert passed == line.startswith("PASS")
    assert not passed or said[1:] == ["  | seen"]


# --- other processes -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("function", [scenes.render_scene, scenes.scene_tracks])
def test_what_pools_run_is_found_in_a_fresh_process(function, tmp_path):
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).__qualname__)"
    done = subprocess.run(
        [sys.executable, "-c", code, pickle.dumps(function).hex()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{function.__name__}\n"), done.stderr


@pytest.mark.long
def test_the_scenes_reach_the_backend_through_both_pools(elsewhere, tmp_path):
    """Clips that are there are not rendered again; so only the way into the processes is left, and no card."""
    from dualface_ray.demo import SCENES

    for name in SCENES:
        (tmp_path / f"scene-{name}-7-2.mp4").touch()
    done = check("--only", "scenes", "--scene-s", "2", "--seed", "7", "--out", tmp_path, cwd=elsewhere)
    assert " s) - DeviceError: cuda: CuPy cannot be imported (no CuPy in this test). " in done.stdout, done.stdout
    assert "rendering: " in (tmp_path / "scenes.log").read_text()


def test_the_card_is_held_from_another_process(elsewhere, tmp_path):
    (tmp_path / "stand_in" / "cupy.py").write_text(HALF_A_CUPY)
    with exhaustion.holder_of(2 << 20) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "holding 3 MiB\n"
        holder.stdin.close()
        assert holder.stdout.read() == "freed 3 MiB\n"
    assert holder.returncode == 0


def test_a_process_that_cannot_hold_the_card_says_why(elsewhere, capfd):
    with exhaustion.holder_of(2 << 20) as holder:
        assert holder.stdout is not None
        assert holder.stdout.read() == ""
    assert holder.returncode == 1
    assert capfd.readouterr().err.splitlines()[-1] == "ImportError: no CuPy in this test"


# --- material ------------------------------------------------------------------------------------------------------
def test_a_clip_is_encoded_once_repeated_and_linked(tmp_path):
    path = material.clip(tmp_path, "some.mp4", frames=8, width=64, height=48)
    changed = path.stat().st_mtime_ns
    assert material.clip(tmp_path, "some.mp4", frames=8, width=64, height=48).stat().st_mtime_ns == changed
    long = material.looped(path, tmp_path / "long.mp4", 3)
    with av.open(str(long)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert len(stamps) == 24
    assert all(first < second for first, second in pairwise(stamps))
    one, other = material.links(long, tmp_path / "links", 2)
    assert one.samefile(other)


def test_people_are_repeated_to_about_so_many_frames(tmp_path, monkeypatch):
    path = material.clip(tmp_path, "two.mp4", frames=8, width=64, height=48)
    monkeypatch.setenv("GPU_CHECK_CLIP", str(path))
    made, frames = material.people(tmp_path, 21)
    assert (made.name, frames) == ("people-3.mp4", 24)


def test_a_picture_fits_its_slot():
    import numpy as np

    picture = np.full((100, 50, 3), 200, np.uint8)
    for wide, kind, luma in ((False, np.uint8, 188), (True, np.uint16, 751 << 6)):
        slot, info = material.as_slot(picture, 64, 48, wide=wide)
        assert (slot.shape, slot.dtype) == ((72, 64), kind)
        assert (info.slot_width_px, info.slot_height_px) == (64, 48)
        assert int(slot[10, 10]) == luma


def test_faces_are_packed_for_machines_without_their_packages(elsewhere, tmp_path):
    done = check("--export-faces", tmp_path / "faces", cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    names = {"astronaut.png", "grace_hopper.jpg"}
    assert {Path(line).name for line in done.stdout.splitlines()} == names
    assert {path.name for path in (tmp_path / "faces").iterdir()} == names
