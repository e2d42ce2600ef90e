"""What a video takes of a lane, known from its probe before anything is planned."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import StreamInfo, slot_stride_bytes
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import Settings

if TYPE_CHECKING:
    from dualface_ray.backends.pyav import MediaProbe


def video_needs(found: MediaProbe, settings: Settings) -> VideoNeeds:
    """What a video takes; one that neither kind of lane can decode takes nothing."""
    info = found.video
    frames = settings.quota_frames(info.average_rate)
    return VideoNeeds(
        host_bytes=frames * _stride(_on_host(found, settings)),
        device_bytes=frames * _stride(_on_device(found, settings)),
        frames=frames,
        lookahead_frames=settings.lookahead_frames(Fraction(info.average_rate)),
        portrait=info.display_height_px > info.display_width_px,
    )


def _stride(info: StreamInfo | None) -> int:
    return 0 if info is None else slot_stride_bytes(info)


def _on_host(found: MediaProbe, settings: Settings) -> StreamInfo | None:
    from dualface_ray.backends.cpu.decode import slot_info

    try:
        return slot_info(found, settings)
    except UnsupportedMediaError:
        return None


def _on_device(found: MediaProbe, settings: Settings) -> StreamInfo | None:
    """As NVDEC gives it; where it cannot, as the CPU's session uploads it."""
    from dualface_ray.backends.cuda.formats import hardware_info, only_on_cpu

    try:
        if not only_on_cpu(found, settings):
            return hardware_info(found)
    except UnsupportedMediaError:
        pass
    return _on_host(found, settings) if settings.lane.allow_cpu_decode else None
