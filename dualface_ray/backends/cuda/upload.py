"""UploadDecodeSession: decoding on the CPU for a GPU lane: single key frames, and where the settings allow it all.

Pictures are decoded into a small ring of pinned host slots and copied up. Where the CPU stands in for NVDEC the report
says so by a counter; single key frames are decoded there on every card, and nothing is said of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.launch import give_back_stream, new_stream
from dualface_ray.backends.cuda.vendor import COPY_HOST_TO_DEVICE, cupy, enter_device, translated
from dualface_ray.frames import PixelLayout, StreamInfo
from dualface_ray.media import DecodedBatch, DecodeSession, Slot


class UploadDecodeSession:
    """The ``DecodeSession`` port: libav decodes, slots lie on the device; as the CPU's session fills them.

    Args:
        inner: a session of the CPU; owned by this one.
        stands_in: for NVDEC, which is counted.

    Raises:
        DeviceError: no working device.
    """

    def __init__(self, inner: DecodeSession, *, stands_in: bool) -> None:
        self._inner = inner
        self._stands_in = stands_in
        try:
            self._stream: Any = new_stream()
        except BaseException:
            self._inner.close()
            raise
        self._pinned: Any = None
        self._capacity = 0
        self._frames = 0

    @property
    def info(self) -> StreamInfo:
        """The stream's properties, known from opening on."""
        return self._inner.info

    def decode(self, slots: Sequence[Slot]) -> DecodedBatch:
        """Fill the slots in display order; see the port."""
        enter_device()
        host = self._host_slots(len(slots))
        batch = self._inner.decode(host)
        with translated("uploading pictures"):
            for source, slot in zip(host[: len(batch.frames)], slots[: len(batch.frames)], strict=True):
                cupy().cuda.runtime.memcpyAsync(
                    address_of(slot), source.ctypes.data, source.nbytes, COPY_HOST_TO_DEVICE, self._stream.ptr
                )
            self._stream.synchronize()
        self._frames += len(batch.frames)
        return batch

    def counters(self) -> dict[str, int]:
        """As the CPU's session; ``frames_decoded_on_cpu`` besides where it stands in for NVDEC."""
        found = self._inner.counters()
        return {**found, "frames_decoded_on_cpu": self._frames} if self._stands_in else found

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._inner.close()
        stream, self._stream = self._stream, None
        if stream is not None:
            give_back_stream(stream)
        self._pinned = None
        self._capacity = 0

    def _host_slots(self, count: int) -> list[np.ndarray[Any, np.dtype[Any]]]:
        info = self._inner.info
        samples = np.dtype(np.uint8 if info.layout is PixelLayout.NV12 else np.uint16)
        if count > self._capacity:
            with translated("allocating pinned memory"):
                self._pinned = cupy().cuda.alloc_pinned_memory(count * info.slot_bytes)
            self._capacity = count
        flat = np.frombuffer(self._pinned, samples, count * info.slot_bytes // samples.itemsize)
        return list(flat.reshape(count, info.slot_height_px * 3 // 2, info.slot_width_px))
