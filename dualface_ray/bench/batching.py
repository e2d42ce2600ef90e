"""``bench batching``: one engine for all streams in large batches, against an engine for every stream.

    the same pictures on the card ─┬─► central: one context, batches gathered over the streams ─┐
                                   └─► per stream: N contexts on N CUDA streams ────────────────┴─► rates, latencies

Every arrangement is built of the same part: letterbox, network and post-processing of one batch as one CUDA graph. Two
cases: one frame of every stream waits (live sources), or a chunk of sixteen (files, decoded faster than they play).
The engines run in a closed loop on frames that are there already, so gathering takes no time in either arrangement; a
live lane adds at most the batcher's wait. Rounds go through all arrangements in turn, figures are medians.

    python -m dualface_ray.bench.batching [--no-build] [--clip FILE] [--frames N] [--json]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import load_backend
from dualface_ray.bench.closedloop import LoopResult, run_loop
from dualface_ray.bench.nvml import GpuLoad, GpuSampler
from dualface_ray.errors import DualfaceError, ModelMissingError, RequestError
from dualface_ray.frames import Colour, StreamInfo
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]

STREAMS = (1, 4, 8, 16)
CHUNK = 16
"""Frames of a message of one stream."""
LARGEST = 64
"""The central engine's largest batch."""
MOST_CONTEXTS = 16
PICTURES = 64
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Contexts side by side, each with batches of one size."""

    engine: str
    """``central`` (1..64), ``single`` (built for batch 1), ``chunk`` (the central engine, a context for each)."""
    contexts: int
    batch: int
    threads: int = 1
    """Of the host, that launch and collect."""

    @property
    def name(self) -> str:
        """For tables."""
        if self.engine == "central":
            return f"one context, batch {self.batch}"
        by = "a thread each" if self.threads > 1 else "one thread"
        return f"{self.contexts} context{'s' * (self.contexts > 1)}, batch {self.batch}, {by}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians over the rounds."""

    arrangement: Arrangement
    rate_hz: float
    """Letterbox, network and post-processing."""
    network_hz: float
    """The network alone."""
    p50_s: float
    p99_s: float
    memory_bytes: int
    """What its contexts took of the card."""
    found: int
    """Faces in one round."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Central against the best per-stream arrangement, for one number of streams."""

    streams: int
    waiting: int
    """Frames of every stream that are ready at once."""
    central: Measured
    per_stream: Measured
    """The fastest of those that were tried."""

    @property
    def ratio(self) -> float:
        """Rate of the central one over the other."""
        return self.central.rate_hz / self.per_stream.rate_hz


@dataclass(frozen=True, slots=True)
class BatchingBench:
    """What was measured."""

    card: str
    source: str
    frames: int
    rounds: int
    single_engine: str
    """Which engine the contexts for batch 1 ran."""
    measured: tuple[Measured, ...]
    comparisons: tuple[Comparison, ...]
    load: GpuLoad | None

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        rows = [
            ("card", self.card),
            ("pictures", f"{self.source}; {self.frames} frames a run, medians of {self.rounds}"),
            ("engine for batch 1", self.single_engine),
        ]
        for one in self.comparisons:
            label = f"{one.streams} streams x {one.waiting}"
            rows.append((label, f"central    {_line(one.central)}"))
            rows.append(("", f"per stream {_line(one.per_stream)}"))
            rows.append(("", f"central / per stream = {one.ratio:.2f}"))
        rows.append(("utilisation", self.load.text() if self.load else "not measured (NVML is missing)"))
        return rows

    def to_json(self) -> str:
        """Everything, also the arrangements that were not the best."""
        facts = dataclasses.asdict(self)
        facts["comparisons"] = [{**dataclasses.asdict(one), "ratio": one.ratio} for one in self.comparisons]
        return json.dumps(facts)


def _line(one: Measured) -> str:
    return (
        f"{one.rate_hz:7.0f} fps (network alone {one.network_hz:6.0f}), p50 {one.p50_s * 1e3:6.2f} ms, "
        f"p99 {one.p99_s * 1e3:6.2f} ms, {one.memory_bytes / MIB:5.0f} MiB: {one.arrangement.name}"
    )


