"""Telling two people apart."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualface_ray.settings.base import Group


class IdentitySettings(Group):
    """The two-person tracker and re-identification."""

    reid: Literal["auto", "off", "always"] = "auto"
    """Comparing faces to tell the two apart: auto does so only after an occlusion, a re-entry or a cut."""
    embedding_model: str = "dlib-resnet"
    """Name of the face embedding in the model registry."""
    embedding_path: str = ""
    """An explicit 112x112 or 150x150 embedding ONNX wins over the registry."""
    max_predict_s: float = Field(1.5, gt=0, le=60)
    """How long a hidden person's box is predicted before the person counts as absent."""
