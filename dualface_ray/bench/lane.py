"""The lane benchmark: what one card does, stage by stage, in one run.

    clip ─► decode + copy alone (D processes) ─┐
         ─► lane, adaptive detection, no encoder ├─► frames per second in the window in which all streams run
         ─► lane, detection on every frame       │   (in turn, medians over the rounds; ratios to decoding alone)
         ─► lane with encoder ──────────────────┘
         its pictures from memory ─► the same encoders alone (where they work on the CPU): that lane's reference
                     └─ of a lane of one stream that hardly compresses them

The reference decodes with the same session, into the same kind of pool, in as many processes. All of them are started
once and take turns: what drifts in the machine's speed meets them alike, and starting takes longer than measuring.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dualface_ray.backends.pyav import probe
from dualface_ray.bench.alone import AloneRunner
from dualface_ray.bench.encoders import EncodersRunner
from dualface_ray.bench.turns import Run, Runner, medians, take_turns
from dualface_ray.bench.whole import LaneRunner
from dualface_ray.report import read_report
from dualface_ray.settings import resolve

Say = Callable[[str], None]
MODES = ("adaptive", "every_frame", "encoder")
_ENCODES = "encoder"
"""The mode that makes files."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One measurement."""

    mode: str
    streams: int
    decoders: int
    encoders: int
    fps: tuple[float, ...]
    """Of every round."""
    ratio: float | None = None
    """Median rate over that of the reference: decoding alone with the same streams and decode processes, or, for a lane
    that encodes on the CPU, its encoders alone."""
    ratios: tuple[float, ...] = ()
    """The same round by round."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Medians over the rounds; latencies of a stage as p50/p95/p99 in milliseconds."""
    reference: str = ""
    """What the ratios are of."""

    @property
    def median(self) -> float:
        """Frames per second."""
        return statistics.median(self.fps)

    def text(self) -> str:
        """One line."""
        share = "" if self.ratio is None else f"  = {self.ratio:.3f} of {self.reference}"
        rates = ", ".join(f"{rate:.0f}" for rate in self.fps)
        head = f"{self.mode:<20} {self.streams:>2} streams {self.decoders}+{self.encoders}"
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{head}  {self.median:7.0f} fps{share}  ({rates})  {facts}"


def run_lane_bench(
    clip: Path,
    *,
    backend: str = "cuda",
    streams: Sequence[int] = (1, 4, 8, 16),
    processes: Sequence[tuple[int, int]] = ((1, 1), (2, 2), (4, 4)),
    modes: Sequence[str] = MODES,
    repeats: int = 3,
    sets: Sequence[str] = (),
    fresh: bool = False,
    say: Say = lambda line: None,
    found: Callable[[Sequence[LaneRow]], None] = lambda rows: None,
) -> list[LaneRow]:
    """Measure one card with one clip, opened once per stream.

    Args:
        clip: long enough that all streams run together for some seconds.
        backend: ``cuda`` or ``cpu``.
        streams: numbers of streams.
        processes: decoder and encoder processes of the lane; no more of them are started than there are streams.
        modes: of ``MODES``.
        repeats: rounds; each measures everything once, the medians count.
        sets: settings as ``key=value``.
        fresh: start everything anew for every run, one thing at a time.
        say: gets a line per measurement.
        found: gets everything so far after every number of streams and processes.

    Raises:
        InputError: the clip is missing or no video.
        DualfaceError: the first round failed.
    """
    import ray

    from dualface_ray.api import connect

    probe(clip, resolve(sets=sets))  # before minutes of starting: its errors would come from inside an actor
    connect(resolve(sets=sets))
    rows: list[LaneRow] = []
    try:
        for count in streams:
            shapes = dict.fromkeys((count, min(d, count), min(e, count)) for d, e in processes)
            for shape in shapes:
                with tempfile.TemporaryDirectory(prefix="dualface-lane-") as made:
                    runners = _runners(clip, backend, shape, modes, sets, Path(made), fresh=fresh)
                    measured = list(_rows(shape, take_turns(runners, repeats, fresh=fresh, say=say)))
                for row in measured:
                    say(row.text())
                rows += measured
                found(rows)
    finally:
        ray.shutdown()
    return rows


def _runners(
    clip: Path,
    backend: str,
    shape: tuple[int, int, int],
    modes: Sequence[str],
    sets: Sequence[str],
    made: Path,
    *,
    fresh: bool,
) -> list[Runner]:
    at_once = 1 + len(modes) + (_ENCODES in modes)  # which starts one more lane, for its reference's pictures
    share = 1.0 if fresh else int(10_000 / at_once) / 10_000
    gpu = share if backend == "cuda" else 0.0
    runners: list[Runner] = [
        AloneRunner(clip, resolve(sets=sets, backend=backend), backend, shape[0], shape[1], gpu),
    ]
    for mode in modes:
        settings = resolve(sets=sets, backend=backend, every_frame=mode == "every_frame")
        runners.append(LaneRunner(clip, mode, settings, backend, shape, share, made if mode == _ENCODES else None))
        if mode == _ENCODES:
            pictures = partial(_nearly_lossless, clip, backend, sets, share, made / "nearly-lossless")
            runners.append(EncodersRunner(made, pictures, settings, shape[0]))
    return runners


def _nearly_lossless(clip: Path, backend: str, sets: Sequence[str], share: float, folder: Path) -> Path:
    """A result of one stream from which its pictures can be had almost as they were composed."""
    settings = resolve(sets=[*sets, "encode.quality=1", "encode.preset=ultrafast"], backend=backend)
    lane = LaneRunner(clip, _ENCODES, settings, backend, (1, 1, 1), share, folder)
    try:
        lane.start()
        lane.run(0)
    finally:
        lane.close()
    (report,) = folder.glob("*.report.json")
    return folder / read_report(report).outputs[0]


def _rows(shape: tuple[int, int, int], found: Mapping[str, Sequence[Run]]) -> Iterator[LaneRow]:
    for name, runs in found.items():
        rates = tuple(rate for rate, _ in runs)
        facts = medians([facts for _, facts in runs])
        if name == AloneRunner.name:
            yield LaneRow(name, *shape[:2], 0, rates, facts=facts)
        elif name == EncodersRunner.name:
            yield LaneRow(name, shape[0], 0, shape[0], rates, facts=facts)
        else:
            reference = EncodersRunner.name if name == _ENCODES and EncodersRunner.name in found else AloneRunner.name
            others = [rate for rate, _ in found[reference]]
            ratios = tuple(round(rate / other, 4) for rate, other in zip(rates, others, strict=True))
            ratio = statistics.median(rates) / statistics.median(others)
            yield LaneRow(name, *shape, rates, ratio, ratios, facts, reference)
