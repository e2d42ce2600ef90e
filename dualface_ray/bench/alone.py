"""Decoding alone: the reference of the lane benchmark, as many processes as the lane's decoders, pictures dropped.

All streams are opened before any is measured: a card opens them one after the other, and the first would else be over
before the last has begun.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualface_ray.backends import limit_library_threads, load_backend
from dualface_ray.backends.pyav import probe
from dualface_ray.bench.busy import Busy
from dualface_ray.bench.turns import Run
from dualface_ray.bench.window import Mark, Progress
from dualface_ray.errors import ActorError
from dualface_ray.frames import slot_stride_bytes
from dualface_ray.media import DecodeSession, Slot
from dualface_ray.settings import Settings

CHUNK = 16


@dataclass(slots=True)
class _Stream:
    """One that is open, and how far it has come."""

    session: DecodeSession
    slots: list[Slot]
    frames: int = 0
    end: bool = False

    def chunk(self) -> None:
        """Decode the next frames."""
        begin = self.frames % (len(self.slots) - len(self.slots) % CHUNK)
        batch = self.session.decode(self.slots[begin : begin + CHUNK])
        self.frames, self.end = self.frames + len(batch.frames), batch.end


class DecodeAlone:
    """One process: decodes its share of the streams into a pool of the lane's kind and drops them (a Ray actor)."""

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
        self._open: dict[int, _Stream] = {}

    def ready(self) -> None:
        """It has its pool."""

    def begin(self) -> None:
        """Open all streams and decode the first frames of each."""
        self._at_once(self._begin)

    def run(self) -> list[list[Mark]]:
        """Decode them to their ends at once; marks (monotonic seconds of this host, frames) per stream."""
        marks: list[list[Mark]] = [[] for _ in range(self._streams)]
        self._at_once(lambda stream: self._finish(stream, marks[stream]))
        return marks

    def close(self) -> None:
        """Free the pool."""
        self._arena.close()

    def _at_once(self, do: Callable[[int], None]) -> None:
        failures: list[Exception] = []

        def work(stream: int) -> None:
            try:
                do(stream)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(stream,)) for stream in range(self._streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise ActorError(f"decoding alone failed: {failures[0]!r}", where=str(self._clip))

    def _begin(self, stream: int) -> None:
        session = self._backend.open_decoder(self._clip, f"s{stream}", self._settings, 1)
        first = stream * self._ring * self._stride
        slots = [self._arena.view(first + slot * self._stride, session.info) for slot in range(self._ring)]
        self._open[stream] = _Stream(session, slots)
        self._open[stream].chunk()

    def _finish(self, stream: int, marks: list[Mark]) -> None:
        one = self._open.pop(stream)
        while not one.end:
            one.chunk()
            marks.append((time.monotonic(), one.frames))
        one.session.close()


class AloneRunner:
    """The reference's processes, kept over several runs."""

    name = "decode + copy alone"

    def __init__(self, clip: Path, settings: Settings, backend: str, streams: int, decoders: int, share: float) -> None:
        self._clip = clip
        self._settings = settings
        self._backend = backend
        self._streams = streams
        self._decoders = decoders
        self._share = share
        self._actors: list[Any] = []

    def start(self) -> bool:
        """Create the processes and their pools."""
        import ray

        count, decoders = self._streams, self._decoders
        actor = ray.remote(DecodeAlone).options(num_cpus=0, num_gpus=self._share / decoders)
        self._actors = [
            actor.remote(self._backend, self._settings, str(self._clip), count // decoders + (n < count % decoders))
            for n in range(decoders)
        ]
        ray.get([one.ready.remote() for one in self._actors])
        return True

    def run(self, idle_bytes: int) -> Run:
        """Frames per second, and what the machine was doing.

        Args:
            idle_bytes: memory of the card before ``start``.
        """
        import ray

        progress = Progress(self._streams)
        ray.get([actor.begin.remote() for actor in self._actors])
        with Busy(("DecodeAlone",), idle_bytes) as busy:
            found = ray.get([actor.run.remote() for actor in self._actors])
        for stream, marks in enumerate(marks for share in found for marks in share):
            for now_s, frames in marks:
                progress.mark(stream, now_s, frames)
        return progress.rate(), busy.facts

    def close(self) -> None:
        """End the processes."""
        import ray

        actors, self._actors = self._actors, []
        for actor in actors:
            ray.wait([actor.close.remote()], timeout=10)
            ray.kill(actor)
