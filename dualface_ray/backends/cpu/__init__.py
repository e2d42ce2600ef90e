"""The CPU backend: PyAV decodes and encodes, ONNX Runtime infers, OpenCV composes, shared memory holds the frames.

    file ─► decode ─► CpuArena slots (NV12) ─► detector, embedder (small RGB pictures)
                            └─► compositor (planes, no RGB) ─► NV12 canvas ─► encode ─► packets

Libraries are imported by the modules that use them, when a factory is first called. May not know Ray, actors or jobs.
"""

from __future__ import annotations

from dualface_ray.backends.cpu.backend import BACKEND, CpuBackend

__all__ = ["BACKEND", "CpuBackend"]
