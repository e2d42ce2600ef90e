"""The appearance descriptor: near for the same person, far for another, whatever the light."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from detect_pictures import Picture, frame, pair

from dualface_ray.backends.cpu.descriptor import appearance, cell_means
from dualface_ray.detect import PATCH_CELLS, appearance_regions, cell_edges, describe_appearance
from dualface_ray.frames import DESCRIPTOR_SIZE, F32, Colour, PixelLayout

BOXES = np.array([[381, 292, 495, 434], [1378, 397, 1510, 566]], np.float32)
"""The two faces of ``pair()``."""


def describe(rgb: Picture, boxes: F32 = BOXES, **how: object) -> F32:
    return appearance(frame(np.clip(rgb, 0, 255).astype(np.uint8), **how), boxes)


def distance(a: F32, b: F32) -> float:
    return float(np.linalg.norm(a - b))


@pytest.fixture(scope="module")
def picture() -> Picture:
    return pair()


@pytest.fixture(scope="module")
def plain(picture: Picture) -> F32:
    return describe(picture)


def test_form_and_separation(plain: F32) -> None:
    assert plain.shape == (2, DESCRIPTOR_SIZE)
    assert plain.dtype == np.float32
    assert np.linalg.norm(plain, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    assert distance(plain[0], plain[1]) > 0.6


@pytest.mark.parametrize(
    ("name", "limit"),
    [("dark", 0.15), ("darker", 0.2), ("bright", 0.25), ("gamma", 0.25), ("noise", 0.1), ("warm", 0.2), ("blur", 0.2)],
)
def test_light_and_noise_move_it_little(picture: Picture, plain: F32, name: str, limit: float) -> None:
    random = np.random.default_rng(3)
    changed = {
        "dark": lambda: picture * 0.5,
        "darker": lambda: picture * 0.25,
        "bright": lambda: picture * 1.4,
        "gamma": lambda: 255 * (picture / 255.0) ** 1.4,
        "noise": lambda: picture + random.normal(0, 12, picture.shape),
        "warm": lambda: picture * [1.12, 1.0, 0.85],
        "blur": lambda: cv2.GaussianBlur(picture, (0, 0), 4),
    }[name]()
    found = describe(changed)
    for person in (0, 1):
        assert distance(found[person], plain[person]) < limit
        assert distance(found[person], plain[1 - person]) > 0.55


def test_scale_mirror_and_a_shaky_box_move_it_little(picture: Picture, plain: F32) -> None:
    half = describe(cv2.resize(picture, (960, 540), interpolation=cv2.INTER_AREA), BOXES / 2)
    mirrored_boxes = np.stack([1920 - BOXES[:, 2], BOXES[:, 1], 1920 - BOXES[:, 0], BOXES[:, 3]], axis=1)
    mirror = describe(np.ascontiguousarray(picture[:, ::-1]), mirrored_boxes)
    shaken = describe(picture, BOXES + np.array([6, -5, -4, 6], np.float32))
    for found in (half, mirror, shaken):
        for person in (0, 1):
            assert distance(found[person], plain[person]) < 0.2


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_does_not_matter(picture: Picture, plain: F32, turn: int) -> None:
    assert np.linalg.norm(describe(picture, rotation_deg=turn) - plain, axis=1).max() < 0.05


def test_layout_range_matrix_and_pixel_aspect_hardly_matter(picture: Picture, plain: F32) -> None:
    for how in (
        {"layout": PixelLayout.P010},
        {"colour": Colour(matrix=1, full_range=True)},
        {"sample_aspect": Fraction(4, 3)},
    ):
        assert np.linalg.norm(describe(picture, **how) - plain, axis=1).max() < 0.06, how


def test_faces_at_and_beyond_every_edge_are_finite(picture: Picture) -> None:
    boxes = [
        [-80, -90, 40, 60],
        [1850, 1000, 1920, 1080],
        [0, 0, 1920, 1080],
        [5, 5, 6, 6],
        [9, 9, 9, 9],
        [3000, 3000, 3100, 3200],
    ]
    found = describe(picture, np.array(boxes, np.float32))
    assert np.isfinite(found).all()
    assert np.linalg.norm(found, axis=1)[:4] == pytest.approx([1] * 4, abs=1e-5)
    assert not found[5].any()
    assert describe(picture, np.zeros((0, 4), np.float32)).shape == (0, DESCRIPTOR_SIZE)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_frames_are_finite(value: int) -> None:
    slot_picture = frame(np.full((1080, 1920, 3), value, np.uint8))
    assert np.isfinite(appearance(slot_picture, BOXES)).all()


def reference_means(plane: Picture, region: tuple[float, float, float, float]) -> F32:
    """Cell by cell, pixel by pixel."""
    columns, rows = cell_edges(region)
    result = np.full((PATCH_CELLS, PATCH_CELLS), np.nan)
    for r in range(PATCH_CELLS):
        for c in range(PATCH_CELLS):
            if columns[c] >= 0 and rows[r] >= 0 and columns[c + 1] <= plane.shape[1] and rows[r + 1] <= plane.shape[0]:
                result[r, c] = plane[rows[r] : rows[r + 1], columns[c] : columns[c + 1]].mean()
    return result


@pytest.mark.parametrize("region", [(100, 50, 292, 210), (-40.4, 300.0, 600.7, 700.2), (400, 400, 1000, 1000)])
def test_sampling_agrees_with_plain_means(picture: Picture, region: tuple[float, float, float, float]) -> None:
    plane = frame(picture).slot[:1080]
    expected, found = reference_means(plane, region), cell_means(plane, region)
    assert np.array_equal(np.isnan(expected), np.isnan(found))
    assert np.nanmean(np.abs(expected - found)) < 3


def test_regions_lie_where_the_page_says() -> None:
    head, body, face = appearance_regions(np.array([[100, 200, 200, 320]], np.float32))[0]
    assert head[1] < 200 < head[3] < 320
    assert body[1] > 320
    assert body[0] < 100
    assert body[2] > 200
    assert face[0] > 100
    assert face[2] < 200


def test_blocks_of_invisible_regions_are_zero() -> None:
    patches = np.full((1, 3, PATCH_CELLS, PATCH_CELLS, 3), 120.0, np.float32)
    patches[:, 1] = np.nan
    found = describe_appearance(patches, full_range=False)[0]
    assert not found[24:].any()
    assert found[8:16].any()
