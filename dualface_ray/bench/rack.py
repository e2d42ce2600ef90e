"""Rack: a job of a few videos on a few lanes, second by second: the real units, queue and schedule, and lanes made up.

Units ─► WorkQueue ─► lanes whose videos share their speed ─► how far each has come, what has ended ─┐
  ▲                                                                                                  │
  └──────────────────────────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from actors.backlog.cost import REFERENCE_PX, REFERENCE_RATE
from actors.backlog.unit import Unit
from actors.backlog.units import Units
from actors.backlog.workqueue import Standing
from actors.messages import Work
from actors.placement import LanePlan
from dualface_ray.bench.bound import lower_bound
from dualface_ray.errors import ActorError
from dualface_ray.hardware import thread_budget
from dualface_ray.media import Span, plan_outputs
from dualface_ray.report import VideoTask
from dualface_ray.settings import resolve

OPEN_S = 2.0
"""Until a unit's first frame comes out."""
SURVEY_SHARE = 0.01
"""Of a video's cost that looking it over takes."""
JOIN_COST = 0.5
NOISE = 0.15
"""Standard deviation of the logarithm of a video's real cost over its estimate."""
LUCK = 0.05
"""Lanes of one kind differ by up to so much, either way."""
LONGEST_S = 1e6


@dataclass(frozen=True, slots=True)
class Picture:
    """How large and how fast some videos of a folder are."""

    width_px: int
    height_px: int
    rate: int
    share: float = 1.0
    """Of the folder's videos."""

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self.width_px * self.height_px


ALIKE = (Picture(1920, 1080, REFERENCE_RATE),)
MIXED = (
    Picture(1280, 720, 25, 0.3),
    Picture(1920, 1080, 30, 0.4),
    Picture(3840, 2160, 30, 0.15),
    Picture(3840, 2160, 60, 0.15),
)


@dataclass(frozen=True, slots=True)
class LaneKind:
    """What a made-up lane can do."""

    name: str
    speed: float
    """Seconds of 1080p video of 30 frames a second, a second, with all slots busy."""
    slots: int
    alone: float = 1.0
    """A video alone runs so many times as fast as beside a full lane of others."""
    encoder: str = "nvenc"
    late_s: float = 0.0
    """It is there so much later than the first lanes."""
    by_pixels: float = 1.0
    """Share of such a frame's time that grows with the picture: all of it where a card's decoder is the limit."""

    def cost(self, picture: Picture) -> float:
        """Of a second of such a video on this lane, in seconds of 1080p video of 30 frames a second."""
        larger = picture.pixels / REFERENCE_PX
        return picture.rate / REFERENCE_RATE * (1.0 - self.by_pixels + self.by_pixels * larger)

    def rate(self, videos: int) -> float:
        """Of all videos together while so many run."""
        return self.speed * min(1.0, videos * self.alone / self.slots)


class UnitQueue(Protocol):
    """What a rack asks of a queue (``WorkQueue`` is such)."""

    def add(self, units: Iterable[Unit]) -> None:
        """These are ready."""

    def expect(self, cost: float) -> None:
        """So much will be ready later."""

    def follow(self, lanes: Iterable[Standing], now_s: float) -> None:
        """How each lane stands."""

    def next_for(self, plan: LanePlan, now_s: float) -> str | None:
        """What it begins."""

    def ahead_for(self, plan: LanePlan, now_s: float) -> str | None:
        """What it may begin next."""

    def moved(self, lane_id: str, unit_id: str, share: float, now_s: float) -> None:
        """It has come so far."""

    def finished(self, lane_id: str, unit_id: str, now_s: float) -> None:
        """It is done."""


@dataclass(slots=True)
class _Run:
    begun: float
    cost: float
    done: float = 0.0


@dataclass(slots=True)
class _Lane:
    plan: LanePlan
    kind: LaneKind
    luck: float
    running: dict[str, _Run] = field(default_factory=dict)

    def work(self, now: float) -> list[str]:
        """One second; returns what has ended in it."""
        going = {unit_id: run for unit_id, run in self.running.items() if now - run.begun > OPEN_S}
        for run in going.values():
            run.done += self.kind.rate(len(self.running)) * self.luck / len(self.running)
        return [unit_id for unit_id, run in going.items() if run.done >= run.cost]


