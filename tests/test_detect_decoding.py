"""Post-processing: maps with known faces in, the same faces out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.detect import Candidates, decode_outputs, suppress
from dualface_ray.frames import F32

ROWS, COLUMNS = 24, 40


def empty_maps() -> tuple[F32, F32, F32, F32]:
    return tuple(np.zeros((*planes, ROWS, COLUMNS), np.float32) for planes in ((), (2,), (2,), (10,)))


faces = st.lists(
    st.tuples(
        st.integers(0, ROWS - 1),
        st.integers(0, COLUMNS - 1),
        st.floats(0.55, 0.99),
        st.floats(2.0, 200.0),
        st.floats(2.0, 200.0),
        st.floats(-0.5, 0.5),
        st.floats(-0.5, 0.5),
    ),
    max_size=6,
    unique_by=lambda face: (face[0] // 2, face[1] // 2),
)


@given(faces, st.integers(0, 2**31))
def test_what_was_drawn_is_decoded(drawn: list[tuple[float, ...]], seed: int) -> None:
    heat, size, offset, marks = empty_maps()
    random = np.random.default_rng(seed)
    expected = []
    for row, column, score, height, width, d_row, d_column in drawn:
        if heat[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3].any():
            continue  # a neighbour would hide it, be hidden or have a say
        heat[row, column] = score
        size[:, row, column] = np.log(height / 4), np.log(width / 4)
        offset[:, row, column] = d_row, d_column
        marks[:, row, column] = random.uniform(0, 1, 10)
        x0, y0 = (column + d_column + 0.5) * 4 - width / 2, (row + d_row + 0.5) * 4 - height / 2
        points = np.array(
            [(x0 + width * marks[2 * j + 1, row, column], y0 + height * marks[2 * j, row, column]) for j in range(5)]
        )
        expected.append((np.float32(score), (x0, y0, x0 + width, y0 + height), points))
    found = decode_outputs(heat, size, offset, marks, 0.5)
    assert len(found) == len(expected)
    assert list(found.scores) == sorted((e[0] for e in expected), reverse=True)
    for score, box, points in expected:
        index = min(range(len(found)), key=lambda i: np.abs(found.boxes_px[i] - box).max())
        assert found.scores[index] == score
        assert np.abs(found.boxes_px[index] - box).max() < 1e-2
        assert np.abs(found.landmarks_px[index] - points).max() < 1e-2


def test_only_the_top_of_a_hill_counts_and_the_threshold_is_exclusive() -> None:
    heat, size, offset, marks = empty_maps()
    heat[10, 10], heat[10, 11], heat[11, 10], heat[3, 3] = 0.9, 0.8, 0.7, 0.5
    found = decode_outputs(heat, size, offset, marks, 0.5)
    assert list(found.scores) == [np.float32(0.9)]
    assert len(decode_outputs(heat, size, offset, marks, 0.95)) == 0


def test_a_face_between_two_cells_does_not_jump_when_the_peak_does() -> None:
    """Half precision decides which of two nearly equal cells is the peak; the box may not depend on that."""
    heat, size, offset, marks = empty_maps()
    size[:] = np.log(15.0)
    marks[:] = 0.5
    found = []
    for left, right in ((0.890, 0.889), (0.889, 0.890)):
        heat[10, 9:13] = 0.4, left, right, 0.4
        (box,), (points,) = (one := decode_outputs(heat, size, offset, marks, 0.5)).boxes_px, one.landmarks_px
        assert abs((box[0] + box[2]) / 2 - 11 * 4) < 0.05, "in the middle of both"
        assert abs((box[1] + box[3]) / 2 - 10.5 * 4) < 1e-3
        assert np.abs(points - [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]).max() < 1e-3
        found.append(box)
    assert np.abs(found[0] - found[1]).max() < 0.05


def test_small_faces_beside_each_other_keep_their_places() -> None:
    heat, size, offset, marks = empty_maps()
    size[:] = np.log(3.0)
    heat[10, 10], heat[10, 12] = 0.90, 0.89
    found = decode_outputs(heat, size, offset, marks, 0.5)
    assert [float(box[0] + box[2]) / 2 for box in found.boxes_px] == [10.5 * 4, 12.5 * 4]


def test_what_has_no_say_may_hold_anything() -> None:
    heat, size, offset, marks = empty_maps()
    size[:] = np.log(15.0)
    heat[10, 10], heat[10, 12], heat[12, 10] = 0.9, 0.1, np.nan
    offset[:, 10, 12], marks[:, 12, 10] = np.inf, np.nan
    (box,) = decode_outputs(heat, size, offset, marks, 0.5).boxes_px
    assert ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) == (10.5 * 4, 10.5 * 4)


def test_maps_gone_mad_stay_finite() -> None:
    heat, size, offset, marks = empty_maps()
    heat[5, 5] = 0.9
    size[:, 5, 5] = 1e30
    assert np.isfinite(decode_outputs(heat, size, offset, marks, 0.5).boxes_px).all()
    size[:, 5, 5] = np.nan
    assert np.isfinite(decode_outputs(heat, size, offset, marks, 0.5).boxes_px).all(), "as the kernel reads it"
    heat[:] = np.nan
    assert len(decode_outputs(heat, size, offset, marks, 0.5)) == 0


def iou(a: F32, b: F32) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - common)


boxes = st.lists(
    st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(4, 60), st.floats(4, 60), st.floats(0.5, 1.0)), max_size=24
)


@settings(max_examples=200)
@given(boxes, st.floats(0.1, 0.9), st.integers(1, 10))
def test_suppression_is_the_greedy_one(rows: list[tuple[float, ...]], limit: float, most: int) -> None:
    rows = sorted(rows, key=lambda row: -row[4])
    values = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[4] for row in rows], np.float32)
    kept = suppress(Candidates(values, np.zeros((len(rows), 5, 2), np.float32), scores), limit, most)
    expected: list[int] = []
    for index in range(len(rows)):
        if len(expected) < most and all(
            iou(values[index].astype(np.float64), values[k].astype(np.float64)) <= limit for k in expected
        ):
            expected.append(index)
    assert np.array_equal(kept.boxes_px, values[expected])
    assert np.array_equal(kept.scores, scores[expected])
