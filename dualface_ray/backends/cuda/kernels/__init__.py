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
    "compose": ("compose_rows", "compose", "blacken"),
    "signature": ("signature",),
    "appearance": ("patches", "describe"),
    "chips": ("chips_float", "chips_half"),
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

PATCH_EDGES = 17
"""Edges of the 16 cells of a region on one axis."""

PATCH_ITEM = np.dtype(
    [
        ("slot", np.uint64),
        ("pitch", np.int32),
        ("slot_rows", np.int32),
        ("wide", np.int32),
        ("luma_width", np.int32),
        ("luma_height", np.int32),
        ("chroma_width", np.int32),
        ("chroma_height", np.int32),
        ("luma_x", np.int32, (PATCH_EDGES,)),
        ("luma_y", np.int32, (PATCH_EDGES,)),
        ("chroma_x", np.int32, (PATCH_EDGES,)),
        ("chroma_y", np.int32, (PATCH_EDGES,)),
    ],
    align=True,
)
"""``PatchItem`` of ``appearance.cu``."""

FACE_ITEM = np.dtype([("turns", np.int32), ("black", np.float32)], align=True)
"""``FaceItem`` of ``appearance.cu``."""

CHIP_ITEM = np.dtype(
    [
        ("slot", np.uint64),
        ("pitch", np.int32),
        ("slot_rows", np.int32),
        ("wide", np.int32),
        ("width", np.int32),
        ("height", np.int32),
        ("samples", np.int32),
        ("outside", np.float32),
        ("transform", np.float32, (6,)),
        ("matrix", np.float32, (12,)),
    ],
    align=True,
)
"""``ChipItem`` of ``chips.cu``."""

COMPOSE_AXIS = np.dtype(
    [
        ("step", np.float64),
        ("phase", np.float32),
        ("stretch", np.float32),
        ("decimate", np.int32),
        ("first", np.int32),
        ("reach", np.int32),
        ("lobes", np.int32),
        ("lead", np.int32),
        ("count", np.int32),
        ("size", np.int32),
    ],
    align=True,
)
"""``ComposeAxis`` of ``compose.cu``."""

COMPOSE_JOB = np.dtype(
    [
        ("slot", np.uint64),
        ("canvas", np.uint64),
        ("luma_x", COMPOSE_AXIS),
        ("luma_y", COMPOSE_AXIS),
        ("chroma_x", COMPOSE_AXIS),
        ("chroma_y", COMPOSE_AXIS),
        ("luma_gain", np.float32),
        ("luma_offset", np.float32),
        ("chroma_gain", np.float32),
        ("chroma_offset", np.float32),
        ("luma_mix", np.float32, (2,)),
        ("chroma_mix", np.float32, (4,)),
        ("pitch", np.int32),
        ("slot_rows", np.int32),
        ("wide", np.int32),
        ("canvas_pitch", np.int32),
        ("canvas_rows", np.int32),
        ("x", np.int32),
        ("y", np.int32),
        ("width", np.int32),
        ("height", np.int32),
        ("turns", np.int32),
        ("deep", np.int32),
        ("mixes", np.int32),
    ],
    align=True,
)
"""``ComposeJob`` of ``compose.cu``."""

LETTERBOX_BLOCK = (32, 8)
"""Pixels of a block of ``letterbox_float`` and ``letterbox_half``, across and down; ``ACROSS``, ``DOWN`` of
``letterbox.cu``."""
COMPOSE_TILE = 32
"""Luma samples of a block of ``compose`` in each direction; ``TILE`` of ``compose.cu``."""
COMPOSE_SPAN = 128
"""Outputs of an axis whose weights a block of ``compose_rows`` writes; ``ROWS_SPAN`` of ``compose.cu``."""

CANDIDATES = 1024
"""Peaks of one picture that suppression looks at."""
FACE_FLOATS = 15
"""Numbers per face: box, score, five landmarks."""

COMPILE_OPTIONS = ("-std=c++17", "--fmad=true")


def letterbox_grid(width_px: int, height_px: int, batch: int) -> tuple[int, int, int]:
    """Blocks that fill an input of this size for so many pictures."""
    across, down = LETTERBOX_BLOCK
    return -(-width_px // across), -(-height_px // down), batch


@cache
def source(name: str) -> str:
    """The text of one kernel file with what all of them share in front."""
    folder = resources.files(__package__)
    return folder.joinpath("common.cuh").read_text() + "\n" + folder.joinpath(f"{name}.cu").read_text()
