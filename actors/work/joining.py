"""JoinSession: spans and bridges become the final files; then the work folder goes.

spans and bridges in order ─► tracks; times as the survey saw them? ─► assemble with sound ─► report
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from actors.messages import SegmentJob
from actors.work.session import Message, Session, SessionTools
from dualface_ray.backends.pyav import AssembleReport, assemble, probe
from dualface_ray.errors import ProtocolError, SeamError
from dualface_ray.framing import shot_offset
from dualface_ray.media import (
    AtomicFile,
    Workspace,
    all_or_none,
    pts_digest,
    remove_partials,
    remove_workspace,
    require_free,
)
from dualface_ray.report import (
    PieceRecord,
    Survey,
    join_tracks,
    joined_report,
    load_bridge,
    load_span,
    load_survey,
)


class JoinSession(Session):
    """Needs no frame: everything happens in ``finalise``."""

    def __init__(self, job: SegmentJob, tools: SessionTools) -> None:
        super().__init__(job, tools)
        self.done = True

    def handle(self, message: Message) -> None:
        """No message is due.

        Raises:
            ProtocolError: always.
        """
        raise ProtocolError("a message for a unit that only joins files", where=self.job.stream_id)

    def _finalise(self) -> None:
        job = self.job
        survey, pieces, more_shots = self._load()
        space = Workspace.of(job.outputs)
        wanted = sum(size for piece in pieces for size in piece.sizes_bytes)
        require_free(job.outputs.folder, wanted + self.tools.settings.job.min_free_disk_bytes)
        with all_or_none(job.outputs):
            with AtomicFile(job.outputs.tracks) as tracks:
                parts = [(space.folder / piece.tracks, shots) for piece, shots in zip(pieces, more_shots, strict=True)]
                pts_ticks = join_tracks(parts, tracks.part)
                if len(pts_ticks) != survey.frames or pts_digest(pts_ticks) != survey.pts_sha256:
                    raise self._wrong(f"the parts hold {len(pts_ticks)} frames or other times than the video's frames")
                self.tick()
                assembled = self._assemble(space, pieces, pts_ticks)
            info = probe(job.source, self.tools.settings, job.stream_id).video
            report = joined_report(
                source=job.source,
                info=info,
                settings=self.tools.settings,
                fingerprint=job.fingerprint,
                outputs=tuple(path.name for path in job.outputs.videos),
                survey=survey,
                pieces=pieces,
                notes=job.notes,
                sound=[(a.audio_problem, a.counters) for a in assembled],
                elapsed_s=self.elapsed_s,
                attempts=job.epoch + 1,
            )
            report.save(job.outputs.report)
        remove_workspace(job.outputs)

    def _load(self) -> tuple[Survey, list[PieceRecord], list[int]]:
        """The survey, all pieces in order, and what to add to the shot numbers of each."""
        job = self.job
        survey = load_survey(job.outputs, job.fingerprint)
        spans = [_there(load_span(job.outputs, span, job.fingerprint), self) for span in job.spans]
        bridges = [_there(load_bridge(job.outputs, a, b, job.fingerprint), self) for a, b in pairwise(job.spans)]
        if survey is None:
            raise self._wrong("the survey of this video has vanished")
        if len({record.extradata_sha256 for record in (*spans, *bridges)}) != 1:
            raise self._wrong("its parts come from different encoders")
        pieces: list[PieceRecord] = [spans[0]]
        more_shots = [0]
        for bridge, (before, after) in zip(bridges, pairwise(spans), strict=True):
            pieces += [bridge, after]
            more_shots += [more_shots[-1], more_shots[-1] + shot_offset(before.coda, after.overture)]
        return survey, pieces, more_shots

    def _assemble(
        self, space: Workspace, pieces: Sequence[PieceRecord], pts_ticks: Sequence[int]
    ) -> list[AssembleReport]:
        reports = []
        for canvas, target in enumerate(self.job.outputs.videos):
            report = assemble(
                self.job.source,
                [space.folder / piece.segments[canvas] for piece in pieces],
                target,
                pts_ticks=pts_ticks,
                spec=pieces[0].specs[canvas],
                settings=self.tools.settings,
                tick=self.tick,
            )
            if report.frames != len(pts_ticks):
                raise self._wrong(f"{len(pts_ticks)} frames went in, {report.frames} came out")
            reports.append(report)
        return reports

    def _wrong(self, what: str) -> SeamError:
        return SeamError(what, where=str(self.job.source))

    def _discard(self) -> None:
        """Pieces stay: joining them again may succeed."""
        remove_partials(self.job.outputs)


_R = TypeVar("_R", bound=PieceRecord)


def _there(record: _R | None, session: JoinSession) -> _R:
    if record is None:
        raise SeamError("a finished part has vanished", where=str(session.job.source))
    return record
