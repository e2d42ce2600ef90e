"""Formats: how NVDEC delivers a stream, and what only the CPU's session does. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import PixelLayout, StreamInfo
from dualface_ray.media import HDR_TRANSFERS, kept_colour
from dualface_ray.settings import Settings

if TYPE_CHECKING:
    from dualface_ray.backends.pyav import MediaProbe

_FORMATS_8 = frozenset({"yuv420p", "yuvj420p", "nv12"})
_FORMATS_10 = frozenset({"yuv420p10le", "yuv420p12le", "p010le"})
_SDR_MATRICES = frozenset({1, 4, 5, 6, 7})
"""Those that libswscale turns into BT.2020's (ITU-T H.273, table 4)."""


def hardware_info(found: MediaProbe) -> StreamInfo:
    """The stream as NVDEC delivers it: more than 8 bits become 16-bit samples; HLG and PQ are described as on the CPU.

    Raises:
        UnsupportedMediaError: not 4:2:0.
    """
    info = found.video
    if info.colour.transfer in HDR_TRANSFERS:
        info = replace(info, colour=kept_colour(info.colour))
    if found.pixel_format in _FORMATS_8:
        return info
    if found.pixel_format in _FORMATS_10:
        return replace(info, layout=PixelLayout.P010)
    raise UnsupportedMediaError(
        f"its pixels are {found.pixel_format}, NVDEC gives 4:2:0 with 8 to 12 bits here",
        where=str(found.path),
        remedy="Set lane.allow_cpu_decode=true to decode it on the CPU, or convert it to yuv420p.",
    )


def only_on_cpu(found: MediaProbe, settings: Settings) -> str:
    """What a video asks for that only the CPU's session does; empty = nothing."""
    if found.mirrored:
        return "it is to be mirrored"
    if found.interlaced:  # its library lets the chip deinterlace in its own way, whatever the settings say
        return "it is interlaced" if settings.input.deinterlace == "auto" else "its fields are to stay as they are"
    if found.video.colour.transfer in HDR_TRANSFERS:
        if settings.encode.hdr == "tonemap":
            return "its HDR is to be tone-mapped"
        if found.video.colour.matrix in _SDR_MATRICES:
            return "its HDR is to get BT.2020's matrix"
    return ""
