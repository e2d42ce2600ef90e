"""Replay: a recorded run through identity and framing, as the actors do it, without pixels.

RecordedRun ─► grid frames ─► Director ─► asks ─► what was recorded ─► answers ─► Director ─► Replay
                                                      tracks.jsonl, plans.jsonl (docs/recorded.md) ◄─┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualface_ray.bench.recorded import RecordedRun
from dualface_ray.detect import DetectionGrid
from dualface_ray.errors import InputError
from dualface_ray.frames import F32, Answer, Ask, Detections, FaceCrop, Faces, FrameFlag, FrameTicket
from dualface_ray.framing import DirectedFrame, Director
from dualface_ray.identity import Cast, FrameFact, IdentityEvent
from dualface_ray.media import AtomicFile, write_atomic
from dualface_ray.report import TracksHeader, TracksWriter
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What identity and framing made of a recorded run.

    ``detected`` and ``embedded`` count what was really looked at, on the grid and on demand; ``director_s`` is the
    time spent inside identity and framing.
    """

    frames: tuple[DirectedFrame, ...]
    events: tuple[IdentityEvent, ...]
    detected: int
    embedded: int
    director_s: float


def write_replay(done: Replay, run: RecordedRun, tracks: Path, plans: Path) -> None:
    """Write what came out: tracks as every run writes them, and the plan of each frame, which nothing is rounded in.

    Raises:
        OutputError: a file cannot be written.
    """
    info = run.info
    header = TracksHeader(info.stream_id, info.display_width_px, info.display_height_px, info.time_base)
    with AtomicFile(tracks, make_folder=True) as file, TracksWriter(file.part, header) as writer:
        for frame in done.frames:
            writer.add(frame.tracked, frame.plan)
    text = header.line() + "".join(f"{frame.plan.to_json()}\n" for frame in done.frames)
    write_atomic(plans, text.encode(), make_folder=True)


def replay(
    run: RecordedRun, settings: Settings, *, chunk_frames: int = 16, cast: Cast | None = None, begin_s: float = 0.0
) -> Replay:
    """Send a recorded run through the Director as the actors do: grid frames first, the rest only when asked for.

    Args:
        run: what would be detected.
        settings: of the run.
        chunk_frames: frames per message.
        cast: who A and B are, when the run is a part of a video.
        begin_s: seconds of the video before the part.
    """
    return _Replayer(run, settings, cast, begin_s).go(chunk_frames)


class _Replayer:
    def __init__(self, run: RecordedRun, settings: Settings, cast: Cast | None, begin_s: float) -> None:
        self._run = run
        info, detect = run.info, settings.detect
        self._grid = DetectionGrid(info.time_base, detect.grid_hz, every_frame=detect.every_frame)
        lookahead = settings.lookahead_frames(info.average_rate)
        self._director = Director(settings, info, lookahead, cast=cast, begin_s=begin_s)
        self._frames: list[DirectedFrame] = []
        self._events: list[IdentityEvent] = []
        self._looked: set[int] = set()
        self._embedded = 0
        self._spent_s = 0.0

    def go(self, chunk_frames: int) -> Replay:
        run = self._run
        for start in range(0, len(run), chunk_frames):
            rows = range(start, min(len(run), start + chunk_frames))
            facts = [FrameFact(i, int(run.pts_ticks[i]), FrameFlag(int(run.flags[i])), run.signatures[i]) for i in rows]
            due = {i: run.faces[i] for i, fact in zip(rows, facts, strict=True) if self._due(fact)}
            self._looked.update(due)
            self._settle(lambda facts=facts, due=due: self._director.push(facts, Detections(due)))  # type: ignore[misc]
        self._settle(self._director.finish)
        return Replay(tuple(self._frames), tuple(self._events), len(self._looked), self._embedded, self._spent_s)

    def _due(self, fact: FrameFact) -> bool:
        return self._grid.due(FrameTicket("", 0, 0, fact.frame_index, fact.pts_ticks, fact.flags))

    def _settle(self, call: Callable[[], Any]) -> None:
        """One call into the Director, and all questions that follow from it."""
        while True:
            began_s = time.perf_counter()
            step = call()
            self._spent_s += time.perf_counter() - began_s
            self._frames += step.frames
            self._events += step.events
            if not step.asks:
                return
            answers = [self._answer(ask) for ask in step.asks]
            call = lambda answers=answers: self._director.answer(answers)  # type: ignore[misc]  # noqa: E731

    def _answer(self, ask: Ask) -> Answer:
        self._looked.update(ask.detect)
        self._embedded += len(ask.embed)
        found: Mapping[int, Faces] = {index: self._run.faces[index] for index in ask.detect}
        if not ask.embed:
            return Answer(ask.ask_id, Detections(dict(found)))
        return Answer(ask.ask_id, Detections(dict(found)), np.stack([self._embedding(crop) for crop in ask.embed]))

    def _embedding(self, crop: FaceCrop) -> F32:
        """The recorded embedding of the face nearest to the one asked for (the same one: crops come from detections).

        Raises:
            InputError: no embeddings were recorded, or no face was found in that frame.
        """
        faces, known = self._run.faces[crop.frame_index], self._run.embeddings[crop.frame_index]
        if not len(known) or not known.shape[1]:
            raise InputError(
                "the recorded run holds no embedding of this face",
                where=f"frame {crop.frame_index}",
                remedy="Record it again, with embeddings.",
            )
        distance = np.abs(faces.boxes_px - np.array(crop.box_px, np.float32)).sum(axis=1)
        embedding: F32 = known[int(np.argmin(distance))]
        return embedding
