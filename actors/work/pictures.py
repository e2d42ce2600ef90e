"""PictureFiles: composes, encodes and records directed frames into segments and rows of tracks.

DirectedFrame + slot ─► compositor ─► canvases ─► Pipe ─► encoders ─► segment files
                └─► rows of tracks
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from actors.messages import SegmentJob
from actors.work.pipe import Pipe, Task
from actors.work.segments import Segment, encode_spec
from dualface_ray.backends import Backend, compositors, pipe_places
from dualface_ray.compose import output_colour
from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import CanvasPlan, DirectedFrame
from dualface_ray.media import (
    HDR_TRANSFERS,
    AtomicFile,
    remove_partials,
    require_free,
)
from dualface_ray.report import TracksHeader, TracksWriter
from dualface_ray.settings import Settings
from dualface_ray.timeline import CfrClock, frame_ticks

_CHECK_DISK_EVERY_FRAMES = 256


@dataclass(frozen=True, slots=True)
class Place:
    """Where the results of one unit go, and what part of the video they are."""

    segments: tuple[Path, ...]
    """One per canvas."""
    tracks: Path
    first_frame: int = 0
    origin_ticks: int | None = None
    """Time stamp of the video's first frame; None = of the first one written."""


class PictureFiles:
    """The pictures and tracks of a stretch of a video; nothing has its name before ``finish``.

    The encoders work on a thread of their own while the next frames are composed: on two cores that is a quarter more
    pictures a second (``backends.compositors``).

    Args:
        job: the unit.
        info: of the source stream.
        backend: composes and encodes.
        settings: of the job.
        threads: of one encoder.
        place: where to write.
    """

    def __init__(
        self, job: SegmentJob, info: StreamInfo, backend: Backend, settings: Settings, threads: int, place: Place
    ) -> None:
        self.place = place
        self.segments: list[Segment] = []
        self.pts_ticks: list[int] = []
        """Of every source frame written, in display order."""
        self._job = job
        self._info = info
        self._backend = backend
        self._settings = settings
        self._threads = threads
        timing, at_once = settings.timing, backend.compose_frames
        self._compositors = [backend.open_compositor(settings) for _ in range(compositors(at_once, settings))]
        self._groups = 0
        self.tracks_file = AtomicFile(place.tracks)
        self.tracks_file.__enter__()
        header = TracksHeader(job.source.name, info.display_width_px, info.display_height_px, info.time_base)
        self._tracks = TracksWriter(
            self.tracks_file.part, header, first_frame=place.first_frame, origin_ticks=place.origin_ticks
        )
        self._rate = Fraction(timing.rate) if timing.rate else info.average_rate
        self.clock = CfrClock(info.time_base, self._rate) if timing.mode == "cfr" else None
        self._shown: Sequence[Any] = ()
        """At a constant rate: the latest canvases, until it is known how often they are shown."""
        self._pictures = 0
        self._queued = 0
        self._pipe = Pipe(
            f"encode-{job.stream_id}", pipe_places(at_once)
        )  # last: its thread would outlive a failure above

    @property
    def frames(self) -> int:
        """Pictures encoded so far; at a constant rate they may be more or fewer than the source's frames."""
        return self._pictures

    @property
    def counters(self) -> dict[str, int]:
        """What the constant rate did, by name; absent = nothing."""
        found = {"cfr_duplicated": self.clock.duplicated, "cfr_dropped": self.clock.dropped} if self.clock else {}
        return {name: count for name, count in found.items() if count}

    @property
    def degradations(self) -> list[str]:
        """What differs from what was asked for."""
        hdr = output_colour(self._info).transfer in HDR_TRANSFERS
        if hdr and self._settings.encode.hdr == "tonemap":
            return ["HDR was not tone-mapped by this backend: 8 bits with the source's HLG or PQ tags"]
        return []

    @property
    def encoder(self) -> str:
        """Which encoder is at work; empty before the first frame."""
        return self.segments[0].encoder.name if self.segments else ""

    def write(self, frames: Sequence[DirectedFrame], slots: Sequence[Any], done: Task) -> None:
        """Compose, queue for encoding and record consecutive frames; the slots have been read completely on return.

        Args:
            frames: in order.
            slots: their pixels.
            done: called on the encoders' thread when they have taken these frames.

        Raises:
            OutputError, EncodeError: an encoder or the disk refused (these or earlier frames).
        """
        if len(self.pts_ticks) % _CHECK_DISK_EVERY_FRAMES < len(frames):
            require_free(self._job.outputs.folder, self._settings.job.min_free_disk_bytes)
        self._pipe.reserve()
        compositor = self._compositors[self._groups % len(self._compositors)]
        self._groups += 1
        composed = compositor.compose(self._info, slots, [frame.plan for frame in frames])
        work: list[tuple[Sequence[Any], Sequence[int]]] = []
        for frame, canvases in zip(frames, composed, strict=True):
            plan = frame.plan
            if not self.segments:
                self._open(plan.canvases, canvases)
            if self.clock is None:
                work.append((canvases, [plan.pts_ticks]))
            else:
                work.append((self._shown, self._stamps(self.clock.push(plan.pts_ticks))))
                self._shown = canvases
            self._tracks.add(frame.tracked, plan)
            self.pts_ticks.append(plan.pts_ticks)
        self._pipe.put(partial(self._encode, work, done))

    def finish(self) -> None:
        """Drain the encoders and complete the segments; the tracks still bear their temporary name."""
        self._pipe.drain()
        if self.clock is not None and self.pts_ticks:
            step = frame_ticks(self._info.time_base, self._info.average_rate)
            self._encode([(self._shown, self._stamps(self.clock.finish(self.pts_ticks[-1] + step)))], _nothing)
            self._shown = ()
        for segment in self.segments:
            segment.write(segment.encoder.finish())
            segment.encoder.close()
            if segment.writer is not None:
                segment.writer.finish()
        self._tracks.close()

    def discard(self) -> None:
        """Close everything and remove what is not complete. Harmless when called twice.

        Each step is taken whatever became of the others: on a full disk the first one, the tracks, fails.
        """
        with ExitStack() as stack:  # in reverse
            stack.callback(remove_partials, self._job.outputs, self._job.piece)
            stack.callback(self.close)
            for segment in self.segments:
                if segment.writer is not None:
                    stack.callback(segment.writer.discard)
                stack.callback(segment.encoder.close)
            stack.callback(self.tracks_file.discard)
            stack.callback(self._tracks.close)
            self._pipe.stop()

    def close(self) -> None:
        """Free the compositors."""
        for compositor in self._compositors:
            compositor.close()

    def _encode(self, work: Sequence[tuple[Sequence[Any], Sequence[int]]], done: Task) -> None:
        """Canvases at their time stamps, in order; on the pipe's thread, or after it has ended."""
        for canvases, stamps in work:
            for pts_ticks in stamps:
                for segment, canvas in zip(self.segments, canvases, strict=True):
                    segment.write(segment.encoder.encode(canvas, pts_ticks))
                self._pictures += 1
        done()

    def _stamps(self, times: int) -> Sequence[int]:
        """Constant rate: the next so many pictures are the latest one."""
        begin, self._queued = self._queued, self._queued + times
        return range(begin, begin + times)

    def _open(self, canvases: Sequence[CanvasPlan], pictures: Sequence[Any]) -> None:
        bits = 8 * pictures[0].dtype.itemsize
        colour = output_colour(self._info)
        if bits == 8 and self._settings.encode.hdr == "keep" and colour.transfer in HDR_TRANSFERS:
            raise UnsupportedMediaError(
                "its HDR cannot be kept: this backend composes 8 bits",
                where=str(self._job.source),
                remedy="Set encode.hdr=tonemap, or lane.backend=cpu.",
            )
        rate = self._info.average_rate if self.clock is None else self._rate
        base = self._info.time_base if self.clock is None else 1 / rate
        for canvas, target in zip(canvases, self.place.segments, strict=True):
            spec = encode_spec(canvas, colour, self._settings, rate, base, self._threads, min(bits, 10))
            self.segments.append(Segment(self._backend.open_encoder(spec), target))


def _nothing() -> None:
    """Nobody waits for this."""
