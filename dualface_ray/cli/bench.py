"""``dualface bench``: measurements, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dualface_ray.cli.text import shown
from dualface_ray.errors import RequestError
from dualface_ray.hardware import profile_named
from dualface_ray.settings import Settings, resolve

if TYPE_CHECKING:
    from dualface_ray.bench import LaneRow


def bench_cpu(*, seconds: int, pairs: int, deface_seconds: int, memory: bool, as_json: bool = False) -> int:
    """Run the CPU benchmark and print its table; returns 0.

    Raises:
        RequestError: numbers that measure nothing.
        DualfaceError: an extra is missing, or a run failed.
    """
    if seconds < 1 or pairs < 1 or deface_seconds < 0:
        raise RequestError(
            f"seconds={seconds}, pairs={pairs}, deface-seconds={deface_seconds} measure nothing",
            where="bench cpu",
            remedy="Use at least one second and one pair.",
        )
    from dualface_ray.bench import run_cpu_bench

    result = run_cpu_bench(
        seconds=seconds,
        pairs=pairs,
        deface_seconds=deface_seconds,
        memory=memory,
        say=_say_nothing if as_json else _say,
    )
    if as_json:
        facts = {
            **dataclasses.asdict(result),
            "ratio_to_ffmpeg": result.ratio_to_ffmpeg,
            "ratio_to_deface": result.ratio_to_deface,
        }
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.writelines(f"{name:<24}{shown(value)}\n" for name, value in result.rows())
    return 0


def bench_chaos(*, clips: int, every_s: float, seconds: float, seed: int, as_json: bool = False) -> int:
    """Kill actors and the driver of a job and print what it cost; 1 when anything was lost or differs.

    Raises:
        RequestError: numbers that measure nothing.
        DeviceError: an extra is not installed.
    """
    if not (1 <= clips <= 1000 and every_s >= 0.5 and 1 <= seconds <= 600):
        raise RequestError(
            f"clips={clips}, every={every_s:g}, seconds={seconds:g} measure nothing",
            where="bench chaos",
            remedy="Use 1 to 1000 clips of 1 to 600 seconds, and half a second or more between deaths.",
        )
    from dualface_ray.bench import run_chaos_bench

    with tempfile.TemporaryDirectory(prefix="dualface-chaos-") as folder:
        result = run_chaos_bench(
            Path(folder),
            clips=clips,
            every_s=every_s,
            seconds=seconds,
            seed=seed,
            say=_say_nothing if as_json else _say,
        )
    if as_json:
        sys.stdout.write(json.dumps({**dataclasses.asdict(result), "sound": result.sound}) + "\n")
    else:
        sys.stdout.writelines(f"{name:<24}{shown(value)}\n" for name, value in result.rows())
    return 0 if result.sound else 1


def bench_schedule(
    *, lanes: int, videos: int, deaths: float, seed: int, picture: Path | None = None, as_json: bool = False
) -> int:
    """Simulate a job, print the table and draw the picture where one is wanted; returns 0.

    Raises:
        RequestError: numbers that measure nothing.
        OutputError: the picture cannot be written.
    """
    if not (1 <= lanes <= 100_000 and 1 <= videos <= 10_000_000 and 0 <= deaths <= 60):
        raise RequestError(
            f"lanes={lanes}, videos={videos}, deaths={deaths:g} measure nothing",
            where="bench schedule",
            remedy="Use at least one lane and one video, and at most 60 deaths per lane-hour.",
        )
    from dualface_ray.bench import run_schedule_bench

    result = run_schedule_bench(lanes=lanes, videos=videos, deaths_per_lane_hour=deaths, seed=seed)
    if picture is not None:
        result.write_picture(picture)
    if as_json:
        facts = {**dataclasses.asdict(result), "share_of_bound": result.share_of_bound}
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.writelines(f"{name:<26}{shown(value)}\n" for name, value in result.rows())
    return 0


def bench_small(*, as_json: bool = False) -> int:
    """Simulate jobs of a few videos and print a table of them; returns 0."""
    from dualface_ray.bench import SMALL_HEADER, run_small_bench

    rows = run_small_bench()
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(row) for row in rows]) + "\n")
    else:
        lines = [SMALL_HEADER, *(row.cells() for row in rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(SMALL_HEADER))]
        for line in lines:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            sys.stdout.write("  ".join(padded).rstrip() + "\n")
    return 0


@dataclasses.dataclass(frozen=True, slots=True)
class IdentityRequest:
    """Which scenes to measure, and how."""

    split: str = "test"
    scenes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    all_seeds: bool = False
    seconds: float = 16.0
    sets: tuple[str, ...] = ()
    output: Path | None = None


def bench_identity(request: IdentityRequest, *, as_json: bool = False) -> int:
    """Run the identity benchmark and print its table; returns 0.

    Raises:
        SettingsError: an unknown split, scene or setting.
        DualfaceError: an extra, a model or the additional portraits are missing.
    """
    settings = _settings(request.sets)
    if not 1 <= request.seconds <= 600:
        raise RequestError("a scene lasts 1 to 600 seconds", where="--seconds", remedy="Choose another length.")
    from dualface_ray.bench import run_identity_bench

    result = run_identity_bench(
        request.split,
        request.output,
        scenes=request.scenes,
        seeds=request.seeds,
        all_seeds=request.all_seeds,
        seconds=request.seconds,
        settings=settings,
        say=_say_nothing if as_json else _say,
    )
    sys.stdout.write(json.dumps(json.loads(result.to_json())) + "\n" if as_json else result.text())
    return 0


def _settings(sets: Sequence[str]) -> Settings:
    settings = resolve(sets=sets)
    profile_named(settings.lane.profile)  # an unknown one is an error, whether or not it is asked for here
    return settings


def _say(line: str) -> None:
    sys.stderr.write(f"dualface: {shown(line)}\n")
    sys.stderr.flush()


@dataclasses.dataclass(frozen=True, slots=True)
class LaneRequest:
    """Which lanes to measure, and how."""

    clip: Path
    streams: str = "1,4,8,16"
    processes: str = "1+1,2+2,4+4"
    modes: str = "adaptive,every_frame,encoder"
    repeats: int = 3
    backend: str = "cuda"
    sets: tuple[str, ...] = ()
    fresh: bool = False
    output: Path | None = None


def bench_lane(request: LaneRequest, *, as_json: bool = False) -> int:
    """Measure whole lanes against decoding alone and print a line each; returns 0.

    Raises:
        RequestError: numbers or names that measure nothing.
        DualfaceError: the device or a model is missing, or a run failed.
    """
    try:
        counts = [int(part) for part in request.streams.split(",")]
        pairs = [(int(d), int(e)) for d, e in (part.split("+") for part in request.processes.split(","))]
    except ValueError:
        counts, pairs = [], []
    known = {"adaptive", "every_frame", "encoder"}
    modes = [mode for mode in request.modes.split(",") if mode]
    if not counts or min(counts) < 1 or not pairs or min(min(pair) for pair in pairs) < 1 or request.repeats < 1:
        raise RequestError(
            f"streams={request.streams}, processes={request.processes}, repeats={request.repeats} measure nothing",
            where="bench lane",
            remedy="Write for example --streams 1,16 --processes 1+1,4+4 --repeats 3.",
        )
    if not set(modes) <= known or request.backend not in ("cpu", "cuda"):
        raise RequestError(
            f"modes={request.modes}, backend={request.backend}",
            where="bench lane",
            remedy=f"Modes are {', '.join(sorted(known))}; backends cpu and cuda.",
        )
    _settings(request.sets)
    if request.output is not None and not request.output.parent.is_dir():
        raise RequestError("its folder does not exist", where=str(request.output), remedy="Create it first.")
    from dualface_ray.bench import run_lane_bench

    def save(rows: Sequence[LaneRow]) -> None:
        if request.output is not None:
            request.output.write_text(_lane_figures(rows) + "\n", encoding="utf-8")

    rows = run_lane_bench(
        request.clip,
        backend=request.backend,
        streams=counts,
        processes=pairs,
        modes=modes,
        repeats=request.repeats,
        sets=request.sets,
        fresh=request.fresh,
        say=_say_nothing if as_json else _say,
        found=save,
    )
    if as_json:
        sys.stdout.write(_lane_figures(rows) + "\n")
    else:
        sys.stdout.writelines(f"{shown(row.text())}\n" for row in rows)
    return 0


def _lane_figures(rows: Sequence[LaneRow]) -> str:
    return json.dumps([{**dataclasses.asdict(row), "median": row.median} for row in rows])


def bench_batching(*, clip: Path | None = None, rounds: int = 3, build: bool = True, as_json: bool = False) -> int:
    """Measure the central batch against per-stream contexts on a GPU and print the table; returns 0.

    Raises:
        RequestError: numbers that measure nothing.
        DeviceError: there is no GPU.
    """
    from dualface_ray.bench import run_batching_bench

    say = _say_nothing if as_json else _say
    return _table(run_batching_bench(say, clip=clip, rounds=rounds, build=build), as_json=as_json)


def bench_compose(*, rounds: int = 3, as_json: bool = False) -> int:
    """Measure composition on a GPU against the CPU's and print the table; returns 0.

    Raises:
        RequestError: numbers that measure nothing.
        DeviceError: there is no GPU.
    """
    from dualface_ray.bench import run_compose_bench

    return _table(run_compose_bench(_say_nothing if as_json else _say, rounds=rounds), as_json=as_json)


class _Measured(Protocol):
    def rows(self) -> list[tuple[str, str]]: ...

    def to_json(self) -> str: ...


def _table(result: _Measured, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(result.to_json() + "\n")
    else:
        sys.stdout.writelines(f"{name:<20}{shown(value)}\n" for name, value in result.rows())
    return 0


def _say_nothing(_line: str) -> None:
    """Standard error stays clean for machines."""
