"""The chaos benchmark: actors are killed while a job runs, then its driver; every video has to come out right.

clips ─► undisturbed job ─► what is right, and how long it takes
     ├─► the same job, a random actor of a random lane killed every few seconds ─► compare
     └─► the command, its process killed in mid-job, the same command again ─► compare, nothing done twice
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from dualface_ray.bench.killer import Killer, actor_processes, need_psutil
from dualface_ray.bench.sameness import checked, unfinished
from dualface_ray.media import OutputPlan, plan_outputs
from dualface_ray.report import JobSnapshot
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]
SETTINGS: dict[str, Any] = {
    "lane.backend": "cpu",
    "lane.count": 2,
    "lane.cores": 1,
    "framing.width_px": 640,
    "framing.height_px": 360,
    "job.max_attempts": 20,
    "job.cooldown_s": 1.0,
}
"""Two small lanes; deaths in a row are what is tried here, so lanes come back soon."""
LIMIT_S = 3600.0
STOP_S = 60.0
"""A command that is told to stop takes some seconds to clean up."""


@dataclass(frozen=True, slots=True)
class ChaosBench:
    """What was done to the job, and what became of it."""

    clips: int
    clip_s: float
    every_s: float
    calm_s: float
    """The job undisturbed."""
    stormy_s: float
    """The same job with faults."""
    faults: dict[str, int] = field(default_factory=dict)
    """Actors killed in mid-job, by kind."""
    attempts: int = 0
    """Begun in the stormy job."""
    lost: int = 0
    """Videos without a result."""
    wrong: dict[str, list[str]] = field(default_factory=dict)
    """What differs from the undisturbed job, by video."""
    left_behind: tuple[str, ...] = ()
    """Files that should not be there."""
    processes_left: int = 0
    driver: DriverDeath | None = None

    @property
    def sound(self) -> bool:
        """Nothing was lost, nothing differs, nothing is left."""
        quiet = not (self.lost or self.wrong or self.left_behind or self.processes_left)
        return quiet and (self.driver is None or self.driver.sound)

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        count = sum(self.faults.values())
        extra_s = self.stormy_s - self.calm_s
        kinds = ", ".join(f"{number} {role}" for role, number in sorted(self.faults.items()))
        rows = [
            ("clips", f"{self.clips} of {self.clip_s:g} s on two lanes of one core"),
            ("undisturbed", f"{self.calm_s:.1f} s"),
            ("faults", f"{count} in {self.stormy_s:.1f} s ({kinds})"),
            ("attempts", f"{self.attempts} for {self.clips} videos"),
            ("videos lost", str(self.lost)),
            ("videos that differ", str(len(self.wrong))),
            ("files, processes left", f"{len(self.left_behind)}, {self.processes_left}"),
            ("extra time", f"{extra_s:.1f} s, {extra_s / max(1, count):.1f} s a fault"),
        ]
        return rows + (self.driver.rows() if self.driver else [])


@dataclass(frozen=True, slots=True)
class DriverDeath:
    """The driver killed in mid-job, and the same command again."""

    done_before: int
    """Videos complete when it was killed."""
    touched: tuple[str, ...]
    """Of these, files that the second run changed."""
    again_s: float
    wrong: dict[str, list[str]]
    left_behind: tuple[str, ...]
    exit_code: int

    @property
    def sound(self) -> bool:
        """All done, nothing touched twice."""
        return not (self.touched or self.wrong or self.left_behind or self.exit_code)

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        return [
            ("driver killed", f"once, with {self.done_before} videos complete"),
            ("the same command again", f"exit code {self.exit_code} after {self.again_s:.1f} s"),
            ("files touched again", str(len(self.touched))),
            ("videos that differ", str(len(self.wrong))),
            ("files left", str(len(self.left_behind))),
        ]


def run_chaos_bench(
    folder: Path, *, clips: int, every_s: float, seconds: float = 5.0, seed: int = 0, driver: bool = True, say: Say
) -> ChaosBench:
    """Make the clips and run the jobs below ``folder``.

    Raises:
        DeviceError: the extra with psutil or the demo's faces is not installed.
    """
    psutil = need_psutil()
    settings = resolve(**SETTINGS)
    videos = make_clips(folder / "in", clips, seconds)
    calm, stormy = (plans(videos, folder / name, settings) for name in ("calm", "stormy"))
    say(f"{clips} clips, undisturbed")
    calm_s, _, _ = _job(videos, folder / "calm", settings, None)
    say(f"{calm_s:.0f} s; now an actor dies every {every_s:g} s or so")
    killer = Killer(every_s, random.Random(seed))  # noqa: S311 - no secret
    stormy_s, snapshot, left = _job(videos, folder / "stormy", settings, killer)
    death = None
    if driver:
        say(f"{stormy_s:.0f} s; now the driver dies")
        death = kill_driver(videos, folder / "driver", settings, calm, psutil)
    return ChaosBench(
        clips=clips,
        clip_s=seconds,
        every_s=every_s,
        calm_s=calm_s,
        stormy_s=stormy_s,
        faults=dict(Counter(killer.killed)),
        attempts=sum(video.attempts for video in snapshot.videos),
        lost=sum(video.state.value != "done" for video in snapshot.videos),
        wrong=checked(calm, stormy),
        left_behind=tuple(unfinished(folder / "stormy")),
        processes_left=left,
        driver=death,
    )


def make_clips(folder: Path, count: int, seconds: float) -> list[Path]:
    """Short videos of two people; three different ones, copied."""
    from dualface_ray.demo import make_demo

    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for number in range(count):
        path = folder / f"clip{number:02d}.mp4"
        if number < 3:
            make_demo(path, seconds=seconds, width_px=480, height_px=270, rate=Fraction(25), seed=number)
            path.with_name(f"{path.stem}.truth.json").unlink(missing_ok=True)
        else:
            path.write_bytes(made[number % 3].read_bytes())
        made.append(path)
    return made


def plans(videos: Sequence[Path], out: Path, settings: Settings) -> tuple[OutputPlan, ...]:
    """The results of a run."""
    return plan_outputs(list(videos), out, layout=settings.framing.layout, container=settings.encode.container)


def kill_driver(
    videos: Sequence[Path], out: Path, settings: Settings, wanted: Sequence[OutputPlan], psutil: Any
) -> DriverDeath:
    """Start the command, kill it when some videos are complete, and start it again."""
    words = [sys.executable, "-m", "dualface_ray", "run", *map(str, videos), "-o", str(out), "--json"]
    words += [item for name, value in SETTINGS.items() for item in ("--set", f"{name}={value}")]
    with command(words) as first:
        assert first.stdout is not None  # noqa: S101 - it was asked for
        done = 0
        for line in first.stdout:
            event = json.loads(line)
            done += event.get("event") == "video" and event.get("state") == "done"
            if done >= max(1, len(videos) // 3):
                break
        below = psutil.Process(first.pid).children(recursive=True)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    psutil.wait_procs([child for child in below if "Agent" not in child.name()], timeout=60)
    complete = [plan for plan in plans(videos, out, settings) if plan.report.exists()]
    stamps = {path: path.stat().st_mtime_ns for plan in complete for path in plan.files}
    began_s = time.monotonic()
    with command(words) as second:
        second.communicate(timeout=LIMIT_S)
    return DriverDeath(
        done_before=len(complete),
        touched=tuple(path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp),
        again_s=time.monotonic() - began_s,
        wrong=checked(wanted, plans(videos, out, settings)),
        left_behind=tuple(unfinished(out)),
        exit_code=second.returncode,
    )


@contextmanager
def command(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive this block: whatever ends it, the process is told to stop and cleans up."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.communicate(timeout=STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def _job(
    videos: Sequence[Path], out: Path, settings: Settings, killer: Killer | None
) -> tuple[float, JobSnapshot, int]:
    """Run a job to its end; seconds, its last words, and processes of its lanes that are left."""
    from dualface_ray.api import run

    ours = signal.getsignal(signal.SIGTERM)
    with run(list(videos), out, settings=settings) as job:
        if ours is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)  # connecting to Ray has set its own
        if killer is None:
            snapshot = job.wait(LIMIT_S)
        else:
            with killer.at_work():
                snapshot = job.wait(LIMIT_S)
    deadline_s = time.monotonic() + 20
    while actor_processes() and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return snapshot.elapsed_s, snapshot, len(actor_processes())
