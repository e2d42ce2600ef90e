"""HDR: what an HLG or PQ picture looks like on a BT.709 display; pure functions of signal values.

    R'G'B' (HLG, PQ) ─► display light, cd/m² ─► roll-off to 203 cd/m² ─► BT.2020 to BT.709 ─► R'G'B' (BT.1886)

Sources: transfer functions of ITU-R BT.2100-2 (tables 4 and 5), the roll-off ("EETF") of ITU-R BT.2390-10, 5.4.1, the
reference white of ITU-R BT.2408-4 (203 cd/m²), BT.1886 for the SDR display, primaries of BT.2020 and BT.709.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import Colour

F64 = npt.NDArray[np.float64]

HLG, PQ = 18, 16
"""Transfer code points of ITU-T H.273."""
HDR_TRANSFERS = frozenset({HLG, PQ})
_UNSPECIFIED, _MATRIX_2020, _PRIMARIES_2020 = 2, 9, 9
_HDR_MATRICES = frozenset({_MATRIX_2020, 10, 14})
"""What HDR may keep: BT.2020 in both forms and ICtCp (ITU-T H.273, table 4)."""
SDR_WHITE_CD_M2 = 203.0
"""Becomes the SDR display's white; HDR's own reference white arrives at about 90 % of the signal."""
SOURCE_PEAK_CD_M2 = 1000.0
"""Of the display HDR is graded for: nominal for HLG, by far the most common for PQ. What is brighter is clipped."""

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK_CD_M2 = 10_000.0
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_SYSTEM_GAMMA = 1.2
_SDR_GAMMA = 2.4
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])


def kept_colour(colour: Colour) -> Colour:
    """What HLG or PQ that stays HDR is described as: BT.2020's matrix, and its primaries where none are said."""
    matrix = colour.matrix if colour.matrix in _HDR_MATRICES else _MATRIX_2020
    return replace(
        colour, matrix=matrix, primaries=_PRIMARIES_2020 if colour.primaries == _UNSPECIFIED else colour.primaries
    )


def pq_to_light(signal: F64) -> F64:
    """PQ signal 0..1 to cd/m²."""
    power = np.clip(signal, 0, 1) ** (1 / _M2)
    light: F64 = _PQ_PEAK_CD_M2 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)
    return light


def light_to_pq(light: F64) -> F64:
    """cd/m² to PQ signal 0..1."""
    power = np.clip(light / _PQ_PEAK_CD_M2, 0, 1) ** _M1
    signal: F64 = ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2
    return signal


def hlg_to_light(signal: F64) -> F64:
    """HLG signal (..., 3) to cd/m² on a display of 1000 cd/m², its system gamma of 1.2 included."""
    signal = np.clip(signal, 0, 1)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    luminance = np.maximum(scene @ _LUMA_2020, 1e-9)[..., None]
    light: F64 = SOURCE_PEAK_CD_M2 * luminance ** (_HLG_SYSTEM_GAMMA - 1) * scene
    return light


def roll_off(light: F64) -> F64:
    """Light of up to 1000 cd/m² to light of up to 203 cd/m²: unchanged below a knee, a Hermite spline above."""
    peak = light_to_pq(np.array(SOURCE_PEAK_CD_M2))
    target = light_to_pq(np.array(SDR_WHITE_CD_M2)) / peak
    knee = 1.5 * target - 0.5
    signal = np.clip(light_to_pq(light) / peak, 0, 1)
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * target
    return pq_to_light(np.where(signal < knee, signal, spline) * peak)


def sdr_signal(signal: F64, transfer: int) -> F64:
    """R'G'B' of an HDR picture to R'G'B' of its BT.709 version.

    The roll-off follows the largest of the three channels and scales all of them alike, which keeps the hue; what lies
    outside BT.709 is clipped.

    Args:
        signal: float64 (..., 3), 0..1, BT.2020 primaries.
        transfer: ``HLG`` or ``PQ``.

    Returns:
        float64 (..., 3), 0..1, BT.709 primaries, for a display of gamma 2.4.
    """
    light = hlg_to_light(signal) if transfer == HLG else pq_to_light(signal)
    largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    shown = light * (roll_off(largest) / largest) / SDR_WHITE_CD_M2
    result: F64 = np.clip(shown @ _GAMUT.T, 0, 1) ** (1 / _SDR_GAMMA)
    return result


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> F64:
    """Linear RGB of these primaries (red, green, blue as x, y) and D65 white to XYZ."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    matrix: F64 = columns * np.linalg.solve(columns, white)
    return matrix


_BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_GAMUT = np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(_BT2020)
