"""The CPU benchmark: this pipeline against an ffmpeg that crops two fixed windows, and against deface.

    one clip ─► ffmpeg (static) ─► pipeline ─► ffmpeg ─► pipeline ─► ... ─► ratios pair by pair, medians
             └─► deface on its first seconds
    clips of 60 s and 120 s ─► pipeline, peak memory of all processes

Machines are noisy, so only ratios within one run count. The reference does what no tool that follows faces can skip:
decode, crop, scale, stack, encode with the same encoder settings.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from dualface_ray.backends.pyav import probe
from dualface_ray.errors import DeviceError, DualfaceError
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CpuBench:
    """What was measured; rates in frames per second."""

    width_px: int
    height_px: int
    frames: int
    cores: int
    pipeline_fps: tuple[float, ...]
    """From the first decoded frame's start to the finished file."""
    command_fps: tuple[float, ...]
    """The same runs with the start of Ray and of the lane (once per job, however many videos it has)."""
    ffmpeg_fps: tuple[float, ...]
    deface_fps: float | None
    peak_bytes: dict[str, int] = field(default_factory=dict)
    """Peak memory (proportional set size) of all processes of a run, by length of the clip."""

    @property
    def ratio_to_ffmpeg(self) -> float:
        """Median over the pairs of this run."""
        return statistics.median(a / b for a, b in zip(self.pipeline_fps, self.ffmpeg_fps, strict=True))

    @property
    def ratio_to_deface(self) -> float | None:
        """Median rate over deface's; None when deface is not installed."""
        return statistics.median(self.pipeline_fps) / self.deface_fps if self.deface_fps else None

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        mib = 1 << 20
        deface = "not measured (deface is not installed)"
        if self.deface_fps and self.ratio_to_deface:
            deface = f"{self.deface_fps:.2f} fps, pipeline / deface = {self.ratio_to_deface:.1f}"
        return [
            ("clip", f"{self.width_px}x{self.height_px}, {self.frames} frames, {self.cores} cores"),
            ("pipeline", f"{statistics.median(self.pipeline_fps):.1f} fps (all: {_list(self.pipeline_fps)})"),
            (
                "ffmpeg, two fixed crops",
                f"{statistics.median(self.ffmpeg_fps):.1f} fps (all: {_list(self.ffmpeg_fps)})",
            ),
            ("pipeline / ffmpeg", f"{self.ratio_to_ffmpeg:.2f} (median of {len(self.pipeline_fps)} pairs)"),
            ("deface", deface),
            *((f"peak memory, {name}", f"{size / mib:.0f} MiB") for name, size in self.peak_bytes.items()),
        ]


def run_cpu_bench(
    *, seconds: int = 60, pairs: int = 3, deface_seconds: int = 10, memory: bool = True, say: Say = lambda line: None
) -> CpuBench:
    """Measure; takes about ``pairs`` times four times the clip's length on two cores.

    Args:
        seconds: length of the clip (1080p, 30 frames per second, two persons, sound).
        pairs: how often ffmpeg and the pipeline run in turn.
        deface_seconds: how much of the clip deface gets; 0 = leave it out.
        memory: measure memory at ``seconds`` and at twice as many.
        say: gets a line per step.

    Raises:
        DualfaceError: the demo or dev extra is missing, or a run failed.
    """
    from dualface_ray.demo import make_demo
    from dualface_ray.hardware import cores

    settings = resolve(overwrite=True)
    with tempfile.TemporaryDirectory(prefix="dualface-bench-") as name:
        folder = Path(name)
        clip, long_clip = folder / "clip.mp4", folder / "long.mp4"
        say(f"rendering {seconds} s")
        make_demo(clip, seconds=seconds, width_px=1920, height_px=1080, rate=Fraction(30))
        video = probe(clip, settings).video
        frames = video.frame_count_estimate
        ours: list[float] = []
        whole: list[float] = []
        static: list[float] = []
        peaks: dict[str, int] = {}
        for number in range(pairs):
            static.append(frames / _timed(_ffmpeg_command(clip, folder / "static.mp4", settings, video.average_rate)))
            say(f"pair {number + 1}: ffmpeg {static[-1]:.1f} fps")
            rate, whole_rate, peak = _pipeline(clip, folder / "out", settings)
            ours.append(rate)
            whole.append(whole_rate)
            peaks[f"{seconds} s"] = max(peak, peaks.get(f"{seconds} s", 0))
            say(f"pair {number + 1}: pipeline {ours[-1]:.1f} fps, ratio {ours[-1] / static[-1]:.2f}")
        deface = _deface(clip, folder, settings, deface_seconds, video.average_rate) if deface_seconds else None
        if memory:
            say(f"rendering {2 * seconds} s")
            make_demo(long_clip, seconds=2 * seconds, width_px=1920, height_px=1080, rate=Fraction(30))
            peaks[f"{2 * seconds} s"] = _pipeline(long_clip, folder / "out", settings)[2]
    return CpuBench(
        width_px=video.width_px,
        height_px=video.height_px,
        frames=frames,
        cores=cores(),
        pipeline_fps=tuple(ours),
        command_fps=tuple(whole),
        ffmpeg_fps=tuple(static),
        deface_fps=deface,
        peak_bytes=peaks if memory else {},
    )


