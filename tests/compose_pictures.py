"""Pictures, streams and plans for the tests of composition and signatures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

BT709 = Colour(1, 1, 1)


def stream(
    width: int,
    height: int,
    *,
    layout: PixelLayout = PixelLayout.NV12,
    rotation: int = 0,
    aspect: Fraction = Fraction(1),
    colour: Colour = BT709,
) -> StreamInfo:
    return StreamInfo(
        "s",
        width,
        height,
        Fraction(1, 90_000),
        Fraction(25),
        layout=layout,
        rotation_deg=rotation,
        sample_aspect=aspect,
        colour=colour,
    )


def texture(info: StreamInfo, rng: np.random.Generator, low: int = 30, high: int = 220) -> np.ndarray:
    """A slot full of independent noise, smoothed by (1, 2, 1) each way: the sharpest a camera delivers."""
    rows, columns = info.slot_height_px * 3 // 2, info.slot_width_px
    noise = rng.uniform(low, high, (rows + 2, columns + 4))
    noise = (noise[:-2] + 2 * noise[1:-1] + noise[2:]) / 4
    noise = (noise[:, :-4] + 2 * noise[:, 2:-2] + noise[:, 4:]) / 4  # two columns apart: neighbours of one channel
    return pack(noise, info)


def pack(levels: np.ndarray, info: StreamInfo) -> np.ndarray:
    """8-bit levels (real numbers) as the slot's samples."""
    if info.layout is PixelLayout.P010:
        return (np.clip(np.rint(levels * 4), 0, 1023).astype(np.uint16) << 6).astype(np.uint16)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def slot_of(luma: np.ndarray, info: StreamInfo, u: float = 128, v: float = 128) -> np.ndarray:
    """A slot with this luma (stored size) and one colour."""
    slot = np.empty((info.slot_height_px * 3 // 2, info.slot_width_px))
    rows = np.minimum(np.arange(info.slot_height_px), info.height_px - 1)
    columns = np.minimum(np.arange(info.slot_width_px), info.width_px - 1)
    slot[: info.slot_height_px] = luma[rows][:, columns]
    slot[info.slot_height_px :, 0::2] = u
    slot[info.slot_height_px :, 1::2] = v
    return pack(slot, info)


def one_tile(rect: tuple[float, float, float, float], width: int, height: int, margin: int = 0) -> FramePlan:
    """A plan of one tile, with a black margin around it."""
    tile = TilePlan(rect, margin, margin, width, height)
    return FramePlan(0, 0, (CanvasPlan(width + 2 * margin, height + 2 * margin, (tile,)),))


def whole(info: StreamInfo, width: int, height: int) -> FramePlan:
    """The whole displayed frame on the whole canvas."""
    return one_tile((0.0, 0.0, float(info.display_width_px), float(info.display_height_px)), width, height)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise ratio in dB of 8-bit pictures; 99 when equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))