def arrangements(streams: Sequence[int] = STREAMS) -> list[Arrangement]:
    """Everything that is tried, each once."""
    tried = [Arrangement("central", 1, min(LARGEST, n * waiting)) for n in streams for waiting in (1, CHUNK)]
    counts = sorted({min(MOST_CONTEXTS, k * n) for n in streams for k in (1, 2)})
    for contexts in counts:
        tried.append(Arrangement("single", contexts, 1))
        if contexts > 2:
            tried.append(Arrangement("single", contexts, 1, contexts))
    for contexts in streams:
        tried.append(Arrangement("chunk", contexts, CHUNK))
        if contexts > 2:
            tried.append(Arrangement("chunk", contexts, CHUNK, contexts))
    return list(dict.fromkeys(tried))


def compare(measured: Sequence[Measured], streams: Sequence[int] = STREAMS) -> list[Comparison]:
    """For each number of streams: the central arrangement, and the fastest that keeps streams apart.

    With one frame of each stream waiting there is work for one context a stream. With a chunk waiting, a stream may
    have several contexts of batch 1, or one that takes the whole chunk.
    """
    found = []
    for count in streams:
        for waiting in (1, CHUNK):
            central = next(
                one
                for one in measured
                if one.arrangement.engine == "central" and one.arrangement.batch == min(LARGEST, count * waiting)
            )
            others = [
                one
                for one in measured
                if (one.arrangement.engine == "single" and one.arrangement.contexts == count)
                or (
                    waiting > 1
                    and (
                        (one.arrangement.engine == "single" and one.arrangement.contexts > count)
                        or (one.arrangement.engine == "chunk" and one.arrangement.contexts == count)
                    )
                )
            ]
            best = max(others, key=lambda one: one.rate_hz)
            found.append(Comparison(count, waiting, central, best))
    return found


