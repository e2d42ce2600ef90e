"""WholeSession: a video done in one go.

chunks ─► DirectedSession ─► OutputFiles ─► (END) drain ─► assemble: sound, time stamps ─► report: done
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.messages import SegmentJob
from actors.work.composing import DirectedSession
from actors.work.outputs import DiscardedPictures, FinalOutputs, OutputFiles
from actors.work.session import SessionTools
from actors.work.streaming import Stream
from dualface_ray.backends.pyav import AssembleReport
from dualface_ray.errors import ProtocolError
from dualface_ray.framing import DirectedFrame, Director
from dualface_ray.media import all_or_none
from dualface_ray.report import (
    FrameRecord,
    RunReport,
    VideoState,
    counted_settings,
    decoder_degradations,
    event_records,
    input_record,
    latency_records,
    sound_counts,
    versions,
)


class WholeSession(DirectedSession):
    """Turns one stream of chunks into its output files."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self._final: FinalOutputs | None = None

    def _direct(self, stream: Stream, lookahead: int) -> Director:
        tools, info = self.tools, stream.opened.info
        if tools.discard:
            self._final = DiscardedPictures(info, tools.backend, tools.settings)
        else:
            self._final = OutputFiles(self.job, info, tools.backend, tools.settings, tools.encode_threads)
        self._outputs = self._final
        return Director(tools.settings, info, lookahead)

    def _show(self, stream: Stream, group: Sequence[DirectedFrame], planned_at_s: float) -> None:
        self._compose(stream, group, 0, planned_at_s)

    def _finalise(self) -> None:
        """Files first, the report last."""
        stream, outputs = self._opened(), self._final
        if outputs is None:
            raise ProtocolError("it ended before it was opened", where=self.job.stream_id)
        outputs.finish()
        if self.tools.discard:
            outputs.assemble(self.tick)
        else:
            with all_or_none(self.job.outputs):
                assembled = outputs.assemble(self.tick)
                self._report(stream, outputs, assembled).save(self.job.outputs.report)
        outputs.close()

    def _report(self, stream: Stream, outputs: FinalOutputs, assembled: Sequence[AssembleReport]) -> RunReport:
        job, info = self.job, stream.opened.info
        pts_ticks = dict(enumerate(outputs.pts_ticks))
        counters = {**self.counters, **outputs.counters}
        degradations = [*job.notes, *decoder_degradations(self.counters), *outputs.degradations]
        degradations += [f"no sound: {report.audio_problem}" for report in assembled if report.audio_problem]
        spent = self.spent()
        return RunReport(
            state=VideoState.DONE,
            input=input_record(job.source, info, job.shown),
            fingerprint=job.fingerprint,
            settings=counted_settings(self.tools.settings),
            outputs=tuple(path.name for path in job.outputs.videos),
            frames=FrameRecord(
                frames_in=self.frames_done,
                frames_out=outputs.frames,
                concealed=counters.pop("concealed", 0),
                repairs=counters,
                detected=spent.detected,
                embedded=spent.embedded,
            ),
            sound=sound_counts(report.counters for report in assembled),
            inference_s={"detect": spent.detect_s, "embed": spent.embed_s},
            events=event_records(self.events, pts_ticks, pts_ticks.get(0, 0), info.time_base),
            degradations=tuple(dict.fromkeys(degradations)),
            latency_s=latency_records(self.latency()),
            elapsed_s=self.elapsed_s,
            attempts=job.epoch + 1,
            lane=self.tools.provenance.lane(stream.opened.decoder),
            versions=versions(),
            models=self.tools.provenance.models,
            engines=self.tools.provenance.engines,
            encoder=outputs.encoder,
        )
