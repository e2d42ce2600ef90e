"""The lane benchmark: what one card does, stage by stage, in one run.

    clip ─► decode + copy alone (D processes) ─┐
         ─► lane, adaptive detection, no encoder ├─► frames per second in the window in which all streams run
         ─► lane, detection on every frame       │   (medians over the repeats; ratios to decode alone)
         ─► lane with encoder ──────────────────┘

Rates count only the window from the moment every stream has begun until the first one ends, so neither start nor tail
count. The reference decodes with the same session, into the same kind of pool, in as many processes.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from dualface_ray.backends import limit_library_threads, load_backend
from dualface_ray.backends.pyav import probe
from dualface_ray.errors import ActorError, DualfaceError
from dualface_ray.frames import slot_stride_bytes
from dualface_ray.hardware import cores, thread_budget
from dualface_ray.media import plan_outputs
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]
CHUNK = 16


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One measurement."""

    mode: str
    streams: int
    decoders: int
    encoders: int
    fps: tuple[float, ...]
    ratio: float | None = None
    """Median rate over that of decoding alone with the same streams and decode processes."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Frames per second."""
        return statistics.median(self.fps)

    def text(self) -> str:
        """One line."""
        share = "" if self.ratio is None else f"  = {self.ratio:.3f}"
        rates = ", ".join(f"{rate:.0f}" for rate in self.fps)
        head = f"{self.mode:<28} {self.streams:>2} streams {self.decoders}+{self.encoders}"
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{head}  {self.median:7.0f} fps{share}  ({rates})  {facts}"


class Progress:
    """Frames of each stream over time, and the rate in the window in which all of them run."""

    def __init__(self, streams: int) -> None:
        self._marks: list[list[tuple[float, int]]] = [[] for _ in range(streams)]

    def mark(self, stream: int, now_s: float, frames: int) -> None:
        """Take a mark; counts that did not change are passed over."""
        marks = self._marks[stream]
        if frames and (not marks or marks[-1][1] != frames):
            marks.append((now_s, frames))

    def rate(self) -> float:
        """Frames per second over all streams between the last first mark and the first last mark.

        Raises:
            ActorError: there is no such window: the clip is too short.
        """
        if not all(len(marks) > 1 for marks in self._marks):
            raise ActorError("a stream was over before it could be measured", remedy="Use a longer clip.")
        begin_s = max(marks[0][0] for marks in self._marks)
        end_s = min(marks[-1][0] for marks in self._marks)
        if end_s - begin_s < 0.5:
            raise ActorError("the streams never ran together", remedy="Use a longer clip.")
        return sum(_at(marks, end_s) - _at(marks, begin_s) for marks in self._marks) / (end_s - begin_s)


def _at(marks: Sequence[tuple[float, int]], when_s: float) -> float:
    """Frames at a moment, linear between marks."""
    for (s0, n0), (s1, n1) in itertools.pairwise(marks):
        if s0 <= when_s <= s1:
            return n0 + (n1 - n0) * (when_s - s0) / max(1e-9, s1 - s0)
    return float(marks[-1][1])


