"""From a slot's YUV planes to the detector's input, with as few passes over the large picture as possible."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.detect import Letterbox, yuv_to_rgb_matrix
from dualface_ray.frames import F32, StreamInfo

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def planes_of(slot: Plane, info: StreamInfo) -> tuple[Plane, Plane]:
    """Views of a slot: luma (height, width) and chroma (rows, columns, 2) at half resolution, U before V."""
    rows, columns = info.slot_height_px, info.slot_width_px
    luma = slot[: info.height_px, : info.width_px]
    chroma = slot[rows:].reshape(rows // 2, columns // 2, 2)
    return luma, chroma


def resample(plane: Plane, width_px: int, height_px: int) -> Plane:
    """A plane in another size: means over areas where it shrinks, linear where it grows; each axis by itself."""
    height, width = plane.shape[:2]
    shrunk = (min(width, width_px), min(height, height_px))
    if shrunk != (width, height):
        plane = cv2.resize(plane, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (width_px, height_px):
        plane = cv2.resize(plane, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    return plane


def to_8_bit(plane: Plane) -> npt.NDArray[np.uint8]:
    """A plane of either layout in 8 bits: P010 has its 10 bits at the top of 16, so the upper byte is the value."""
    return (plane >> 8 if plane.dtype == np.uint16 else plane).astype(np.uint8, copy=False)


def letterboxed_rgb(slot: Plane, info: StreamInfo, box: Letterbox, out: F32) -> None:
    """Write the upright RGB picture of a slot into a detector input.

    Args:
        slot: the frame's pixels, NV12 or P010.
        info: its stream.
        box: the geometry made for that stream.
        out: float32 (3, input_height_px, input_width_px), receives R, G, B in 0..255; black around the picture.
    """
    luma, chroma = planes_of(slot, info)
    width, height = box.stored_content_px
    small_y = to_8_bit(resample(luma, width, height))
    small_c = to_8_bit(resample(chroma, max(1, width // 2), max(1, height // 2)))
    small_c = cv2.resize(small_c, (width, height), interpolation=cv2.INTER_LINEAR)
    if box.rotation_deg:
        small_y = cv2.rotate(small_y, _TURNS[box.rotation_deg])
        small_c = cv2.rotate(small_c, _TURNS[box.rotation_deg])
    rgb = yuv_to_rgb(small_y, small_c, info)
    rows, columns = rgb.shape[:2]
    out[:, rows:] = 0.0
    out[:, :rows, columns:] = 0.0
    for channel in range(3):
        out[channel, :rows, :columns] = rgb[..., channel]


def yuv_to_rgb(luma: npt.NDArray[np.uint8], chroma: npt.NDArray[np.uint8], info: StreamInfo) -> npt.NDArray[np.uint8]:
    """RGB uint8 (rows, columns, 3) of 8-bit luma (rows, columns) and chroma (rows, columns, 2) of the same size."""
    u, v = cv2.split(chroma)
    rgb: npt.NDArray[np.uint8] = cv2.transform(cv2.merge((luma, u, v)), yuv_to_rgb_matrix(info.colour, info.height_px))
    return rgb
