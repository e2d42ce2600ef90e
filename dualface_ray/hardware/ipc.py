"""Whether device memory travels between two processes by CUDA IPC: one exports, another reads; really tried.

Plain CUDA driver calls through ctypes, so it works with every version of CuPy and without it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from dualface_ray.hardware.child import ENTRY

_BYTES = 2 << 20
"""The driver's own granularity: a smaller piece would share its handle with others."""
_WORD = 0x5A17C0DE
_READ_S = 30.0


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_ubyte * 64),)


def exchange(tell: Callable[[Any], None], library: Any = None) -> str:
    """Allocate, fill, export, and have another process read the bytes; returns ``ok``.

    Raises:
        RuntimeError: a step failed, or the bytes were others; the message names the step.
    """
    cuda = library if library is not None else _device()
    address, handle = ctypes.c_uint64(), _Handle()
    _call(cuda, "cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(_BYTES))
    _call(cuda, "cuMemsetD32_v2", address, ctypes.c_uint(_WORD), ctypes.c_size_t(_BYTES // 4))
    _call(cuda, "cuCtxSynchronize")
    _call(cuda, "cuIpcGetMemHandle", ctypes.byref(handle), address)
    tell("exported")
    with tempfile.TemporaryFile() as report:
        given = json.dumps({"handle": bytes(handle.reserved).hex()})
        command = [sys.executable, "-c", ENTRY, "ipc_reader", given, str(report.fileno()), str(_READ_S)]
        subprocess.run(command, pass_fds=(report.fileno(),), timeout=_READ_S, check=False, stdin=subprocess.DEVNULL)
        report.seek(0)
        lines = [json.loads(line) for line in report.read().decode().splitlines()]
    last = lines[-1] if lines else {"failure": "the reading process ended without an answer"}
    if "failure" in last:
        raise RuntimeError(f"the other process: {last['failure']}")
    if last.get("value") != _WORD:
        raise RuntimeError(f"the other process read {last.get('value')!r} where {_WORD} was written")
    return "ok"


def read(tell: Callable[[Any], None], handle: str) -> int:
    """The other process: open the handle and read the last word."""
    cuda = _device()
    address, copy = ctypes.c_uint64(), ctypes.c_uint()
    exported = _Handle((ctypes.c_ubyte * 64)(*bytes.fromhex(handle)))
    _call(cuda, "cuIpcOpenMemHandle_v2", ctypes.byref(address), exported, ctypes.c_uint(1))
    _call(cuda, "cuMemcpyDtoH_v2", ctypes.byref(copy), ctypes.c_uint64(address.value + _BYTES - 4), ctypes.c_size_t(4))
    _call(cuda, "cuIpcCloseMemHandle", address)
    return int(copy.value)


def _device() -> Any:
    """The driver's library with device 0's primary context current."""
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    cuda = ctypes.CDLL("libcuda.so.1")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call(cuda, "cuInit", ctypes.c_uint(0))
    _call(cuda, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    _call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    _call(cuda, "cuCtxPushCurrent_v2", context)
    return cuda


def _call(cuda: Any, name: str, *arguments: Any) -> None:
    code = getattr(cuda, name)(*arguments)
    if code:
        text = ctypes.c_char_p()
        cuda.cuGetErrorName(code, ctypes.byref(text))
        raise RuntimeError(f"{name} returned {(text.value or b'?').decode()} ({code})")
