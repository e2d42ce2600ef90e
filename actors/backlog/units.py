"""Units: what is to be done of each video, and when each part becomes ready. Pure; ``Pieces`` knows what is on disk.

    short, or nothing idle:   WHOLE
    long:                     SURVEY ─► SPAN, SPAN, ... ─► BRIDGE per seam ─► JOIN
                                 └─ may not be cut, or two spans disagree about who is who ─► WHOLE, with a note

Nothing here knows lanes: the job hands units out, says what is done, and gives back what a dead lane had begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from actors.backlog.cutting import overlap_s, pieces_for
from actors.messages import Work
from dualface_ray.errors import Cancelled, DiskFullError, DualfaceError
from dualface_ray.media import Span
from dualface_ray.report import VideoTask
from dualface_ray.settings import Settings

_UNKNOWN_S = 60.0
"""Cost of a video whose length is unknown, in seconds of video."""


class SurveyResult(Protocol):
    """What has to be known of a survey here (``report.Survey`` is such)."""

    @property
    def refusal(self) -> str:
        """Why the video has to be done whole; "" = it may be cut."""

    @property
    def frames(self) -> int:
        """Of the whole video."""


class Pieces(Protocol):
    """What earlier units of a video have left on disk."""

    def survey(self, task: VideoTask) -> SurveyResult | None:
        """Of this video, if it is finished."""

    def plan(self, task: VideoTask) -> tuple[Span, ...] | None:
        """How an earlier run has cut it."""

    def cut(self, task: VideoTask, pieces: int, overlap_s: float) -> tuple[Span, ...]:
        """Cut a surveyed video into about so many parts and keep the plan; empty when it is best done whole.

        Neighbours share about ``overlap_s``.
        """

    def has_span(self, task: VideoTask, span: Span) -> bool:
        """Whether this span is finished."""

    def has_bridge(self, task: VideoTask, before: Span, after: Span) -> bool:
        """Whether the bridge between these is finished."""

    def has_result(self, task: VideoTask) -> bool:
        """Whether the video itself is complete."""

    def disagreement(self, task: VideoTask, before: Span, after: Span) -> str:
        """Why these finished spans cannot mean the same two people; "" = they do."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work."""

    unit_id: str
    """Its stream id: the video's, or that with a part behind it."""
    video: str
    work: Work
    cost_s: float
    """About so many seconds of video."""
    frames: int
    spans: tuple[Span, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def small(self) -> bool:
        """It takes little itself, and more work or a finished video waits for it: it is not queued with the others."""
        return self.work in (Work.SURVEY, Work.BRIDGE, Work.JOIN)

    @property
    def last(self) -> bool:
        """With it the video is done."""
        return self.work in (Work.WHOLE, Work.JOIN)


@dataclass(slots=True, eq=False)
class Step:
    """What follows from a unit's end."""

    ready: list[Unit] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Ids of units that are not wanted any more, wherever they are."""
    complete: bool = False
    """The video is done."""
    frames: int = 0
    """Of a cut video that is done."""


@dataclass(slots=True, eq=False)
class _Video:
    task: VideoTask
    cost_s: float
    notes: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    seams: set[int] = field(default_factory=set)
    """Bridges that exist as units, or are done."""
    open: dict[str, Unit] = field(default_factory=dict)
    """Ready or running."""
    done: set[str] = field(default_factory=set)
    frames: int = 0
    """Of the whole video, once surveyed."""
    shares: dict[str, int] = field(default_factory=dict)
    """Frames of each unit of a cut video that are done."""


def _bytes(need: Any) -> int:
    """A need is a number, or one for either kind of lane."""
    return need if isinstance(need, int) else max(need.host_bytes, need.device_bytes)


class Units:
    """All units of a job.

    Args:
        tasks: videos still to do.
        settings: of the job.
        pieces: what is on disk.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, pieces: Pieces) -> None:
        self._settings = settings
        self._pieces = pieces
        self._videos = {t.stream_id: _Video(t, t.duration_s or t.frames_estimate / 30 or _UNKNOWN_S) for t in tasks}
        self._units: dict[str, Unit] = {}
        self._waiting: set[str] = set()
        self._from_long: set[str] = set()
        self._short = [name for name, video in self._videos.items() if not self._may_be_long(video)]
        held = set(self._videos) - set(self._short)
        self._held = sorted(held, key=lambda name: self._videos[name].cost_s)
        """Long videos that nobody has looked at yet, the longest last."""
        self.held_s = sum(self._videos[name].cost_s for name in held)
        """Cost of these."""

    def __getitem__(self, unit_id: str) -> Unit:
        return self._units[unit_id]

    def __contains__(self, unit_id: str) -> bool:
        return unit_id in self._units

    @property
    def waiting(self) -> int:
        """Units and videos that nobody has begun."""
        return len(self._waiting) + len(self._held) + len(self._short)

    def rings(self) -> list[Any]:
        """What the frames of units take in a pool: as many as wait, the largest of all that are not done.

        A long video may become as many units as it can. A new lane has to hold what a dead one gives back, too.
        """
        count, found = len(self._waiting) + len(self._short), [u.video for u in self._units.values()] + self._short
        for name in self._held:
            most = max(1, int(self._videos[name].cost_s // self._settings.job.segment_min_s))
            count += most
            found += [name] * most
        needs = [self._videos[name].task.ring_bytes for name in found]
        return sorted(needs, key=_bytes, reverse=True)[:count]

    def release(self, slots: int, *, may_cut: bool = True) -> list[Unit]:
        """Units that may begin now.

        Short videos are ready from the start. Long ones follow, the longest first, as long as too few of their parts
        wait for ``slots`` lanes' places: each is cut as the work left then suggests, and few are half done at a time.
        Without ``may_cut`` only those are cut that an earlier run has surveyed.
        """
        ready = [self._whole(self._videos[name]) for name in self._short]
        self._short = []
        while self._held and slots and len(self._from_long) < slots:
            name = self._held.pop()
            self.held_s = self.held_s - self._videos[name].cost_s if self._held else 0.0
            ready += self._begin(self._videos[name], slots, may_cut)
        return ready

    def taken(self, unit_id: str) -> None:
        """A lane has it."""
        self._waiting.discard(unit_id)
        self._from_long.discard(unit_id)

    def returned(self, unit_id: str) -> None:
        """Its lane has died: it waits again."""
        self._waiting.add(unit_id)
        if self._may_be_long(self._videos[self._units[unit_id].video]):
            self._from_long.add(unit_id)

    def is_complete(self, unit_id: str) -> bool:
        """Whether a unit has left all that it should, though its lane died before it could say so."""
        unit, pieces = self._units[unit_id], self._pieces
        task = self._videos[unit.video].task
        if unit.work is Work.SURVEY:
            return pieces.survey(task) is not None
        if unit.work is Work.SPAN:
            return pieces.has_span(task, *unit.spans)
        return pieces.has_bridge(task, *unit.spans) if unit.work is Work.BRIDGE else pieces.has_result(task)

    def progress(self, unit_id: str, frames_done: int, frames_total: int) -> tuple[int, int]:
        """Frames done and to do of the whole video, when a unit of it has come so far."""
        unit = self._units[unit_id]
        video = self._videos[unit.video]
        if unit.work is Work.WHOLE:
            return frames_done, frames_total
        if unit.work is not Work.SURVEY:
            video.shares[unit_id] = min(frames_done, unit.frames)
        return self._frames(video)

    def done(self, unit_id: str, slots: int) -> Step:
        """A unit is finished."""
        unit = self._close(unit_id)
        video = self._videos[unit.video]
        if unit.last:
            return Step(complete=True, frames=video.frames if unit.work is Work.JOIN else 0)
        if unit.work is Work.SURVEY:
            return self._cut(video, slots)
        video.shares[unit_id] = unit.frames
        video.done.add(unit_id)
        return self._follow(video)

    def open(self, name: str) -> list[str]:
        """Ids of a video's units that are ready or running."""
        return list(self._videos[name].open)

    def instead(self, unit_id: str, error: DualfaceError) -> Step | None:
        """A part of a cut video has failed by itself: the video is done whole, unless that would fail as well."""
        unit = self._units[unit_id]
        if unit.work is Work.WHOLE or isinstance(error, (DiskFullError, Cancelled)):
            return None
        return self._whole_after_all(self._videos[unit.video], str(error))

    def give_up(self, name: str) -> list[str]:
        """A video has failed or was cancelled; returns the ids of its units that may still be somewhere."""
        ids = list(self._videos[name].open)
        for unit_id in ids:
            self._close(unit_id)
        return ids

    # --- inside ---------------------------------------------------------------------------------------------------
    def _may_be_long(self, video: _Video) -> bool:
        far = video.task.origin or video.task.publish
        return video.cost_s >= 2 * self._settings.job.segment_min_s and not far  # parts meet in a shared folder

    def _begin(self, video: _Video, slots: int, may_cut: bool) -> list[Unit]:
        survey = self._pieces.survey(video.task)
        if survey is not None:
            return self._cut(video, slots).ready
        if not may_cut or self._pieces_for(video, slots) == 1:
            return [self._whole(video)]
        return [self._open(video, Work.SURVEY, "survey", 0)]

    def _cut(self, video: _Video, slots: int) -> Step:
        """The survey is there: spans, without those that an earlier run has finished."""
        survey = self._pieces.survey(video.task)
        if survey is None:
            return self._whole_after_all(video, "its survey cannot be read")
        if survey.refusal:
            return self._whole_after_all(video, survey.refusal)
        video.frames = survey.frames
        video.spans = self._pieces.plan(video.task) or ()
        if not video.spans:
            count = self._pieces_for(video, slots)
            video.spans = self._pieces.cut(video.task, count, overlap_s(self._settings)) if count > 1 else ()
        if not video.spans:
            return Step(ready=[self._whole(video)])
        missing = []
        for span in video.spans:
            if self._pieces.has_span(video.task, span):
                self._found(video, f"s{span.number:03d}", span.frames)
            else:
                missing.append(span)
        step = self._follow(video)
        if video.spans:  # those that are there agree
            opened = [self._open(video, Work.SPAN, f"s{s.number:03d}", s.frames, (s,)) for s in missing]
            step.ready = opened + step.ready
        return step

    def _follow(self, video: _Video) -> Step:
        """Bridges between finished neighbours, and the joining when everything is there."""
        step = Step()
        name = video.task.stream_id
        for before, after in pairwise(video.spans):
            if before.number in video.seams or not self._has(video, before) or not self._has(video, after):
                continue
            why = self._pieces.disagreement(video.task, before, after)
            if why:
                return self._whole_after_all(video, why)
            video.seams.add(before.number)
            part, frames = f"b{before.number:03d}", before.end_frame - before.seam_frame
            if self._pieces.has_bridge(video.task, before, after):
                self._found(video, part, frames)
            else:
                step.ready.append(self._open(video, Work.BRIDGE, part, frames, (before, after)))
        wanted = [f"{name}-s{span.number:03d}" for span in video.spans]
        wanted += [f"{name}-b{span.number:03d}" for span in video.spans[:-1]]
        if not video.open and video.done.issuperset(wanted):
            step.ready.append(self._open(video, Work.JOIN, "join", 0, video.spans))
        return step

    def _whole_after_all(self, video: _Video, why: str) -> Step:
        step = Step(dropped=self.give_up(video.task.stream_id))
        video.spans, video.shares = (), {}
        video.notes = (*video.notes, f"done in one piece: {why}")
        step.ready.append(self._whole(video))
        return step

    def _whole(self, video: _Video) -> Unit:
        return self._open(video, Work.WHOLE, "", video.task.frames_estimate)

    def _open(self, video: _Video, work: Work, part: str, frames: int, spans: tuple[Span, ...] = ()) -> Unit:
        name = video.task.stream_id
        unit_id = f"{name}-{part}" if part else name
        rate = video.frames / video.cost_s if video.frames else 0.0
        cost_s = frames / rate if rate and work in (Work.SPAN, Work.BRIDGE) else video.cost_s
        unit = Unit(unit_id, name, work, cost_s, frames, spans, video.notes)
        self._units[unit_id] = video.open[unit_id] = unit
        self._waiting.add(unit_id)
        if self._may_be_long(video):
            self._from_long.add(unit_id)
        return unit

    def _found(self, video: _Video, part: str, frames: int) -> None:
        unit_id = f"{video.task.stream_id}-{part}"
        video.done.add(unit_id)
        video.shares[unit_id] = frames

    def _has(self, video: _Video, span: Span) -> bool:
        return f"{video.task.stream_id}-s{span.number:03d}" in video.done

    def _close(self, unit_id: str) -> Unit:
        unit = self._units.pop(unit_id)
        self._videos[unit.video].open.pop(unit_id, None)
        self.taken(unit_id)
        return unit

    def _frames(self, video: _Video) -> tuple[int, int]:
        if not video.spans:
            return 0, video.frames or video.task.frames_estimate
        total = sum(span.frames for span in video.spans)
        total += sum(span.end_frame - span.seam_frame for span in video.spans[:-1])
        return round(video.frames * sum(video.shares.values()) / max(1, total)), video.frames

    def _pieces_for(self, video: _Video, slots: int) -> int:
        others_s = sum(self._units[unit_id].cost_s for unit_id in self._waiting)
        others_s += sum(self._videos[name].cost_s for name in (*self._held, *self._short))
        return pieces_for(video.cost_s, others_s, slots, self._settings)
