"""OutputFiles: the pictures, tracks and final files of one video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.messages import SegmentJob
from dualface_ray.backends import Backend
from dualface_ray.backends.pyav import AssembleReport, SegmentWriter, assemble
from dualface_ray.compose import output_colour
from dualface_ray.errors import OutputError
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import CanvasPlan, DirectedFrame
from dualface_ray.media import (
    AtomicFile,
    EncodeSession,
    EncodeSpec,
    Packet,
    remove_partials,
    require_free,
    segment_path,
)
from dualface_ray.report import TracksHeader, TracksWriter
from dualface_ray.settings import Settings

_CHECK_DISK_EVERY_FRAMES = 256


@dataclass(slots=True)
class _Segment:
    """One output video on its way: an encoder and the file its packets go to."""

    encoder: EncodeSession
    path: Path
    writer: SegmentWriter | None = None

    def write(self, packets: Sequence[Packet]) -> None:
        """Add packets; the file begins with the first, for only then the codec's configuration is known."""
        for packet in packets:
            if self.writer is None:
                self.writer = SegmentWriter(self.path, self.encoder.spec, self.encoder.extradata)
            self.writer.write(packet)


class OutputFiles:
    """Composes, encodes and records directed frames; names the files only when all of them are complete.

    Args:
        job: the segment and its outputs.
        info: of the source stream.
        backend: composes and encodes.
        settings: of the job.
        threads: of one encoder.
    """

    def __init__(self, job: SegmentJob, info: StreamInfo, backend: Backend, settings: Settings, threads: int) -> None:
        self._job = job
        self._info = info
        self._backend = backend
        self._settings = settings
        self._threads = threads
        self._compositor = backend.open_compositor(settings)
        self._segments: list[_Segment] = []
        self._tracks_file = AtomicFile(job.outputs.tracks)
        self._tracks_file.__enter__()
        header = TracksHeader(job.source.name, info.display_width_px, info.display_height_px, info.time_base)
        self._tracks = TracksWriter(self._tracks_file.part, header)
        self.pts_ticks: list[int] = []
        """Of every frame written, in display order."""

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return len(self.pts_ticks)

    def write(self, frames: Sequence[DirectedFrame], slots: Sequence[Any]) -> None:
        """Compose, encode and record consecutive frames; the slots have been read completely on return.

        Raises:
            OutputError, EncodeError: an encoder or the disk refused.
        """
        if self.frames % _CHECK_DISK_EVERY_FRAMES < len(frames):
            require_free(self._job.outputs.folder, self._settings.job.min_free_disk_bytes)
        composed = self._compositor.compose(self._info, slots, [frame.plan for frame in frames])
        for frame, canvases in zip(frames, composed, strict=True):
            plan = frame.plan
            if not self._segments:
                self._open(plan.canvases)
            for segment, canvas in zip(self._segments, canvases, strict=True):
                segment.write(segment.encoder.encode(canvas, plan.pts_ticks))
            self._tracks.add(frame.tracked, plan)
            self.pts_ticks.append(plan.pts_ticks)

    def finish(self) -> None:
        """Drain the encoders and complete segments and tracks (still under their temporary names)."""
        for segment in self._segments:
            segment.write(segment.encoder.finish())
            segment.encoder.close()
            if segment.writer is not None:
                segment.writer.finish()
        self._tracks.close()

    def assemble(self) -> list[AssembleReport]:
        """Join video and sound of every output and give the files their names, the tracks last.

        Raises:
            OutputError: a file cannot be written, or not every frame arrived in it.
        """
        reports = []
        for segment, target in zip(self._segments, self._job.outputs.videos, strict=True):
            report = assemble(
                self._job.source,
                [segment.path],
                target,
                pts_ticks=self.pts_ticks,
                spec=segment.encoder.spec,
                settings=self._settings,
            )
            if report.frames != self.frames:
                raise OutputError(f"{self.frames} frames went in, {report.frames} came out", where=str(target))
            segment.path.unlink(missing_ok=True)
            reports.append(report)
        self._tracks_file.commit()
        return reports

    def discard(self) -> None:
        """Close everything and remove what is not complete. Harmless when called twice."""
        self._tracks.close()
        self._tracks_file.discard()
        for segment in self._segments:
            segment.encoder.close()
            if segment.writer is not None:
                segment.writer.discard()
        self._compositor.close()
        remove_partials(self._job.outputs)

    def close(self) -> None:
        """Free what is left after ``assemble``."""
        self._compositor.close()

    def _open(self, canvases: Sequence[CanvasPlan]) -> None:
        encode, rate = self._settings.encode, self._info.average_rate
        colour = output_colour(self._info)
        for canvas, target in zip(canvases, self._job.outputs.videos, strict=True):
            spec = EncodeSpec(
                width_px=canvas.width_px,
                height_px=canvas.height_px,
                time_base=self._info.time_base,
                rate=rate,
                codec=encode.codec,
                quality=encode.quality,
                preset=encode.preset,
                gop_frames=max(1, round(encode.gop_s * rate)),
                colour_matrix=colour.matrix,
                colour_primaries=colour.primaries,
                colour_transfer=colour.transfer,
                full_range=colour.full_range,
                threads=self._threads,
            )
            self._segments.append(_Segment(self._backend.open_encoder(spec), segment_path(target, 0)))
