"""The lane benchmark: what one card does, stage by stage, in one run.

    clip ─► decode + copy alone (D processes) ─┐
         ─► lane, adaptive detection, no encoder ├─► frames per second in the window in which all streams run
         ─► lane, detection on every frame       │   (in turn, medians over the rounds; ratios to decoding alone)
         ─► lane with encoder ──────────────────┘

The reference decodes with the same session, into the same kind of pool, in as many processes. All of them are started
once and take turns: what drifts in the machine's speed meets them alike, and starting takes longer than measuring.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from dualface_ray.backends.pyav import probe
from dualface_ray.bench.alone import AloneRunner
from dualface_ray.bench.busy import Busy
from dualface_ray.bench.window import Progress
from dualface_ray.errors import ActorError, DualfaceError
from dualface_ray.frames import slot_stride_bytes
from dualface_ray.hardware import GpuMeter, cores, thread_budget
from dualface_ray.media import plan_outputs
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]
MODES = ("adaptive", "every_frame", "encoder")
_ACTORS = ("DecoderActor", "InferenceActor", "EncoderActor")


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
    """Median rate over that of decoding alone with the same streams and decode processes."""
    ratios: tuple[float, ...] = ()
    """The same round by round."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Medians over the rounds; latencies of a stage as p50/p95/p99 in milliseconds."""

    @property
    def median(self) -> float:
        """Frames per second."""
        return statistics.median(self.fps)

    def text(self) -> str:
        """One line."""
        share = "" if self.ratio is None else f"  = {self.ratio:.3f}"
        rates = ", ".join(f"{rate:.0f}" for rate in self.fps)
        head = f"{self.mode:<20} {self.streams:>2} streams {self.decoders}+{self.encoders}"
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{head}  {self.median:7.0f} fps{share}  ({rates})  {facts}"


class Runner(Protocol):
    """Something that is started once and measured several times."""

    name: str

    def start(self) -> None:
        """Get ready."""

    def run(self, idle_bytes: int) -> tuple[float, dict[str, Any]]:
        """Frames per second and facts of one run; the card's memory before ``start`` is given."""

    def close(self) -> None:
        """Give everything back; harmless when called twice."""


