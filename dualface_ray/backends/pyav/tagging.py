"""Tagging: a stream says in its own headers what its samples mean, whatever its encoder wrote there.

NVENC as PyNvVideoCodec 2.2.4 opens it cannot be told: ``colorspace`` marks AV1 as full range and leaves H.264 and HEVC
without a word (its ``SetupVuiConfig`` fills in the values, but not the flags that have them written). libav's metadata
filters rewrite the sequence headers alone; pictures stay as they are.
"""

from __future__ import annotations

from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from dualface_ray.errors import EncodeError
from dualface_ray.media import EncodeSpec

_FULL_RANGE = 2
_FILTERS = {
    "h264": "h264_metadata=colour_primaries={0}:transfer_characteristics={1}:matrix_coefficients={2}"
    ":video_full_range_flag={3}",
    "hevc": "hevc_metadata=colour_primaries={0}:transfer_characteristics={1}:matrix_coefficients={2}"
    ":video_full_range_flag={3}",
    "av1": "av1_metadata=color_primaries={0}:transfer_characteristics={1}:matrix_coefficients={2}:color_range={3}",
}


def is_tagged(stream: VideoStream, spec: EncodeSpec) -> bool:
    """Whether a stream says what was encoded into it."""
    found: Any = stream.codec_context
    said = (int(found.color_primaries), int(found.color_trc), int(found.colorspace))
    meant = (spec.colour_primaries, spec.colour_transfer, spec.colour_matrix)
    return said == meant and (int(found.color_range) == _FULL_RANGE) == spec.full_range


class ColourTags:
    """Writes the colours of a specification into every sequence header of a stream.

    Args:
        stream: the untagged stream, for its codec and parameter sets; may be closed afterwards.
        spec: what was encoded.

    Raises:
        av.error.FFmpegError: the stream's headers cannot be read.
    """

    def __init__(self, stream: VideoStream, spec: EncodeSpec) -> None:
        values = (spec.colour_primaries, spec.colour_transfer, spec.colour_matrix, int(spec.full_range))
        self._filter = BitStreamFilterContext(_FILTERS[spec.codec].format(*values), stream)

    def written(self, data: bytes) -> bytes:
        """One compressed picture with its headers, in coding order, tagged.

        Raises:
            EncodeError, av.error.FFmpegError: it is none.
        """
        found = self._filter.filter(av.Packet(data))
        if len(found) != 1:
            raise EncodeError(f"one compressed picture became {len(found)} when its colours were written")
        return bytes(found[0])
