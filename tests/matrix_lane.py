"""Decode, compose the whole picture as it is displayed, encode, mux: one frame at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from dualface_ray.backends import load_backend
from dualface_ray.backends.pyav import AssembleReport, SegmentWriter, assemble
from dualface_ray.compose import output_colour
from dualface_ray.frames import FrameFlag, PixelLayout, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.media import EncodeSpec
from dualface_ray.settings import Settings

CPU = load_backend("cpu")


@dataclass
class Passed:
    """What went through."""

    report: AssembleReport
    info: StreamInfo
    pts_ticks: list[int]
    flags: list[FrameFlag]
    counters: dict[str, int]

    @property
    def times_s(self) -> list[Fraction]:
        """After the first frame."""
        return [(pts - self.pts_ticks[0]) * self.info.time_base for pts in self.pts_ticks]


def static_plan(info: StreamInfo, index: int, pts_ticks: int) -> FramePlan:
    """The displayed picture, one to one; an odd side gets its last row or column twice."""
    width = info.display_width_px + (info.display_width_px & 1)
    height = info.display_height_px + (info.display_height_px & 1)
    tile = TilePlan((0.0, 0.0, float(width), float(height)), 0, 0, width, height)
    return FramePlan(index, pts_ticks, (CanvasPlan(width, height, (tile,)),))


def passed(
    source: Path,
    target: Path,
    settings: Settings | None = None,
    *,
    after_frame: Callable[[int], None] = lambda _: None,
) -> Passed:
    """Source to target through the real backend, encoder settings from ``settings.encode``."""
    settings = settings or Settings(encode={"preset": "ultrafast", "container": target.suffix[1:]})
    session = CPU.open_decoder(source, "s", settings, 1)
    compositor = CPU.open_compositor(settings)
    writer = encoder = None
    segment = target.with_name(f"{target.name}.segment")
    pts: list[int] = []
    flags: list[FrameFlag] = []
    try:
        info = session.info
        kind = np.uint8 if info.layout is PixelLayout.NV12 else np.uint16
        slot = np.empty((info.slot_height_px * 3 // 2, info.slot_width_px), kind)
        while True:
            batch = session.decode([slot])
            for frame in batch.frames:
                plan = static_plan(info, len(pts), frame.pts_ticks)
                ((canvas,),) = compositor.compose(info, [slot], [plan])
                if encoder is None:
                    encoder = CPU.open_encoder(spec_for(info, plan.canvases[0], settings, canvas))
                    writer = SegmentWriter(segment, encoder.spec, encoder.extradata)
                for packet in encoder.encode(canvas, frame.pts_ticks):
                    writer.write(packet)
                pts.append(frame.pts_ticks)
                flags.append(frame.flags)
                after_frame(len(pts))
            if batch.end:
                break
        for packet in encoder.finish():
            writer.write(packet)
        writer.finish()
        counters = session.counters()
    finally:
        session.close()
        compositor.close()
        if encoder is not None:
            encoder.close()
        if writer is not None:
            writer.discard()
    report = assemble(source, [segment], target, pts_ticks=pts, spec=encoder.spec, settings=settings)
    segment.unlink()
    return Passed(report, info, pts, flags, counters)


def spec_for(info: StreamInfo, canvas: CanvasPlan, settings: Settings, picture: np.ndarray) -> EncodeSpec:
    """As the encoder actor makes it."""
    colour, encode = output_colour(info), settings.encode
    return EncodeSpec(
        width_px=canvas.width_px,
        height_px=canvas.height_px,
        time_base=info.time_base,
        rate=info.average_rate,
        codec=encode.codec,
        quality=encode.quality,
        preset=encode.preset,
        gop_frames=max(1, round(encode.gop_s * info.average_rate)),
        colour_matrix=colour.matrix,
        colour_primaries=colour.primaries,
        colour_transfer=colour.transfer,
        full_range=colour.full_range,
        bits=10 if picture.dtype == np.uint16 else 8,
    )