def _pipeline(clip: Path, out: Path, settings: Settings) -> tuple[float, float, int]:
    """Frames per second without and with the start of Ray, and the peak memory in bytes."""
    import ray

    from dualface_ray.api import run
    from dualface_ray.report import VideoState, read_report

    ray.shutdown()
    begin_s = time.perf_counter()
    with _PeakMemory() as peak:
        with run([clip], out, settings=settings) as job:
            snapshot = job.wait()
        wall_s = time.perf_counter() - begin_s
    video = snapshot.videos[0]
    if video.state is not VideoState.DONE:
        raise DualfaceError(f"the pipeline failed: {video.error}", where=str(clip))
    report = read_report(job.tasks[0].outputs.report)
    frames = report.frames.frames_out
    return frames / report.elapsed_s, frames / wall_s, peak.bytes


def _ffmpeg_command(clip: Path, target: Path, settings: Settings, rate: Fraction) -> list[str]:
    """Two fixed windows of the tiles' shape, scaled and stacked, with the pipeline's own encoder settings."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise DeviceError("the reference ffmpeg is missing", remedy="pip install 'dualface-ray[dev]'.") from error
    encode = settings.encode
    gop = max(1, round(encode.gop_s * rate))
    half = "crop=w=ih*8/9*0.75:h=ih*0.75:x={x}:y=ih*0.1,scale=960:1080"
    graph = f"[0:v]split[a][b];[a]{half.format(x='iw*0.05')}[l];[b]{half.format(x='iw*0.5')}[r];[l][r]hstack[v]"
    return [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(clip), "-filter_complex", graph,
        "-map", "[v]", "-map", "0:a?", "-c:a", "copy", "-c:v", "libx264", "-preset", encode.preset,
        "-crf", str(encode.quality), "-g", str(gop), "-bf", "0", "-pix_fmt", "yuv420p", str(target),
    ]  # fmt: skip


def _deface(clip: Path, folder: Path, settings: Settings, seconds: int, rate: Fraction) -> float | None:
    """Rate of deface on the first seconds of the clip; None when it is not installed."""
    program = shutil.which("deface", path=str(Path(sys.executable).parent)) or shutil.which("deface")
    if program is None:
        return None
    import imageio_ffmpeg

    short = folder / "short.mp4"
    cut = ["-v", "error", "-y", "-i", str(clip), "-t", str(seconds), "-c", "copy", str(short)]
    _timed([imageio_ffmpeg.get_ffmpeg_exe(), *cut])
    frames = probe(short, settings).video.frame_count_estimate or round(seconds * rate)
    return frames / _timed([program, str(short), "-o", str(folder / "defaced.mp4"), "--keep-audio"])


def _timed(command: list[str]) -> float:
    begin_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DualfaceError(f"failed: {done.stderr.strip()[-300:]}", where=Path(command[0]).name)
    return time.perf_counter() - begin_s


class _PeakMemory:
    """Samples the memory of this process and all below it; shared pages count once (proportional set size)."""

    def __init__(self, period_s: float = 0.5) -> None:
        self.bytes = 0
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.wait(self._period_s):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                total += _pss_bytes(process)
            self.bytes = max(self.bytes, total)


def _pss_bytes(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, OSError):  # it ended meanwhile
        return 0


def _list(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:.1f}" for rate in rates)