class _Surveyed:
    refusal = ""

    def __init__(self, frames: int) -> None:
        self.frames = frames


class _Disk:
    """Pieces in memory: every video may be cut anywhere, and nothing is left from earlier."""

    def __init__(self) -> None:
        self.surveyed: set[str] = set()
        self._plans: dict[str, tuple[Span, ...]] = {}

    def survey(self, task: VideoTask) -> _Surveyed | None:
        return _Surveyed(task.frames_estimate) if task.stream_id in self.surveyed else None

    def plan(self, task: VideoTask) -> tuple[Span, ...] | None:
        return self._plans.get(task.stream_id)

    def cut(self, task: VideoTask, pieces: int, overlap_s: float) -> tuple[Span, ...]:
        frames = task.frames_estimate
        overlap = round(overlap_s * frames / task.duration_s)
        edges = [frames * number // pieces for number in range(pieces + 1)]
        self._plans[task.stream_id] = tuple(
            Span(
                number,
                pieces,
                first,
                first,
                first + overlap if number else first,
                seam,
                seam + overlap if number + 1 < pieces else seam,
            )
            for number, (first, seam) in enumerate(zip(edges, edges[1:]))  # noqa: B905, RUF007 - one is longer
        )
        return self._plans[task.stream_id]

    def has_span(self, task: VideoTask, span: Span) -> bool:
        return False

    def has_bridge(self, task: VideoTask, before: Span, after: Span) -> bool:
        return False

    def has_result(self, task: VideoTask) -> bool:
        return False

    def disagreement(self, task: VideoTask, before: Span, after: Span) -> str:
        return ""


class Rack:
    """One job.

    Args:
        kinds: of the lanes, in the order in which they ask.
        guesses: what the schedule is told of each lane's speed.
        videos: how many; log-normal around eight minutes, 10 s to 3 h.
        seed: of everything random.
        cut: long videos are cut as a job cuts them; otherwise each is done whole.
        queue: that decides.
        pictures: sizes and rates of the videos.
        told: the queue is told them; otherwise it takes all videos for 1080p at 30 frames a second.
    """

    def __init__(
        self,
        kinds: Sequence[LaneKind],
        guesses: Sequence[float],
        videos: int,
        seed: int,
        *,
        cut: bool,
        queue: UnitQueue,
        pictures: Sequence[Picture] = ALIKE,
        told: bool = True,
    ) -> None:
        chance, sizes = random.Random(seed), random.Random(~seed)  # noqa: S311 - a simulation
        self._queue, self._disk = queue, _Disk()
        seconds = [min(10800.0, max(10.0, chance.lognormvariate(math.log(480.0), 0.9))) for _ in range(videos)]
        paths = [Path(f"v{number}.mov") for number in range(videos)]
        outputs = plan_outputs(paths, Path("out"), layout="side_by_side", container="mp4")
        chosen = sizes.choices(pictures, [picture.share for picture in pictures], k=videos)
        tasks = [
            VideoTask(
                number,
                path,
                out,
                frames_estimate=round(length * (picture.rate if told else REFERENCE_RATE)),
                duration_s=length,
                picture_px=picture.pixels if told else 0,
                ring_bytes=1,
            )
            for number, (path, out, length, picture) in enumerate(zip(paths, outputs, seconds, chosen, strict=True))
        ]
        self._tasks = {task.stream_id: task for task in tasks}
        self._pictures = dict(zip(self._tasks, chosen, strict=True))
        self._error = {name: chance.lognormvariate(-NOISE * NOISE / 2, NOISE) for name in self._tasks}
        settings = resolve()
        if not cut:
            settings = settings.model_copy(
                update={"job": settings.job.model_copy(update={"segment_min_s": LONGEST_S, "segment_max_s": LONGEST_S})}
            )
        self._units = Units(tasks, settings, self._disk)
        self._left = set(self._tasks)
        self._lanes = _lanes(kinds, guesses, len(self._units.rings()), chance)
        costs = [min(self._whole(name, kind) for kind in kinds) for name in self._tasks]
        rates = [
            lane.luck * (lane.kind.rate(slot + 1) - lane.kind.rate(slot))
            for lane in self._lanes
            for slot in range(lane.plan.streams)
        ]
        self.bound_s = sum(costs) / sum(rates) if cut else lower_bound(costs, rates)
        """No order can be faster. It counts neither what opening and cutting videos costs nor that lanes come late, and
        each video as the lane takes it that is best at its size."""

    def run(self) -> float:
        """Until every video is done; returns when that was, in seconds.

        Raises:
            ActorError: it does not end.
        """
        slots, now = sum(lane.plan.streams for lane in self._lanes), 0.0
        while True:
            ended = [(lane, unit_id) for lane in self._lanes for unit_id in lane.work(now)]
            self._queue.follow([Standing(lane.plan, now >= lane.kind.late_s) for lane in self._lanes], now)
            self._queue.add(self._units.release(slots))
            self._queue.expect(self._units.held)
            for lane, unit_id in ended:
                self._end(lane, unit_id, now, slots)
            if not self._left:
                return now
            for lane in self._lanes:
                for unit_id, run in lane.running.items():
                    self._queue.moved(lane.plan.lane_id, unit_id, run.done / run.cost, now)
            for lane in self._lanes:
                if now >= lane.kind.late_s:
                    self._feed(lane, now)
            now += 1.0
            if now > LONGEST_S:
                raise ActorError(f"{len(self._left)} videos never end", where="bench schedule")

    def _end(self, lane: _Lane, unit_id: str, now: float, slots: int) -> None:
        del lane.running[unit_id]
        unit = self._units[unit_id]
        self._queue.finished(lane.plan.lane_id, unit_id, now)
        if unit.work is Work.SURVEY:
            self._disk.surveyed.add(unit.video)
        step = self._units.done(unit_id, slots)
        if step.complete:
            self._left.discard(unit.video)
        self._queue.add(step.ready)

    def _feed(self, lane: _Lane, now: float) -> None:
        while len(lane.running) < lane.plan.streams:
            unit_id = self._queue.next_for(lane.plan, now)
            if unit_id is None:
                break
            unit = self._units[unit_id]
            self._units.taken(unit_id)
            lane.running[unit_id] = _Run(now, self._cost(unit, lane.kind))
        self._queue.ahead_for(lane.plan, now)

    def _cost(self, unit: Unit, kind: LaneKind) -> float:
        """What a unit really takes there."""
        if unit.work is Work.JOIN:
            return JOIN_COST
        share = SURVEY_SHARE if unit.work is Work.SURVEY else unit.frames / self._tasks[unit.video].frames_estimate
        return self._whole(unit.video, kind) * share

    def _whole(self, name: str, kind: LaneKind) -> float:
        """What a video really takes there."""
        return self._tasks[name].duration_s * kind.cost(self._pictures[name]) * self._error[name]


def _lanes(kinds: Sequence[LaneKind], guesses: Sequence[float], units: int, chance: random.Random) -> list[_Lane]:
    """Slots are dealt in rounds, as the planner does, until every unit there may be has one."""
    streams = [0] * len(kinds)
    while sum(streams) < units and any(have < kind.slots for have, kind in zip(streams, kinds, strict=True)):
        streams = [min(have + 1, kind.slots) for have, kind in zip(streams, kinds, strict=True)]
    return [
        _Lane(
            LanePlan(
                f"lane-{number}",
                "cpu",
                1,
                0,
                have,
                thread_budget(1, have),
                1,
                1,
                profile=kind.name,
                encoder=kind.encoder,
                speed=guess,
            ),
            kind,
            chance.uniform(1 - LUCK, 1 + LUCK),
        )
        for number, (kind, have, guess) in enumerate(zip(kinds, streams, guesses, strict=True))
    ]
