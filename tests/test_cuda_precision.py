"""Precision in the graph, checked on a CPU with the real detector; and the engine cache's rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from detect_pictures import astronaut, hopper
from onnx import TensorProto, helper, numpy_helper

from dualface_ray.detect import decode_outputs, suppress
from dualface_ray.errors import ModelError, ModelMissingError
from dualface_ray.models import (
    Found,
    Profile,
    average_precision,
    built_engine,
    cached_engines,
    quantise_checked,
    resolve,
    to_half,
)
from dualface_ray.models import engine_cache as cache_room
from dualface_ray.models import trt as trt_room
from dualface_ray.models.engine_key import EngineKey
from dualface_ray.models.quantise import measure, quantise, run_model

WIDTH, HEIGHT = 320, 192


@pytest.fixture(scope="module")
def model(models: None) -> bytes:
    return resolve("centerface").read_bytes()


def scene(rng: np.random.Generator, kind: int) -> np.ndarray:
    """Two faces on noise, prepared: plain, dark, blurred by motion, or lit from behind."""
    image = rng.integers(20, 200, 3) + rng.normal(0, 6, (HEIGHT, WIDTH, 3))
    for place, photo in enumerate(rng.permutation(2)):
        face = hopper() if photo else astronaut()[40:330, 120:380]
        height = int(rng.integers(90, 180))
        part = cv2.resize(face, (min(155, int(face.shape[1] * height / face.shape[0])), height))
        x = place * 160 + int(rng.integers(0, 160 - part.shape[1]))
        y = int(rng.integers(0, HEIGHT - height))
        image[y : y + height, x : x + part.shape[1]] = part
    if kind == 1:
        image *= 0.25
    if kind == 2:
        image = cv2.GaussianBlur(image, (9, 1), 0)
    if kind == 3:
        image = image * 0.4 + np.linspace(0, 140, WIDTH)[None, :, None]
    return np.clip(image, 0, 255).transpose(2, 0, 1)[None].astype(np.float32)


def decode(outputs: dict[str, np.ndarray], min_score: float) -> list[Found]:
    found = []
    for row in range(len(outputs["heatmap"])):
        maps = [outputs[name][row] for name in ("log_size", "offset", "landmarks")]
        kept = suppress(decode_outputs(outputs["heatmap"][row, 0], *maps, min_score), 0.3, 32)
        found.append(Found(kept.boxes_px, kept.scores))
    return found


@pytest.fixture(scope="module")
def frames() -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [scene(rng, n % 4) for n in range(16)], [scene(rng, n % 4) for n in range(16)]


# --- half precision ------------------------------------------------------------------------------------------------
def test_half_detector_finds_what_the_full_one_finds(model: bytes, frames) -> None:
    half, report = to_half(model)
    assert len(half) < 0.55 * len(model)
    assert report.clipped == 0
    assert report.vanished < report.converted / 1000
    held = frames[1]
    for full, small in zip(run_model(model, held[:4]), run_model(half, held[:4]), strict=True):
        for name, limit in (("heatmap", 0.01), ("log_size", 0.01), ("landmarks", 0.01), ("offset", 0.05)):
            assert np.linalg.norm(full[name] - small[name]) <= limit * np.linalg.norm(full[name])
    result = measure(model, half, held, decode, max_ap_loss=0.005)
    assert result.passed
    assert result.faces >= 16


def test_types_of_inputs_and_outputs_are_the_callers_choice(model: bytes) -> None:
    def kinds(data: bytes) -> tuple[int, set[int]]:
        graph = onnx.load_model_from_string(data).graph
        return graph.input[0].type.tensor_type.elem_type, {o.type.tensor_type.elem_type for o in graph.output}

    assert kinds(to_half(model)[0]) == (TensorProto.FLOAT16, {TensorProto.FLOAT})
    assert kinds(to_half(model, keep_inputs=True)[0]) == (TensorProto.FLOAT, {TensorProto.FLOAT})
    assert kinds(to_half(model, keep_outputs=False)[0]) == (TensorProto.FLOAT16, {TensorProto.FLOAT16})
    picture = np.full((1, 3, 64, 64), 90, np.float32)
    one, two = (run_model(to_half(model, keep_inputs=keep)[0], [picture])[0] for keep in (True, False))
    assert np.array_equal(one["heatmap"], two["heatmap"])


def graph(nodes: list[onnx.NodeProto], weights: list[np.ndarray], inputs: list[str], outputs: list[str]) -> bytes:
    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    given = helper.make_tensor_value_info(inputs[0], TensorProto.FLOAT, ["n", 3, 8, 8])
    tensors = [numpy_helper.from_array(array, f"w{n}") for n, array in enumerate(weights)]
    made = helper.make_graph(nodes, "g", [given], [value(name) for name in outputs], tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_operators_with_rules_of_their_own_keep_them() -> None:
    """Resize wants float32 scales, squares must not overflow, constants and casts follow, outputs may feed nodes."""
    scales = np.array([1, 1, 2, 2], np.float32)
    nodes = [
        helper.make_node("Resize", ["x", "", "w0"], ["big"], mode="nearest"),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32(300))),
        helper.make_node("Mul", ["big", "c"], ["loud"]),
        helper.make_node("ReduceSumSquare", ["loud"], ["energy"], keepdims=0),
        helper.make_node("Cast", ["loud"], ["same"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["same"], ["y"]),
        helper.make_node("Neg", ["y"], ["z"]),
    ]
    data = graph(nodes, [scales], ["x"], ["y", "z", "energy"])
    half, _ = to_half(data)
    x = np.random.default_rng(0).uniform(0, 2, (1, 3, 8, 8)).astype(np.float32)
    full, small = run_model(data, [x])[0], run_model(half, [x])[0]
    assert float(full["energy"]) > 65504
    for name in full:
        assert np.allclose(full[name], small[name], rtol=2e-3)


def test_weights_beyond_the_range_are_counted_and_graphs_beyond_it_refused(model: bytes) -> None:
    weight = np.zeros((4, 3, 1, 1), np.float32)
    weight[0, 0], weight[1, 0] = 1e6, 1e-9
    data = graph([helper.make_node("Conv", ["x", "w0"], ["y"])], [weight], ["x"], ["y"])
    report = to_half(data)[1]
    assert (report.converted, report.clipped, report.vanished) == (12, 1, 1)
    weight[2, 0] = np.nan
    with pytest.raises(ModelError, match="finite"):
        to_half(graph([helper.make_node("Conv", ["x", "w0"], ["y"])], [weight], ["x"], ["y"]))
    with pytest.raises(ModelError, match="not a valid"):
        to_half(b"no model")
    inner = helper.make_graph([], "i", [], [])
    looped = graph([helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)], [], ["x"], ["y"])
    with pytest.raises(ModelError):
        to_half(looped)


# --- average precision ---------------------------------------------------------------------------------------------
def test_average_precision_by_hand() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    far = np.array([[50, 50, 60, 60]], np.float32)

    def found(boxes: np.ndarray, *scores: float) -> Found:
        return Found(boxes, np.array(scores, np.float32))

    assert average_precision([box], [found(box, 0.9)]) == 1
    assert average_precision([box], [found(far, 0.9)]) == 0
    # A false alarm ranked first halves the precision at full recall; ranked second it costs nothing.
    assert average_precision([box], [found(np.concatenate([far, box]), 0.9, 0.8)]) == pytest.approx(0.5)
    assert average_precision([box], [found(np.concatenate([far, box]), 0.7, 0.8)]) == 1
    # Two detections of one face: the second is a false alarm. Two faces, one found: half.
    assert average_precision([box, box], [found(box, 0.9), found(far, 0.8)]) == pytest.approx(0.5)
    both = np.concatenate([box, box + 1])
    assert average_precision([box, far], [found(both, 0.9, 0.8), found(far, 0.7)]) == pytest.approx(0.5 + 0.5 * 2 / 3)
    empty = np.zeros((0, 4), np.float32)
    assert average_precision([empty], [found(empty)]) == 1
    assert average_precision([empty], [found(box, 0.5)]) == 0


# --- int8 ----------------------------------------------------------------------------------------------------------
def test_int8_passes_when_calibrated_and_is_refused_when_not(model: bytes, frames) -> None:
    calibration, held = frames
    quantised, result = quantise_checked(model, calibration, held, decode, max_ap_loss=0.02)
    assert len(quantised) < 0.4 * len(model)
    assert result.loss <= 0.02
    operators = {node.op_type for node in onnx.load_model_from_string(quantised).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    # Calibrated on one dim level of grey it clips everything brighter: the gate must see that.
    grey = [np.full((1, 3, HEIGHT, WIDTH), 12, np.float32)] * 8
    with pytest.raises(ModelError, match="average precision") as caught:
        quantise_checked(model, grey, held, decode, max_ap_loss=0.005)
    assert "fp16" in caught.value.remedy


def test_quantised_weights_are_symmetric_as_tensorrt_demands(model: bytes, frames) -> None:
    parsed = onnx.load_model_from_string(quantise(model, frames[0][:8]))
    weights = {t.name: numpy_helper.to_array(t) for t in parsed.graph.initializer}
    points = [n.input[2] for n in parsed.graph.node if n.op_type.endswith("QuantizeLinear") and len(n.input) > 2]
    assert points
    assert all(not weights[name].any() for name in points)
    biases = [n.input[2] for n in parsed.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert biases
    assert all(weights[name].dtype == np.float32 for name in biases)


def test_the_gate_wants_enough_frames_and_faces(model: bytes, frames) -> None:
    with pytest.raises(ModelError, match="at least 8"):
        quantise(model, frames[0][:3])
    with pytest.raises(ModelError, match="at least 8"):
        measure(model, model, frames[1][:3], decode, max_ap_loss=0)
    with pytest.raises(ModelError, match="no face"):
        measure(model, model, [np.zeros((1, 3, 64, 64), np.float32)] * 8, decode, max_ap_loss=0)


def test_int8_from_a_clip_is_stored_beside_the_model_or_refused(model: bytes, talk: Path, tmp_path: Path) -> None:
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.int8 import checked_path, make_int8, quantised_path
    from dualface_ray.settings import Settings

    path = tmp_path / "own.onnx"
    path.write_bytes(model)
    detect = {"model_path": str(path), "input_width_px": WIDTH, "input_height_px": HEIGHT, "max_ap_loss": 0.5}
    settings = Settings.model_validate({"detect": detect})
    made, result = make_int8(settings, [talk, talk])
    assert made == quantised_path(path)
    assert json.loads(made.with_suffix(".json").read_text())["loss"] == pytest.approx(result.loss)
    assert result.faces > 0
    assert checked_path(path, settings) == made
    strict = settings.model_copy(update={"detect": settings.detect.model_copy(update={"max_ap_loss": -1.0})})
    with pytest.raises(ModelError, match=r"int8 loses .* allows -1"):
        checked_path(path, strict)
    made.unlink()
    with pytest.raises(ModelMissingError, match="no int8"):
        checked_path(path, settings)
    with pytest.raises(ModelError, match="average precision"):
        make_int8(strict, [talk, talk])
    assert not made.exists()
    with pytest.raises(ModelError, match="at least 8"):
        load_backend("cuda").make_int8(settings, [])


# --- the engine cache ------------------------------------------------------------------------------------------------
KEY = EngineKey("ab" * 32, "fp16", Profile(64, 384, 640), "NVIDIA H200", (9, 0), "8.5.3.1")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[EngineKey]:
    done: list[EngineKey] = []

    def build(model: Path, key: EngineKey, workspace_bytes: int, progress: Callable[[str], None]) -> bytes:
        done.append(key)
        return b"engine" * 100

    monkeypatch.setattr(cache_room, "build_engine", build)
    return done


def test_an_engine_is_built_once_and_damage_is_noticed(tmp_path: Path, builds: list[EngineKey]) -> None:
    lines: list[str] = []
    path = built_engine(tmp_path / "m.onnx", KEY, folder=tmp_path, progress=lines.append)
    assert path.read_bytes() == b"engine" * 100
    assert any("building" in line for line in lines)
    assert built_engine(tmp_path / "m.onnx", KEY, folder=tmp_path) == path
    assert len(builds) == 1
    (stamp,) = cached_engines(tmp_path)
    assert stamp["key"]["device"] == "NVIDIA H200"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert cached_engines(tmp_path) == []
    built_engine(tmp_path / "m.onnx", KEY, folder=tmp_path)
    assert len(builds) == 2
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "cd" * 32},
        {"precision": "fp32"},
        {"profile": Profile(32, 384, 640)},
        {"profile": Profile(64, 640, 384)},
        {"device": "NVIDIA L4"},
        {"tensorrt": "10.3.0"},
        {"compute_capability": (8, 9)},
    ],
)
def test_everything_an_engine_depends_on_is_in_its_name(change: dict[str, object]) -> None:
    fields = {name: getattr(KEY, name) for name in json.loads(json.dumps(list(KEY.__dataclass_fields__)))}
    assert EngineKey(**{**fields, **change}).path(Path("x")) != KEY.path(Path("x"))


class Flags:
    """Stands for one of TensorRT's enumerations."""

    def __init__(self, **values: int) -> None:
        self.__dict__.update(values)


