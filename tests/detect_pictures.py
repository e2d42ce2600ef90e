"""Pictures with real faces, in the form of slots: what the detection tests look at."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.detect import FramePixels, yuv_to_rgb_matrix
from dualface_ray.frames import Colour, PixelLayout, StreamInfo

Picture = npt.NDArray[np.uint8]


@cache
def astronaut() -> Picture:
    """Eileen Collins (NASA, public domain), 512x512; her face is about 85 px wide."""
    import skimage.data

    return np.asarray(skimage.data.astronaut(), np.uint8)


@cache
def hopper() -> Picture:
    """Grace Hopper (US Navy, public domain), 512x606; her face is about 175 px wide."""
    import matplotlib.cbook
    import matplotlib.image

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        return np.asarray(matplotlib.image.imread(stream, format="jpg"), np.uint8)


def scaled(picture: Picture, factor: float) -> Picture:
    """The picture in another size."""
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=way), np.uint8)


def pair(width: int = 1920, height: int = 1080, left: float = 1.3, right: float = 0.75) -> Picture:
    """Both people side by side on grey: the astronaut in the left half, the admiral in the right one."""
    canvas = np.full((height, width, 3), 70, np.uint8)
    for picture, factor, centre in ((astronaut(), left, 0.25), (hopper(), right, 0.75)):
        part = scaled(picture, factor)[:height, : width // 2]
        x, y = int(width * centre) - part.shape[1] // 2, (height - part.shape[0]) // 2
        canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas


def frame(
    rgb: Picture,
    *,
    layout: PixelLayout = PixelLayout.NV12,
    colour: Colour | None = None,
    rotation_deg: int = 0,
    sample_aspect: Fraction = Fraction(1),
) -> FramePixels:
    """A displayed picture as its decoder would deliver it: turned back, squeezed by the pixel aspect, in YUV."""
    colour = colour or Colour(matrix=1)
    stored = np.rot90(rgb, rotation_deg // 90)  # displaying turns clockwise, so storing turns back
    if sample_aspect != 1:
        width = round(stored.shape[1] / sample_aspect)
        stored = cv2.resize(stored, (width, stored.shape[0]), interpolation=cv2.INTER_AREA)
    height, width = stored.shape[:2]
    padded = np.pad(stored, ((0, height & 1), (0, width & 1), (0, 0)), mode="edge").astype(np.float64)
    matrix = yuv_to_rgb_matrix(colour, height).astype(np.float64)
    yuv = (padded - matrix[:, 3]) @ np.linalg.inv(matrix[:, :3]).T
    rows, columns = padded.shape[:2]
    chroma = yuv[..., 1:].reshape(rows // 2, 2, columns // 2, 2, 2).mean(axis=(1, 3)).reshape(rows // 2, columns)
    values = np.vstack([yuv[..., 0], chroma])
    if layout is PixelLayout.P010:
        slot = np.round(values * 4).clip(0, 1023).astype(np.uint16) << 6
    else:
        slot = np.round(values).clip(0, 255).astype(np.uint8)
    info = StreamInfo(
        "test",
        width,
        height,
        Fraction(1, 30000),
        Fraction(30),
        layout=layout,
        rotation_deg=rotation_deg,
        sample_aspect=sample_aspect,
        colour=colour,
    )
    return FramePixels(slot, info)
