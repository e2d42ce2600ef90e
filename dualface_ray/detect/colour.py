"""Colour: the affine map from 8-bit YUV to RGB that a stream's description asks for."""

from __future__ import annotations

import numpy as np

from dualface_ray.frames import F32, Colour

_KR_KB = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
_KR_KB |= {9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""Weights of R and B in luma by matrix code point (ITU-T H.273, table 4)."""


def yuv_to_rgb_matrix(colour: Colour, height_px: int) -> F32:
    """Float32 (3, 4): RGB 0..255 = M[:, :3] (Y, U, V) + M[:, 3], with Y, U, V as 8-bit code values.

    An unspecified or unknown matrix is read as players do: BT.709 from 720 rows on, BT.601 below.

    Args:
        colour: the stream's description.
        height_px: stored height of the picture.
    """
    kr, kb = _KR_KB.get(colour.matrix, _KR_KB[1 if height_px >= 720 else 6])
    kg = 1.0 - kr - kb
    luma_gain, black = (1.0, 0.0) if colour.full_range else (255.0 / 219.0, 16.0)
    chroma_gain = 1.0 if colour.full_range else 255.0 / 224.0
    from_u = np.array([0.0, -2.0 * kb * (1.0 - kb) / kg, 2.0 * (1.0 - kb)]) * chroma_gain
    from_v = np.array([2.0 * (1.0 - kr), -2.0 * kr * (1.0 - kr) / kg, 0.0]) * chroma_gain
    constant = -luma_gain * black - 128.0 * (from_u + from_v)
    return np.stack([np.full(3, luma_gain), from_u, from_v, constant], axis=1).astype(np.float32)
