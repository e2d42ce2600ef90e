"""Which versions a GPU lane would import, and whether the driver's libraries open; runs in probing processes."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any

DRIVER_LIBRARIES = ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1", "libnvidia-ml.so.1")
"""What the driver brings; in a container each of them belongs to one of ``NVIDIA_DRIVER_CAPABILITIES``."""
MODULES = ("cupy", "tensorrt", "PyNvVideoCodec")
_RELATED = re.compile(r"^(cupy(-cuda\w+)?|tensorrt.*|pynvvideocodec|nvidia-ml-py|nvidia-cuda-\w+.*|pynvml)$")


def open_libraries(tell: Callable[[Any], None], names: list[str]) -> int:
    """Open each library; tells ``[name, trouble]``, where no trouble is an empty text."""
    for name in names:
        tell([name, _trouble(name)])
    return len(names)


def _trouble(name: str) -> str:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)[:200]
    return ""


def imported_versions(tell: Callable[[Any], None], module: str) -> dict[str, str]:
    """Import one module; its version, and those of what it was built with where it says so."""
    found = importlib.import_module(module)
    versions = {module: str(getattr(found, "__version__", "?"))}
    tell(versions)
    if module == "cupy":
        number = int(found.cuda.runtime.runtimeGetVersion())
        versions["cuda_runtime"] = f"{number // 1000}.{number % 1000 // 10}"
    if module == "PyNvVideoCodec":
        for name, attribute in (("video_codec_sdk", "__video_codec_sdk_version__"), ("nvc_cuda", "__cuda_version__")):
            if hasattr(found, attribute):
                versions[name] = str(getattr(found, attribute))
    return versions


def distributions() -> dict[str, str]:
    """Installed packages that decide over CUDA versions; metadata alone, nothing is imported."""
    found = {}
    for one in importlib.metadata.distributions():
        name = str(one.metadata["Name"] or "").lower().replace("_", "-")
        if _RELATED.match(name):
            found[name] = one.version
    return dict(sorted(found.items()))
