"""Backends: where pixels live and who works on them.

    load_backend("cpu")  ──► PyAV decode and encode · ONNX Runtime · OpenCV · shared memory
    load_backend("cuda") ──► NVDEC · TensorRT · CuPy kernels · CUDA IPC · NVENC
            both ──► pyav: restricted demux, mux, audio, probing
    check_networks ──► whether the settings' models can be loaded
    video_needs ──► what a video takes;  choose_plan ──► what a card can hold (pure)
    Picture ──► lines, areas and words on pictures and canvases, for reports

A backend is a bag of factories for the ports of ``frames``, ``media``, ``detect`` and ``compose``. Vendor libraries
are imported inside its modules only, when a factory is first called. This room may not know Ray, actors or jobs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dualface_ray.backends.canvases import compositors, pipe_places
from dualface_ray.backends.cuda.plan import LaneShape, StreamShape, VramPlan, choose_plan, next_smaller
from dualface_ray.backends.device import DevicePlan
from dualface_ray.backends.needs import video_needs
from dualface_ray.backends.networks import check_networks
from dualface_ray.backends.ports import Backend, load_backend
from dualface_ray.backends.process import limit_library_threads

if TYPE_CHECKING:
    from dualface_ray.backends.cpu.draw import Picture

__all__ = [
    "Backend",
    "DevicePlan",
    "LaneShape",
    "Picture",
    "StreamShape",
    "VramPlan",
    "check_networks",
    "choose_plan",
    "compositors",
    "limit_library_threads",
    "load_backend",
    "next_smaller",
    "pipe_places",
    "video_needs",
]


def __getattr__(name: str) -> Any:
    """Load the drawing when it is first asked for; it brings OpenCV."""
    if name != "Picture":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("dualface_ray.backends.cpu.draw").Picture
