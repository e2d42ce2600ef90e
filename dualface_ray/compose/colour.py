"""Colour of the output: BT.709 in limited range, 8 bits, whatever matrix and range the source has.

The formulas are those of ITU-T H.273 (07/2021), equations 20 to 25 (levels) and 38 to 40 (matrices from Kr and Kb).
Only matrix and range are converted. Primaries and transfer stay what they were and are said in ``output_colour``;
BT.2020 keeps its matrix too, so that a wide-gamut or HLG source is still shown as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.media import settled_colour

BLACK = (16, 128, 128)
"""Y, U and V of a canvas where no tile lies."""

_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Kr and Kb by matrix code point (H.273 table 4)."""
_KEPT = {9, 10}
"""BT.2020 matrices: meaningless with other primaries."""


def output_colour(info: StreamInfo) -> Colour:
    """What the canvases of a stream hold, for the encoder's description of its video."""
    source = settled_colour(info.colour, info.height_px)
    convertible = source.matrix in _WEIGHTS and source.matrix not in _KEPT
    return replace(source, matrix=1 if convertible else source.matrix, full_range=False)


@dataclass(frozen=True, slots=True, eq=False)
class ColourTransform:
    """Slot sample values (bytes, or 16-bit words) to the output's 8-bit levels.

    ``Y = luma_gain * y + luma_offset + luma_mix . (u', v')`` and ``(U, V) = chroma_mix @ (u', v') + 128`` with
    ``(u', v') = chroma_gain * (u, v) + chroma_offset - 128``; then round and clip to 0..255.
    """

    luma_gain: float
    luma_offset: float
    chroma_gain: float
    chroma_offset: float
    luma_mix: npt.NDArray[np.float64]
    """float64 (2,); zero when the matrices are equal (grey is grey in every matrix, so luma never enters chroma)."""
    chroma_mix: npt.NDArray[np.float64]
    """float64 (2, 2)."""

    @property
    def mixes(self) -> bool:
        """The matrices differ."""
        return bool(np.any(self.luma_mix != 0))

    @property
    def rescales(self) -> bool:
        """Range or depth differ."""
        return (self.luma_gain, self.luma_offset, self.chroma_gain, self.chroma_offset) != (1.0, 0.0, 1.0, 0.0)


def colour_transform(info: StreamInfo) -> ColourTransform:
    """From the slots of a stream to its ``output_colour``."""
    unit = (
        1.0 if info.layout is PixelLayout.NV12 else 1 / 256
    )  # 10 bits in the upper bits: word / 256 is the 8-bit level
    if info.colour.full_range:
        peak = 255.0 if info.layout is PixelLayout.NV12 else 1023 / 4
        luma_gain, chroma_gain = 219 / peak, 224 / peak
        luma_offset = 16.0
    else:
        luma_gain, chroma_gain, luma_offset = 1.0, 1.0, 0.0
    luma_mix, chroma_mix = _mix(settled_colour(info.colour, info.height_px).matrix, output_colour(info).matrix)
    return ColourTransform(
        luma_gain * unit, luma_offset, chroma_gain * unit, 128 * (1 - chroma_gain), luma_mix, chroma_mix
    )


def _mix(source: int, target: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What chroma adds to luma (2,) and to chroma (2, 2) when the matrix changes, in limited-range levels."""
    if source == target or _WEIGHTS[source] == _WEIGHTS[target]:
        return np.zeros(2), np.eye(2)
    change = _analysis(*_WEIGHTS[target]) @ np.linalg.inv(_analysis(*_WEIGHTS[source]))
    return change[0, 1:] * 219 / 224, change[1:, 1:]


def _analysis(kr: float, kb: float) -> npt.NDArray[np.float64]:
    """E'R, E'G, E'B to E'Y, E'PB, E'PR (H.273 equations 38 to 40)."""
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr))
    return np.stack([luma, blue, red])


def chroma_at_luma(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A left-sited chroma plane (h, w) at the luma samples, (2 h, 2 w): linear, edges repeated."""
    rows = np.repeat(plane, 2, axis=0)
    above, below = np.vstack([plane[:1], plane[:-1]]), np.vstack([plane[1:], plane[-1:]])
    rows[0::2] = 0.75 * plane + 0.25 * above
    rows[1::2] = 0.75 * plane + 0.25 * below
    out = np.repeat(rows, 2, axis=1)
    out[:, 1:-1:2] = 0.5 * (rows[:, :-1] + rows[:, 1:])
    return out
