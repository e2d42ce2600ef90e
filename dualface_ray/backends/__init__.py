"""Backends: where pixels live and who works on them.

    load_backend("cpu")  ──► PyAV decode and encode · ONNX Runtime · OpenCV · shared memory
    load_backend("cuda") ──► NVDEC · TensorRT · CuPy kernels · CUDA IPC · NVENC
            both ──► pyav: restricted demux, mux, audio, probing

A backend is a bag of factories for the ports of ``frames``, ``media``, ``detect`` and ``compose``. Vendor libraries
are imported inside its modules only, when a factory is first called. This room may not know Ray, actors or jobs.
"""

from __future__ import annotations

from dualface_ray.backends.ports import Backend, load_backend
from dualface_ray.backends.process import limit_library_threads

__all__ = ["Backend", "limit_library_threads", "load_backend"]
