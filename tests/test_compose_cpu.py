"""The OpenCV compositor against the reference, and its own duties: buffers, black, untouched slots."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from compose_pictures import one_tile, psnr, slot_of, stream, texture, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.backends.cpu.compose import CpuCompositor
from dualface_ray.compose import compose_reference
from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

LIMIT_DB = 45.0


@st.composite
def cases(draw: st.DrawFn) -> tuple[StreamInfo, FramePlan, int]:
    info = stream(
        draw(st.integers(1, 260)),
        draw(st.integers(1, 260)),
        layout=draw(st.sampled_from(list(PixelLayout))),
        rotation=draw(st.sampled_from([0, 90, 180, 270])),
        aspect=draw(st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(8, 9), Fraction(2)])),
        colour=Colour(draw(st.sampled_from([1, 2, 5, 6, 9])), 1, 1, draw(st.booleans())),
    )
    share = st.floats(0, 1)
    width, height = info.display_width_px, info.display_height_px
    rect_width = width * draw(st.floats(0.01, 1))
    rect_height = height * draw(st.floats(0.01, 1))
    x0, y0 = draw(share) * (width - rect_width), draw(share) * (height - rect_height)
    tile_width, tile_height = 2 * draw(st.integers(1, 130)), 2 * draw(st.integers(1, 130))
    rect = (x0, y0, x0 + rect_width, y0 + rect_height)
    return info, one_tile(rect, tile_width, tile_height, margin=draw(st.sampled_from([0, 6]))), draw(st.integers(0, 99))


@given(cases())
@settings(max_examples=200, deadline=None)
def test_it_draws_what_the_reference_draws(case: tuple[StreamInfo, FramePlan, int]) -> None:
    info, plan, seed = case
    slot = texture(info, np.random.default_rng(seed))
    before = slot.copy()
    found = CpuCompositor().compose(info, [slot], [plan])[0][0]
    expected = compose_reference(info, slot, plan)[0]
    assert np.array_equal(slot, before)
    rows = plan.canvases[0].height_px
    assert psnr(found[:rows], expected[:rows]) >= LIMIT_DB
    assert psnr(found[rows:], expected[rows:]) >= LIMIT_DB


@pytest.mark.parametrize("scale", [0.31, 0.5, 0.83, 1.0, 1.2, 2.0, 2.9, 4.5])
def test_it_is_exact_enough_at_real_sizes(scale: float) -> None:
    info = stream(1280, 720)
    slot = texture(info, np.random.default_rng(5))
    width, height = 2 * round(270 / scale), 2 * round(300 / scale)
    plan = one_tile((301.37, 40.81, 301.37 + width * scale, 40.81 + height * scale), width, height)
    found, expected = CpuCompositor().compose(info, [slot], [plan])[0][0], compose_reference(info, slot, plan)[0]
    assert psnr(found, expected) >= 50


@pytest.mark.parametrize("size", [(64, 48), (1920, 1080), (2, 2)])
def test_the_identity_is_exact(size: tuple[int, int]) -> None:
    info = stream(*size)
    slot = texture(info, np.random.default_rng(6), 0, 256)
    assert np.array_equal(CpuCompositor().compose(info, [slot], [whole(info, *size)])[0][0], slot)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_luma_turns_like_rot90(rotation: int) -> None:
    info = stream(64, 48, rotation=rotation)
    slot = texture(info, np.random.default_rng(7))
    width, height = info.display_width_px, info.display_height_px
    found = CpuCompositor().compose(info, [slot], [whole(info, width, height)])[0][0]
    assert np.array_equal(found[:height], np.rot90(slot[:48], -rotation // 90))


def test_ten_bits_become_eight_by_rounding() -> None:
    info = stream(32, 32, layout=PixelLayout.P010)
    values = np.arange(32 * 48).reshape(48, 32) % 877 + 64
    found = CpuCompositor().compose(info, [(values << 6).astype(np.uint16)], [whole(info, 32, 32)])[0][0]
    assert np.abs(found - values / 4).max() <= 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 5), (7, 2)])
def test_tiny_and_odd_sources_fill_their_tile(size: tuple[int, int]) -> None:
    info = stream(*size)
    slot = slot_of(np.full((size[1], size[0]), 77.0), info, u=99, v=151)
    found = CpuCompositor().compose(info, [slot], [whole(info, 320, 180)])[0][0]
    assert (found[:180] == 77).all()
    assert (found[180:, 0::2] == 99).all()
    assert (found[180:, 1::2] == 151).all()


def test_the_padding_of_an_odd_slot_is_never_seen_in_luma() -> None:
    info = stream(31, 23)
    slot = slot_of(np.full((23, 31), 90.0), info)
    slot[23] = 255
    slot[:24, 31] = 255
    found = CpuCompositor().compose(info, [slot], [one_tile((20, 12, 31, 23), 64, 64)])[0][0]
    assert (found[:64] == 90).all()


def test_crops_at_the_border_repeat_the_edge() -> None:
    info = stream(64, 48)
    slot = texture(info, np.random.default_rng(8))
    for rect in (
        (-10.5, -8.0, 20.0, 15.0),
        (50.0, 40.0, 75.5, 60.0),
        (-40.0, 0.0, -5.0, 30.0),
        (70.0, 50.0, 90.0, 70.0),
    ):
        plan = one_tile(rect, 80, 60)
        found = CpuCompositor().compose(info, [slot], [plan])[0][0]
        assert psnr(found, compose_reference(info, slot, plan)[0]) >= LIMIT_DB


def test_a_huge_enlargement_takes_the_table() -> None:
    info = stream(64, 48)
    slot = texture(info, np.random.default_rng(9))
    plan = one_tile((30.2, 20.4, 30.6, 40.1), 120, 80)  # 0.0033 samples a pixel
    found = CpuCompositor().compose(info, [slot], [plan])[0][0]
    assert psnr(found, compose_reference(info, slot, plan)[0]) >= LIMIT_DB


@pytest.mark.parametrize("step", [0.25, 0.1])
def test_a_slow_drift_is_smooth(step: float) -> None:
    """The blob's centre moves by the same small amount each frame, over whole samples too."""
    info = stream(160, 120)
    y, x = np.mgrid[0:120, 0:160] + 0.5
    slot = slot_of(40 + 150 * np.exp(-((x - 80) ** 2 + (y - 60) ** 2) / 60), info)
    compositor = CpuCompositor()
    centres = []
    for n in range(24):
        rect = (40 + n * step, 20.3, 110 + n * step, 90.3)
        tile = compositor.compose(info, [slot], [one_tile(rect, 126, 126)])[0][0][:126].astype(float)
        tile = np.maximum(tile - 90, 0)  # the flanks, not the faint skirt where rounding moves contours
        centres.append((tile.sum(axis=0) * (np.arange(126) + 0.5)).sum() / tile.sum())
    moves = -np.diff(centres)
    assert moves.min() > 0
    assert np.abs(moves - 1.8 * step).max() < 0.05


