"""Colour of the output: the source's description, with the unspecified parts settled."""

from __future__ import annotations

from dataclasses import replace

from dualface_ray.frames import Colour

_UNSPECIFIED = {0, 2, 3}
_SD_HEIGHT_PX = 576


def settled_colour(colour: Colour, height_px: int) -> Colour:
    """Replace unspecified code points (ITU-T H.273) by what players assume for a picture of this height.

    Pixels are composed without a change of matrix, so the output must say what the *source* was: a small source
    without tags (BT.601 by custom) would otherwise be taken for BT.709 once it is part of a large picture. Sources of
    up to 576 rows count as BT.601 (525-line variant below 576 rows, else 625-line), higher ones as BT.709.
    """
    if height_px > _SD_HEIGHT_PX:
        matrix, primaries, transfer = 1, 1, 1
    elif height_px == _SD_HEIGHT_PX:
        matrix, primaries, transfer = 5, 5, 6
    else:
        matrix, primaries, transfer = 6, 6, 6
    return replace(
        colour,
        matrix=matrix if colour.matrix in _UNSPECIFIED else colour.matrix,
        primaries=primaries if colour.primaries in _UNSPECIFIED else colour.primaries,
        transfer=transfer if colour.transfer in _UNSPECIFIED else colour.transfer,
    )
