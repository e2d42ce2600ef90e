# ruff: noqa: T201
"""The runner: each step in a process of its own, with a limit and a log, and one line of PASS, FAIL or SKIP.

options ─► names of steps ─► a child for each (``--step``) ─► its log, its exit code ─► a line, the cause, the total
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import gpu_check
from gpu_check.portraits import export_faces
from gpu_check.steps import EXTRA, ROOT, SLOW, STEPS

MODULES = (
    "device",
    "kernels",
    "arena",
    "decoding",
    "streams",
    "engines",
    "detection",
    "encoding",
    "lanes",
    "probing",
    "jobs",
    "scenes",
    "exhaustion",
)
"""Where the steps are, in the order in which they run."""


def main() -> int:
    """What the command does; 0 when every step that was asked for has passed."""
    load_steps()
    parser = options()
    arguments = parser.parse_args()
    if arguments.step:
        return run_step(arguments.step, Path(arguments.work))
    if arguments.export_faces:
        return export_faces(Path(arguments.export_faces))
    names = chosen(parser, arguments)
    media = surround(arguments)
    work = Path(arguments.out or tempfile.mkdtemp(prefix="gpu-check-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    print(f"{len(names)} steps, logs in {work}, media {media}, cache {os.environ.get('DUALFACE_CACHE', 'default')}")
    results = run_all(names, work, arguments)
    failed = [name for name, good in results.items() if not good]
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}")
    return 1 if failed or len(results) < len(names) else 0


def load_steps() -> None:
    """Fill the register in the order of the modules, whichever of them was imported before."""
    modules = [importlib.import_module(f"gpu_check.{name}").__name__ for name in MODULES]
    ordered = sorted(STEPS.items(), key=lambda item: modules.index(item[1].__module__))
    STEPS.clear()
    STEPS.update(ordered)


def options() -> argparse.ArgumentParser:
    """The command line; what the runner tells its children is not in the help."""
    parser = argparse.ArgumentParser(
        prog="gpu_check", description=gpu_check.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", default="", help="folder that DUALFACE_CACHE should name")
    parser.add_argument("--media", default="", help="folder with photographs (.jpg) that show faces")
    parser.add_argument("--out", default="", help="where logs go; kept")
    parser.add_argument("--budget-s", type=float, default=540.0)
    parser.add_argument("--only", default="", help="comma-separated steps")
    parser.add_argument("--skip", default="", help="comma-separated steps")
    parser.add_argument("--soak-min", type=float, default=3.0, help="minutes of the step soak")
    parser.add_argument("--scene-s", type=float, default=8.0, help="length of each clip of the step scenes")
    parser.add_argument("--seed", type=int, default=0, help="of the step scenes")
    parser.add_argument("--faces", default="", help="folder with astronaut.png and grace_hopper.jpg")
    parser.add_argument("--clip", default="", help="video of two people for the steps lane, second_card and one_long")
    parser.add_argument("--export-faces", default="", help="write that folder from the packages here, and end")
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    return parser


def chosen(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The steps that are to run; names that there are not end the command."""
    only, skip = set(filter(None, arguments.only.split(","))), set(filter(None, arguments.skip.split(",")))
    unknown = (only | skip) - set(STEPS)
    if unknown:
        parser.error(f"no such steps: {sorted(unknown)}; known: {', '.join(STEPS)}")
    return [n for n in STEPS if (n in only if only else n not in EXTRA) and n not in skip]


def surround(arguments: argparse.Namespace) -> Path:
    """Tell the children through their environment; returns the folder of photographs."""
    if arguments.clip:
        os.environ["GPU_CHECK_CLIP"] = str(Path(arguments.clip).resolve())
    if arguments.faces:
        os.environ["DUALFACE_FACES"] = str(Path(arguments.faces).resolve())
    os.environ["GPU_CHECK_SOAK_MIN"] = str(arguments.soak_min)
    os.environ["GPU_CHECK_SCENES"] = f"{arguments.scene_s} {arguments.seed}"
    if arguments.cache:
        os.environ["DUALFACE_CACHE"] = str(Path(arguments.cache).resolve())
    found = [ROOT / "shared" / "media", ROOT.parent / "shared" / "media"]
    media = Path(arguments.media) if arguments.media else next((p for p in found if p.is_dir()), Path("none"))
    os.environ["GPU_CHECK_MEDIA"] = str(media.resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return media


def run_all(names: list[str], work: Path, arguments: argparse.Namespace) -> dict[str, bool]:
    """Whether each step passed; those for which no time was left are missing."""
    deadline = time.monotonic() + arguments.budget_s
    builders: dict[str, subprocess.Popen[str]] = {
        name: spawn(name, work) for name in ("engine_build", "embedder_build") if name in names
    }
    results: dict[str, bool] = {}
    for name in names:
        left = deadline - time.monotonic()
        if left < 2:
            print(f"SKIP {name} - no time left")
            continue
        child = builders.pop(name, None) or spawn(name, work)
        limit_s = max(SLOW[name], arguments.soak_min * 60 + 180) if name == "soak" else SLOW[name]
        results[name] = settle(name, child, min(limit_s, left), work)
    for child in builders.values():
        child.kill()
        child.wait()
    return results


def spawn(name: str, work: Path) -> subprocess.Popen[str]:
    """Start the step's process."""
    folder = str(Path(__file__).resolve().parent)
    command = [sys.executable, "-u", "-X", "faulthandler", folder, "--step", name, "--work", str(work)]
    with (work / f"{name}.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def run_step(name: str, work: Path) -> int:
    """What the step's process does; the last line of its log is the cause of a failure."""
    try:
        STEPS[name](work)
    except BaseException as error:
        traceback.print_exc()
        print(f"CAUSE {type(error).__name__}: {error}", flush=True)
        return 1
    return 0


def settle(name: str, child: subprocess.Popen[str], limit_s: float, work: Path) -> bool:
    """Wait for a step's process and print its line, and its log or the end of it."""
    started = time.monotonic()
    try:
        code: int | str = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        code = f"no end after {limit_s:.0f} s"
    text = (work / f"{name}.log").read_text(errors="replace")
    causes = [line[6:] for line in text.splitlines() if line.startswith("CAUSE ")]
    passed = code == 0
    cause = "" if passed else f" - {causes[-1] if causes else f'ended with {code}'}"
    print(f"{'PASS' if passed else 'FAIL'} {name} ({time.monotonic() - started:.1f} s){cause}", flush=True)
    lines = text.splitlines()
    for line in lines if passed else lines[-25:]:
        print(f"  | {line[:220]}")
    return passed
