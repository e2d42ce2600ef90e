"""Arrangements of engines: which there are, what was measured of each, and which is the best for so many streams."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from dualface_ray.bench.nvml import GpuLoad

STREAMS = (1, 4, 8, 16)
CHUNK = 16
"""Frames of a message of one stream."""
LARGEST = 64
"""The central engine's largest batch."""
MOST_CONTEXTS = 16
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
    rounds: int


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
            if not others:
                continue  # the card was too small
            best = max(others, key=lambda one: one.rate_hz)
            found.append(Comparison(count, waiting, central, best))
    return found
