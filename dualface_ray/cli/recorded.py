"""``dualface bench record`` and ``replay``: what was seen in a video, and what identity and framing make of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.cli.text import shown
from dualface_ray.errors import RequestError
from dualface_ray.hardware import cores
from dualface_ray.settings import resolve

SUFFIX = ".npz"
_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """Which file, where to, and with which settings."""

    source: Path
    output: Path
    config: Path | None = None
    sets: tuple[str, ...] = ()
    layout: str | None = None


def record_video(request: RecordedRequest, *, as_json: bool = False) -> int:
    """Record a video into one file and say what is in it; returns 0.

    Raises:
        RequestError: the file's name does not end in .npz, or a setting is wrong.
        DualfaceError: the video cannot be decoded, a model is missing, or the file cannot be written.
    """
    settings = resolve(request.config, request.sets)
    if request.output.suffix.lower() != SUFFIX:
        raise RequestError("a recorded run is a .npz", where=str(request.output), remedy="Name it talk.npz, say.")
    from dualface_ray.bench import record

    run = record(request.source, settings, threads=cores(), progress=_course(time.monotonic))
    run.save(request.output)
    faces = sum(len(found) for found in run.faces)
    return _tell(
        {"source": run.info.stream_id, "frames": len(run), "faces": faces, "run": str(request.output)}, as_json
    )


def replay_run(request: RecordedRequest, *, as_json: bool = False) -> int:
    """Send a recorded run through identity and framing, write tracks and plans, and print sums; returns 0.

    Raises:
        RequestError: a setting is wrong, or there is no such file.
        InputError: it is no recorded run.
        OutputError: a file cannot be written.
    """
    named = {"framing.layout": request.layout} if request.layout else {}
    settings = resolve(request.config, request.sets, **named)
    if not request.source.is_file():
        raise RequestError("no such file", where=str(request.source), remedy="Name a .npz that bench record wrote.")
    from dualface_ray.bench import RecordedRun, replay, write_replay

    run = RecordedRun.load(request.source)
    done = replay(run, settings)
    name = request.source.stem
    tracks, plans = (request.output / f"{name}.replay.{kind}.jsonl" for kind in ("tracks", "plans"))
    write_replay(done, run, tracks, plans)
    facts = {
        "source": run.info.stream_id,
        "frames": len(run),
        "shots": 1 + max((frame.tracked.shot for frame in done.frames), default=0),
        "events": len(done.events),
        "frames_detected": done.detected,
        "faces_embedded": done.embedded,
        "director_us_per_frame": round(1e6 * done.director_s / max(1, len(run)), 1),
        "tracks": str(tracks),
        "plans": str(plans),
    }
    return _tell(facts, as_json)


def _tell(facts: dict[str, object], as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.writelines(f"{name.replace('_', ' '):<24}{shown(value)}\n" for name, value in facts.items())
    return 0


def _course(clock: Callable[[], float]) -> Callable[[int], None]:
    """Says every ten seconds how far it has come: every frame is examined, which takes a while."""
    next_s = clock() + _EVERY_S

    def progress(frames: int) -> None:
        nonlocal next_s
        if clock() >= next_s:
            next_s = clock() + _EVERY_S
            sys.stderr.write(f"dualface: recorded {frames} frames\n")
            sys.stderr.flush()

    return progress
