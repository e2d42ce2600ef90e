"""Cost: how much work a video is beside the others of a job. Pure.

pixels of the source, of the canvas ─► core time of a frame ─► over that of the reference ─► x frames ─► cost

A cost of one is a second of the reference: 1080p at 30 frames a second, drawn on a canvas as large. A profile's guess
of a lane's speed is in such seconds a second. Real speeds are learned, so that only ratios between videos matter.
"""

from __future__ import annotations

from dualface_ray.framing import layout_shape
from dualface_ray.settings import Settings

REFERENCE_PX = 1920 * 1080
REFERENCE_RATE = 30
_ANY_MS, _SOURCE_MS, _CANVAS_MS = 5.0, 9.0, 17.0
"""Core time of a frame of the reference (docs/performance.md, CPU lane), by what it grows with. With nothing: detection
(its input has one size) 3; identity, framing, messages and Ray 2. With the source's pixels: decoding with copy and
signature 4; composition 5 (alone it takes 5.3, 7.9, 32.7 at 720p, 1080p, 2160p). With the canvas's pixels: x264 17.

So 720p, 1080p and 2160p take 26, 31 and 58 ms on a canvas of 1080p, and 11, 16 and 43 on one of 360p. All services in
one process took 23, 28 and 54, and 10, 16 and 29 (CPU time, 90 frames of the demo's conversation). A card whose decoder
is the limit goes by the source's pixels alone: beside 1080p, half of this at 720p and twice this at 2160p."""


def frame_cost(picture_px: int, settings: Settings) -> float:
    """Of one frame.

    Args:
        picture_px: pixels of the source's stored picture; 0 = unknown, counts as the reference's.
        settings: of the job, for the canvas.
    """
    canvas_px = sum(width * height for width, height in layout_shape(settings).canvases)
    source_ms = _SOURCE_MS * (picture_px or REFERENCE_PX) / REFERENCE_PX
    canvas_ms = _CANVAS_MS * canvas_px / REFERENCE_PX
    return (_ANY_MS + source_ms + canvas_ms) / (_ANY_MS + _SOURCE_MS + _CANVAS_MS) / REFERENCE_RATE
