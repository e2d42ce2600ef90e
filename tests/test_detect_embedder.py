"""The CPU embedder on photographs, and a user's own model in its place."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from detect_pictures import Picture, astronaut, frame, hopper, scaled
from onnx import TensorProto, helper, numpy_helper

from dualface_ray.backends.cpu.detector import CpuDetector, load_detector
from dualface_ray.backends.cpu.embedder import CpuEmbedder, aligned_chip, load_embedder
from dualface_ray.detect import FramePixels
from dualface_ray.errors import DeviceError, ModelError
from dualface_ray.frames import EMBEDDING_SIZE, F32, FaceCrop, PixelLayout
from dualface_ray.models import model_spec
from dualface_ray.settings import Settings

SAME, OTHER = 0.36, 0.45
"""Unit vectors of one person lie nearer than SAME, of two people further than OTHER, on all photographs tried."""


@pytest.fixture(scope="module")
def detector(models: None) -> Iterator[CpuDetector]:
    found = load_detector(Settings(), 2)
    yield found
    found.close()


@pytest.fixture(scope="module")
def embedder(models: None) -> Iterator[CpuEmbedder]:
    found = load_embedder(Settings(), 2)
    yield found
    found.close()


def crop_of(detector: CpuDetector, pixels: FramePixels) -> FaceCrop:
    faces = detector.detect([pixels])[0]
    assert len(faces) >= 1
    return FaceCrop(0, tuple(faces.boxes_px[0].tolist()), faces.landmarks_px[0])


def variants(rgb: Picture) -> list[FramePixels]:
    wide = np.full((rgb.shape[0], rgb.shape[1] * 2, 3), 60, np.uint8)
    wide[:, : rgb.shape[1]] = rgb
    return [
        frame(rgb),
        frame(np.ascontiguousarray(rgb[:, ::-1])),
        frame(scaled(rgb, 0.6)),
        frame(scaled(rgb, 2.5)),
        frame((rgb * 0.5).astype(np.uint8)),
        frame(rgb, rotation_deg=90),
        frame(rgb, rotation_deg=270, layout=PixelLayout.P010),
        frame(wide, sample_aspect=Fraction(4, 3)),
    ]


def test_one_person_is_near_two_people_are_far(detector: CpuDetector, embedder: CpuEmbedder) -> None:
    people = [variants(astronaut()), variants(hopper())]
    vectors = [embedder.embed(frames, [crop_of(detector, pixels) for pixels in frames]) for frames in people]
    for found in vectors:
        assert found.shape == (8, EMBEDDING_SIZE)
        assert found.dtype == np.float32
        assert np.linalg.norm(found, axis=1) == pytest.approx([1.0] * 8, abs=1e-5)
        assert np.linalg.norm(found[:, None] - found[None], axis=2).max() < SAME
    assert np.linalg.norm(vectors[0][:, None] - vectors[1][None], axis=2).min() > OTHER


def test_order_and_batches_do_not_matter(detector: CpuDetector, embedder: CpuEmbedder) -> None:
    frames = variants(hopper()) + variants(astronaut())
    crops = [crop_of(detector, pixels) for pixels in frames]
    together = embedder.embed(frames, crops)
    for index in (0, 7, 8, 15):
        assert embedder.embed([frames[index]], [crops[index]])[0] == pytest.approx(together[index], abs=1e-4)
    assert embedder.embed([], []).shape == (0, EMBEDDING_SIZE)


def test_chips_are_upright_and_where_the_template_says(detector: CpuDetector) -> None:
    facts = model_spec("dlib-resnet").input
    reference = None
    for pixels in (frame(hopper()), frame(hopper(), rotation_deg=90), frame(hopper(), rotation_deg=180)):
        chip = aligned_chip(pixels, crop_of(detector, pixels), facts).astype(np.float64)
        assert chip.shape == (150, 150, 3)
        reference = chip if reference is None else reference
        assert np.abs(chip - reference).mean() < 6
    direct = aligned_chip(frame(hopper()), crop_of(detector, frame(hopper())), facts)
    eyes = cv2.cvtColor(direct, cv2.COLOR_RGB2GRAY)[38:54, 36:56]
    cheek = cv2.cvtColor(direct, cv2.COLOR_RGB2GRAY)[80:95, 30:45]
    assert eyes.mean() < cheek.mean()


def test_large_faces_are_cut_without_aliasing() -> None:
    """Fine stripes on a face six times as large as the chip become even grey."""
    rgb = np.zeros((1080, 1080, 3), np.uint8)
    rgb[:, ::2] = 200
    crop = FaceCrop(
        0, (100.0, 100.0, 1000.0, 1000.0), np.array(model_spec("dlib-resnet").input.landmarks_px, np.float32) * 6 + 90
    )
    chip = aligned_chip(frame(rgb), crop, model_spec("dlib-resnet").input)
    assert np.ptp(chip[5:-5, 5:-5].astype(int)) <= 16


@pytest.mark.parametrize(
    "box",
    [
        (-300.0, -300.0, -100.0, -100.0),
        (0.0, 0.0, 1.0, 1.0),
        (5000.0, 5000.0, 5200.0, 5200.0),
        (0.0, 0.0, 512.0, 600.0),
    ],
)
def test_faces_beyond_the_picture_are_embedded_without_error(
    embedder: CpuEmbedder, box: tuple[float, float, float, float]
) -> None:
    found = embedder.embed([frame(hopper())], [FaceCrop(0, box, np.zeros((5, 2), np.float32))])
    assert np.isfinite(found).all()
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-4)


def own_model(path: Path, side: int, *, batch: int | str = "n", size: int = 512) -> Path:
    """A network of a user: means over quarters of the picture, times a fixed matrix."""
    matrix = np.random.default_rng(4).normal(size=(3 * 16, size)).astype(np.float32)
    kernel = side // 4
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[kernel, kernel], strides=[kernel, kernel]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("MatMul", ["f", "m"], ["y"]),
        ],
        "own",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, size])],
        [numpy_helper.from_array(matrix, "m")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def embed_with(path: Path, detector: CpuDetector) -> F32:
    embedder = load_embedder(Settings(identity={"embedding_path": str(path)}), 1)
    pixels = [frame(hopper()), frame(astronaut()), frame(hopper())]
    found = embedder.embed(pixels, [crop_of(detector, p) for p in pixels])
    assert found.shape == (3, embedder.size)
    embedder.close()
    return found


@pytest.mark.parametrize("batch", ["n", 1])
def test_an_own_112_model_plugs_in(tmp_path: Path, detector: CpuDetector, batch: int | str) -> None:
    found = embed_with(own_model(tmp_path / "own.onnx", 112, batch=batch), detector)
    assert found.shape == (3, 512)
    assert found[0] == pytest.approx(found[2], abs=1e-5)
    assert np.linalg.norm(found[0] - found[1]) > 0.05


def test_a_sidecar_describes_other_sizes_and_is_obeyed(tmp_path: Path, detector: CpuDetector) -> None:
    path = own_model(tmp_path / "own.onnx", 96)
    with pytest.raises(ModelError, match=r"96x96 px needs a description.*own\.yaml"):
        embed_with(path, detector)
    points = [[30, 36], [66, 36], [48, 54], [33, 72], [63, 72]]
    text = f"width_px: 96\nheight_px: 96\nmean: [127.5, 127.5, 127.5]\nscale: 0.0078125\nlandmarks_px: {points}\n"
    (tmp_path / "own.yaml").write_text(text + "colour: RGB\n", encoding="utf-8")
    rgb = embed_with(path, detector)
    (tmp_path / "own.yaml").write_text(text + "colour: BGR\n", encoding="utf-8")
    assert np.abs(embed_with(path, detector) - rgb).max() > 0.01
    for wrong in ("width_px: 112\nheight_px: 96\n", "scale: hot\n", "nonsense: 1\n", "landmarks_px: [[1, 2]]\n"):
        (tmp_path / "own.yaml").write_text(wrong, encoding="utf-8")
        with pytest.raises(ModelError, match=r"own\.yaml"):
            embed_with(path, detector)


def test_a_detector_is_no_embedding_and_closing_twice_is_harmless(models: None) -> None:
    from dualface_ray.models import resolve

    with pytest.raises(ModelError):
        load_embedder(Settings(identity={"embedding_path": str(resolve("centerface"))}), 1)
    embedder = load_embedder(Settings(), 1)
    embedder.close()
    embedder.close()
    with pytest.raises(DeviceError, match="closed"):
        embedder.embed([frame(hopper())], [FaceCrop(0, (0.0, 0.0, 9.0, 9.0), np.zeros((5, 2), np.float32))])
