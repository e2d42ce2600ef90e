"""EngineKey: everything an engine depends on, and so the name of its file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dualface_ray.errors import ModelError
from dualface_ray.models.store import cache_dir, model_sha256
from dualface_ray.models.trt import tensorrt_version

_RECIPES = {"fp32": 2, "fp16": 1, "int8": 1}
"""Part of every key; raise a precision's when building it changes. fp32: 2 = without TF32."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes of the first input: any batch up to the largest, one height and width."""

    max_batch: int
    height_px: int
    width_px: int

    @property
    def best_batch(self) -> int:
        """The size the builder optimises for: half the largest, where the measured curve flattens."""
        return max(1, self.max_batch // 2)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on."""

    model_sha256: str
    precision: str
    profile: Profile
    device: str
    compute_capability: tuple[int, int]
    tensorrt: str

    @property
    def digest(self) -> str:
        """Hex digest for a file name."""
        text = json.dumps([_RECIPES[self.precision], asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def path(self, folder: Path | None = None) -> Path:
        """Where this engine is kept."""
        size = f"{self.profile.max_batch}x{self.profile.width_px}x{self.profile.height_px}"
        name = f"{self.model_sha256[:8]}-{self.precision}-{size}-{self.digest}.engine"
        return (folder or cache_dir() / "engines") / name


def engine_key(
    model: Path, precision: str, profile: Profile, device: str, compute_capability: tuple[int, int]
) -> EngineKey:
    """The key of an engine on this machine.

    Raises:
        DeviceError: TensorRT is not installed.
        ModelError: the precision is unknown.
    """
    if precision not in ("fp32", "fp16", "int8"):
        raise ModelError(f"unknown precision {precision!r}", where=str(model), remedy="Use fp32, fp16 or int8.")
    return EngineKey(model_sha256(model), precision, profile, device, compute_capability, tensorrt_version())