class DecodeAlone:
    """The reference's process: decodes its share of the streams into a pool and drops them (a Ray actor)."""

    def __init__(self, backend: str, settings: Settings, clip: str, streams: int) -> None:
        limit_library_threads(1)
        self._backend = load_backend(backend)
        self._settings = settings
        self._clip = Path(clip)
        info = probe(self._clip, settings).video
        self._stride = slot_stride_bytes(info) * 2
        self._ring = settings.quota_frames(info.average_rate)
        self._arena = self._backend.create_arena(self._stride * self._ring * streams, self._ring * streams)
        self._streams = streams

    def run(self) -> list[list[tuple[float, int]]]:
        """Decode all streams at once; marks (monotonic seconds of this host, frames) per stream."""
        marks: list[list[tuple[float, int]]] = [[] for _ in range(self._streams)]
        failures: list[Exception] = []

        def work(stream: int) -> None:
            try:
                self._decode(stream, marks[stream])
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(stream,)) for stream in range(self._streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise ActorError(f"decoding alone failed: {failures[0]!r}", where=str(self._clip))
        return marks

    def close(self) -> None:
        """Free the pool."""
        self._arena.close()

    def _decode(self, stream: int, marks: list[tuple[float, int]]) -> None:
        session = self._backend.open_decoder(self._clip, f"s{stream}", self._settings, 1)
        first = stream * self._ring * self._stride
        slots = [self._arena.view(first + slot * self._stride, session.info) for slot in range(self._ring)]
        frames, end = 0, False
        while not end:
            begin = frames % (self._ring - self._ring % CHUNK)
            batch = session.decode(slots[begin : begin + CHUNK])
            frames, end = frames + len(batch.frames), batch.end
            marks.append((time.monotonic(), frames))
        session.close()


def run_lane_bench(
    clip: Path,
    *,
    backend: str = "cuda",
    streams: Sequence[int] = (1, 4, 8, 16),
    processes: Sequence[tuple[int, int]] = ((1, 1), (2, 2)),
    modes: Sequence[str] = ("adaptive", "every_frame", "encoder"),
    repeats: int = 3,
    say: Say = lambda line: None,
) -> list[LaneRow]:
    """Measure one card with one clip, opened once per stream.

    Args:
        clip: long enough that all streams run together for some seconds.
        backend: ``cuda`` or ``cpu``.
        streams: numbers of streams.
        processes: decoder and encoder processes of the lane.
        modes: of ``adaptive``, ``every_frame``, ``encoder``.
        repeats: of every measurement; the median counts.
        say: gets a line per measurement.
    """
    import ray

    from dualface_ray.api import connect

    connect(resolve())
    rows: list[LaneRow] = []
    for count in streams:
        for decoders, encoders in processes:
            if decoders > count:
                continue
            shape: dict[str, Any] = {
                "backend": backend,
                "streams": count,
                "decoders": decoders,
                "encoders": min(encoders, count),
            }
            alone, rates = [], {mode: list[float]() for mode in modes}
            facts: dict[str, dict[str, Any]] = {mode: {} for mode in modes}
            for _ in range(repeats):
                alone.append(_alone(clip, backend, count, decoders))
                for mode in modes:
                    rate, found = _lane(clip, mode, shape)
                    rates[mode].append(rate)
                    facts[mode] = found
            rows.append(LaneRow("decode + copy alone", count, decoders, 0, tuple(alone)))
            say(rows[-1].text())
            for mode in modes:
                ratio = statistics.median(rates[mode]) / rows[-1 - modes.index(mode)].median
                rows.append(LaneRow(mode, count, decoders, shape["encoders"], tuple(rates[mode]), ratio, facts[mode]))
                say(rows[-1].text())
    ray.shutdown()
    return rows


def _alone(clip: Path, backend: str, streams: int, decoders: int) -> float:
    import ray

    shares = [streams // decoders + (number < streams % decoders) for number in range(decoders)]
    settings = resolve(backend=backend)
    gpus = 1 / decoders if backend == "cuda" else 0
    actors = [
        ray.remote(DecodeAlone).options(num_cpus=0, num_gpus=gpus).remote(backend, settings, str(clip), share)
        for share in shares
    ]
    progress = Progress(streams)
    try:
        shares_marks = ray.get([actor.run.remote() for actor in actors])
        for stream, marks in enumerate(marks for found in shares_marks for marks in found):
            for now_s, frames in marks:
                progress.mark(stream, now_s, frames)
    finally:
        for actor in actors:
            ray.wait([actor.close.remote()], timeout=10)
            ray.kill(actor)
    return progress.rate()


def _lane(clip: Path, mode: str, shape: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """A real lane on real actors; returns its rate and facts about it."""
    from actors.lane import Lane, LaneState
    from actors.messages import SegmentJob
    from actors.placement import LanePlan

    settings = resolve(backend=shape["backend"], every_frame=mode == "every_frame")
    info = probe(clip, settings).video
    count, decoders = int(shape["streams"]), int(shape["decoders"])
    each = -(-count // decoders)
    machine = cores()
    plan = LanePlan(
        lane_id="bench",
        backend=str(shape["backend"]),
        cores=machine,
        gpus=1 if shape["backend"] == "cuda" else 0,
        streams=count,
        threads=thread_budget(machine, count),
        pool_bytes=each * settings.quota_frames(info.average_rate) * slot_stride_bytes(info),
        pool_slots=each * settings.quota_frames(Fraction(settings.input.max_fps)),
        decoders=decoders,
        encoders=int(shape["encoders"]),
        discard=mode != "encoder",
    )
    progress = Progress(count)
    with tempfile.TemporaryDirectory(prefix="dualface-lane-") as folder:
        lane = Lane(plan, settings)
        try:
            while lane.state is not LaneState.READY:
                _advance(lane)
                time.sleep(0.05)
            for number in range(count):
                outputs = plan_outputs([clip], Path(folder) / str(number), "side_by_side", "mp4")[0]
                lane.assign(SegmentJob(str(number), 0, clip, outputs, ""))
            facts: dict[str, Any] = {}
            while not any(status.state.final for status in lane.streams.values()):
                _advance(lane)
                now_s = time.monotonic()
                for status in lane.streams.values():
                    progress.mark(int(status.stream_id), now_s, status.frames_done)
                facts = lane.facts() or facts
                time.sleep(0.02)
            failed = [status.error for status in lane.streams.values() if status.error is not None]
            if failed:
                raise ActorError(f"a stream failed: {failed[0]}", where=mode)
        finally:
            lane.close()
    return progress.rate(), facts


def _advance(lane: Any) -> None:
    lane.advance()
    if lane.failure is not None:
        raise DualfaceError(str(lane.failure), where="lane")


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m dualface_ray.bench.lane CLIP [--streams 1,16] [--processes 1+1,2+2] [--modes ...] [--json FILE]``."""
    import argparse

    parser = argparse.ArgumentParser(description=run_lane_bench.__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--streams", default="1,4,8,16")
    parser.add_argument("--processes", default="1+1,2+2")
    parser.add_argument("--modes", default="adaptive,every_frame,encoder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args(arguments)
    pairs = [tuple(int(part) for part in text.split("+")) for text in given.processes.split(",")]
    rows = run_lane_bench(
        given.clip,
        backend=given.backend,
        streams=[int(part) for part in given.streams.split(",")],
        processes=[(pair[0], pair[1]) for pair in pairs],
        modes=given.modes.split(","),
        repeats=given.repeats,
        say=lambda line: print(line, flush=True),  # noqa: T201 - a program's own output
    )
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
