"""The reference compositor against truths that do not come from it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from compose_pictures import BT709, one_tile, psnr, slot_of, stream, texture, whole

from dualface_ray.compose import BLACK, compose_reference, output_colour
from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

RGB_WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}


def test_the_identity_is_exact() -> None:
    info = stream(48, 36)
    slot = texture(info, np.random.default_rng(1))
    assert np.array_equal(compose_reference(info, slot, whole(info, 48, 36))[0], slot)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_luma_turns_like_rot90(rotation: int) -> None:
    info = stream(48, 36, rotation=rotation)
    slot = texture(info, np.random.default_rng(2))
    width, height = info.display_width_px, info.display_height_px
    found = compose_reference(info, slot, whole(info, width, height))[0]
    assert np.array_equal(found[:height], np.rot90(slot[:36], -rotation // 90))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(4, 3), Fraction(8, 9)])
def test_luma_and_chroma_show_the_same_place(rotation: int, aspect: Fraction) -> None:
    """Slopes of known value: every sample of the tile must say where it was read, at its own siting."""
    info = stream(200, 160, rotation=rotation, aspect=aspect)
    x, y = np.arange(200) + 0.5, np.arange(160) + 0.5
    slot = slot_of(20 + 0.6 * x[None, :] + 0.5 * y[:, None], info)
    chroma_x, chroma_y = 2 * np.arange(100) + 0.5, 2 * np.arange(80) + 1.0
    slot[160:, 0::2] = np.rint(20 + x[None, 0] * 0 + chroma_x[None, :] * np.ones((80, 1)))
    slot[160:, 1::2] = np.rint(20 + chroma_y[:, None] * np.ones((1, 100)))

    width, height = info.display_width_px, info.display_height_px
    rect = (width * 0.26, height * 0.23, width * 0.71, height * 0.77)
    tile_width, tile_height = 120, 90
    found = compose_reference(info, slot, one_tile(rect, tile_width, tile_height))[0].astype(np.float64)

    def displayed(i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = rect[0] + i * (rect[2] - rect[0]) / tile_width
        v = rect[1] + j * (rect[3] - rect[1]) / tile_height
        return np.meshgrid(u, v)

    def stored(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A second statement of rotation and aspect, by points rather than rectangles."""
        upright = float(info.upright_width_px)
        if rotation == 90:
            u, v = v, 160 - u
        elif rotation == 180:
            u, v = upright - u, 160 - v
        elif rotation == 270:
            u, v = upright - v, u
        return u * 200 / upright, v

    sx, sy = stored(*displayed(np.arange(tile_width) + 0.5, np.arange(tile_height) + 0.5))
    assert np.abs(found[:tile_height] - (20 + 0.6 * sx + 0.5 * sy)).max() < 1.2
    sx, sy = stored(*displayed(2 * np.arange(tile_width // 2) + 0.5, 2 * np.arange(tile_height // 2) + 1.0))
    pairs = found[tile_height:].reshape(tile_height // 2, tile_width // 2, 2)
    assert np.abs(pairs[..., 0] - (20 + sx)).max() < 1.2
    assert np.abs(pairs[..., 1] - (20 + sy)).max() < 1.2


def yuv_of(rgb: np.ndarray, matrix: int, full: bool, bits: int) -> tuple[float, float, float]:
    """H.273 equations 20 to 40 for one colour (E' in 0..1), unrounded code values at this depth."""
    kr, kb = RGB_WEIGHTS[matrix]
    y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    u, v = (rgb[2] - y) / (2 * (1 - kb)), (rgb[0] - y) / (2 * (1 - kr))
    if full:
        peak = 2**bits - 1
        return peak * y, peak * u + 2 ** (bits - 1), peak * v + 2 ** (bits - 1)
    unit = 2 ** (bits - 8)
    return unit * (219 * y + 16), unit * (224 * u + 128), unit * (224 * v + 128)


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("layout", list(PixelLayout))
def test_colours_keep_their_meaning(matrix: int, full: bool, layout: PixelLayout) -> None:
    info = stream(16, 16, layout=layout, colour=Colour(matrix, matrix, 1, full))
    bits = 8 if layout is PixelLayout.NV12 else 10
    for rgb in np.random.default_rng(3).uniform(0, 1, (20, 3)):
        y, u, v = (round(c) for c in yuv_of(rgb, matrix, full, bits))
        slot = np.empty((24, 16), np.uint8 if bits == 8 else np.uint16)
        slot[:16] = y if bits == 8 else y << 6
        slot[16:, 0::2] = u if bits == 8 else u << 6
        slot[16:, 1::2] = v if bits == 8 else v << 6
        found = compose_reference(info, slot, whole(info, 16, 16))[0]
        expected = yuv_of(rgb, 1, False, 8)
        got = found[8, 8], found[20, 8], found[20, 9]
        assert np.abs(np.array(got, float) - expected).max() <= 1.1


def test_a_change_of_matrix_sites_the_luma_part_on_luma() -> None:
    """Grey luma under a chroma slope: what chroma adds to luma must follow the slope at luma's own places."""
    info = stream(64, 32, colour=Colour(6, 6, 6))
    slot = slot_of(np.full((32, 64), 120.0), info)
    slot[32:, 0::2] = np.rint(100 + (2 * np.arange(32) + 0.5))[None, :]
    found = compose_reference(info, slot, whole(info, 64, 32))[0]
    added = found[:32].astype(float) - 120
    expected = -0.11555 * (np.arange(64) + 0.5 + 100 - 0 - 128)
    assert np.abs(added[:, 2:-2] - expected[None, 2:-2]).max() < 0.8


def test_what_no_tile_covers_is_black_and_tiles_lie_where_planned() -> None:
    info = stream(32, 32)
    slot = slot_of(np.full((32, 32), 200.0), info, u=90, v=160)
    tiles = (TilePlan((0, 0, 32, 32), 2, 4, 8, 6), TilePlan((0, 0, 32, 32), 20, 10, 4, 4))
    found = compose_reference(info, slot, FramePlan(0, 0, (CanvasPlan(30, 20, tiles),)))[0]
    luma = np.full((20, 30), BLACK[0])
    luma[4:10, 2:10] = luma[10:14, 20:24] = 200
    assert np.array_equal(found[:20], luma)
    pairs = found[20:].reshape(10, 15, 2)
    lit = np.zeros((10, 15), bool)
    lit[2:5, 1:5] = lit[5:7, 10:12] = True
    assert (pairs[lit] == (90, 160)).all()
    assert (pairs[~lit] == (BLACK[1], BLACK[2])).all()


def test_a_zone_plate_shrinks_without_moire() -> None:
    """Rings up to the Nyquist frequency, shrunk by 3: the rings that still fit stay, the rest turns grey."""
    size = 600
    x = np.arange(size) + 0.5
    radius2 = x[None, :] ** 2 + x[:, None] ** 2
    plate = 128 + 100 * np.cos(np.pi * radius2 / (2 * size))  # local frequency radius / (2 size) cycles a sample
    info = stream(size, size)
    found = compose_reference(info, slot_of(plate, info), whole(info, 200, 200))[0][:200].astype(float) - 128
    ring = np.hypot(*np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5))
    # The output holds up to 1/6 cycle a source sample: rings up to radius 200 px of the source, 67 px here.
    assert np.abs(found[(ring > 10) & (ring < 30)]).max() > 90
    # Each axis passes some of the band just above; from 100 px (half as much again) on it must be gone.
    far = np.maximum(*np.meshgrid(np.arange(200), np.arange(200))) > 105
    far[195:] = far[:, 195:] = False  # the repeated edge is a picture of its own
    assert np.abs(found[far]).max() < 8


@pytest.mark.parametrize("step", [0.25, 0.5])
def test_a_slow_drift_is_smooth(step: float) -> None:
    """The centre of a blob follows the crop sample by sample; no jump of a whole pixel anywhere."""
    info = stream(120, 100)
    y, x = np.mgrid[0:100, 0:120] + 0.5
    slot = slot_of(40 + 150 * np.exp(-((x - 60) ** 2 + (y - 50) ** 2) / 40), info)
    centres = []
    for n in range(12):
        rect = (30 + n * step, 20.0, 90 + n * step, 80.0)
        tile = compose_reference(info, slot, one_tile(rect, 90, 90))[0][:90].astype(float) - 40
        centres.append((tile.sum(axis=0) * (np.arange(90) + 0.5)).sum() / tile.sum())
    moves = -np.diff(centres)
    assert np.abs(moves - 1.5 * step).max() < 0.05


@pytest.mark.parametrize(
    ("colour", "size", "matrix"),
    [
        (BT709, 720, 1),
        (Colour(), 480, 1),
        (Colour(6, 6, 6, True), 480, 1),
        (Colour(9, 9, 18), 2160, 9),
        (Colour(0), 720, 1),
    ],
)
def test_the_output_is_described(colour: Colour, size: int, matrix: int) -> None:
    found = output_colour(stream(640, size, colour=colour))
    assert (found.matrix, found.full_range) == (matrix, False)
    assert 2 not in (found.primaries, found.transfer)


def bad_plans() -> list[FramePlan]:
    return [
        one_tile((0, 0, 0, 10), 16, 16),
        one_tile((10, 0, 5, 10), 16, 16),
        one_tile((0, 0, float("nan"), 10), 16, 16),
        one_tile((0, 0, float("inf"), 10), 16, 16),
        one_tile((0, 0, 1e9, 1e9), 16, 16),
        one_tile((0, 0, 10, 10), 15, 16),
        one_tile((0, 0, 10, 10), 0, 16),
        FramePlan(0, 0, (CanvasPlan(16, 16, (TilePlan((0, 0, 8, 8), 8, 0, 16, 16),)),)),
        FramePlan(0, 0, (CanvasPlan(16, 16, (TilePlan((0, 0, 8, 8), -2, 0, 8, 8),)),)),
        FramePlan(0, 0, (CanvasPlan(15, 16, ()),)),
    ]


@pytest.mark.parametrize("plan", bad_plans())
def test_a_plan_that_cannot_be_drawn_is_refused(plan: FramePlan) -> None:
    info: StreamInfo = stream(32, 32)
    with pytest.raises(ValueError, match=r"must be|is empty|lies"):
        compose_reference(info, slot_of(np.zeros((32, 32)), info), plan)


def test_psnr_sees_one_level() -> None:
    black = np.zeros((4, 4), np.uint8)
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)
