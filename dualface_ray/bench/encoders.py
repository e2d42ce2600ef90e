"""Encoders alone, on pictures that lie in memory: the reference of a lane that encodes on the CPU.

    a lane of one stream, nearly lossless ─ decoded once ─► pictures in a mapped file
                                                              └─► one process per stream: encode, there and back

The same encoders with the same threads, on the lane's own pictures, and nothing beside them. Pictures that went through
an encoder of usual quality once are 4 % easier to encode a second time (x264 veryfast, crf 20), so a lane of its own
makes them, and what it writes differs from what it composed by next to nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import load_backend
from dualface_ray.bench.busy import Busy
from dualface_ray.bench.turns import Run
from dualface_ray.bench.window import Mark, Progress
from dualface_ray.errors import ActorError
from dualface_ray.hardware import cores, thread_budget
from dualface_ray.media import EncodeSpec
from dualface_ray.report import read_report
from dualface_ray.settings import Settings

_PICTURES_BYTES = 1 << 30
"""Of the pictures in memory: ten seconds of 1080p, which all processes share."""
_RUN_S = 8.0
_MARK_EVERY = 8
"""Frames."""


class EncoderAlone:
    """One process with one encoder (a Ray actor).

    Args:
        spec: what to encode.
        pictures: file of NV12 pictures of its size, one behind the other.
        begin: share of them that is before the first one encoded. Each process begins elsewhere: one picture that all
            of them read at once would come from the cores' cache, where a lane's streams have pictures of their own.
    """

    def __init__(self, spec: EncodeSpec, pictures: str, begin: float = 0.0) -> None:
        self._spec = spec
        self._begin = begin
        shape = (-1, spec.height_px * 3 // 2, spec.width_px)
        # Private pages, as the encoder wants memory that may be written; nothing writes, so they stay shared.
        self._pictures: npt.NDArray[np.uint8] = np.memmap(pictures, np.uint8, "c").reshape(shape)

    def ready(self) -> int:
        """The pictures have been read once, so that none comes from the disk; says how many there are."""
        return len(self._pictures) if int(self._pictures[:, ::16, ::64].max(initial=0)) >= 0 else 0

    def run(self, seconds: float) -> list[Mark]:
        """Encode for so long; marks are monotonic seconds of this host and frames."""
        session, marks = load_backend("cpu").open_encoder(self._spec), []
        end_s = time.monotonic() + seconds
        for pts_ticks, number in enumerate(there_and_back(len(self._pictures), self._begin)):
            session.encode(self._pictures[number], pts_ticks)
            if pts_ticks % _MARK_EVERY == _MARK_EVERY - 1:
                now_s = time.monotonic()
                marks.append((now_s, pts_ticks + 1))
                if now_s >= end_s:
                    break
        session.close()
        return marks


class EncodersRunner:
    """As many processes as the lane has streams, kept over several runs.

    Args:
        made: folder with a result of the lane and its report; there once the lane has run.
        pictures: makes a result that is nearly lossless, and says where it is; asked where the lane encodes on the CPU.
        settings: of the lane.
        streams: of the lane.
        run_s: how long a run takes.
    """

    name = "encoders from memory"

    def __init__(
        self, made: Path, pictures: Callable[[], Path], settings: Settings, streams: int, run_s: float = _RUN_S
    ) -> None:
        self._made = made
        self._make = pictures
        self._settings = settings
        self._streams = streams
        self._run_s = run_s
        self._actors: list[Any] = []

    def start(self) -> bool:
        """Make the pictures and create the processes; False where the lane does not encode on the CPU."""
        import ray

        (report_path,) = self._made.glob("*.report.json")
        report = read_report(report_path)
        if not report.encoder.startswith("lib"):
            return False
        pictures = self._made / "pictures"
        spec = decoded(self._make(), pictures, self._settings, thread_budget(cores(), self._streams).encode)
        actor = ray.remote(EncoderAlone).options(num_cpus=0)
        self._actors = [actor.remote(spec, str(pictures), n / self._streams) for n in range(self._streams)]
        ray.get([one.ready.remote() for one in self._actors])
        return True

    def run(self, idle_bytes: int) -> Run:
        """Frames per second of all encoders together, in the time in which all run."""
        import ray

        progress = Progress(self._streams)
        with Busy(("EncoderAlone",)) as busy:
            found = ray.get([actor.run.remote(self._run_s) for actor in self._actors])
        for stream, marks in enumerate(found):
            for now_s, frames in marks:
                progress.mark(stream, now_s, frames)
        return progress.rate(), busy.facts

    def close(self) -> None:
        """End the processes."""
        import ray

        actors, self._actors = self._actors, []
        for actor in actors:
            ray.kill(actor)


def there_and_back(count: int, begin: float = 0.0) -> Iterator[int]:
    """Picture numbers for ever, forwards and backwards: no jump that a camera would not make.

    Args:
        count: of the pictures.
        begin: share of them that comes before the first one.
    """
    if count < 1:
        raise ActorError("there are no pictures to encode", where="bench lane")
    first, turn = int(begin * count), [*range(count), *range(count - 2, 0, -1)]
    return itertools.cycle([*turn[first:], *turn[:first]])


def decoded(video: Path, pictures: Path, settings: Settings, threads: int) -> EncodeSpec:
    """Write a video's pictures into a file, as many as there is room for; says how the lane would encode them."""
    from actors.work.segments import encode_spec
    from dualface_ray.framing import CanvasPlan

    session = load_backend("cpu").open_decoder(video, "encoders", settings, min(4, cores()))
    info = session.info
    shape = (info.slot_height_px * 3 // 2, info.slot_width_px)
    room = max(2, _PICTURES_BYTES // (shape[0] * shape[1]))
    with pictures.open("wb") as file:
        for _ in range(room):
            slot = np.empty(shape, np.uint8)
            batch = session.decode([slot])
            if batch.frames:
                slot.tofile(file)
            if batch.end:
                break
    session.close()
    canvas = CanvasPlan(info.display_width_px, info.display_height_px, ())
    return encode_spec(canvas, info.colour, settings, info.average_rate, 1 / info.average_rate, threads, 8)
