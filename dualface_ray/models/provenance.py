"""Provenance: which networks computed something, for reports."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from dualface_ray.errors import ModelMissingError
from dualface_ray.models.store import model_sha256, resolve
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a process computes with; keys are roles: ``detector``, ``embedding``."""

    models: dict[str, str] = field(default_factory=dict)
    """SHA-256 in hex of each model file."""
    engines: dict[str, str] = field(default_factory=dict)
    """Names of the engines in the cache, without their ending (model, precision, shape, key); empty on a CPU."""
    device: str = ""
    """The card and its driver; empty on a CPU."""

    def lane(self, backend: str) -> str:
        """What a lane of this backend computes on."""
        return f"{backend} on {self.device}" if self.device else backend


def model_hashes(settings: Settings) -> dict[str, str]:
    """SHA-256 by role of the models that the settings name; an embedding that is not there is left out.

    Few videos need the embedding, which is loaded when one does: its absence is that video's error, not the report's.

    Raises:
        ModelError: one of them is damaged, or the detector is missing.
    """
    detect, identity = settings.detect, settings.identity
    found = {"detector": model_sha256(resolve(detect.model, detect.model_path))}
    if identity.reid != "off":
        with suppress(ModelMissingError):
            found["embedding"] = model_sha256(resolve(identity.embedding_model, identity.embedding_path))
    return found
