"""A stand-in for CuPy on machines without a device: the same calls over host memory, kernels through the host shim.

Only what the GPU backend uses. Strict where mistakes would hide until a card is there: kernel arguments must be NumPy
scalars of exactly the C type, copies must stay inside memory that was handed out, IPC handles open only elsewhere.
"""

from __future__ import annotations

import ctypes
import re
import types
from typing import Any

import cuda_shim
import numpy as np
import pytest

from dualface_ray.backends.cuda.kernels import KERNELS, source

_C_TYPES = {"float": np.float32, "int": np.int32}
_STRIDED = frozenset(
    {
        "centerface",
        "compose",
        "compose_rows",
        "describe",
        "letterbox_float",
        "letterbox_half",
        "patches",
        "signature",
    }
)
"""Kernels that stride over their block and give the same result for any number of threads; one is the fastest here."""
_blocks: dict[int, int] = {}


class Pointer:
    def __init__(self, address: int) -> None:
        self.ptr = address


class MemoryPointer(Pointer):
    def __init__(self, memory: UnownedMemory, offset: int) -> None:
        super().__init__(memory.ptr + offset)


class UnownedMemory(Pointer):
    def __init__(self, address: int, size: int, owner: object, device_id: int = -1) -> None:
        super().__init__(address)


class Pinned(bytearray):
    """Has ``ptr`` and the buffer protocol, as CuPy's pinned memory."""

    @property
    def ptr(self) -> int:
        return int(np.frombuffer(self, np.uint8).ctypes.data)


class ndarray(np.ndarray):  # noqa: N801 - CuPy's name
    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None) -> ndarray:
        if memptr is None:
            made = np.zeros(shape, dtype).view(cls)
        else:
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            raw = (ctypes.c_byte * count).from_address(memptr.ptr)
            made = np.frombuffer(raw, dtype).reshape(shape).view(cls)
        _blocks[made.ctypes.data] = made.nbytes
        return made

    @property
    def data(self) -> Pointer:  # type: ignore[override]
        return Pointer(int(self.ctypes.data))


def _new(array: np.ndarray) -> ndarray:
    copy = np.array(array, order="C").view(ndarray)
    _blocks[copy.ctypes.data] = copy.nbytes
    return copy


class Graph:
    def __init__(self, work: list[Any]) -> None:
        self._work = work

    def launch(self, stream: Any) -> None:
        for call in self._work:
            call()


