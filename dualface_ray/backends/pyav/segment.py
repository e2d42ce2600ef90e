"""SegmentWriter: the compressed frames of one segment in a small video-only file, complete or absent."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from dualface_ray.backends.pyav.opening import PROBLEMS, encode_error, open_input
from dualface_ray.backends.pyav.tagging import ColourTags, is_tagged
from dualface_ray.backends.pyav.writing import OutputFile
from dualface_ray.errors import EncodeError
from dualface_ray.media import AtomicFile, EncodeSpec, Packet

_FRAMES_PER_S = 25
"""Of the segment's own clock; any."""
_RAW_FORMATS = {"h264": "h264", "hevc": "hevc", "av1": "obu"}
_TEMPORAL_DELIMITER = b"\x12\x00"
"""An OBU of type 2 with a size field of 0 (AV1 specification, 5.3 and 5.6)."""


class SegmentWriter:
    """Writes an MP4 with one video track; its clock counts frames.

    Real time stamps are put in by ``assemble``, from the exact list: they may be further apart than a track can say.

    The file appears under its name in ``finish``; ``discard`` (or an error) leaves nothing. The track's description is
    taken from the stream itself (parameter sets and first key frame), so packets may come from any encoder. A stream
    that does not say the colours of ``spec``, as NVENC's, is made to.

    Args:
        path: of the segment.
        spec: what was encoded.
        extradata: the encoder's; empty when the parameter sets are in the packets.

    Raises:
        DiskFullError, OutputError: the file cannot be created.
    """

    def __init__(self, path: Path, spec: EncodeSpec, extradata: bytes = b"") -> None:
        self.frames = 0
        self._spec = spec
        self._extradata = extradata
        self._file = AtomicFile(path).__enter__()
        self._path = path
        self._template: InputContainer | None = None
        self._tags: ColourTags | None = None
        self._output: OutputFile | None = None
        self._stream: Any = None
        self._last_pts: int | None = None

    def write(self, packet: Packet) -> None:
        """Append one frame; they come in display order.

        Raises:
            DiskFullError, OutputError, EncodeError: it cannot be written; the segment is gone.
        """
        try:
            if self._last_pts is None:
                self._begin(packet)
            elif packet.pts_ticks <= self._last_pts:
                raise EncodeError("frames come out of display order", where=str(self._path))
            self._last_pts = packet.pts_ticks
            self._mux(packet)
            self.frames += 1
        except BaseException as error:
            self._fail(error)
            raise

    def finish(self) -> Path:
        """Complete the file and give it its name.

        Raises:
            DiskFullError, OutputError, EncodeError: it cannot be written, or holds no frame.
        """
        try:
            if self._output is None:
                raise EncodeError("the segment holds no frame", where=str(self._path))
            self._output.finish()
        except BaseException as error:
            self._fail(error)
            raise
        self._release()
        self._file.commit()
        return self._path

    def discard(self) -> None:
        """Give up and remove what there is; harmless after ``finish`` and when called twice."""
        self._release()
        self._file.discard()

    def _begin(self, packet: Packet) -> None:
        if not packet.key:
            raise EncodeError("a segment must begin with a key frame", where=str(self._path))
        head = self._head(packet)
        self._template = self._read(head)
        if not is_tagged(self._template.streams.video[0], self._spec):
            self._tags = ColourTags(self._template.streams.video[0], self._spec)
            self._template.close()
            self._template = self._read(self._tags.written(head))
        self._output = OutputFile(self._file.part, "mp4", {"video_track_timescale": str(_FRAMES_PER_S)})
        self._stream = self._output.container.add_stream_from_template(self._template.streams.video[0], opaque=True)
        self._stream.time_base = Fraction(1, _FRAMES_PER_S)

    def _read(self, head: bytes) -> InputContainer:
        return av.open(io.BytesIO(head), "r", format=_RAW_FORMATS[self._spec.codec])

    def _head(self, packet: Packet) -> bytes:
        """The beginning of the stream as a raw file: parameter sets, then the first picture."""
        if self._spec.codec == "av1":  # key frames carry the sequence header; raw files begin with a delimiter
            return packet.data if packet.data.startswith(_TEMPORAL_DELIMITER) else _TEMPORAL_DELIMITER + packet.data
        return packet.data if packet.data.startswith(self._extradata) else self._extradata + packet.data

    def _mux(self, packet: Packet) -> None:
        if self._output is None:
            raise EncodeError("the segment is closed", where=str(self._path))
        part: av.Packet[Any] = av.Packet(self._tags.written(packet.data) if self._tags else packet.data)
        part.stream = self._stream
        part.time_base = Fraction(1, _FRAMES_PER_S)
        part.pts = part.dts = self.frames
        part.duration = 1
        part.is_keyframe = packet.key
        self._output.container.mux_one(part)

    def _fail(self, error: BaseException) -> None:
        self.discard()
        if isinstance(error, PROBLEMS):
            raise encode_error(error, self._path, "the segment cannot be written") from error

    def _release(self) -> None:
        output, self._output = self._output, None
        template, self._template = self._template, None
        self._stream = None
        if output is not None:
            output.discard()
        if template is not None:
            template.close()


def segment_configuration(path: Path) -> bytes:
    """The codec configuration of a finished segment; segments join only where it is the same.

    Raises:
        InputError: it cannot be read.
    """
    with open_input(path) as container:
        return bytes(container.streams.video[0].codec_context.extradata or b"")
