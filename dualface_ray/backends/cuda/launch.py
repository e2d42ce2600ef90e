"""Launching kernels: compiled once a process by NVRTC through CuPy, which keeps the binaries in its disk cache."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.kernels import COMPILE_OPTIONS, KERNELS, source
from dualface_ray.backends.cuda.vendor import COPY_HOST_TO_DEVICE, cupy, enter_device, translated

_kernels: dict[str, Any] = {}
_idle_streams: list[Any] = []
_lock = threading.Lock()


def kernel(name: str) -> Any:
    """The compiled entry point of this name, ready to be called as ``kernel(grid, block, args)``.

    Raises:
        DeviceError: NVRTC or the driver refuses it.
    """
    with _lock:
        found = _kernels.get(name)
        if found is None:
            enter_device()
            module_name = next(module for module, entries in KERNELS.items() if name in entries)
            with translated(f"compiling the kernel {name}"):
                module = cupy().RawModule(code=source(module_name), options=COMPILE_OPTIONS, backend="nvrtc")
                for entry in KERNELS[module_name]:
                    _kernels[entry] = module.get_function(entry)
            found = _kernels[name]
    return found


def compile_all() -> None:
    """Compile every kernel now, so that the first frame does not wait for it."""
    for entries in KERNELS.values():
        for name in entries:
            kernel(name)


def new_stream() -> Any:
    """A stream that does not wait for the default one: one that was given back, or a new one.

    CuPy's pool keeps what is freed for the stream it was allocated on. With new streams for every video, each past one
    would leave its scratch memory behind: 2 MiB a clip, measured over 200 of them.
    """
    enter_device()
    try:
        return _idle_streams.pop()
    except IndexError:
        pass
    with translated("creating a stream"):
        return cupy().cuda.Stream(non_blocking=True)


def give_back_stream(stream: Any) -> None:
    """The next ``new_stream`` may have it; nothing that was queued on it is still running then."""
    try:
        stream.synchronize()
    except Exception:  # noqa: S110 - the device has failed, which its next user learns in full
        pass
    else:
        _idle_streams.append(stream)


def limit_pool(size_bytes: int) -> None:
    """Cap what CuPy's own pool may take in this process, so that a plan holds."""
    enter_device()
    with translated("limiting the memory pool"):
        cupy().get_default_memory_pool().set_limit(size=size_bytes)


class Staging:
    """A pinned host buffer and its copy on the device, for small records that go up with every launch.

    Used by one thread; ``upload`` may be called again once the stream has been synchronised.
    """

    def __init__(self) -> None:
        self._pinned: Any = None
        self._device: Any = None
        self._capacity = 0

    def upload(self, records: Any, stream: Any) -> Any:
        """The bytes of a NumPy array on the device, as a CuPy uint8 array; the copy is queued on ``stream``."""
        module = cupy()
        size = records.nbytes
        with translated("uploading records"):
            if size > self._capacity:
                capacity = max(4096, 2 * size)
                pinned, on_device = module.cuda.alloc_pinned_memory(capacity), module.empty(capacity, np.uint8)
                # only now: when memory ran out half-way, the next call must not take the old buffers for larger ones
                self._pinned, self._device, self._capacity = pinned, on_device, capacity
            host = np.frombuffer(self._pinned, np.uint8, size)
            host[:] = np.ascontiguousarray(records).reshape(-1).view(np.uint8)
            target = self._device[:size]
            module.cuda.runtime.memcpyAsync(target.data.ptr, self._pinned.ptr, size, COPY_HOST_TO_DEVICE, stream.ptr)
            return target
