"""Cuda: the backend whose pixels never leave the card.

    file ─ packets ─► NVDEC ─► slots of one arena (CUDA IPC) ─┬─► letterbox ─► TensorRT ─► boxes, descriptors ─► host
                                                              ├─► chips ─► TensorRT ─► embeddings ─► host
                                                              └─► compose ─► canvases ─┬─► NVENC
                                                                                       └─► pinned host ─► x264

Importable without CUDA: libraries are imported when a factory of ``BACKEND`` is first called; ``plan`` is pure and
needs no device. May not know Ray, actors, identity or framing decisions. docs/cuda.md fixes memory, order and life
times.
"""

from __future__ import annotations

from dualface_ray.backends.cuda.backend import BACKEND, CudaBackend

__all__ = ["BACKEND", "CudaBackend"]