class LaneRunner:
    """A real lane on real actors.

    Args:
        clip: opened once per stream.
        mode: of ``MODES``.
        settings: of the actors.
        backend: ``cuda`` or ``cpu``.
        shape: streams, decoder processes, encoder processes.
        share: of the machine as Ray counts it; lanes that take turns share it on paper.
    """

    def __init__(
        self, clip: Path, mode: str, settings: Settings, backend: str, shape: tuple[int, int, int], share: float
    ) -> None:
        self.name = mode
        self._clip = clip
        self._settings = settings
        self._backend = backend
        self._shape = shape
        self._share = share
        self._lane: Any = None
        self._round = 0

    def start(self) -> None:
        """Start the actors and wait for them."""
        from actors.lane import Lane, LaneState
        from actors.placement import LanePlan

        count, decoders, encoders = self._shape
        info = probe(self._clip, self._settings).video
        each, machine = -(-count // decoders), cores()
        plan = LanePlan(
            lane_id=f"bench-{self.name}",
            backend=self._backend,
            cores=machine * self._share,  # type: ignore[arg-type]  # a plan of its own would hold whole ones
            gpus=self._share if self._backend == "cuda" else 0,  # type: ignore[arg-type]  # as above
            streams=count,
            threads=thread_budget(machine, count),
            pool_bytes=each * self._settings.quota_frames(info.average_rate) * slot_stride_bytes(info),
            pool_slots=each * self._settings.quota_frames(Fraction(self._settings.input.max_fps)),
            decoders=decoders,
            encoders=encoders,
            discard=self.name != "encoder",
        )
        self._lane = Lane(plan, self._settings)
        while self._lane.state is not LaneState.READY:
            self._advance()
            time.sleep(0.05)

    def run(self, idle_bytes: int) -> tuple[float, dict[str, Any]]:
        """Send the clip through once per stream."""
        from actors.messages import SegmentJob

        lane, count = self._lane, self._shape[0]
        self._round += 1
        progress = Progress(count)
        before = dict(lane.facts())
        with tempfile.TemporaryDirectory(prefix="dualface-lane-") as folder:
            for number in range(count):
                outputs = plan_outputs([self._clip], Path(folder) / str(number), "side_by_side", "mp4")[0]
                lane.assign(SegmentJob(f"{self._round}-{number}", 0, self._clip, outputs, ""))
            with Busy(_ACTORS, idle_bytes) as busy:
                self._watch(progress, until_all=False)
            facts = {**busy.facts, **self._inference(before), **self._latency()}
            self._watch(progress, until_all=True)
        for key in list(lane.jobs):
            lane.finished(key)
        return progress.rate(), facts

    def close(self) -> None:
        """End the actors."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def _watch(self, progress: Progress, *, until_all: bool) -> None:
        """Mark progress until the first stream, or every stream, has ended."""
        lane, count = self._lane, self._shape[0]
        while True:
            self._advance()
            now_s = time.monotonic()
            states = list(lane.streams.values())
            for status in states:
                progress.mark(int(status.stream_id.split("-")[1]), now_s, status.frames_done)
            failed = [status.error for status in states if status.error is not None]
            if failed:
                raise ActorError(f"a stream failed: {failed[0]}", where=self.name)
            ended = sum(status.state.final for status in states)
            if ended and (ended == count or not until_all):
                return
            time.sleep(0.02)

    def _inference(self, before: dict[str, Any]) -> dict[str, Any]:
        """What the inference actor did in this run."""
        facts = self._lane.facts()
        done = {name: facts.get(f"inference.{name}", 0) - before.get(f"inference.{name}", 0) for name in _COUNTED}
        return {
            "examined": done["frames_examined"],
            "embedded": done["faces_embedded"],
            "mean_batch": round(done["frames_examined"] / max(1, done["batches"]), 1),
            "detect_us": round(1e6 * done["detect_s"] / max(1, done["frames_examined"]), 1),
        }

    def _latency(self) -> dict[str, str]:
        """p50/p95/p99 of every stage in milliseconds, of the encoder process that is slowest in it."""
        import ray

        found: dict[str, tuple[float, ...]] = {}
        for summary in ray.get(self._lane.latency()):
            for stage, one in summary.items():
                values = tuple(1e3 * one[name] for name in ("p50", "p95", "p99"))
                found[stage] = max(found.get(stage, (0.0, 0.0, 0.0)), values, key=lambda three: three[1])
        return {f"{stage}_ms": "/".join(f"{value:.0f}" for value in values) for stage, values in found.items()}

    def _advance(self) -> None:
        self._lane.advance()
        if self._lane.failure is not None:
            raise DualfaceError(str(self._lane.failure), where="lane")


_COUNTED = ("frames_examined", "faces_embedded", "batches", "detect_s")


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
    """
    import ray

    from dualface_ray.api import connect

    connect(resolve(sets=sets))
    rows: list[LaneRow] = []
    try:
        for count in streams:
            shapes = dict.fromkeys((count, min(d, count), min(e, count)) for d, e in processes)
            for shape in shapes:
                runners = _runners(clip, backend, shape, modes, sets, fresh=fresh)
                rows += _rows(shape, _rounds(runners, repeats, fresh=fresh))
                for row in rows[-len(runners) :]:
                    say(row.text())
                found(rows)
    finally:
        ray.shutdown()
    return rows


def _runners(
    clip: Path, backend: str, shape: tuple[int, int, int], modes: Sequence[str], sets: Sequence[str], *, fresh: bool
) -> list[Runner]:
    share = 1.0 if fresh else int(10_000 / (1 + len(modes))) / 10_000
    gpu = share if backend == "cuda" else 0.0
    runners: list[Runner] = [
        AloneRunner(clip, resolve(sets=sets, backend=backend), backend, shape[0], shape[1], gpu),
    ]
    for mode in modes:
        settings = resolve(sets=sets, backend=backend, every_frame=mode == "every_frame")
        runners.append(LaneRunner(clip, mode, settings, backend, shape, share))
    return runners


def _rounds(runners: Sequence[Runner], repeats: int, *, fresh: bool) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Rates and facts by runner, a round after the other."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {runner.name: [] for runner in runners}
    with contextlib.ExitStack() as stack:
        for number in range(repeats):
            for runner in runners:
                if number == 0 or fresh:
                    idle = _card_bytes()
                    stack.callback(runner.close)
                    runner.start()
                elif number == 1:
                    idle = 0  # the others are there now: only the first round tells what one of them takes
                rate, facts = runner.run(idle)
                if not idle:
                    facts.pop("vram_mib", None)
                found[runner.name].append((rate, facts))
                if fresh:
                    runner.close()
    return found


def _rows(shape: tuple[int, int, int], found: dict[str, list[tuple[float, dict[str, Any]]]]) -> Iterator[LaneRow]:
    alone = [rate for rate, _ in found[AloneRunner.name]]
    for name, runs in found.items():
        rates = tuple(rate for rate, _ in runs)
        facts = _medians([facts for _, facts in runs])
        if name == AloneRunner.name:
            yield LaneRow(name, *shape[:2], 0, rates, facts=facts)
            continue
        ratios = tuple(round(rate / other, 4) for rate, other in zip(rates, alone, strict=True))
        ratio = statistics.median(rates) / statistics.median(alone)
        yield LaneRow(name, *shape, rates, ratio, ratios, facts)


def _medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of every fact over the runs that have it; texts with slashes number by number."""
    names = dict.fromkeys(name for facts in runs for name in facts)
    result: dict[str, Any] = {}
    for name in names:
        values = [facts[name] for facts in runs if name in facts]
        if isinstance(values[0], str):
            columns = zip(*(map(float, value.split("/")) for value in values), strict=True)
            result[name] = "/".join(f"{statistics.median(column):.0f}" for column in columns)
        else:
            result[name] = round(statistics.median(values), 3)
    return result


def _card_bytes() -> int:
    """Memory in use on the card; 0 where nobody tells."""
    meter = GpuMeter.open()
    if meter is None:
        return 0
    reading = meter.read()
    meter.close()
    return 0 if reading is None else reading.memory_bytes
