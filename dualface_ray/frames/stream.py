"""StreamInfo: everything about a video stream that its frames themselves do not carry."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction


class PixelLayout(str, Enum):
    """How a slot's bytes are laid out: a luma plane, then one plane of interleaved chroma at half resolution."""

    NV12 = "nv12"
    """8 bits a sample."""
    P010 = "p010"
    """10 bits a sample in the upper bits of 16-bit little-endian words."""

    @property
    def bytes_per_sample(self) -> int:
        """1 for 8-bit, 2 for 10-bit layouts."""
        return 1 if self is PixelLayout.NV12 else 2


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour description by the code points of ITU-T H.273 (2 = unspecified)."""

    matrix: int = 2
    """Matrix coefficients: 1 = BT.709, 5 and 6 = BT.601, 9 = BT.2020 non-constant."""
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One video stream as its decoder delivers it.

    *Stored* pixels are what lies in a slot; *displayed* pixels are what a viewer sees after pixel aspect, then
    rotation. Boxes, landmarks, crops and tracks are always in displayed pixels.
    """

    stream_id: str
    width_px: int
    """Stored width of the picture (may be odd)."""
    height_px: int
    time_base: Fraction
    """Seconds per tick of every ``pts_ticks`` of this stream."""
    average_rate: Fraction
    """Frames per second; for budgets and grids, never for time stamps."""
    layout: PixelLayout = PixelLayout.NV12
    rotation_deg: int = 0
    """Clockwise turn from stored to displayed: 0, 90, 180 or 270."""
    sample_aspect: Fraction = Fraction(1)
    """Width of a stored pixel over its height."""
    colour: Colour = field(default_factory=Colour)
    frame_count_estimate: int = 0
    """0 = unknown."""
    duration_ticks: int = 0
    """0 = unknown."""
    codec: str = ""

    @property
    def slot_width_px(self) -> int:
        """Row length in a slot: the stored width rounded up to even (the last column repeated)."""
        return self.width_px + (self.width_px & 1)

    @property
    def slot_height_px(self) -> int:
        """Luma rows in a slot: the stored height rounded up to even (the last row repeated)."""
        return self.height_px + (self.height_px & 1)

    @property
    def slot_bytes(self) -> int:
        """Bytes of one frame: luma and half as much chroma, rows contiguous."""
        return self.slot_width_px * self.slot_height_px * 3 // 2 * self.layout.bytes_per_sample

    @property
    def upright_width_px(self) -> int:
        """Displayed width before rotation: the stored width times the pixel aspect, rounded, at least 1."""
        return max(1, round(self.width_px * self.sample_aspect))

    @property
    def display_width_px(self) -> int:
        """Width a viewer sees."""
        return self.height_px if self.rotation_deg in (90, 270) else self.upright_width_px

    @property
    def display_height_px(self) -> int:
        """Height a viewer sees."""
        return self.upright_width_px if self.rotation_deg in (90, 270) else self.height_px

    def stored_rect(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Map a displayed rectangle (x0, y0, x1, y1) to stored pixels, both as continuous edges."""
        x0, y0, x1, y1 = box
        width, height = float(self.upright_width_px), float(self.height_px)
        if self.rotation_deg == 90:  # the displayed x axis runs up the stored y axis
            x0, y0, x1, y1 = y0, height - x1, y1, height - x0
        elif self.rotation_deg == 180:
            x0, y0, x1, y1 = width - x1, height - y1, width - x0, height - y0
        elif self.rotation_deg == 270:
            x0, y0, x1, y1 = width - y1, x0, width - y0, x1
        scale = self.width_px / width
        return x0 * scale, y0, x1 * scale, y1
