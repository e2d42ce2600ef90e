"""Alignment: the exact similarity where there is one, the best one else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.detect import chain, chip_transform
from dualface_ray.models import model_spec

TEMPLATE = np.array(model_spec("dlib-resnet").input.landmarks_px)
BOX = (100.0, 100.0, 200.0, 220.0)


@given(st.floats(0.2, 8), st.floats(-3.1, 3.1), st.floats(-500, 4000), st.floats(-500, 4000))
def test_a_similarity_is_found_exactly(scale: float, angle: float, x: float, y: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T + [x, y]
    size = float(np.ptp(points, axis=0).max())
    found = chip_transform(points.astype(np.float32), (x, y, x + size, y + size), TEMPLATE)
    assert found == pytest.approx(np.column_stack([turn, [x, y]]), abs=1e-2)


@given(st.integers(0, 2**31))
def test_no_other_similarity_fits_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = TEMPLATE + random.normal(0, 12, (5, 2)) + 100
    best = chip_transform(points.astype(np.float32), BOX, TEMPLATE)

    def error(matrix: np.ndarray) -> float:
        return float(((TEMPLATE @ matrix[:, :2].T + matrix[:, 2] - points) ** 2).sum())

    for _ in range(10):
        a, b = random.normal(0, 0.02, 2)
        other = best + np.array([[a, -b, random.normal(0, 1)], [b, a, random.normal(0, 1)]])
        assert error(best) <= error(other) + 1e-6


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 150.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_useless_landmarks_fall_back_to_the_box(landmarks: np.ndarray) -> None:
    matrix = chip_transform(landmarks.astype(np.float32), BOX, TEMPLATE)
    eyes = TEMPLATE[:2] @ matrix[:, :2].T + matrix[:, 2]
    assert 100 < eyes[0, 0] < 150 < eyes[1, 0] < 200
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1e-6)
    assert 100 < eyes[0, 1] < 160


def test_even_an_empty_box_gives_a_finite_map() -> None:
    matrix = chip_transform(np.zeros((5, 2), np.float32), (5.0, 5.0, 5.0, 5.0), TEMPLATE)
    assert np.isfinite(matrix).all()
    assert np.linalg.det(matrix[:, :2]) > 0


def test_chain_does_one_after_the_other() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    point = random.normal(size=2)
    between = first[:, :2] @ point + first[:, 2]
    both = chain(second, first)
    assert both[:, :2] @ point + both[:, 2] == pytest.approx(second[:, :2] @ between + second[:, 2])
