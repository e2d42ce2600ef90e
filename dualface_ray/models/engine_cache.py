"""The engine cache: built once per key under a lock that dies with its process, complete or absent, checked in use."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualface_ray.errors import ModelError
from dualface_ray.models.engine_build import Progress, build_engine
from dualface_ray.models.engine_key import EngineKey
from dualface_ray.models.locks import one_at_a_time
from dualface_ray.models.store import cache_dir, model_sha256
from dualface_ray.models.writing import write_complete


def built_engine(
    model: Path,
    key: EngineKey,
    *,
    folder: Path | None = None,
    progress: Progress = lambda line: None,
    workspace_bytes: int = 1 << 30,
    what: str = "engine",
) -> Path:
    """The engine file of this key, built now if it is not there; processes that need the same one wait for the first.

    Args:
        model: ONNX file; float32 for ``fp32`` and ``fp16`` (converted here), Q/DQ for ``int8``.
        key: from ``engine_key``.
        folder: of the cache; None = the usual one.
        progress: called with one readable line per step.
        workspace_bytes: scratch memory the builder may plan for.
        what: it is called in those lines.

    Raises:
        ModelError: TensorRT refuses the model, or the cache cannot be written.
        DeviceError: TensorRT or the device is missing.
    """
    path = key.path(folder)
    if _whole(path):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path.with_suffix(".lock"), "builds the same engine", progress):
            if _whole(path):
                return path
            started = time.monotonic()
            shape = f"{key.profile.width_px}x{key.profile.height_px}"
            progress(f"building the {what} ({shape}, {key.precision}, {key.device}), takes about 2 minutes, once")
            data = build_engine(model, key, workspace_bytes, lambda line: progress(f"{what}: {line}"))
            _store(path, data, key)
            progress(f"built the {what}: {path.name}, {len(data) / 1e6:.1f} MB ({time.monotonic() - started:.0f} s)")
    except OSError as error:
        raise ModelError(
            f"the engine cache cannot be written ({error.strerror or error})",
            where=str(path.parent),
            remedy="Free some space or point DUALFACE_CACHE to a folder you may write.",
        ) from error
    return path


def is_built(key: EngineKey, folder: Path | None = None) -> bool:
    """Whether the cache holds this engine, whole."""
    return _whole(key.path(folder))


def cached_engines(folder: Path | None = None) -> Sequence[dict[str, Any]]:
    """What the engine cache holds: the stamp of every whole engine, for lists and VRAM plans."""
    root = folder or cache_dir() / "engines"
    whole = [path for path in sorted(root.glob("*.engine")) if _whole(path)]
    return [{**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), "path": str(path)} for path in whole]


def _store(path: Path, data: bytes, key: EngineKey) -> None:
    """The stamp first, then the engine, each complete or absent."""
    stamp = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "key": asdict(key)}
    for target, content in ((path.with_suffix(".json"), json.dumps(stamp, indent=1).encode()), (path, data)):
        write_complete(target, content)


def _whole(path: Path) -> bool:
    try:
        stamp = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return bool(stamp["sha256"] == model_sha256(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False
