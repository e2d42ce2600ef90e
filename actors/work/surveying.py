"""SurveySession: looks a long video over and says who its two people are, or why it is best done whole.

key frames ─► every face found ─► Ask (embed the important ones) ─► build_cast ─► survey.json
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import count

from actors.messages import SegmentJob, StreamOpened
from actors.work.session import SessionTools
from actors.work.streaming import Stream, StreamSession
from dualface_ray.errors import DualfaceError, InputError, SeamError
from dualface_ray.frames import F32, Answer, Ask, Detections, Faces
from dualface_ray.identity import Cast, FrameFact, SurveyedFrame, build_cast, faces_to_embed
from dualface_ray.media import FileSurvey, Workspace
from dualface_ray.report import Survey


class SurveySession(StreamSession):
    """Examines a few key frames; all of them are held until the last has been seen."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self._asks = count()
        self._facts: list[FrameFact] = []
        self._faces: dict[int, Faces] = {}
        self._open_asks = 0
        self._embedding = False
        self._refusal = ""
        self._cast: Cast | None = None

    def _lookahead(self, message: StreamOpened) -> int:
        return 0

    def _begin(self, stream: Stream) -> None:
        self.frames_total = 0
        survey = stream.opened.survey
        self._refusal = "the file was not looked at" if survey is None else survey.refusal

    def _arrived(self, stream: Stream, facts: Sequence[FrameFact], found: Detections) -> None:
        self.tick()
        self._facts += facts
        self._faces.update(found.by_frame)
        missing = tuple(fact.frame_index for fact in facts if fact.frame_index not in found.by_frame)
        if missing and not self._refusal:
            self._open_asks += 1
            self._ask(stream, Ask(next(self._asks), detect=missing))

    def _answered(self, stream: Stream, answer: Answer) -> None:
        self.tick()
        self._open_asks -= 1
        self._faces.update(answer.detections.by_frame)
        if self._embedding:
            self._conclude(stream, answer.embeddings)
        elif stream.ended:
            self._examined_all(stream)

    def _ended(self, stream: Stream) -> None:
        odd = ", ".join(sorted(self.counters))
        if odd and not self._refusal:
            self._refusal = f"its key frames are not of one kind ({odd})"
        self._examined_all(stream)

    def _examined_all(self, stream: Stream) -> None:
        if self._refusal:
            self.done = True
        elif not self._open_asks:
            crops = faces_to_embed(self._frames(stream))
            self._embedding = True
            if crops:
                self._open_asks += 1
                self._ask(stream, Ask(next(self._asks), embed=tuple(crops)))
            else:
                self._conclude(stream, Answer(-1).embeddings)

    def _conclude(self, stream: Stream, embeddings: F32) -> None:
        found = build_cast(self._frames(stream), embeddings, self.tools.settings)
        if isinstance(found, Cast):
            self._cast = found
        else:
            self._refusal = found
        self.done = True

    def _frames(self, stream: Stream) -> list[SurveyedFrame]:
        tick_s = stream.opened.info.time_base
        first = stream.opened.survey.first_pts_ticks if stream.opened.survey else 0
        return [
            SurveyedFrame(f.frame_index, float((f.pts_ticks - first) * tick_s), self._faces[f.frame_index])
            for f in self._facts
        ]

    def _aborted(self, error: DualfaceError) -> None:
        """What cannot even be looked at in parts may still be done whole; so it is no failure here."""
        if not isinstance(error, (InputError, SeamError)):
            raise error
        self._refusal = error.what
        self.done = True

    def _finalise(self) -> None:
        stream = self._stream
        file = stream.opened.survey if stream is not None else None
        file = file or FileSurvey()
        survey = Survey(
            fingerprint=self.job.fingerprint,
            refusal=self._refusal,
            frames=file.frames,
            time_base=stream.opened.info.time_base if stream is not None else Fraction(1),
            rate=file.rate,
            first_pts_ticks=file.first_pts_ticks,
            key_frames=file.key_frames,
            key_pts_ticks=file.key_pts_ticks,
            pts_sha256=file.pts_sha256,
            cast=self._cast.as_dict() if self._cast else None,
            spent=self.spent(),
            elapsed_s=self.elapsed_s,
        )
        survey.save(Workspace.of(self.job.outputs).record(self.job.piece))

    def _discard(self) -> None:
        """Nothing is written before the end."""
