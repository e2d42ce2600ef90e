"""SlotCopier: pictures into slots on one stream, and the signatures of a whole chunk beside them.

Everything is queued; nothing is complete before ``finish``, the one synchronisation of a chunk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.drawing import TileDrawing
from dualface_ray.backends.cuda.launch import Staging, kernel
from dualface_ray.backends.cuda.nvdec import Surface
from dualface_ray.backends.cuda.records import rescale_job
from dualface_ray.backends.cuda.vendor import COPY_DEVICE_TO_DEVICE, COPY_DEVICE_TO_HOST, cupy, translated
from dualface_ray.backends.cuda.waiting import wait_for
from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import SIGNATURE_BYTES, PixelLayout, StreamInfo

_SIGNATURE_THREADS = 576
"""One thread for each block of the luma grid."""
_THREADS = 256


class SlotCopier:
    """Copies of one stream's pictures; used by one thread at a time.

    Args:
        info: the stream; its size and layout are the slots'.
        stream: the CUDA stream on which the decoder works too.
    """

    def __init__(self, info: StreamInfo, stream: Any) -> None:
        self._info = info
        self._stream = stream
        self._wide = int(info.layout is PixelLayout.P010)
        self._pointers = Staging()
        self._drawing = TileDrawing(stream)
        self._signatures: Any = None
        self._host: Any = None
        self._capacity = 0

    def copy(self, surface: Surface, slot: Any) -> bool:
        """Queue the copy of a decoded picture; True when it had another size and was scaled."""
        info = self._info
        even = (info.slot_width_px, info.height_px)
        if (surface.width_px, surface.height_px) not in (even, (info.width_px, info.height_px)):
            self._rescale(surface, slot)
            return True
        runtime, handle, to = cupy().cuda.runtime, self._stream.ptr, address_of(slot)
        row = info.slot_width_px << self._wide
        chroma_rows = info.slot_height_px // 2
        if surface.pitch_bytes < row:
            raise UnsupportedMediaError(
                f"NVDEC gives rows of {surface.pitch_bytes} bytes where {info.layout.value} needs {row}",
                where=info.stream_id,
                remedy="Set lane.allow_cpu_decode=true to decode it on the CPU.",
            )
        with translated("copying a picture into its slot"):
            whole = surface.pitch_bytes == row and info.height_px == info.slot_height_px
            if whole and surface.chroma == surface.luma + row * info.height_px:
                runtime.memcpyAsync(to, surface.luma, info.slot_bytes, COPY_DEVICE_TO_DEVICE, handle)
            else:
                for source, target, rows in (
                    (surface.luma, to, info.height_px),
                    (surface.chroma, to + row * info.slot_height_px, chroma_rows),
                ):
                    runtime.memcpy2DAsync(
                        target, row, source, surface.pitch_bytes, row, rows, COPY_DEVICE_TO_DEVICE, handle
                    )
            if (info.width_px | info.height_px) & 1:
                longest = max(info.slot_width_px, info.slot_height_px)
                arguments = (
                    np.uint64(to),
                    np.int32(info.slot_width_px),
                    np.int32(info.width_px),
                    np.int32(info.height_px),
                    np.int32(self._wide),
                )
                with self._stream:
                    kernel("repeat_edges")((-(-longest // _THREADS),), (_THREADS,), arguments)
        return False

    def repeat(self, source_address: int, slot: Any) -> None:
        """Queue a copy of the picture in another slot of the same form."""
        with translated("repeating a picture"):
            cupy().cuda.runtime.memcpyAsync(
                address_of(slot), source_address, self._info.slot_bytes, COPY_DEVICE_TO_DEVICE, self._stream.ptr
            )

    def finish(self, slots: list[Any]) -> npt.NDArray[np.uint8]:
        """Compute the signatures of these slots and wait for everything queued.

        Returns:
            uint8 (len(slots), SIGNATURE_BYTES).
        """
        count, info = len(slots), self._info
        with translated("finishing a chunk"):
            if count:
                self._reserve(count)
                pointers = self._pointers.upload(
                    np.array([address_of(slot) for slot in slots], np.uint64), self._stream
                )
                arguments = (
                    np.uint64(pointers.data.ptr),
                    np.int32(info.slot_width_px),
                    np.int32(info.slot_height_px),
                    np.int32(info.width_px),
                    np.int32(info.height_px),
                    np.int32(self._wide),
                    np.uint64(self._signatures.data.ptr),
                )
                with self._stream:
                    kernel("signature")((count,), (_SIGNATURE_THREADS,), arguments)
                cupy().cuda.runtime.memcpyAsync(
                    self._host.ptr,
                    self._signatures.data.ptr,
                    count * SIGNATURE_BYTES,
                    COPY_DEVICE_TO_HOST,
                    self._stream.ptr,
                )
            wait_for(self._stream)
        self._drawing.finished()
        if not count:
            return np.empty((0, SIGNATURE_BYTES), np.uint8)
        flat = np.frombuffer(self._host, np.uint8, count * SIGNATURE_BYTES)
        return np.array(flat.reshape(count, SIGNATURE_BYTES))

    def _reserve(self, count: int) -> None:
        if count > self._capacity:
            self._signatures = cupy().empty((count, SIGNATURE_BYTES), np.uint8)
            self._host = cupy().cuda.alloc_pinned_memory(count * SIGNATURE_BYTES)
            self._capacity = count

    def _rescale(self, surface: Surface, slot: Any) -> None:
        """A picture of another size in mid-stream, scaled to the slot's by the compositor's kernel."""
        info = self._info
        record = rescale_job(
            surface.luma, surface.pitch_bytes, surface.width_px, surface.height_px, info, address_of(slot)
        ).copy()
        record["slot_rows"] = (surface.chroma - surface.luma) // surface.pitch_bytes  # more than shown in a part
        self._drawing.draw(record)
