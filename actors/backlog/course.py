"""Course: one video's way through its units. Pure; ``Pieces`` knows what is on disk.

    short, or nothing idle:   WHOLE
    long:                     SURVEY ─► SPAN, SPAN, ... ─► BRIDGE per seam ─► JOIN
                                 └─ may not be cut, or two spans disagree about who is who ─► WHOLE, with a note

Knows no other video: into how many parts it is cut is asked when it comes to that.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from actors.backlog.cost import REFERENCE_RATE, frame_cost
from actors.backlog.cutting import overlap_s
from actors.backlog.ports import Pieces
from actors.backlog.unit import Step, Unit
from actors.messages import Work
from dualface_ray.media import Span
from dualface_ray.report import VideoTask
from dualface_ray.settings import Settings

_UNKNOWN_S = 60.0
"""Length of a video that does not say."""


class Course:
    """What of a video is ready or running, what is done, and what follows.

    Args:
        task: the video.
        settings: of the job.
        pieces: what is on disk.
    """

    def __init__(self, task: VideoTask, settings: Settings, pieces: Pieces) -> None:
        self.task = task
        self.seconds = task.duration_s or task.frames_estimate / REFERENCE_RATE or _UNKNOWN_S
        """About how long it is."""
        self._frame_cost = frame_cost(task.picture_px, settings)
        self.cost = self._frame_cost * (task.frames_estimate or self.seconds * REFERENCE_RATE)
        """Of all of it, see ``frame_cost``."""
        far = task.origin or task.publish  # parts meet in a shared folder
        self.may_be_long = self.seconds >= 2 * settings.job.segment_min_s and not far
        """It may be cut."""
        self._overlap_s = overlap_s(settings)
        self._pieces = pieces
        self._notes: tuple[str, ...] = ()
        self._spans: tuple[Span, ...] = ()
        self._seams: set[int] = set()
        """Bridges that exist as units, or are done."""
        self._open: dict[str, Unit] = {}
        """Ready or running."""
        self._done: set[str] = set()
        self._frames = 0
        """Of the whole video, once surveyed."""
        self._shares: dict[str, int] = {}
        """Frames of each unit of a cut video that are done."""

    @property
    def open(self) -> list[str]:
        """Ids of its units that are ready or running."""
        return list(self._open)

    def begin(self, count: Callable[[], int], *, may_cut: bool) -> Step:
        """The first units: the whole, a survey, or what an earlier run has left to do.

        Args:
            count: into how many parts it would be cut now.
            may_cut: otherwise it is cut only if an earlier run has surveyed it.
        """
        if self._pieces.survey(self.task) is not None:
            return self._cut(count)
        if not may_cut or count() == 1:
            return Step(ready=[self.whole()])
        return Step(ready=[self._begin(Work.SURVEY, "survey", 0)])

    def whole(self) -> Unit:
        """All of it as one unit."""
        return self._begin(Work.WHOLE, "", self.task.frames_estimate)

    def ended(self, unit: Unit, count: Callable[[], int]) -> Step:
        """A unit is finished; ``count`` as in ``begin``."""
        self._open.pop(unit.unit_id, None)
        if unit.last:
            return Step(complete=True, frames=self._frames if unit.work is Work.JOIN else 0)
        if unit.work is Work.SURVEY:
            return self._cut(count)
        self._found(unit.unit_id, unit.frames)
        return self._follow()

    def whole_after_all(self, why: str) -> Step:
        """Its parts are not wanted any more: it is done in one piece, with a note."""
        step = Step(dropped=self.give_up())
        self._spans, self._shares = (), {}
        self._notes = (*self._notes, f"done in one piece: {why}")
        step.ready.append(self.whole())
        return step

    def give_up(self) -> list[str]:
        """Nothing of it is wanted any more; returns the ids of its units that may still be somewhere."""
        ids = self.open
        self._open.clear()
        return ids

    def is_complete(self, unit: Unit) -> bool:
        """Whether a unit has left all that it should."""
        pieces, task = self._pieces, self.task
        if unit.work is Work.SURVEY:
            return pieces.survey(task) is not None
        if unit.work is Work.SPAN:
            return pieces.has_span(task, *unit.spans)
        return pieces.has_bridge(task, *unit.spans) if unit.work is Work.BRIDGE else pieces.has_result(task)

    def progress(self, unit: Unit, frames_done: int, frames_total: int) -> tuple[int, int]:
        """Frames done and to do of the whole video, when a unit of it has come so far."""
        if unit.work is Work.WHOLE:
            return frames_done, frames_total
        if unit.work is not Work.SURVEY:
            self._shares[unit.unit_id] = min(frames_done, unit.frames)
        if not self._spans:
            return 0, self._frames or self.task.frames_estimate
        total = sum(span.frames for span in self._spans)
        total += sum(span.end_frame - span.seam_frame for span in self._spans[:-1])
        return round(self._frames * sum(self._shares.values()) / max(1, total)), self._frames

    # --- inside ---------------------------------------------------------------------------------------------------
    def _cut(self, count: Callable[[], int]) -> Step:
        """The survey is there: spans, without those that an earlier run has finished."""
        survey = self._pieces.survey(self.task)
        if survey is None:
            return self.whole_after_all("its survey cannot be read")
        if survey.refusal:
            return self.whole_after_all(survey.refusal)
        self._frames = survey.frames
        self._spans = self._pieces.plan(self.task) or ()
        if not self._spans:
            parts = count()
            self._spans = self._pieces.cut(self.task, parts, self._overlap_s) if parts > 1 else ()
        if not self._spans:
            return Step(ready=[self.whole()])
        missing = []
        for span in self._spans:
            if self._pieces.has_span(self.task, span):
                self._found(self._id(_span_part(span)), span.frames)
            else:
                missing.append(span)
        step = self._follow()
        if self._spans:  # those that are there agree
            step.ready = [self._begin(Work.SPAN, _span_part(s), s.frames, (s,)) for s in missing] + step.ready
        return step

    def _follow(self) -> Step:
        """Bridges between finished neighbours, and the joining when everything is there."""
        step = Step()
        for before, after in pairwise(self._spans):
            if before.number in self._seams or not self._has(before) or not self._has(after):
                continue
            why = self._pieces.disagreement(self.task, before, after)
            if why:
                return self.whole_after_all(why)
            self._seams.add(before.number)
            part, frames = _bridge_part(before), before.end_frame - before.seam_frame
            if self._pieces.has_bridge(self.task, before, after):
                self._found(self._id(part), frames)
            else:
                step.ready.append(self._begin(Work.BRIDGE, part, frames, (before, after)))
        wanted = [self._id(_span_part(span)) for span in self._spans]
        wanted += [self._id(_bridge_part(span)) for span in self._spans[:-1]]
        if not self._open and self._done.issuperset(wanted):
            step.ready.append(self._begin(Work.JOIN, "join", 0, self._spans))
        return step

    def _begin(self, work: Work, part: str, frames: int, spans: tuple[Span, ...] = ()) -> Unit:
        cost = self._frame_cost * frames if work in (Work.SPAN, Work.BRIDGE) else self.cost
        unit = Unit(self._id(part), self.task.stream_id, work, cost, frames, spans, self._notes)
        self._open[unit.unit_id] = unit
        return unit

    def _found(self, unit_id: str, frames: int) -> None:
        self._done.add(unit_id)
        self._shares[unit_id] = frames

    def _has(self, span: Span) -> bool:
        return self._id(_span_part(span)) in self._done

    def _id(self, part: str) -> str:
        return f"{self.task.stream_id}-{part}" if part else self.task.stream_id


def _span_part(span: Span) -> str:
    return f"s{span.number:03d}"


def _bridge_part(before: Span) -> str:
    return f"b{before.number:03d}"
