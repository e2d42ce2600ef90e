"""BridgeSession: the overlap of two spans, composed along one path that leads from the one's to the other's.

span-0003.json: coda ─────┬─► check_seam ─► blend ─► plans ─┐
span-0004.json: overture ─┘                      frames ─► segment ─► bridge-0003.json
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.messages import SegmentJob, StreamOpened
from actors.work.composing import ComposingSession
from actors.work.piecework import PieceFiles
from actors.work.session import SessionTools
from actors.work.streaming import Stream
from dualface_ray.errors import ProtocolError, SeamError
from dualface_ray.frames import Detections
from dualface_ray.framing import DirectedFrame, blend, check_seam
from dualface_ray.identity import FrameFact
from dualface_ray.media import Workspace
from dualface_ray.report import PieceRecord, SpanRecord, load_span, load_survey


class BridgeSession(ComposingSession):
    """Composes what both neighbours have decided on already; nothing is examined."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self._before, self._after = job.spans
        self._files: PieceFiles | None = None
        self._plans: list[DirectedFrame] = []

    def _lookahead(self, message: StreamOpened) -> int:
        return 0

    def _begin(self, stream: Stream) -> None:
        job = self.job
        survey = load_survey(job.outputs, job.fingerprint)
        before, after = (load_span(job.outputs, span, job.fingerprint) for span in job.spans)
        if survey is None or before is None or after is None:
            raise SeamError("the records of two spans are needed and have vanished", where=str(job.source))
        self._plans = _bridged(before, after, self)
        self.frames_total = len(self._plans)
        origin = survey.first_pts_ticks
        self._outputs = self._files = PieceFiles(job, self.tools, stream, self._before.seam_frame, origin)

    def _arrived(self, stream: Stream, facts: Sequence[FrameFact], found: Detections) -> None:
        planned_at_s = time.monotonic()
        size, first = self.tools.backend.compose_frames, self._before.seam_frame
        for start in range(0, len(facts), size):
            self.tick()
            group = facts[start : start + size]
            plans = self._plans[group[0].frame_index : group[-1].frame_index + 1]
            if [plan.plan.pts_ticks for plan in plans] != [fact.pts_ticks for fact in group]:
                where = f"{self.job.source}, frame {first + group[0].frame_index}"
                raise SeamError("its frames are not those that the spans have seen", where=where)
            self._compose(stream, plans, first, planned_at_s)

    def _ended(self, stream: Stream) -> None:
        self.done = True

    def _finalise(self) -> None:
        if self._files is None:
            raise SeamError("it was never begun", where=str(self.job.source))
        self._files.finish()
        record = PieceRecord(
            **self._files.record(len(self._plans), self.latency(), self.counters),
            spent=self.spent(),
            elapsed_s=self.elapsed_s,
        )
        self._files.close()
        record.save(Workspace.of(self.job.outputs).record(self.job.piece))


def _bridged(before: SpanRecord, after: SpanRecord, session: BridgeSession) -> list[DirectedFrame]:
    """The frames of the overlap.

    Raises:
        SeamError: the two spans do not mean the same people, or were not made alike.
    """
    where = str(session.job.source)
    if before.extradata_sha256 != after.extradata_sha256:
        raise SeamError("two parts come from different encoders", where=where)
    try:
        disagreement = check_seam(before.coda, after.overture)
        plans = blend(before.coda, after.overture, session.tools.settings)
    except ProtocolError as error:
        raise SeamError(error.what, where=where) from error
    wanted = range(before.span.seam_frame, before.span.end_frame)
    if not disagreement and [plan.frame_index for plan in plans] != list(wanted):
        disagreement = f"they overlap in {len(plans)} frames, not in {len(wanted)}"
    if disagreement:
        raise SeamError(disagreement, where=where)
    return plans