def test_two_tiles_two_canvases_and_black_between() -> None:
    info = stream(64, 48)
    slots = [texture(info, np.random.default_rng(n)) for n in (10, 11)]
    left, right = TilePlan((3.5, 2.5, 30, 40), 0, 0, 32, 40), TilePlan((31.5, 4, 60, 44), 34, 8, 30, 40)
    canvases = (CanvasPlan(64, 48, (left, right)), CanvasPlan(32, 40, (left,)), CanvasPlan(8, 8, ()))
    plans = [FramePlan(n, n, canvases) for n in (0, 1)]
    compositor = CpuCompositor()
    for _ in range(2):  # the second call finds canvases with pictures in them
        found = compositor.compose(info, slots, plans)
        assert [len(pictures) for pictures in found] == [3, 3]
        for pictures, slot, plan in zip(found, slots, plans, strict=True):
            for picture, expected in zip(pictures, compose_reference(info, slot, plan), strict=True):
                assert picture.shape == expected.shape
                assert psnr(picture, expected) >= LIMIT_DB
        assert (found[0][0][:48, 32:34] == 16).all()
        assert (found[0][2][:8] == 16).all()
        assert (found[0][2][8:] == 128).all()


def test_overlapping_tiles_lie_in_order_on_black() -> None:
    info = stream(16, 16)
    slot = slot_of(np.full((16, 16), 100.0), info)
    tiles = (TilePlan((0, 0, 16, 16), 0, 0, 16, 8), TilePlan((0, 0, 16, 16), 0, 0, 16, 8))
    compositor = CpuCompositor()
    plan = FramePlan(0, 0, (CanvasPlan(16, 16, tiles),))
    compositor.compose(info, [slot], [whole(info, 16, 16)])
    found = compositor.compose(info, [slot], [plan])[0][0]
    assert (found[:8] == 100).all()
    assert (found[8:16] == 16).all()


def test_canvases_are_used_again_and_never_shared_within_a_call() -> None:
    info = stream(16, 16)
    slot = slot_of(np.full((16, 16), 100.0), info)
    compositor, plan = CpuCompositor(), whole(info, 16, 16)
    first = compositor.compose(info, [slot, slot], [plan, plan])
    assert not np.shares_memory(first[0][0], first[1][0])
    assert not np.shares_memory(first[0][0], slot)
    second = compositor.compose(info, [slot, slot], [plan, plan])
    assert second[0][0] is first[0][0]
    assert second[1][0] is first[1][0]
    compositor.close()
    compositor.close()
    assert (first[0][0][:16] == 100).all()


def test_read_only_slots_are_enough() -> None:
    info = stream(40, 30, colour=Colour(6, 6, 6, True), rotation=90)
    slot = texture(info, np.random.default_rng(12))
    slot.flags.writeable = False
    plan = one_tile((1.3, 2.7, 25.1, 30.9), 50, 60)
    assert psnr(CpuCompositor().compose(info, [slot], [plan])[0][0], compose_reference(info, slot, plan)[0]) >= LIMIT_DB


def test_what_cannot_be_drawn_is_refused() -> None:
    info = stream(16, 16)
    slot = slot_of(np.full((16, 16), 100.0), info)
    with pytest.raises(ValueError, match="1 slots for 0 plans"):
        CpuCompositor().compose(info, [slot], [])
    for plan in (one_tile((0, 0, 1e9, 1e9), 16, 16), one_tile((0, 0, 0, 9), 16, 16), one_tile((0, 0, 9, 9), 15, 16)):
        with pytest.raises(ValueError, match=r"must be|is empty|lies"):
            CpuCompositor().compose(info, [slot], [plan])
