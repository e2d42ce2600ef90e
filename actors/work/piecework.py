"""PieceFiles: what a span or a bridge leaves in the work folder, the record last."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from actors.messages import SegmentJob
from actors.work.pictures import PictureFiles, Place
from actors.work.session import SessionTools
from actors.work.streaming import Stream
from dualface_ray.backends.pyav import segment_configuration
from dualface_ray.errors import OutputError
from dualface_ray.media import Workspace
from dualface_ray.report import Quantiles, decoder_degradations, versions


class PieceFiles(PictureFiles):
    """Segments and tracks of one attempt at a piece.

    Args:
        job: the unit.
        tools: of its session.
        stream: of its frames.
        first_frame: the first one that will be written, of the whole video.
        origin_ticks: time stamp of the video's first frame.
    """

    def __init__(
        self, job: SegmentJob, tools: SessionTools, stream: Stream, first_frame: int, origin_ticks: int
    ) -> None:
        space, piece = Workspace.of(job.outputs), job.piece
        space.make()
        segments = tuple(space.segment(piece, job.epoch, canvas) for canvas in range(len(job.outputs.videos)))
        place = Place(segments, space.tracks(piece, job.epoch), first_frame, origin_ticks)
        super().__init__(job, stream.opened.info, tools.backend, tools.settings, tools.encode_threads, place)
        self._tools = tools
        self._lane = tools.provenance.lane(stream.opened.decoder)

    def record(self, frames: int, latency: Mapping[str, Quantiles], repairs: Mapping[str, int]) -> dict[str, Any]:
        """Give the files their names; returns what a ``PieceRecord`` says of them and of the decoder.

        Raises:
            OutputError: one cannot be written, or there are not as many frames as there should be.
        """
        if self.frames != frames or len(self.pts_ticks) != frames:
            raise OutputError(f"{self.frames} of {frames} frames were encoded", where=str(self.place.segments[0]))
        self.tracks_file.commit()
        return {
            "fingerprint": self._job.fingerprint,
            "piece": self._job.piece,
            "first_frame": self.place.first_frame,
            "frames": frames,
            "segments": tuple(path.name for path in self.place.segments),
            "sizes_bytes": tuple(path.stat().st_size for path in self.place.segments),
            "tracks": self.place.tracks.name,
            "specs": tuple(segment.encoder.spec for segment in self.segments),
            "extradata_sha256": tuple(
                hashlib.sha256(segment_configuration(path)).hexdigest() for path in self.place.segments
            ),
            "repairs": dict(repairs),
            "degradations": (*self._job.notes, *decoder_degradations(repairs), *self.degradations),
            "latency": {stage: quantiles.to_state() for stage, quantiles in latency.items()},
            "lane": self._lane,
            "versions": versions(),
            "models": self._tools.provenance.models,
            "engines": self._tools.provenance.engines,
            "encoder": self.encoder,
            "attempts": self._job.epoch + 1,
        }
