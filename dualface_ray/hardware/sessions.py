"""How many encoder sessions open at once: one after the other, up to a bound, in a probing process of its own.

Each one counts from the moment it is told; a library that ends the process on the one too many has still been measured.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Callable
from typing import Any

from dualface_ray.hardware.codecs import words

_WIDTH_PX, _HEIGHT_PX = 320, 240
"""Small, but above the smallest picture of any generation."""
_EXHAUSTED = re.compile(
    r"OUT_OF_MEMORY|INCOMPATIBLE_CLIENT_KEY|(?:returned error|error code|error)\D{0,4}(10|21)\b", re.IGNORECASE
)
"""NV_ENC_ERR_OUT_OF_MEMORY (10: old drivers) and NV_ENC_ERR_INCOMPATIBLE_CLIENT_KEY (21: new ones) on opening."""


def open_sessions(tell: Callable[[Any], None], bound: int, codec: str = "h264", library: Any = None) -> dict[str, Any]:
    """Open up to ``bound`` sessions and keep them; tells the count after each.

    Returns:
        ``opened``, ``ended`` (bound, refused or failed) and ``text``, the driver's words.
    """
    nvc = library if library is not None else importlib.import_module("PyNvVideoCodec")
    given = {} if library is not None else _shared_context()
    kept: list[Any] = []
    while len(kept) < bound:
        try:
            kept.append(
                nvc.CreateEncoder(_WIDTH_PX, _HEIGHT_PX, "NV12", False, codec=codec, gpu_id="0", preset="P1", **given)
            )
        except Exception as error:
            text = words(error)
            return {"opened": len(kept), "ended": "refused" if exhausted(str(error)) else "failed", "text": text}
        tell(len(kept))
    return {"opened": len(kept), "ended": "bound", "text": ""}


def exhausted(text: str) -> bool:
    """Whether these words of the driver mean that no further session is allowed."""
    return bool(_EXHAUSTED.search(text.split("===")[0]))


def _shared_context() -> dict[str, int]:
    """One CUDA context and stream for all of them; each encoder would make its own, at some hundred MiB a piece.

    Where the driver's library is not to be had, the encoder's own message about that is the better one.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}
    device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    steps = (
        ("cuInit", (ctypes.c_uint(0),)),
        ("cuDeviceGet", (ctypes.byref(device), ctypes.c_int(0))),
        ("cuDevicePrimaryCtxRetain", (ctypes.byref(context), device)),
        ("cuCtxPushCurrent_v2", (context,)),
        ("cuStreamCreate", (ctypes.byref(stream), ctypes.c_uint(1))),
    )
    for name, arguments in steps:
        code = getattr(cuda, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} returned CUDA error {code}")
    return {"cudacontext": int(context.value or 0), "cudastream": int(stream.value or 0)}
