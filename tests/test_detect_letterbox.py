"""Letterbox geometry and the pixels that follow it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from detect_pictures import Picture, astronaut, frame, pair
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.backends.cpu.letterbox import letterboxed_rgb
from dualface_ray.detect import FramePixels, Letterbox, stored_transform, yuv_to_rgb_matrix
from dualface_ray.frames import Colour, PixelLayout, StreamInfo

SIDES = st.integers(16, 4096)
ASPECTS = st.sampled_from(
    [Fraction(1), Fraction(4, 3), Fraction(16, 11), Fraction(8, 9), Fraction(10, 11), Fraction(2)]
)
TURNS = st.sampled_from([0, 90, 180, 270])


def info(width: int, height: int, turn: int = 0, aspect: Fraction = Fraction(1)) -> StreamInfo:
    return StreamInfo("s", width, height, Fraction(1, 1000), Fraction(30), rotation_deg=turn, sample_aspect=aspect)


@given(SIDES, SIDES, TURNS, ASPECTS)
def test_content_lies_inside_and_keeps_the_shape(width: int, height: int, turn: int, aspect: Fraction) -> None:
    stream = info(width, height, turn, aspect)
    box = Letterbox.fit(stream, 640, 384)
    portrait = stream.display_height_px > stream.display_width_px
    assert (box.input_width_px, box.input_height_px) == ((384, 640) if portrait else (640, 384))
    assert 1 <= box.content_width_px <= box.input_width_px
    assert 1 <= box.content_height_px <= box.input_height_px
    assert box.content_width_px == box.input_width_px or box.content_height_px == box.input_height_px
    ideal = stream.display_width_px / stream.display_height_px
    lowest = (box.content_width_px - 0.51) / (box.content_height_px + 0.51)
    highest = (box.content_width_px + 0.51) / max(box.content_height_px - 0.51, 0.49)
    assert lowest <= ideal <= highest or min(box.content_width_px, box.content_height_px) == 1


@given(SIDES, SIDES, TURNS, ASPECTS, st.lists(st.floats(-50, 700), min_size=4, max_size=4))
def test_boxes_come_back_inside_the_displayed_picture(
    width: int, height: int, turn: int, aspect: Fraction, values: list[float]
) -> None:
    stream = info(width, height, turn, aspect)
    box = Letterbox.fit(stream, 640, 384)
    shown = box.boxes_to_display(np.array([sorted(values[:2]) + sorted(values[2:])], np.float32)[:, [0, 2, 1, 3]])[0]
    assert 0 <= shown[0] <= shown[2] <= stream.display_width_px
    assert 0 <= shown[1] <= shown[3] <= stream.display_height_px


def test_the_corner_of_the_content_is_the_corner_of_the_picture() -> None:
    for stream in (info(1920, 1080), info(1080, 1920), info(720, 576, 90, Fraction(16, 11)), info(333, 1001, 270)):
        box = Letterbox.fit(stream, 640, 384)
        corner = np.array([[box.content_width_px, box.content_height_px]], np.float32)
        expected = (stream.display_width_px, stream.display_height_px)
        assert box.points_to_display(corner)[0] == pytest.approx(expected)


@given(SIDES, SIDES, TURNS, ASPECTS, st.floats(0, 1), st.floats(0, 1))
def test_stored_transform_agrees_with_the_streams_own_mapping(
    width: int, height: int, turn: int, aspect: Fraction, x: float, y: float
) -> None:
    stream = info(width, height, turn, aspect)
    point = np.array([x * stream.display_width_px, y * stream.display_height_px])
    matrix = stored_transform(stream)
    rect = stream.stored_rect((point[0], point[1], point[0], point[1]))
    assert matrix[:, :2] @ point + matrix[:, 2] == pytest.approx(rect[:2], abs=1e-6)


def letterboxed(pixels: FramePixels) -> tuple[Picture, Letterbox]:
    """The picture in the input, without its black border, and the geometry."""
    box = Letterbox.fit(pixels.info, 640, 384)
    out = np.full((3, box.input_height_px, box.input_width_px), np.nan, np.float32)
    letterboxed_rgb(pixels.slot, pixels.info, box, out)
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 255
    assert not out[:, box.content_height_px :].any()
    assert not out[:, :, box.content_width_px :].any()
    return out[:, : box.content_height_px, : box.content_width_px].transpose(1, 2, 0), box


def psnr(a: Picture, b: Picture) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)))


def small(rgb: Picture, box: Letterbox) -> Picture:
    """The reference: plain means over areas in RGB."""
    import cv2

    size = (box.content_width_px, box.content_height_px)
    shrinks = size[0] <= rgb.shape[1]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(4, 3), Fraction(8, 9)])
def test_pixels_are_upright_and_square(turn: int, aspect: Fraction) -> None:
    picture = pair(1280, 720, 1.0, 1.0)
    content, box = letterboxed(
        frame(picture, rotation_deg=turn, sample_aspect=aspect if turn in (0, 180) else Fraction(1))
    )
    assert psnr(content, small(picture, box)) > 32


@pytest.mark.parametrize("layout", list(PixelLayout))
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_of_every_description_agree(layout: PixelLayout, matrix: int, full_range: bool) -> None:
    picture = astronaut()
    content, box = letterboxed(frame(picture, layout=layout, colour=Colour(matrix=matrix, full_range=full_range)))
    assert psnr(content, small(picture, box)) > 33


@pytest.mark.parametrize("shape", [(1, 1), (17, 19), (16, 4096), (4096, 16), (333, 251), (1081, 1919)])
def test_odd_and_absurd_sizes(shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), (200, 40, 90), np.uint8)
    content, _ = letterboxed(frame(rgb))
    assert np.abs(content - np.array([200, 40, 90])).max() <= 4


def test_shrinking_never_aliases() -> None:
    """White columns every third pixel must turn into even grey, not into stripes or a moire."""
    rgb = np.zeros((1080, 1920, 3), np.uint8)
    rgb[:, ::3] = 240
    content, _ = letterboxed(frame(rgb))
    assert np.ptp(content[:, 2:-2]) <= 12


@pytest.mark.parametrize("colour", [Colour(matrix=1), Colour(matrix=5, full_range=True), Colour(matrix=9)])
def test_white_black_and_primaries(colour: Colour) -> None:
    matrix = yuv_to_rgb_matrix(colour, 1080)
    black, white = (0, 255) if colour.full_range else (16, 235)
    assert matrix @ [black, 128, 128, 1] == pytest.approx([0, 0, 0], abs=1e-3)
    assert matrix @ [white, 128, 128, 1] == pytest.approx([255, 255, 255], abs=1e-3)


def test_unspecified_colour_is_read_by_height() -> None:
    assert np.array_equal(yuv_to_rgb_matrix(Colour(), 1080), yuv_to_rgb_matrix(Colour(matrix=1), 1080))
    assert np.array_equal(yuv_to_rgb_matrix(Colour(), 576), yuv_to_rgb_matrix(Colour(matrix=6), 576))
