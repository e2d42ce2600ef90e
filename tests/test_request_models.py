"""Models that the settings name are checked before anything starts; the error names the setting."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from dualface_ray.cli.app import execute
from dualface_ray.errors import SettingsError
from dualface_ray.models import resolve as model_file
from dualface_ray.report import VideoState
from dualface_ray.request import prepare, preparing
from dualface_ray.settings import resolve


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "ensure", lambda *_args: None)


def embedding(path: Path, *shape: int | str, outputs: int = 1) -> Path:
    """The mean colour of a picture as an embedding of three numbers."""
    names = [f"out{index}" for index in range(outputs)]
    nodes = [helper.make_node("ReduceMean", ["in"], [name], axes=[2, 3], keepdims=0) for name in names]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], shape[1]]) for name in names],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("detect.model=nonsense", "detect.model: unknown model 'nonsense'"),
        ("detect.model=dlib-resnet", "detect.model: 'dlib-resnet' is a model of kind embedding"),
        ("identity.embedding_model=nonsense", "identity.embedding_model: unknown model 'nonsense'"),
        ("identity.embedding_model=centerface", "identity.embedding_model: 'centerface' is a model of kind detector"),
        ("detect.model_path=/no/such.onnx", "detect.model_path: /no/such.onnx: no such model file"),
        ("identity.embedding_path=~nobody-of-that-name/x", "identity.embedding_path: ~nobody-of-that-name/x: no such"),
        (f"detect.model_path=/{'x' * 5000}", "no such model file"),
        ("detect.model_path=/etc/passwd", "detect.model_path: /etc/passwd: "),
        ("identity.embedding_path=/etc/passwd", "identity.embedding_path: /etc/passwd: "),
        ("identity.embedding_path=/", "identity.embedding_path: /: no such model file"),
    ],
)
def test_a_wrong_model_is_one_line_with_its_key(setting, said, talk, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray is not needed"))
    assert execute(["run", str(talk), "-o", str(tmp_path / "out"), "--set", setting]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1), "nothing but the line, of ONNX Runtime either"
    assert said in err
    assert not (tmp_path / "out").exists()


def test_files_of_ones_own_are_loaded_before_anything_starts(talk, tmp_path, models, monkeypatch):
    detector, embedder = model_file("centerface"), model_file("dlib-resnet")
    own = shutil.copy(embedder, tmp_path / "own.onnx")

    def ask(**settings: object) -> VideoState:
        return prepare(talk, tmp_path / "out", resolve(**settings))[0].state

    assert ask(model_path=str(detector), embedding_path=str(own)) is VideoState.WAITING
    assert ask(model="mine", model_path=str(detector)) is VideoState.WAITING, "then the name is only a name"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ask(embedding_path="~/own.onnx") is VideoState.WAITING
    for wrong in (
        {"model_path": str(embedder)},
        {"embedding_path": str(detector)},
        {"embedding_path": str(embedding(tmp_path / "a.onnx", "n", 3, 112, 112, outputs=2))},
        {"embedding_path": str(embedding(tmp_path / "b.onnx", "n", 1, 112, 112))},
        {"embedding_path": str(embedding(tmp_path / "c.onnx", "n", 3, 100, 100))},
    ):
        with pytest.raises(SettingsError) as caught:
            ask(**wrong)
        assert caught.value.where.rpartition(".")[2] in wrong
        assert "\n" not in str(caught.value)
    (tmp_path / "c.yaml").write_text(
        "width_px: 100\nheight_px: 100\nlandmarks_px: [[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]\n"
    )
    assert ask(embedding_path=str(tmp_path / "c.onnx")) is VideoState.WAITING
    (tmp_path / "c.yaml").write_text("width_px: 99\n")
    with pytest.raises(SettingsError, match=r"c\.yaml: ") as caught:
        ask(embedding_path=str(tmp_path / "c.onnx"))
    assert caught.value.where == "identity.embedding_path"
