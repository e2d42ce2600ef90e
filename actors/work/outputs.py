"""Outputs: where the directed frames of a unit go; OutputFiles makes the final files of a video done whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from actors.messages import SegmentJob
from actors.work.pictures import PictureFiles, Place
from actors.work.pipe import Task
from dualface_ray.backends import Backend
from dualface_ray.backends.pyav import AssembleReport, assemble
from dualface_ray.errors import OutputError
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import DirectedFrame
from dualface_ray.media import folder_gone, segment_path
from dualface_ray.settings import Settings


class Outputs(Protocol):
    """Where directed frames go."""

    pts_ticks: list[int]
    """Of every frame written, in display order."""

    @property
    def frames(self) -> int:
        """Frames written so far."""

    @property
    def counters(self) -> dict[str, int]:
        """What became of frames here, by name."""

    @property
    def degradations(self) -> list[str]:
        """What differs from what was asked for."""

    def write(self, frames: Sequence[DirectedFrame], slots: Sequence[Any], done: Task) -> None:
        """Take consecutive frames; the slots have been read completely on return, ``done`` follows the encoder."""

    def finish(self) -> None:
        """No further frame comes."""

    def discard(self) -> None:
        """Give up; nothing stays."""

    def close(self) -> None:
        """Free what is left."""


class FinalOutputs(Outputs, Protocol):
    """Outputs that become the files of a whole video."""

    @property
    def encoder(self) -> str:
        """Which encoder made them; empty = none."""

    def assemble(self, tick: Callable[[], None]) -> list[AssembleReport]:
        """Make the final files; ``tick`` is called now and then."""


class DiscardedPictures:
    """Composes and throws away: what a benchmark without an encoder measures."""

    def __init__(self, info: StreamInfo, backend: Backend, settings: Settings) -> None:
        self.pts_ticks: list[int] = []
        self._info = info
        self._compositor = backend.open_compositor(settings)

    @property
    def frames(self) -> int:
        """Frames composed so far."""
        return len(self.pts_ticks)

    @property
    def counters(self) -> dict[str, int]:
        """Nothing is counted."""
        return {}

    @property
    def degradations(self) -> list[str]:
        """Nothing is promised."""
        return []

    @property
    def encoder(self) -> str:
        """None is at work."""
        return ""

    def write(self, frames: Sequence[DirectedFrame], slots: Sequence[Any], done: Task) -> None:
        """Compose."""
        self._compositor.compose(self._info, slots, [frame.plan for frame in frames])
        self.pts_ticks.extend(frame.plan.pts_ticks for frame in frames)
        done()

    def finish(self) -> None:
        """Nothing is pending."""

    def assemble(self, tick: Callable[[], None]) -> list[AssembleReport]:
        """There is no file."""
        return []

    def discard(self) -> None:
        """As ``close``."""
        self.close()

    def close(self) -> None:
        """Free the compositor."""
        self._compositor.close()


class OutputFiles(PictureFiles):
    """A whole video: its segments, then its final files, one after the other.

    Args:
        job: the video and its outputs.
        info: of the source stream.
        backend: composes and encodes.
        settings: of the job.
        threads: of one encoder.
    """

    def __init__(self, job: SegmentJob, info: StreamInfo, backend: Backend, settings: Settings, threads: int) -> None:
        segments = tuple(segment_path(video, job.epoch) for video in job.outputs.videos)
        super().__init__(job, info, backend, settings, threads, Place(segments, job.outputs.tracks))

    def write(self, frames: Sequence[DirectedFrame], slots: Sequence[Any], done: Task) -> None:
        """See ``PictureFiles``.

        Raises:
            OutputError: the folder is gone, beside what else there is.
        """
        self._require_folder()
        super().write(frames, slots, done)

    def finish(self) -> None:
        """See ``PictureFiles``."""
        self._require_folder()
        super().finish()

    def assemble(self, tick: Callable[[], None]) -> list[AssembleReport]:
        """Join video and sound of every output and give the files their names, the tracks last.

        The segments stay until ``close``: while the report is missing they say whose the named files are.

        Raises:
            OutputError: a file cannot be written, or not every frame arrived in it.
        """
        self._require_folder()
        reports = []
        for segment, target in zip(self.segments, self._job.outputs.videos, strict=True):
            report = assemble(
                self._job.source,
                [segment.path],
                target,
                pts_ticks=self.pts_ticks if self.clock is None else range(self.frames),
                spec=segment.encoder.spec,
                settings=self._settings,
                origin_s=self.pts_ticks[0] * self._info.time_base if self.pts_ticks else None,
                tick=tick,
            )
            if report.frames != self.frames:
                raise OutputError(f"{self.frames} frames went in, {report.frames} came out", where=str(target))
            reports.append(report)
        self.tracks_file.commit()
        return reports

    def close(self) -> None:
        """The report is written, or nothing is kept: the segments go."""
        super().close()
        for segment in self.segments:
            segment.path.unlink(missing_ok=True)

    def _require_folder(self) -> None:
        """The tracks lie there from the start: where they have vanished, so has the folder; no file makes it anew."""
        if not self.tracks_file.part.exists():
            raise folder_gone(self._job.outputs.folder)
