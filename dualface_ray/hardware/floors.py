"""Which driver the installed wheels need at least: a table with its sources, wheels read by their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dualface_ray.hardware.profiles import driver_version

CUDA_FLOORS = {13: "580", 12: "525", 11: "450"}
"""Lowest driver for a CUDA major version: NVIDIA, CUDA Compatibility, table 1 of "Minor Version Compatibility"
(docs.nvidia.com/deploy/cuda-compatibility)."""
VIDEO_FLOOR = "530.41.03"
"""PyNvVideoCodec 2.2.4 takes NVENC API 12.1 or newer (its ``__init__``); Video Codec SDK 12.1 came with that driver."""
_TENSORRT_8 = 11
"""The wheels of TensorRT 8.5 and 8.6 are built for CUDA 11 and do not say so in their name; later ones do."""
_PARTS = ("-libs", "-bindings")


@dataclass(frozen=True, slots=True)
class Floor:
    """One wheel and the driver below which it does not run."""

    wheel: str
    driver: str
    source: str

    def allows(self, driver: str) -> bool:
        """Whether this driver is new enough; true when it is no version."""
        version = driver_version(driver)
        return not version or version >= driver_version(self.driver)


def floors(distributions: Mapping[str, str]) -> tuple[Floor, ...]:
    """The floors of what is installed.

    Args:
        distributions: names (lower case, dashes) and versions.
    """
    found = []
    for name, version in distributions.items():
        cuda = cuda_major(name, version)
        if cuda in CUDA_FLOORS and name.startswith(("cupy", "tensorrt")) and not name.endswith(_PARTS):
            found.append(Floor(f"{name} {version}", CUDA_FLOORS[cuda], f"built for CUDA {cuda}"))
        elif name == "pynvvideocodec":
            found.append(Floor(f"PyNvVideoCodec {version}", VIDEO_FLOOR, "it needs NVENC API 12.1"))
    return tuple(found)


def cuda_major(name: str, version: str) -> int:
    """CUDA's major version that a wheel was built for, by its name; 0 = its name does not say."""
    match = re.search(r"-(?:cuda|cu)(\d\d)\d?x?(?:-|$)", name)
    if match:
        return int(match.group(1))
    if name == "tensorrt" and version.startswith("8."):
        return _TENSORRT_8
    return 0
