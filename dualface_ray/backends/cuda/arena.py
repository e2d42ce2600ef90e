"""CudaArena: one ``cudaMalloc`` of device memory, seen by several processes through CUDA IPC.

    owner:    cudaMalloc ─► cudaIpcGetMemHandle ─► token ─ (a message) ─► consumer: cudaIpcOpenMemHandle ─► same bytes
              GenerationPage in host shared memory ─────────────────────► attached read-only

Memory of CuPy's pools, of ``cudaMallocAsync`` and of NVDEC cannot be exported, so the arena is allocated by itself,
once per decoder process, and divided by ``FramePool``. A handle opens in another process of the same card and the same
container only; in its own process the memory is there already, so attaching there hands out the owner's address.
Closing order: importers close before the owner frees (DESIGN section 4).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cuda.plan import MAX_SHARE
from dualface_ray.backends.cuda.returning import await_memory
from dualface_ray.backends.cuda.vendor import cupy, device, enter_device, translated
from dualface_ray.errors import DeviceError, VramBudgetError
from dualface_ray.frames import SLOT_ALIGN_BYTES, ArenaHandle, GenerationPage, PixelLayout, StreamInfo

_HANDLE_BYTES = 64
"""Size of ``cudaIpcMemHandle_t``."""

_own: dict[str, int] = {}
"""Addresses of the arenas this process owns, by pool id."""
_own_lock = threading.Lock()


class CudaArena:
    """The ``frames.Arena`` of a GPU; slots are CuPy arrays over memory CuPy does not own."""

    def __init__(self, handle: ArenaHandle, address: int, page: GenerationPage, *, owner: bool, mapped: bool) -> None:
        self._handle = handle
        self._address = address
        self._page = page
        self._owner = owner
        self._mapped = mapped
        self._memory: Any = cupy().cuda.UnownedMemory(address, handle.size_bytes, self, 0)

    @staticmethod
    def create(size_bytes: int, slots: int) -> CudaArena:
        """Allocate device memory and a page of ``slots`` generations; the caller owns both.

        Memory that is not free is waited for some seconds: a lane that died may have left it a moment ago.

        Raises:
            VramBudgetError: the memory is not there, or nothing was asked for.
            DeviceError: there is no working device, or it cannot export memory.
        """
        if slots < 1 or size_bytes < 1:
            raise VramBudgetError(f"a pool of {slots} slots and {size_bytes} bytes holds nothing", where="frame pool")
        enter_device()
        runtime = cupy().cuda.runtime
        (_, total), mib = await_memory(0), 1 << 20
        if size_bytes > MAX_SHARE * total:
            raise VramBudgetError(
                f"a pool of {size_bytes / mib:.0f} MiB is over {MAX_SHARE:.0%} of the card's {total / mib:.0f} MiB",
                where=device().name,
                remedy="Lower lane.streams or framing.lookahead_s.",
            )
        free, total = await_memory(size_bytes)
        if size_bytes > free:
            raise VramBudgetError(
                f"{size_bytes / mib:.0f} MiB are needed, {free / mib:.0f} of {total / mib:.0f} MiB are free",
                where=device().name,
                remedy="Lower lane.streams or framing.lookahead_s, or end other programs on this card.",
            )
        page = GenerationPage.create(slots)
        address = 0
        try:
            with translated("allocating the frame pool"):
                address = int(runtime.malloc(size_bytes))
            if address % SLOT_ALIGN_BYTES:
                raise DeviceError(f"cudaMalloc gave an address off {SLOT_ALIGN_BYTES} bytes", where="frame pool")
            with translated("exporting the frame pool"):
                exported = bytes(runtime.ipcGetMemHandle(address))
        except BaseException:
            page.close()
            if address:
                with translated("freeing the frame pool"):
                    runtime.free(address)
            raise
        pool_id = uuid.uuid4().hex
        token = pack_token(exported, device().uuid, os.getpid(), page.token)
        handle = ArenaHandle(pool_id, "cuda", size_bytes, slots, socket.gethostname(), token)
        with _own_lock:
            _own[pool_id] = address
        return CudaArena(handle, address, page, owner=True, mapped=False)

    @staticmethod
    def attach(handle: ArenaHandle) -> CudaArena:
        """Map the arena of another process on the same card.

        Raises:
            DeviceError: it lives elsewhere, or CUDA cannot open it here (another container, owner gone).
            SharedMemoryError: its page of generations is gone.
        """
        where = f"frame pool {handle.pool_id[:8]}"
        if handle.kind != "cuda":
            raise DeviceError(f"its pixels live in {handle.kind} memory", where=where)
        if handle.node != socket.gethostname():
            what = f"it lives on {handle.node}, this process runs on {socket.gethostname()}"
            raise DeviceError(what, where=where, remedy="Keep the actors of a lane on one machine.")
        exported, owner_device, _, page_token = unpack_token(handle.token)
        if owner_device != device().uuid:
            raise DeviceError(
                "it lies on another card than the one visible here",
                where=where,
                remedy="Give all actors of a lane the same GPU (one placement-group bundle).",
            )
        page = GenerationPage.attach(page_token)
        try:
            with _own_lock:
                address = _own.get(handle.pool_id, 0)
            if address:
                return CudaArena(handle, address, page, owner=False, mapped=False)
            enter_device()
            with translated("opening the frame pool by CUDA IPC"):
                address = int(cupy().cuda.runtime.ipcOpenMemHandle(exported))
            return CudaArena(handle, address, page, owner=False, mapped=True)
        except BaseException:
            page.close()
            raise

    @property
    def handle(self) -> ArenaHandle:
        """What another process needs to attach."""
        return self._handle

    @property
    def generations(self) -> npt.NDArray[np.uint64]:
        """uint64 (slots,) in host memory; empty once closed."""
        return self._page.values

    def view(self, offset_bytes: int, info: StreamInfo) -> Any:
        """The slot at this offset as a CuPy array, uint8 or uint16 (slot_height_px * 3 // 2, slot_width_px); no copy.

        Raises:
            DeviceError: the arena is closed, or the slot leaves it.
        """
        if self._memory is None:
            raise DeviceError("the frame pool is closed", where="cuda")
        if offset_bytes < 0 or offset_bytes + info.slot_bytes > self._handle.size_bytes:
            what = (
                f"bytes {offset_bytes} to {offset_bytes + info.slot_bytes} leave it ({self._handle.size_bytes} bytes)"
            )
            raise DeviceError(what, where=f"frame pool {self._handle.pool_id[:8]}")
        module = cupy()
        pointer = module.cuda.MemoryPointer(self._memory, offset_bytes)
        shape = (info.slot_height_px * 3 // 2, info.slot_width_px)
        dtype = np.uint16 if info.layout is PixelLayout.P010 else np.uint8
        return module.ndarray(shape, dtype, pointer)

    def seal(self) -> None:
        """Every consumer has attached: the page of generations keeps no name."""
        self._page.seal()

    def close(self) -> None:
        """Unmap; the owner's close frees the memory. Harmless when called twice.

        Arrays handed out before are void from here on, so whoever uses them must have synchronised.
        """
        memory, self._memory = self._memory, None
        if memory is None:
            return
        self._page.close()
        runtime = cupy().cuda.runtime
        enter_device()
        with translated("closing the frame pool"):
            runtime.deviceSynchronize()
            if self._mapped:
                runtime.ipcCloseMemHandle(self._address)
            elif self._owner:
                with _own_lock:
                    _own.pop(self._handle.pool_id, None)
                runtime.free(self._address)


def pack_token(exported: bytes, card: bytes, pid: int, page: bytes) -> bytes:
    """IPC handle, card, process and generation page as plain bytes."""
    parts = [base64.b64encode(part).decode() for part in (exported, card, page)]
    return json.dumps({"handle": parts[0], "card": parts[1], "page": parts[2], "pid": pid}).encode()


def unpack_token(token: bytes) -> tuple[bytes, bytes, int, bytes]:
    """Inverse of ``pack_token``.

    Raises:
        DeviceError: it is damaged.
    """
    try:
        fields = json.loads(token)
        exported, card, page = (base64.b64decode(fields[key], validate=True) for key in ("handle", "card", "page"))
        pid = int(fields["pid"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError("the token of a frame pool is damaged", where="cuda") from error
    if len(exported) != _HANDLE_BYTES or len(card) != 16:
        raise DeviceError("the token of a frame pool has the wrong size", where="cuda")
    return exported, card, pid, page


def address_of(slot: Any) -> int:
    """Device address of a slot or canvas (a C-contiguous CuPy array)."""
    return int(slot.data.ptr)
