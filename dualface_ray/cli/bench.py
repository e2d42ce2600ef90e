"""``dualface bench``: measurements, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys

from dualface_ray.cli.text import shown
from dualface_ray.errors import RequestError


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


def _say(line: str) -> None:
    sys.stderr.write(f"dualface: {shown(line)}\n")
    sys.stderr.flush()


def _say_nothing(line: str) -> None:
    """Standard error stays clean for machines."""
