"""Kernels: CUDA C++ as package data, and the layout of the records they read.

    *.cu + common.cuh ──► NVRTC on the device's machine (CuPy caches the result on disk) ──► launch
                     └──► a host compiler behind a shim, in the tests ──► compared with NumPy

Knows text and record layouts only; it may not import CuPy, so the tests can compile everything without a device.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

KERNELS: dict[str, tuple[str, ...]] = {
    "letterbox": ("letterbox_float", "letterbox_half"),
    "centerface": ("centerface",),
    "signature": ("signature",),
    "surface": ("repeat_edges",),
}
"""Entry points of each source file."""

LETTERBOX_ITEM = np.dtype(
    [
        ("slot", np.uint64),
        ("pitch", np.int32),
        ("slot_rows", np.int32),
        ("width", np.int32),
        ("height", np.int32),
        ("content_width", np.int32),
        ("content_height", np.int32),
        ("rotation", np.int32),
        ("wide", np.int32),
        ("matrix", np.float32, (12,)),
    ],
    align=True,
)
"""``LetterboxItem`` of ``letterbox.cu``."""

CANDIDATES = 1024
"""Peaks of one picture that suppression looks at."""
FACE_FLOATS = 15
"""Numbers per face: box, score, five landmarks."""

COMPILE_OPTIONS = ("-std=c++17", "--fmad=true")


@cache
def source(name: str) -> str:
    """The text of one kernel file with what all of them share in front."""
    folder = resources.files(__package__)
    return folder.joinpath("common.cuh").read_text() + "\n" + folder.joinpath(f"{name}.cu").read_text()
