"""The only door to the CUDA libraries: imported when first needed, their absence and their failures translated.

Importing this module touches no library, so settings, tests and CPU machines never need one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dualface_ray.errors import DeviceError, VramBudgetError, is_out_of_memory
from dualface_ray.hardware import gpus, surroundings

_INSTALL = "Install the GPU extra: pip install 'dualface-ray[gpu]', or use --set lane.backend=cpu."
_VIDEO = (
    "Install the GPU extra and start containers with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video, "
    "or use --set lane.backend=cpu."
)

_SEE = "Check CUDA_VISIBLE_DEVICES and `dualface doctor`, or use --set lane.backend=cpu."
_UNAVAILABLE = ("DevicesUnavailable", "DEVICE_UNAVAILABLE")
"""What the runtime and the driver call a card that takes no further process (46)."""
_TAKEN = (
    "End its exclusive compute mode (nvidia-smi -c DEFAULT, as root), start MPS before Ray (DUALFACE_MPS=1), or end "
    "what holds it."
)
_JETSON = "Use --set lane.backend=cpu: a Jetson's video engines are not those of a card (Video Codec SDK)."

COPY_HOST_TO_DEVICE = 1
"""``cudaMemcpyHostToDevice``."""
COPY_DEVICE_TO_DEVICE = 3
"""``cudaMemcpyDeviceToDevice``."""
COPY_DEVICE_TO_HOST = 2
"""``cudaMemcpyDeviceToHost``."""

_local = threading.local()


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The card this process works on (Ray makes exactly one visible per lane: ordinal 0)."""

    name: str
    uuid: bytes
    """16 bytes that name the physical card, whatever CUDA_VISIBLE_DEVICES says, or its instance (MIG)."""
    total_bytes: int
    compute_capability: tuple[int, int]


@lru_cache(maxsize=1)
def cupy() -> Any:
    """The module ``cupy`` on a machine with a working device.

    Raises:
        DeviceError: CuPy, the driver or the device is missing.
    """
    try:
        import cupy as module
    except ImportError as error:
        raise DeviceError(f"CuPy cannot be imported ({error})", where="cuda", remedy=_INSTALL) from error
    try:
        count = int(module.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(f"no CUDA device ({first_line(error)})", where="cuda", remedy=_SEE) from error
    if count == 0:
        raise DeviceError("no CUDA device is visible", where="cuda", remedy=_SEE)
    return module


@lru_cache(maxsize=1)
def video_codec() -> Any:
    """The module ``PyNvVideoCodec``; its import already needs libnvcuvid and libnvidia-encode.

    Raises:
        DeviceError: it or the driver's video libraries are missing.
    """
    try:
        import PyNvVideoCodec as module  # noqa: N813 - the library's own name
    except ImportError as error:
        remedy = _JETSON if surroundings().tegra else _INSTALL
        raise DeviceError(f"PyNvVideoCodec cannot be imported ({error})", where="cuda", remedy=remedy) from error
    except Exception as error:  # a RuntimeError with a page of advice when the video libraries are missing
        remedy = _JETSON if surroundings().tegra else _VIDEO
        raise DeviceError(
            f"PyNvVideoCodec does not start ({first_line(error)})", where="cuda", remedy=remedy
        ) from error
    return module


@lru_cache(maxsize=1)
def device() -> DeviceInfo:
    """What is known of device 0 of this process."""
    with translated("device query"):
        runtime = cupy().cuda.runtime
        properties = runtime.getDeviceProperties(0)
        name = properties["name"]
        known = properties.get("uuid") or b""
        if not isinstance(known, bytes) or len(known) != 16:  # older CuPy: the bus address is as unique on one machine
            known = runtime.deviceGetPCIBusId(0).encode().ljust(16, b"\0")[:16]
        return DeviceInfo(
            name=name.decode() if isinstance(name, bytes) else str(name),
            uuid=_instance() or known,
            total_bytes=int(properties["totalGlobalMem"]),
            compute_capability=(int(properties["major"]), int(properties["minor"])),
        )


def _instance() -> bytes:
    """The UUID of the instance (MIG) that this process was given by name: CUDA may tell its card's instead."""
    prefix, _, word = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip().partition("MIG-")
    try:
        return uuid.UUID(word).bytes if word and not prefix else b""
    except ValueError:  # the names of drivers before 470
        return b""


def card_and_driver() -> str:
    """The card's name and, where NVML tells it, the driver's version; for reports."""
    version = next((gpu.driver for gpu in gpus() if gpu.driver), "")
    return f"{device().name}, driver {version}" if version else device().name


def enter_device() -> None:
    """Make device 0's primary context current in this thread; cheap after the first time."""
    if not getattr(_local, "entered", False):
        with translated("cudaSetDevice"):
            runtime = cupy().cuda.runtime
            runtime.setDevice(0)
            runtime.free(0)  # creates the primary context if nobody has
        _local.entered = True


def context_handle() -> int:
    """The CUcontext that is current in this thread, as PyNvVideoCodec's ``cudacontext``."""
    enter_device()
    return int(cupy().cuda.driver.ctxGetCurrent())


def first_line(error: BaseException) -> str:
    """An exception's message without its page of advice."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def ran_out(error: BaseException) -> bool:
    """True for CuPy's, the driver's and the video libraries' ways of saying that device memory is used up."""
    return isinstance(error, MemoryError) or is_out_of_memory(f"{type(error).__name__} {error}")


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate CUDA failures of the enclosed block.

    Raises:
        VramBudgetError: device memory is used up (the lane may restart with a smaller plan).
        DeviceError: anything else that CUDA or CuPy reports.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # CUDARuntimeError, CUDADriverError and NVRTC's error are RuntimeErrors; OutOfMemoryError is a MemoryError.
        if ran_out(error):
            raise VramBudgetError(
                f"{what}: device memory is used up",
                where="cuda",
                remedy="Lower lane.streams, framing.lookahead_s or lane.vram_share.",
            ) from error
        text = first_line(error)
        if any(word in text for word in _UNAVAILABLE):
            raise DeviceError(f"the card takes no further process ({text})", where="cuda", remedy=_TAKEN) from error
        remedy = "See nvidia-smi and `dualface doctor`."
        raise DeviceError(f"{what} failed ({text})", where="cuda", remedy=remedy) from error
