"""``bench batching``: one engine for all streams in large batches, against an engine for every stream.

    the same pictures on the card ─┬─► central: one context, batches gathered over the streams ─┐
                                   └─► per stream: N contexts on N CUDA streams ────────────────┴─► rates, latencies

Every arrangement is built of the same part: letterbox, network and post-processing of one batch as one CUDA graph. Two
cases: one frame of every stream waits (live sources), or a chunk of sixteen (files, decoded faster than they play).
The engines run in a closed loop on frames that are there already, so gathering takes no time in either arrangement; a
live lane adds at most the batcher's wait. Rounds go through all arrangements in turn, figures are medians.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import load_backend
from dualface_ray.bench.closedloop import LoopResult, run_loop
from dualface_ray.bench.contexts import (
    CHUNK,
    LARGEST,
    MIB,
    MOST_CONTEXTS,
    STREAMS,
    Arrangement,
    BatchingBench,
    Measured,
    arrangements,
    compare,
)
from dualface_ray.bench.nvml import GpuSampler
from dualface_ray.errors import ModelMissingError, RequestError, VramBudgetError
from dualface_ray.frames import Colour, StreamInfo
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]

PICTURES = 64
LIMIT_S = 90.0
"""No round is begun that would end later than this after the first one's start."""


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
        rounds: over all arrangements; fewer where they would take too long.
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
    tried = arrangements(streams)
    opened: dict[str, list[Any]] = {}
    try:
        memory = _open(bench, {"central": central, "single": single, "chunk": central}, tried, records, opened, say)
        tried = [one for one in tried if one.contexts <= len(opened[one.engine])]
        with GpuSampler(bench.card_uuid) as sampler:
            measured = _measure(tried, opened, records, memory, frames, rounds, say)
    finally:
        for part in opened.values():
            for one in part:
                one.close()
    return BatchingBench(
        bench.card,
        source,
        frames,
        max(one.rounds for one in measured),
        single_name,
        tuple(measured),
        tuple(compare(measured, streams)),
        sampler.load,
    )


def _open(
    bench: Any,
    engines: dict[str, Path],
    tried: Sequence[Arrangement],
    records: npt.NDArray[Any],
    opened: dict[str, list[Any]],
    say: Say,
) -> dict[tuple[str, int], int]:
    """Open as many contexts of each kind as anybody needs and the card holds; what the first n took, in bytes."""
    memory: dict[tuple[str, int], int] = {}
    for path in dict.fromkeys(engines.values()):
        first = bench.open_pass(path, 1)  # what TensorRT takes once in a process belongs to no arrangement
        first.prepare(records[:1])
        first.close()
    for name, path in engines.items():
        wanted = [one for one in tried if one.engine == name]
        batches = sorted({one.batch for one in wanted})
        before = bench.used_bytes()
        mine = opened.setdefault(name, [])
        try:
            for count in range(1, max(one.contexts for one in wanted) + 1):
                mine.append(bench.open_pass(path, batches[-1]))
                for batch in batches:
                    mine[-1].prepare(records[:batch])
                memory[name, count] = bench.used_bytes() - before
        except VramBudgetError:
            if (name, 1) not in memory:
                raise
            if (name, len(mine)) not in memory:  # it was opened, and then could not run
                mine.pop().close()
            say("the card holds no more")
        say(f"contexts ({name}): {len(mine)}, {memory[name, len(mine)] / MIB:.0f} MiB")
    return memory


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
    began_s = time.perf_counter()
    for number in range(rounds):
        if number and (time.perf_counter() - began_s) * (number + 1) / number > LIMIT_S:
            say("no time for another round")
            break
        say(f"round {number + 1} of {rounds}")
        for one in tried:
            for whole in (True, False):
                turns = [_Turn(p, records, one.batch, whole=whole) for p in passes[one.engine][: one.contexts]]
                result = run_loop(turns, batch=one.batch, frames=frames, threads=one.threads)
                runs.setdefault((one, whole), []).append(result)
                if whole:
                    say(f"{one.name}: {result.rate_hz:.0f} fps")
    return [
        Measured(
            one,
            statistics.median(run.rate_hz for run in runs[one, True]),
            statistics.median(run.rate_hz for run in runs[one, False]),
            statistics.median(run.quantile_s(0.5) for run in runs[one, True]),
            statistics.median(run.quantile_s(0.99) for run in runs[one, True]),
            memory[one.engine, one.contexts],
            runs[one, True][0].found,
            len(runs[one, True]),
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
