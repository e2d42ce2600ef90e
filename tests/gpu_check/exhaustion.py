# ruff: noqa: T201
"""Memory that is not there, because another process holds it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from gpu_check.material import SMALL, clip, fresh, links, looped
from gpu_check.steps import MIB, ROOT, need, say, step


def hold(leave_bytes: int) -> None:
    """Hold the card's memory but for so much, until the parent closes the pipe (a process of its own)."""
    import cupy

    free = cupy.cuda.runtime.memGetInfo()[0]
    address = cupy.cuda.runtime.malloc(max(1, free - leave_bytes))
    print(f"holding {(free - leave_bytes) / MIB:.0f} MiB", flush=True)
    sys.stdin.read()
    cupy.cuda.runtime.free(address)


def holder_of(leave_bytes: int) -> subprocess.Popen[str]:
    """A process that holds the card's memory but for so much; its first line says that it does."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ["PYTHONPATH"]]
    return subprocess.Popen(
        [sys.executable, "-c", f"from gpu_check.exhaustion import hold; hold({leave_bytes})"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


@step(300, extra=True)
def oom(work: Path) -> None:
    """Memory that is not there: a typed error with numbers; a lane that runs out goes on with a smaller plan."""
    from dualface_ray import run
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.vendor import device
    from dualface_ray.errors import VramBudgetError
    from dualface_ray.report import read_report

    total = device().total_bytes
    for wish in (2 * total, int(0.69 * total)):
        arenas = []
        try:
            arenas.append(load_backend("cuda").create_arena(wish, 64))
            arenas.append(load_backend("cuda").create_arena(wish, 64))
        except VramBudgetError as error:
            say("refused:", error)
        else:
            raise AssertionError(f"{wish} bytes twice were granted")
        finally:
            for arena in arenas:
                arena.close()
    source = looped(clip(work, "hd-120.mp4", frames=120, width=1920, height=1080), work / "hd-600.mp4", 5)
    files = links(source, work / "oom", 8)
    leave = 9 << 30
    holder = holder_of(leave)
    try:
        need(
            holder.stdout is not None and holder.stdout.readline().startswith("holding"),
            "another process holds the card",
        )
        say(f"the card has {total / MIB:.0f} MiB, {leave / MIB:.0f} are left")
        started = time.monotonic()
        out = fresh(work / "oom-out")
        # ten seconds of look-ahead: eight streams want 8.9 GB of frames alone
        with run(files, out, backend="cuda", streams=8, lookahead_s=10, **SMALL) as job:
            snapshot = job.wait(240)
        for note in snapshot.notes:
            say("note:", note)
        states = [video.state.value for video in snapshot.videos]
        need(
            states == ["done"] * 8, f"all videos are done: {states} {[v.error for v in snapshot.videos if v.error][:1]}"
        )
        reports = [read_report(path) for path in sorted(out.glob("*.report.json"))]
        degraded = sorted({note for report in reports if report for note in report.degradations})
        took = time.monotonic() - started
        told = "; ".join(degraded)
        say(f"oom: {len(states)} videos done in {took:.0f} s, {len(snapshot.notes)} notes, reports say: {told}")
        need(snapshot.notes, "the lane ran out and was started again smaller")
        need(degraded, "the reports say so")
    finally:
        holder.kill()
        holder.wait()
