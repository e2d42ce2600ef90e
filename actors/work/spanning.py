"""SpanSession: one span of a cut video, decided with the survey's cast and encoded between its seams.

frames ─► Director ─┬─ before write_frame ─► overture ─┐
                    ├─ written            ─► segment   ├─► span-0003.json
                    └─ from seam_frame on ─► coda ─────┘

Inside, frames count from the span's first one; whatever is written counts from the video's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from actors.messages import SegmentJob
from actors.work.composing import DirectedSession
from actors.work.piecework import PieceFiles
from actors.work.session import SessionTools
from actors.work.streaming import Stream
from dualface_ray.errors import SeamError
from dualface_ray.framing import DirectedFrame, Director, PathPoint
from dualface_ray.identity import Cast
from dualface_ray.media import Span, Workspace
from dualface_ray.report import EventRecord, SpanRecord, Survey, event_records, load_survey


class SpanSession(DirectedSession):
    """Turns the frames of a span into its piece."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self._span: Span = job.spans[0]
        self._survey: Survey | None = None
        self._files: PieceFiles | None = None
        self._overture: list[PathPoint] = []
        self._coda: list[PathPoint] = []
        self._pts_ticks: dict[int, int] = {}
        """Of every frame decided on."""

    def _direct(self, stream: Stream, lookahead: int) -> Director:
        job, span, info = self.job, self._span, stream.opened.info
        self.frames_total = span.frames
        survey = self._survey = load_survey(job.outputs, job.fingerprint)
        if survey is None or survey.cast is None:
            raise SeamError("the survey of this video has vanished", where=str(job.source))
        origin = survey.first_pts_ticks
        self._outputs = self._files = PieceFiles(job, self.tools, stream, span.write_frame, origin)
        begin_s = float((span.first_pts_ticks - origin) * info.time_base)
        return Director(self.tools.settings, info, lookahead, cast=Cast.from_dict(survey.cast), begin_s=begin_s)

    def _show(self, stream: Stream, group: Sequence[DirectedFrame], planned_at_s: float) -> None:
        first, span = self._span.first_frame, self._span
        for part in _runs(group, span.write_frame - first, span.seam_frame - first):
            self._pts_ticks.update((first + d.frame_index, d.plan.pts_ticks) for d in part)
            if span.write_frame <= first + part[0].frame_index < span.seam_frame:
                self._compose(stream, [_moved(directed, first) for directed in part], first, planned_at_s)
                continue
            aside = self._overture if first + part[0].frame_index < span.write_frame else self._coda
            for directed in part:
                aside.append(PathPoint.of(directed, first))
                del stream.held[directed.frame_index]
            self.frames_aside += len(part)
            self._passed(stream, part[-1].frame_index + 1)

    def _finalise(self) -> None:
        files, survey, span = self._files, self._survey, self._span
        if files is None or survey is None or len(self._pts_ticks) != span.frames:
            raise SeamError(f"{len(self._pts_ticks)} of {span.frames} frames came", where=str(self.job.source))
        files.finish()
        record = SpanRecord(
            **files.record(span.written, self.latency(), self.counters),
            events=self._own_events(survey),
            spent=self.spent(),
            span=span,
            overture=tuple(self._overture),
            coda=tuple(self._coda),
            elapsed_s=self.elapsed_s,
        )
        files.close()
        record.save(Workspace.of(self.job.outputs).record(self.job.piece))

    def _own_events(self, survey: Survey) -> tuple[EventRecord, ...]:
        """Those up to the middle of each overlap; the neighbours tell the others."""
        span = self._span
        begin = span.first_frame + (span.write_frame - span.first_frame + 1) // 2
        end = span.seam_frame + (span.end_frame - span.seam_frame + 1) // 2
        events = [replace(event, frame_index=event.frame_index + span.first_frame) for event in self.events]
        mine = [event for event in events if begin <= event.frame_index < end]
        return event_records(mine, self._pts_ticks, survey.first_pts_ticks, survey.time_base)


def _runs(group: Sequence[DirectedFrame], *edges: int) -> Iterator[Sequence[DirectedFrame]]:
    """The group, cut where a frame number is one of these."""
    start = 0
    for k in range(1, len(group)):
        if group[k].frame_index in edges:
            yield group[start:k]
            start = k
    yield group[start:]


def _moved(directed: DirectedFrame, frames: int) -> DirectedFrame:
    """The same frame, counted from the video's first one."""
    number = directed.frame_index + frames
    return DirectedFrame(replace(directed.tracked, frame_index=number), replace(directed.plan, frame_index=number))
