"""ComposingSession and DirectedSession: sessions whose frames become pictures, along given plans or a Director's.

FrameFact, Detections ─► Director ─┬─ Ask ─► Request ··· Reply ─┐
                                   └─ DirectedFrame ◄───────────┘
                                           └─► Outputs
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial

from actors.messages import SegmentJob, StreamOpened
from actors.work.outputs import Outputs
from actors.work.session import SessionTools
from actors.work.streaming import Held, Stream, StreamSession
from dualface_ray.errors import Cancelled, ProtocolError
from dualface_ray.frames import Answer, Detections
from dualface_ray.framing import DirectedFrame, Director, Step
from dualface_ray.identity import FrameFact, IdentityEvent


class ComposingSession(StreamSession):
    """Reads frames out of their slots into outputs."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self._outputs: Outputs | None = None
        """Known from the stream's opening on."""

    @property
    def progress(self) -> int:
        """Pictures encoded so far count: they go on where a constant rate repeats one frame for long."""
        return super().progress + (0 if self._outputs is None else self._outputs.frames)

    def _compose(self, stream: Stream, group: Sequence[DirectedFrame], first_frame: int, planned_at_s: float) -> None:
        """Write consecutive frames; ``first_frame``: number of the stream's first frame in theirs."""
        numbers = [directed.frame_index - first_frame for directed in group]
        held = [stream.held.pop(number) for number in numbers]
        opened = stream.opened
        reader = self.tools.readers[opened.ring.pool_id]
        if self._outputs is None:
            raise ProtocolError("a frame came before its stream was opened", where=self.job.stream_id)
        with reader.read_many([(frame.ticket, opened.ring, opened.info) for frame in held]) as slots:
            self._outputs.write(group, slots, partial(self._encoded, held, planned_at_s))
        self._passed(stream, numbers[-1] + 1)

    def _encoded(self, held: Sequence[Held], planned_at_s: float) -> None:
        """The encoders have taken these frames; on their thread."""
        now_s = time.monotonic()
        self._latency["decide"].extend(planned_at_s - frame.examined_at_s for frame in held)
        self._latency["encode"].extend([now_s - planned_at_s] * len(held))
        self._latency["total"].extend(now_s - frame.decoded_at_s for frame in held)
        self.frames_done += len(held)

    def _discard(self) -> None:
        if self._outputs is not None:
            self._outputs.discard()


class DirectedSession(ComposingSession):
    """A Director decides what each frame shows."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self.events: list[IdentityEvent] = []
        self._director: Director | None = None

    @abstractmethod
    def _direct(self, stream: Stream, lookahead: int) -> Director:
        """The Director of this stream."""

    @abstractmethod
    def _show(self, stream: Stream, group: Sequence[DirectedFrame], planned_at_s: float) -> None:
        """Take consecutive frames, up to as many as are composed at once."""

    def _lookahead(self, message: StreamOpened) -> int:
        return self.tools.settings.lookahead_frames(message.info.average_rate)

    def _begin(self, stream: Stream) -> None:
        self._director = self._direct(stream, self._lookahead(stream.opened))

    def _arrived(self, stream: Stream, facts: Sequence[FrameFact], found: Detections) -> None:
        self._follow(stream, self._directing().push(facts, found))

    def _ended(self, stream: Stream) -> None:
        self._follow(stream, self._directing().finish())

    def _answered(self, stream: Stream, answer: Answer) -> None:
        self._follow(stream, self._directing().answer([answer]))

    def _follow(self, stream: Stream, step: Step) -> None:
        self.events.extend(step.events)
        for ask in step.asks:
            self._ask(stream, ask)
        planned_at_s = time.monotonic()
        size = self.tools.backend.compose_frames
        for start in range(0, len(step.frames), size):
            if self.cancelled.is_set():
                raise Cancelled("cancelled", where=str(self.job.source))
            self._show(stream, step.frames[start : start + size], planned_at_s)
        self._grant(stream)
        if step.done:
            if not stream.ended or stream.held:
                raise ProtocolError("the session ended before its stream", where=str(self.job.source))
            self.done = True

    def _directing(self) -> Director:
        if self._director is None:
            raise ProtocolError("a chunk came before its stream was opened", where=self.job.stream_id)
        return self._director
