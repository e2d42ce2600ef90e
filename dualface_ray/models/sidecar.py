"""How a user's own embedding model wants its pictures: from a YAML file beside it, else by its input size."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from dualface_ray.errors import ModelError
from dualface_ray.models.registry import InputFacts, list_models

_ARCFACE_LANDMARKS_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""The 112x112 alignment that ArcFace models are trained on (``arcface_dst`` of the InsightFace project)."""


def sidecar_path(model: Path) -> Path:
    """``face.onnx`` is described by ``face.yaml`` beside it."""
    return model.with_suffix(".yaml")


def embedding_facts(model: Path, width_px: int, height_px: int) -> InputFacts:
    """Input facts of an embedding model.

    The keys of the YAML file are those of ``InputFacts``; without one, a 112x112 input is taken for an ArcFace-like
    network (RGB, (pixel - 127.5) / 127.5, its usual alignment) and a 150x150 input for dlib's, converted by us.

    Args:
        model: the ONNX file.
        width_px: the width its graph states, 0 when dynamic.
        height_px: likewise.

    Raises:
        ModelError: the YAML file is not valid or contradicts the graph, or there is none and the size is another one.
    """
    path = sidecar_path(model)
    if path.is_file():
        try:
            facts = InputFacts.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, ValidationError) as error:
            raise ModelError(f"not a valid description of an embedding: {error}", where=str(path)) from error
        stated = (width_px or facts.width_px, height_px or facts.height_px)
        if (facts.width_px, facts.height_px) != stated or 0 in stated or not facts.landmarks_px:
            raise ModelError(
                f"width_px and height_px must be those of the graph ({width_px}x{height_px}), with five landmarks_px",
                where=str(path),
            )
        return facts
    if (width_px, height_px) == (112, 112):
        mean = (127.5, 127.5, 127.5)
        return InputFacts(width_px=112, height_px=112, mean=mean, scale=1 / 127.5, landmarks_px=_ARCFACE_LANDMARKS_PX)
    for spec in list_models():
        if spec.kind == "embedding" and (spec.input.width_px, spec.input.height_px) == (width_px, height_px):
            return spec.input
    raise ModelError(
        f"an embedding with an input of {width_px}x{height_px} px needs a description",
        where=str(model),
        remedy=f"Write {path.name} beside it with width_px, height_px, colour, mean, scale and landmarks_px.",
    )