class _Turn:
    """A pass over the shared pictures, as ``closedloop`` wants it."""

    def __init__(self, inner: Any, records: npt.NDArray[Any], batch: int, *, whole: bool) -> None:
        self._inner, self._records, self._batch, self._whole = inner, records, batch, whole

    def launch(self, first: int) -> None:
        """Queue the batch that begins with this frame."""
        begin = first % (len(self._records) // 2)
        self._inner.launch(self._records[begin : begin + self._batch], whole=self._whole)

    def collect(self) -> int:
        """Wait for it."""
        return int(self._inner.collect())


def run_batching_bench(
    say: Say = lambda line: None,
    *,
    streams: Sequence[int] = STREAMS,
    frames: int = 1280,
    rounds: int = 3,
    clip: Path | None = None,
    build: bool = True,
    settings: Settings | None = None,
) -> BatchingBench:
    """Measure; about half a minute on a data-centre card, and a minute or two more where engines must be built first.

    Args:
        say: gets a line per step.
        streams: how many there are.
        frames: of a run.
        rounds: over all arrangements.
        clip: a video whose first frames are the pictures; made-up ones without faces when missing.
        build: build engines that are missing; otherwise contexts for batch 1 run the central engine.
        settings: model, precision, thresholds.

    Raises:
        RequestError: numbers that measure nothing.
        DeviceError: there is no device, or a library is missing.
        ModelError: a model or an engine is missing.
    """
    if not streams or min(streams) < 1 or max(streams) > MOST_CONTEXTS or frames < LARGEST or rounds < 1:
        raise RequestError(
            f"streams={list(streams)}, frames={frames}, rounds={rounds} measure nothing",
            where="bench batching",
            remedy=f"Use 1 to {MOST_CONTEXTS} streams, at least {LARGEST} frames and one round.",
        )
    # With the default of 8 hardware queues, streams beyond the eighth would wait for one another.
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
    settings = settings or resolve()
    backend = cast("Any", load_backend("cuda"))
    bench = backend.workbench(settings)
    info, slots, source = _pictures(backend, bench, clip, settings)
    records = np.concatenate([bench.records(info, slots)] * 2)  # twice, so that a batch may begin anywhere
    central = bench.engine(LARGEST, build=build, progress=say)
    try:
        single, single_name = bench.engine(1, build=build, progress=say), "built for batch 1"
    except ModelMissingError:
        single, single_name = central, f"the one for 1..{LARGEST} (none was built for batch 1)"
    passes: dict[str, list[Any]] = {"central": [], "single": [], "chunk": []}
    memory: dict[tuple[str, int], int] = {}
    opened = []
    tried = arrangements(streams)
    try:
        for name, path, largest in (("central", central, LARGEST), ("single", single, 1), ("chunk", central, CHUNK)):
            batches = sorted({one.batch for one in tried if one.engine == name})
            before = bench.used_bytes()
            for count in range(1, max(one.contexts for one in tried if one.engine == name) + 1):
                opened.append(bench.open_pass(path, largest))
                passes[name].append(opened[-1])
                for batch in batches:
                    opened[-1].prepare(records[:batch])
                memory[name, count] = bench.used_bytes() - before
            say(f"opened {len(passes[name])} contexts ({name}), {memory[name, len(passes[name])] / MIB:.0f} MiB")
        with GpuSampler(bench.card_uuid) as sampler:
            measured = _measure(tried, passes, records, memory, frames, rounds, say)
    finally:
        for one in opened:
            one.close()
    return BatchingBench(
        bench.card,
        source,
        frames,
        rounds,
        single_name,
        tuple(measured),
        tuple(compare(measured, streams)),
        sampler.load,
    )


def _measure(
    tried: Sequence[Arrangement],
    passes: dict[str, list[Any]],
    records: npt.NDArray[Any],
    memory: dict[tuple[str, int], int],
    frames: int,
    rounds: int,
    say: Say,
) -> list[Measured]:
    runs: dict[tuple[Arrangement, bool], list[LoopResult]] = {}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for one in tried:
            for whole in (True, False):
                turns = [_Turn(p, records, one.batch, whole=whole) for p in passes[one.engine][: one.contexts]]
                result = run_loop(turns, batch=one.batch, frames=frames, threads=one.threads)
                runs.setdefault((one, whole), []).append(result)
    return [
        Measured(
            one,
            statistics.median(run.rate_hz for run in runs[one, True]),
            statistics.median(run.rate_hz for run in runs[one, False]),
            statistics.median(run.quantile_s(0.5) for run in runs[one, True]),
            statistics.median(run.quantile_s(0.99) for run in runs[one, True]),
            memory[one.engine, one.contexts],
            runs[one, True][0].found,
        )
        for one in tried
    ]


def _pictures(backend: Any, bench: Any, clip: Path | None, settings: Settings) -> tuple[StreamInfo, list[Any], str]:
    """Slots on the card: the first frames of the clip, or made-up pictures of 1080p."""
    if clip is None:
        shape = StreamInfo(
            "made up", 1920, 1080, Fraction(1, 30000), Fraction(30000, 1001), colour=Colour(matrix=1, primaries=1)
        )
        y, x = np.mgrid[0:1620, 0:1920].astype(np.float32)
        made = [
            np.clip(128 + 70 * np.sin(x / 37 + n) * np.cos(y / 29 - n), 16, 235).astype(np.uint8)
            for n in range(PICTURES // 8)
        ]
        return shape, bench.slots(shape, made * 8), "1920x1080, made up, without faces"
    session = backend.open_decoder(clip, "clip", settings, 1)
    try:
        info: StreamInfo = session.info
        slots: list[Any] = []
        while len(slots) < PICTURES:
            fresh = bench.blank_slots(info, CHUNK)
            part = session.decode(fresh)
            slots += fresh[: len(part.frames)]
            if part.end:
                break
    finally:
        session.close()
    if not slots:
        raise RequestError("the clip has no frame", where=str(clip), remedy="Choose another one.")
    slots = (slots * (-(-PICTURES // len(slots))))[:PICTURES]
    return info, slots, f"{clip.name}, {info.width_px}x{info.height_px}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; 1 when it cannot be measured here."""
    parser = argparse.ArgumentParser(prog="bench batching", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-build", action="store_true", help="build no engine")
    parser.add_argument("--clip", type=Path, help="a video whose frames are the pictures")
    parser.add_argument("--frames", type=int, default=1280, help="frames of a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="everything that was measured, as one line of JSON")
    given = parser.parse_args(arguments)
    try:
        result = run_batching_bench(
            _say, frames=given.frames, rounds=given.rounds, clip=given.clip, build=not given.no_build
        )
    except DualfaceError as error:
        _say(str(error))
        return 1
    if given.json:
        sys.stdout.write(result.to_json() + "\n")
    else:
        sys.stdout.writelines(f"{name:<20}{value}\n" for name, value in result.rows())
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"dualface: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
