"""The CPU detector on photographs: both faces, at any size, turn and pixel shape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from detect_pictures import Picture, astronaut, frame, hopper, pair, scaled

from dualface_ray.backends.cpu.detector import CpuDetector, load_detector
from dualface_ray.detect import FramePixels
from dualface_ray.errors import DeviceError, ModelError, ModelMissingError
from dualface_ray.frames import DESCRIPTOR_SIZE, Faces, PixelLayout
from dualface_ray.models import resolve
from dualface_ray.settings import Settings


@pytest.fixture(scope="module")
def detector(models: None) -> Iterator[CpuDetector]:
    found = load_detector(Settings(), 2)
    yield found
    found.close()


def look(detector: CpuDetector, rgb: Picture, **how: object) -> Faces:
    return detector.detect([frame(rgb, **how)])[0]


def face_of(factor: float, shift: tuple[float, float], picture: str) -> np.ndarray:
    """Where the face lies: chin to fringe by hand on the originals, then scaled and shifted."""
    box = {"astronaut": (180, 65, 268, 175), "hopper": (173, 112, 350, 337)}[picture]
    return np.array(box) * factor + np.array([*shift, *shift])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - common)


def expected_pair(width: int, height: int, left: float, right: float) -> tuple[np.ndarray, np.ndarray]:
    """The faces of ``pair`` with the same arguments."""
    result = []
    for name, picture, factor, centre in (("astronaut", astronaut(), left, 0.25), ("hopper", hopper(), right, 0.75)):
        part = scaled(picture, factor)[:height, : width // 2]
        shift = (int(width * centre) - part.shape[1] // 2, (height - part.shape[0]) // 2)
        result.append(face_of(factor, shift, name))
    return result[0], result[1]


def assert_both(faces: Faces, expected: tuple[np.ndarray, np.ndarray], limit: float = 0.6) -> None:
    assert len(faces) == 2
    boxes = faces.boxes_px[np.argsort(faces.boxes_px[:, 0])]
    for box, truth in zip(boxes, expected, strict=True):
        assert iou(box, truth) > limit
    assert list(faces.scores) == sorted(faces.scores, reverse=True)
    assert faces.descriptors.shape == (2, DESCRIPTOR_SIZE)
    for box, marks in zip(faces.boxes_px, faces.landmarks_px, strict=True):
        assert (marks > box[:2]).all()
        assert (marks < box[2:]).all()
        left_eye, right_eye, nose, left_mouth, right_mouth = marks
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.parametrize(("left", "right"), [(1.3, 0.75), (2.0, 1.7), (0.5, 0.25), (0.6, 1.7)])
def test_both_faces_at_several_sizes(detector: CpuDetector, left: float, right: float) -> None:
    assert_both(look(detector, pair(1920, 1080, left, right)), expected_pair(1920, 1080, left, right))


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_streams_are_seen_upright(detector: CpuDetector, turn: int) -> None:
    assert_both(look(detector, pair(), rotation_deg=turn), expected_pair(1920, 1080, 1.3, 0.75))


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(16, 11), Fraction(8, 9), Fraction(2)])
def test_non_square_pixels(detector: CpuDetector, aspect: Fraction) -> None:
    expected = expected_pair(1280, 720, 1.0, 0.6)
    assert_both(look(detector, pair(1280, 720, 1.0, 0.6), sample_aspect=aspect), expected, 0.55)


def test_rotated_with_non_square_pixels(detector: CpuDetector) -> None:
    found = look(detector, pair(1280, 720, 1.0, 0.6), rotation_deg=90, sample_aspect=Fraction(4, 3))
    assert_both(found, expected_pair(1280, 720, 1.0, 0.6), 0.55)


def test_portrait_swaps_the_input(detector: CpuDetector) -> None:
    picture = np.full((1280, 720, 3), 70, np.uint8)
    picture[60:572, 100:612] = astronaut()
    part = scaled(hopper(), 0.8)
    picture[700 : 700 + part.shape[0], 150 : 150 + part.shape[1]] = part
    faces = look(detector, picture)
    assert len(faces) == 2
    boxes = faces.boxes_px[np.argsort(faces.boxes_px[:, 1])]
    assert iou(boxes[0], face_of(1.0, (100, 60), "astronaut")) > 0.6
    assert iou(boxes[1], face_of(0.8, (150, 700), "hopper")) > 0.6


def test_layouts_agree(detector: CpuDetector) -> None:
    eight, ten = (look(detector, pair(), layout=layout) for layout in PixelLayout)
    assert np.abs(eight.boxes_px - ten.boxes_px).max() < 1.5


def test_a_mixed_batch_gives_what_single_calls_give(detector: CpuDetector) -> None:
    frames = [frame(pair()), frame(hopper()), frame(np.zeros((360, 640, 3), np.uint8)), frame(pair(), rotation_deg=90)]
    together = detector.detect(frames)
    assert [len(faces) for faces in together] == [2, 1, 0, 2]
    for faces, single in zip(together, frames, strict=True):
        alone = detector.detect([single])[0]
        assert np.abs(faces.boxes_px - alone.boxes_px).max(initial=0) < 0.05
        assert np.abs(faces.descriptors - alone.descriptors).max(initial=0) < 0.02
    assert detector.detect([]) == []


def test_the_slot_is_only_read(detector: CpuDetector) -> None:
    pixels = frame(pair())
    before = pixels.slot.copy()
    pixels.slot.flags.writeable = False
    detector.detect([pixels])
    assert np.array_equal(pixels.slot, before)


@pytest.mark.parametrize("shape", [(2, 2), (16, 16), (3, 1000), (1000, 3), (17, 4095)])
def test_absurd_pictures_have_no_faces_and_no_errors(detector: CpuDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (*shape, 3)).astype(np.uint8)
    faces = look(detector, noise)
    assert np.isfinite(faces.boxes_px).all()


def test_settings_are_obeyed(models: None) -> None:
    picture = frame(pair())
    one = load_detector(Settings(detect={"max_faces": 2, "min_score": 0.9}), 1)
    assert all(score > 0.9 for score in one.detect([picture])[0].scores)
    small = load_detector(Settings(detect={"input_width_px": 320, "input_height_px": 192, "batch_max": 4}), 1)
    assert small.max_batch == 4
    assert one.max_batch == 1
    assert len(small.detect([picture])[0]) == 2


def test_closing_twice_is_harmless_and_use_after_it_is_an_error(models: None) -> None:
    detector = load_detector(Settings(), 1)
    detector.close()
    detector.close()
    with pytest.raises(DeviceError, match="closed"):
        detector.detect([frame(hopper())])


def test_other_models_are_refused_in_one_line(models: None, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.onnx"
    rubbish.write_bytes(os.urandom(1000))
    for path, reason in ((rubbish, "cannot load"), (resolve("dlib-resnet"), "not a CenterFace graph")):
        with pytest.raises(ModelError, match=reason) as caught:
            load_detector(Settings(detect={"model_path": str(path)}), 1)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelMissingError, match="no such model file"):
        load_detector(Settings(detect={"model_path": str(tmp_path / "none.onnx")}), 1)


def test_waiting_threads_do_not_spin(detector: CpuDetector) -> None:
    """The cores belong to the decoder and the encoder while nobody asks for a detection."""
    import threading
    import time

    detector.detect([frame(pair())])
    before = time.process_time()
    threading.Event().wait(0.5)
    assert time.process_time() - before < 0.1


def test_numbers_of_the_frame_pixels_port() -> None:
    pixels = frame(hopper())
    assert isinstance(pixels, FramePixels)
    assert pixels.slot.shape == (pixels.info.slot_height_px * 3 // 2, pixels.info.slot_width_px)
