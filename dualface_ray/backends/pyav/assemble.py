"""Assemble: segments and the source's sound become one finished file.

segments ─► packets, stamps rebuilt from the exact list ─┐ merged by time
source   ─► CopiedSound or EncodedSound ─────────────────┴─► muxer ─► .part ─► fsync ─► rename
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from av.container import InputContainer

from dualface_ray.backends.pyav.chapters import shifted_chapters
from dualface_ray.backends.pyav.encoded_sound import EncodedSound
from dualface_ray.backends.pyav.opening import PROBLEMS, encode_error, open_input
from dualface_ray.backends.pyav.sound import CopiedSound
from dualface_ray.backends.pyav.writing import OutputFile
from dualface_ray.errors import DiskFullError, EncodeError, InputError
from dualface_ray.media import AtomicFile, EncodeSpec, plan_audio
from dualface_ray.settings import Settings
from dualface_ray.timeline import frame_ticks, track_timescale

_FORMATS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
_KEPT_METADATA = ("title", "creation_time")
_SOUND = ("as planned", "encoded", "none")
"""Attempts: sound too damaged to be copied is decoded; sound that breaks even that way must not cost the picture."""
_TICK_PACKETS = 1024
_TAGS = {"hevc": "hvc1"}
"""QuickTime and Safari play HEVC only when the parameter sets are out of band, which this tag states."""


@dataclass(frozen=True, slots=True)
class AssembleReport:
    """What lies in the finished file.

    ``audio``: ``none``, ``copied``, ``encoded`` or ``dropped`` (there was sound, but it cannot be read; see
    ``audio_problem``). ``counters``: what happened to the sound, by name.
    """

    frames: int
    duration_s: float
    size_bytes: int
    audio: str
    audio_codec: str
    audio_problem: str = ""
    counters: dict[str, int] = field(default_factory=dict)


def assemble(
    source: Path | None,
    segments: Sequence[Path],
    target: Path,
    *,
    pts_ticks: Sequence[int],
    spec: EncodeSpec,
    settings: Settings,
    audio_index: int | None = None,
    origin_s: Fraction | None = None,
    tick: Callable[[], None] = lambda: None,
) -> AssembleReport:
    """Join segments, add the sound, write the target in one step.

    The first frame lies at 0; every stream is shifted by the same time. In MP4 and MOV the track's clock holds every
    tick of ``spec.time_base`` exactly (but see ``track_timescale`` for frames that are shown for hours); MKV rounds to
    its milliseconds. The index is at the front (MP4, MOV). The rotation is not copied: it has been applied. Title,
    creation time and chapters are kept, nothing else: no subtitles, cover art, data. Sound that the container refuses
    is encoded instead, or left out; the report says so.

    Args:
        source: the video the sound comes from; None = no sound.
        segments: in order; each begins with a key frame and holds frames in display order.
        target: the output; its suffix names the container (mp4, mov, mkv).
        pts_ticks: source time stamp of every frame of all segments, repaired, in ``spec.time_base``.
        spec: what the segments were encoded with.
        settings: ``encode.audio_bitrate_bps`` for sound that must be encoded; ``input.max_duration_s`` ends any sound.
        audio_index: index of the audio stream among all streams; None = the best one.
        origin_s: source time of the first frame, where ``pts_ticks`` do not tell it (they are a clock of their own).
        tick: called now and then, as a sign of life.

    Raises:
        EncodeError: segments that do not join, or not as many frames as time stamps.
        DiskFullError, OutputError: the target cannot be written; it is absent then.
    """
    container = target.suffix.lower().lstrip(".")
    if container not in _FORMATS:
        raise EncodeError(f"unknown container {container!r}", where=str(target))
    if not segments or not pts_ticks:
        raise EncodeError("there is no frame to write", where=str(target))
    problem = ""
    for sound in _SOUND if source is not None else ("none",):
        with AtomicFile(target) as file:
            try:
                with ExitStack() as stack:
                    job = _Assembly(stack, file.part, container, spec, pts_ticks, origin_s)
                    report = job.run(source, segments, settings, audio_index, sound, tick)
            except PROBLEMS as error:
                found = encode_error(error, target, "the file cannot be written")
                if sound == "none" or isinstance(found, DiskFullError):
                    raise found from error
                problem = found.what
                file.discard()
                continue
            size_bytes = file.part.stat().st_size
        if problem and report.audio == "none":
            report = replace(report, audio="dropped", audio_problem=problem)
        return replace(report, size_bytes=size_bytes)
    raise EncodeError("the file cannot be written", where=str(target))


class _Assembly:
    """One attempt: the output container and what goes into it."""

    def __init__(
        self,
        stack: ExitStack,
        part: Path,
        container: str,
        spec: EncodeSpec,
        pts_ticks: Sequence[int],
        origin_s: Fraction | None,
    ) -> None:
        options = {}
        if container != "mkv":
            widest = max((b - a for a, b in pairwise(pts_ticks)), default=0)
            scale = str(track_timescale(spec.time_base, widest))
            options = {"movflags": "+faststart", "video_track_timescale": scale, "movie_timescale": scale}
        self._stack = stack
        self._container = container
        self._spec = spec
        self._pts_ticks = pts_ticks
        self._origin_s = pts_ticks[0] * spec.time_base if origin_s is None else origin_s
        self._part = part
        self._file = OutputFile(part, _FORMATS[container], options)
        stack.callback(self._file.discard)
        self._output = self._file.container
        self._frames = 0

    def run(
        self,
        source: Path | None,
        segments: Sequence[Path],
        settings: Settings,
        audio_index: int | None,
        sound: str,
        tick: Callable[[], None],
    ) -> AssembleReport:
        """Write everything; the report lacks the size."""
        first = self._open_segment(segments[0])
        video = self._output.add_stream_from_template(first.streams.video[0], opaque=True)
        video.time_base = self._spec.time_base
        if self._container != "mkv" and self._spec.codec in _TAGS:
            video.codec_context.codec_tag = _TAGS[self._spec.codec]
        track, action, codec, problem = self._open_sound(source, settings, audio_index, sound)
        pictures = self._pictures(first, segments, video)
        ends_s = Fraction(settings.input.max_duration_s)
        heard = takewhile(lambda item: item[0] <= ends_s, track.packets() if track else ())
        for count, packet in enumerate(_merged(pictures, heard)):
            self._output.mux_one(packet)
            if not count % _TICK_PACKETS:
                tick()
        if self._frames != len(self._pts_ticks):
            raise EncodeError(
                f"the segments hold {self._frames} frames, {len(self._pts_ticks)} were expected", where=str(self._part)
            )
        self._file.finish()
        counters = dict(track.counters) if track else {}
        return AssembleReport(self._frames, float(self._duration_s()), 0, action, codec, problem, counters)

    def _open_segment(self, path: Path) -> InputContainer:
        container: InputContainer = self._stack.enter_context(open_input(path))
        return container

    def _pictures(self, first: InputContainer, paths: Sequence[Path], video: Any) -> Iterator[tuple[Fraction, Any]]:
        """Packets of all segments with their final stamps."""
        extradata = first.streams.video[0].codec_context.extradata
        for index, path in enumerate(paths):
            with nullcontext(first) if index == 0 else open_input(path) as segment:
                stream = segment.streams.video[0]
                if stream.codec_context.extradata != extradata:
                    raise EncodeError("its codec configuration differs from the first segment's", where=str(path))
                last = None
                for packet in segment.demux(stream):
                    if not packet.size:
                        continue
                    if packet.pts is None or (last is not None and packet.pts <= last):
                        raise EncodeError("its frames are not in display order", where=str(path))
                    last = packet.pts
                    yield self._stamped(packet, video)

    def _stamped(self, packet: Any, video: Any) -> tuple[Fraction, Any]:
        index = self._frames
        if index >= len(self._pts_ticks):
            raise EncodeError(f"there are more than the {len(self._pts_ticks)} frames expected", where=str(self._part))
        self._frames += 1
        ticks = self._pts_ticks[index] - self._pts_ticks[0]
        more = index + 1 < len(self._pts_ticks)
        duration = self._pts_ticks[index + 1] - self._pts_ticks[index] if more else self._last_duration()
        if duration <= 0:
            raise EncodeError("the time stamps do not increase", where=str(self._part))
        packet.time_base = self._spec.time_base
        packet.pts = packet.dts = ticks
        packet.duration = duration
        packet.stream = video
        return ticks * self._spec.time_base, packet

    def _duration_s(self) -> Fraction:
        return (self._pts_ticks[-1] - self._pts_ticks[0] + self._last_duration()) * self._spec.time_base

    def _last_duration(self) -> int:
        return frame_ticks(self._spec.time_base, self._spec.rate)

    def _open_sound(
        self, source: Path | None, settings: Settings, audio_index: int | None, sound: str
    ) -> tuple[CopiedSound | EncodedSound | None, str, str, str]:
        """The sound to add, what is done with it, its codec in the output, and why it is missing."""
        if source is None:
            return None, "none", "", ""
        try:
            container = self._stack.enter_context(open_input(source))
        except InputError as error:
            return None, "dropped", "", str(error)
        self._output.metadata.update({k: v for k, v in container.metadata.items() if k in _KEPT_METADATA})
        chapters = shifted_chapters(container.chapters(), self._origin_s, self._duration_s())
        self._output.set_chapters(chapters)  # type: ignore[arg-type]
        stream = _choose(container, audio_index)
        if stream is None or sound == "none":
            return None, "none", "", ""
        context = stream.codec_context
        if context is None or not context.sample_rate:
            return None, "dropped", "", "the audio codec is unknown"
        layout, codec = context.layout, context.codec.canonical_name
        plan = plan_audio(
            codec,
            self._container,
            context.sample_rate,
            layout.name,
            layout.nb_channels,
            settings.encode.audio_bitrate_bps,
            copy=sound == "as planned",
        )
        if plan.copy:
            copied = self._output.add_stream_from_template(stream, opaque=True)
            return CopiedSound(container, stream, copied, self._origin_s, self._container), "copied", codec, ""
        encoded = self._output.add_stream("aac", rate=plan.rate_hz)
        encoded.codec_context.layout = plan.layout
        encoded.codec_context.bit_rate = plan.bitrate_bps
        encoded.codec_context.open()
        return EncodedSound(container, stream, encoded, plan, self._origin_s, self._duration_s()), "encoded", "aac", ""


def _choose(container: InputContainer, index: int | None) -> Any:
    if index is None:
        return container.streams.best("audio")
    return next((stream for stream in container.streams.audio if stream.index == index), None)


def _merged(pictures: Iterator[tuple[Fraction, Any]], sound: Iterator[tuple[Fraction, Any]]) -> Iterator[Any]:
    """Both in the order of their times; pictures first where they tie, so that the first packet is a picture."""
    sources = [pictures, sound]
    heads = [next(source, None) for source in sources]
    while any(head is not None for head in heads):
        pick = min((head[0], rank) for rank, head in enumerate(heads) if head is not None)[1]
        head = heads[pick]
        heads[pick] = None  # the iterator's next step may reuse the packet
        if head is not None:
            yield head[1]
        heads[pick] = next(sources[pick], None)
