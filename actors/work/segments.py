"""Segment: one canvas's encoder and the file its packets go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dualface_ray.backends.pyav import SegmentWriter
from dualface_ray.frames import Colour
from dualface_ray.framing import CanvasPlan
from dualface_ray.media import EncodeSession, EncodeSpec, Packet
from dualface_ray.settings import Settings


@dataclass(slots=True)
class Segment:
    """One output video, or a part of it, on its way."""

    encoder: EncodeSession
    path: Path
    writer: SegmentWriter | None = None

    def write(self, packets: Sequence[Packet]) -> None:
        """Add packets; the file begins with the first, for only then the codec's configuration is known."""
        for packet in packets:
            if self.writer is None:
                self.writer = SegmentWriter(self.path, self.encoder.spec, self.encoder.extradata)
            self.writer.write(packet)


def encode_spec(
    canvas: CanvasPlan, colour: Colour, settings: Settings, rate: Fraction, time_base: Fraction, threads: int, bits: int
) -> EncodeSpec:
    """How a canvas is encoded."""
    encode = settings.encode
    return EncodeSpec(
        width_px=canvas.width_px,
        height_px=canvas.height_px,
        time_base=time_base,
        rate=rate,
        codec=encode.codec,
        quality=encode.quality,
        preset=encode.preset,
        gop_frames=max(1, round(encode.gop_s * rate)),
        colour_matrix=colour.matrix,
        colour_primaries=colour.primaries,
        colour_transfer=colour.transfer,
        full_range=colour.full_range,
        threads=threads,
        bits=bits,
    )