def fake_api(version: str, flags: Flags) -> object:
    api = object.__new__(trt_room.Api)
    api.version, api.major = version, int(version.split(".")[0])
    builder = Flags(FP16=0, INT8=1, TF32=6)
    api.trt = Flags(NetworkDefinitionCreationFlag=flags, BuilderFlag=builder)
    return api


@pytest.mark.parametrize(
    ("version", "flags", "network", "wanted"),
    [
        ("8.5.3.1", Flags(EXPLICIT_BATCH=0, EXPLICIT_PRECISION=1), 1, {0, 1}),
        ("10.3.0", Flags(EXPLICIT_BATCH=0, STRONGLY_TYPED=1), 2, set()),
        ("11.1.0", Flags(STRONGLY_TYPED=1), 2, set()),
        ("12.0.0", Flags(), 0, set()),
    ],
)
def test_versions_get_their_own_flags(version: str, flags: Flags, network: int, wanted: set[int]) -> None:
    api = fake_api(version, flags)
    assert api.network_flags() == network
    got: set[int] = set()

    class Config:
        """TensorRT's, with TF32 on from the start."""

        set_flag: Callable[[int], None] = staticmethod(got.add)
        clear_flag: Callable[[int], None] = staticmethod(got.remove)

    api.set_precision(Config(), "int8")
    assert got == wanted
    got |= {6}
    api.set_precision(Config(), "fp16")
    assert 6 in got, "half precision is left as it was"
    got.clear()
    got.add(6)
    api.set_precision(Config(), "fp32")
    assert got == set(), "float32 is float32, not TF32"


def test_only_fp32_engines_are_built_anew() -> None:
    """A recipe counts for its precision: what is in people's caches stays there, except what was built with TF32."""
    digests = {name: replace(KEY, precision=name).digest for name in ("fp16", "int8", "fp32")}
    assert digests["fp16"] == "bd825ddbb677777a419e"
    assert digests["int8"] == "dc803b3a9cdc912c0e3c"
    assert digests["fp32"] != "cc608a16d0e1bf52c5d6"