class Stream:
    ptr = 4242

    def __init__(self, *, non_blocking: bool = False) -> None:
        assert non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to restore."""

    def synchronize(self) -> None:
        """Everything is done when it returns."""


class Event:
    def __init__(self, *, block: bool, disable_timing: bool) -> None:
        assert disable_timing
        self.block = block
        self._recorded = False

    def record(self, stream: Any) -> None:
        self._recorded = True

    def synchronize(self) -> None:
        assert self._recorded, "nothing to wait for"
        self._recorded = False


class Runtime(types.SimpleNamespace):
    total = 8 << 30

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[int, Any] = {}
        self.opened: list[int] = []

    def getDeviceCount(self) -> int:  # noqa: N802
        return 1

    def getDeviceProperties(self, number: int) -> dict[str, Any]:  # noqa: N802
        return {"name": b"Host", "uuid": b"u" * 16, "totalGlobalMem": self.total, "major": 0, "minor": 0}

    def setDevice(self, number: int) -> None:  # noqa: N802
        assert number == 0

    def deviceSynchronize(self) -> None:  # noqa: N802
        """Everything is done when it returns."""

    def memGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.total - sum(block.size for block in self.taken.values()), self.total

    def malloc(self, size: int) -> int:
        raw = np.zeros(size + 512, np.uint8)
        address = -(-raw.ctypes.data // 512) * 512
        self.taken[address] = raw
        return address

    def free(self, address: int) -> None:
        if address:
            del self.taken[address]

    def ipcGetMemHandle(self, address: int) -> bytes:  # noqa: N802
        assert address in self.taken, "only cudaMalloc memory can be exported"
        return address.to_bytes(64, "little")

    def ipcOpenMemHandle(self, handle: bytes) -> int:  # noqa: N802
        raise RuntimeError("cudaErrorDeviceUninitialized: a handle does not open in its own process")

    def memcpyAsync(self, target: int, origin: int, size: int, kind: int, stream: int) -> None:  # noqa: N802
        assert kind in (1, 2, 3)
        assert stream == Stream.ptr
        ctypes.memmove(target, origin, size)

    def memcpy2DAsync(  # noqa: N802
        self, target: int, to_pitch: int, origin: int, pitch: int, width: int, rows: int, kind: int, stream: int
    ) -> None:
        assert kind == 3
        assert width <= min(pitch, to_pitch)
        for row in range(rows):
            ctypes.memmove(target + row * to_pitch, origin + row * pitch, width)


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...], backend: str) -> None:
        assert backend == "nvrtc"
        self._name = next(name for name in KERNELS if source(name) == code)

    def get_function(self, entry: str) -> Any:
        parameters = cuda_shim.entries(source(self._name))[entry]

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
            assert len(arguments) == len(parameters), f"{entry} takes {parameters}"
            values = []
            for given, parameter in zip(arguments, parameters, strict=True):
                wanted = np.uint64 if "*" in parameter else _C_TYPES[re.sub(r"const |\s*\w+$", "", parameter).strip()]
                assert type(given) is wanted, f"{entry}: {parameter} got {type(given).__name__}"
                ctype = {np.uint64: ctypes.c_void_p, np.int32: ctypes.c_int, np.float32: ctypes.c_float}[wanted]
                values.append(ctype(given.item()))
            assert 0 < int(np.prod(block)) <= 1024
            threads = 1 if entry in _STRIDED else block[0]
            size = (*grid, 1, 1)[:3]
            function = getattr(cuda_shim.compiled(self._name), f"run_{entry}")
            function.restype = None
            function(*(ctypes.c_uint(n) for n in (*size, threads)), *values)

        return launch


class Pool:
    def set_limit(self, *, size: int) -> None:
        assert size > 0


def make() -> Any:
    """A fresh module object."""
    runtime = Runtime()
    cuda = types.SimpleNamespace(
        runtime=runtime,
        driver=types.SimpleNamespace(ctxGetCurrent=lambda: 7),
        Event=Event,
        Stream=Stream,
        UnownedMemory=UnownedMemory,
        MemoryPointer=MemoryPointer,
        alloc_pinned_memory=lambda size: Pinned(size),
    )
    module = types.ModuleType("cupy")
    module.__dict__.update(
        cuda=cuda,
        ndarray=ndarray,
        RawModule=RawModule,
        empty=lambda shape, dtype=float: _new(np.full(shape, 77, dtype)),
        zeros=lambda shape, dtype=float: _new(np.zeros(shape, dtype)),
        full=lambda shape, value, dtype=float: _new(np.full(shape, value, dtype)),
        asarray=_new,
        asnumpy=lambda array: np.array(array).view(np.ndarray),
        get_default_memory_pool=Pool,
    )
    return module


def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the backend believe that this is CuPy."""
    from dualface_ray.backends.cuda import launch, vendor

    module = make()
    monkeypatch.setitem(__import__("sys").modules, "cupy", module)
    vendor.cupy.cache_clear()
    vendor.device.cache_clear()
    monkeypatch.setattr(launch, "_kernels", {})
    monkeypatch.setattr(launch, "_idle_streams", [])
    monkeypatch.setattr(vendor, "_local", types.SimpleNamespace())
    return module


def remove() -> None:
    """Forget the stand-in."""
    from dualface_ray.backends.cuda import vendor

    vendor.cupy.cache_clear()
    vendor.device.cache_clear()
