"""CpuArena: a pool's pixels and generations in the host's shared memory."""

from __future__ import annotations

import base64
import json
import socket
import uuid

import numpy as np
import numpy.typing as npt

from dualface_ray.errors import SharedMemoryError
from dualface_ray.frames import ArenaHandle, GenerationPage, PixelLayout, SharedBlock, StreamInfo


class CpuArena:
    """The ``frames.Arena`` of the CPU: pixels and generation page, both nameless; attached processes only read."""

    def __init__(self, handle: ArenaHandle, pixels: SharedBlock, page: GenerationPage) -> None:
        self._handle = handle
        self._pixels = pixels
        self._page = page

    @staticmethod
    def create(size_bytes: int, slots: int) -> CpuArena:
        """Reserve ``size_bytes`` of pixels and a page of ``slots`` generations; the caller owns both.

        Raises:
            SharedMemoryError: /dev/shm is too small.
        """
        if slots < 1:
            raise SharedMemoryError(f"a pool of {slots} slots holds nothing", where="frame pool")
        pixels = SharedBlock.create(size_bytes)
        try:
            page = GenerationPage.create(slots)
        except SharedMemoryError:
            pixels.close()
            raise
        token = json.dumps([base64.b64encode(part).decode() for part in (pixels.token, page.token)]).encode()
        handle = ArenaHandle(uuid.uuid4().hex, "cpu", size_bytes, slots, socket.gethostname(), token)
        return CpuArena(handle, pixels, page)

    @staticmethod
    def attach(handle: ArenaHandle) -> CpuArena:
        """Map the arena of another process of this machine, read-only.

        Raises:
            SharedMemoryError: it lives on another machine or in another kind of memory, or its owner is gone.
        """
        where = f"frame pool {handle.pool_id[:8]}"
        if handle.kind != "cpu":
            raise SharedMemoryError(f"its pixels live in {handle.kind} memory", where=where)
        if handle.node != socket.gethostname():
            what = f"it lives on {handle.node}, this process runs on {socket.gethostname()}"
            raise SharedMemoryError(what, where=where, remedy="Keep the actors of a lane on one machine.")
        try:
            pixel_token, page_token = (base64.b64decode(part, validate=True) for part in json.loads(handle.token))
        except (ValueError, TypeError) as error:
            raise SharedMemoryError("its token is damaged", where=where) from error
        pixels = SharedBlock.attach(pixel_token)
        try:
            page = GenerationPage.attach(page_token)
        except SharedMemoryError:
            pixels.close()
            raise
        return CpuArena(handle, pixels, page)

    @property
    def handle(self) -> ArenaHandle:
        """What another process needs to attach."""
        return self._handle

    @property
    def generations(self) -> npt.NDArray[np.uint64]:
        """uint64 (slots,); empty once closed."""
        return self._page.values

    def view(self, offset_bytes: int, info: StreamInfo) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """The slot at this offset: (slot_height_px * 3 // 2, slot_width_px), uint8 for NV12, uint16 for P010; no copy.

        Raises:
            SharedMemoryError: the arena is closed, or the slot leaves it.
        """
        flat = self._pixels.array(offset_bytes, info.slot_bytes)
        shape = (info.slot_height_px * 3 // 2, info.slot_width_px)
        if info.layout is PixelLayout.P010:
            return flat.view(np.uint16).reshape(shape)
        return flat.reshape(shape)

    def seal(self) -> None:
        """Every consumer has attached: nothing keeps a name (see ``SharedBlock.seal``)."""
        self._pixels.seal()
        self._page.seal()

    def close(self) -> None:
        """Unmap; the memory is free once the last process has done so. Harmless when called twice."""
        self._page.close()
        self._pixels.close()
