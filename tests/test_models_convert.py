"""The converted graphs against what they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from detect_pictures import astronaut, frame, hopper

from dualface_ray.backends.cpu.detector import load_detector
from dualface_ray.backends.cpu.embedder import aligned_chip
from dualface_ray.errors import ModelError
from dualface_ray.frames import F32, FaceCrop
from dualface_ray.models import model_spec, resolve
from dualface_ray.models.centerface import OUTPUTS, clean_centerface
from dualface_ray.models.dlib_resnet import convert_dlib_resnet
from dualface_ray.models.fetch import fetch_member
from dualface_ray.settings import Settings


def run(model: bytes, tensor: F32) -> list[F32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})


def with_dims(data: bytes, dims: tuple[int, ...]) -> bytes:
    """The published graph, only stating another input shape."""
    model = onnx.load_model_from_string(data)
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [value for value in model.graph.input if value.name not in weights]
    for value, size in zip(values[0].type.tensor_type.shape.dim, dims, strict=True):
        value.dim_value = size
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            dim.dim_param = "any"
    return model.SerializeToString()


@pytest.fixture(scope="module")
def published() -> bytes:
    return fetch_member(model_spec("centerface"), lambda line: None)


@pytest.mark.parametrize("dims", [(10, 3, 32, 32), (1, 3, 384, 640), (3, 3, 224, 96), (2, 3, 64, 416)])
def test_centerface_gives_what_the_published_graph_gives(published: bytes, dims: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(7).uniform(0, 255, dims).astype(np.float32)
    expected = run(with_dims(published, dims), tensor)
    found = run(clean_centerface(published), tensor)
    for name, old, new in zip(OUTPUTS, expected, found, strict=True):
        assert new.shape == old.shape, name
        assert np.abs(new - old).max() < 2e-5 * max(1.0, np.abs(old).max()), name


def test_centerface_is_clean(published: bytes) -> None:
    model = onnx.load_model_from_string(clean_centerface(published))
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "",
        "height",
        "width",
    ]
    used = {name for node in model.graph.node for name in node.input}
    assert all(tensor.name in used for tensor in model.graph.initializer)
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]


def test_conversion_is_reproducible(published: bytes, models: None) -> None:
    assert clean_centerface(published) == clean_centerface(published)
    assert resolve("centerface").read_bytes() == clean_centerface(published)


def test_the_published_file_works_by_explicit_path(published: bytes, models: None, tmp_path: Path) -> None:
    path = tmp_path / "centerface.onnx"
    path.write_bytes(published)
    pixels = frame(hopper())
    own = load_detector(Settings(detect={"model_path": str(path)}), 1).detect([pixels])[0]
    ours = load_detector(Settings(), 1).detect([pixels])[0]
    assert len(ours) == 1
    assert np.array_equal(own.boxes_px, ours.boxes_px)


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x08\x07"])
def test_other_bytes_are_no_centerface(data: bytes) -> None:
    with pytest.raises(ModelError):
        clean_centerface(data)


@pytest.mark.parametrize(
    "data", [b"", b"\x01\x15input_rgb_image_sized", b"\x01\x15input_rgb_image_sized" + b"\x01\x01" * 99]
)
def test_other_bytes_are_no_dlib_model(data: bytes) -> None:
    with pytest.raises(ModelError, match="dlib model"):
        convert_dlib_resnet(data)


def test_dlib_resnet_takes_any_batch(models: None) -> None:
    model = resolve("dlib-resnet").read_bytes()
    chips = np.random.default_rng(1).integers(0, 256, (5, 3, 150, 150)).astype(np.float32)
    (together,) = run(model, chips)
    assert together.shape == (5, 128)
    alone = np.concatenate([run(model, chips[i : i + 1])[0] for i in range(5)])
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dlib_resnet_against_dlib_itself(models: None, tmp_path) -> None:
    dlib = pytest.importorskip("dlib", reason="dlib-bin is not installed (no wheel for this Python)")
    weights = tmp_path / "weights.dat"
    weights.write_bytes(fetch_member(model_spec("dlib-resnet"), lambda line: None))
    original = dlib.face_recognition_model_v1(str(weights))
    detector = load_detector(Settings(), 1)
    for picture in (astronaut(), hopper(), astronaut()[:, ::-1], hopper()[::2, ::2]):
        pixels = frame(np.ascontiguousarray(picture))
        faces = detector.detect([pixels])[0]
        crop = FaceCrop(0, tuple(faces.boxes_px[0].tolist()), faces.landmarks_px[0])
        chip = aligned_chip(pixels, crop, model_spec("dlib-resnet").input)
        expected = np.array(original.compute_face_descriptor(chip))
        (found,) = run(resolve("dlib-resnet").read_bytes(), chip.transpose(2, 0, 1)[None].astype(np.float32))
        assert np.linalg.norm(found[0] - expected) < 1e-4
