"""Marks: what is drawn over a frame of the source, and the colours of A and B."""

from __future__ import annotations

import numpy as np

from dualface_ray.backends import Picture
from dualface_ray.identity import PERSONS
from dualface_ray.report.tracks import Tracks

Bgr = tuple[int, int, int]

COLOURS: tuple[Bgr, Bgr] = ((40, 140, 255), (235, 150, 40))
"""Of A and B (blue, green, red): orange and blue, which colour-blind people can tell apart."""

PAPER: Bgr = (250, 250, 250)
INK: Bgr = (40, 40, 40)
_PREDICTED = 1


def clock(time_s: float) -> str:
    """Minutes, seconds and hundredths."""
    minutes, seconds = divmod(round(float(time_s) * 100), 6000)
    return f"{minutes}:{seconds // 100:02d}.{seconds % 100:02d}"


def mark_people(picture: Picture, tracks: Tracks, index: int, scale: float, thickness_px: int) -> None:
    """Boxes (dashed where predicted), letters and crops of one frame."""
    for person in range(2):
        crop, box = tracks.crops_px[index, person] * scale, tracks.boxes_px[index, person] * scale
        if not np.isnan(crop).any():
            picture.rectangle(crop, COLOURS[person], max(1, thickness_px // 2), dashed=True)
        if not np.isnan(box).any():
            predicted = tracks.states[index, person] == _PREDICTED
            picture.rectangle(box, COLOURS[person], thickness_px, dashed=bool(predicted))
            size = 7 + 2.5 * thickness_px
            letter = PERSONS[person] + ("?" if predicted else "")
            x = min(box[0] + size / 2, picture.width_px - size * (len(letter) + 0.35))
            x, y = max(x, size * 0.35), max(box[1] - size / 2, size * 1.35)  # inside the picture, background included
            picture.text(x, y, letter, size, (255, 255, 255), COLOURS[person])


def mark_frame(picture: Picture, tracks: Tracks, index: int) -> None:
    """Boxes, letters, crops and a caption on a picture of the source's size."""
    thickness = max(4, round(tracks.header.height_px / 270))
    mark_people(picture, tracks, index, 1.0, thickness)
    size = max(9.0, tracks.header.height_px / 50)
    words = f"{clock(tracks.time_s[index])}  frame {index}  shot {tracks.shot[index]}"
    picture.text(size, picture.height_px - size, words, size, (255, 255, 255), (30, 30, 30))
