"""The registry: what it states and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualface_ray.errors import ModelError
from dualface_ray.models import list_models, model_spec
from dualface_ray.models.registry import read_registry

ROOT = Path(__file__).resolve().parent.parent


def test_every_model_states_licence_source_and_hashes() -> None:
    specs = list_models()
    assert [spec.name for spec in specs] == ["centerface", "dlib-resnet"]
    for spec in specs:
        assert spec.licence in {"MIT", "CC0-1.0"}
        assert len(spec.provenance) > 40
        assert spec.version.count(".") == 2
    assert {spec.kind for spec in specs} == {"detector", "embedding"}


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'centreface'.*centerface, dlib-resnet"):
        model_spec("centreface")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("kind: detector", "kind: oracle", "kind"),
        ("licence: MIT", "license: MIT", "license"),
        ("member_sha256: 0", "member_sha256: zz", "member_sha256"),
        ("name: centerface", "name: ../centerface", "plain name"),
        ("name: centerface", "name: [", "valid model description"),
    ],
)
def test_wrong_descriptions_are_one_line_errors(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = (ROOT / "configs" / "models" / "centerface.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "x.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ModelError, match=reason) as caught:
        read_registry(tmp_path)
    assert "\n" not in str(caught.value)


def test_twice_described_and_empty(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model descriptions"):
        read_registry(tmp_path)
    text = (ROOT / "configs" / "models" / "centerface.yaml").read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    assert [spec.name for spec in read_registry(tmp_path)] == ["centerface"]
    (tmp_path / "b.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="described twice"):
        read_registry(tmp_path)
