"""CudaCompositor: planned pictures drawn on the device, two launches for a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.drawing import TileDrawing
from dualface_ray.backends.cuda.launch import Staging, give_back_stream, kernel, new_stream
from dualface_ray.backends.cuda.records import compose_job, compose_jobs
from dualface_ray.backends.cuda.vendor import cupy, enter_device, translated
from dualface_ray.backends.cuda.waiting import wait_for
from dualface_ray.compose import check_canvas
from dualface_ray.errors import DeviceError
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.media import HDR_TRANSFERS, Canvas, Slot

_THREADS = 256


class CudaCompositor:
    """The ``compose.Compositor`` of a GPU; used by one thread at a time.

    Canvases are CuPy arrays, uint8 (height * 3 // 2, width) or uint16 with 10 bits at the top; they are the
    compositor's own and rewritten by the next call.

    Args:
        keep_hdr: streams that are HLG or PQ get 10-bit canvases (P010), whatever the depth of their slots.
    """

    def __init__(self, *, keep_hdr: bool = False) -> None:
        self._stream = new_stream()
        self._keep_hdr = keep_hdr
        self._canvases: dict[tuple[int, int, int], Any] = {}
        self._drawing = TileDrawing(self._stream)
        self._black = Staging()
        self._closed = False

    def compose(self, info: StreamInfo, slots: Sequence[Slot], plans: Sequence[FramePlan]) -> list[list[Canvas]]:
        """Canvases of each plan, in order; the slots have been read completely on return.

        Raises:
            ValueError: as many slots as plans are needed; or a plan cannot be drawn.
            DeviceError: the device failed, or the compositor is closed.
        """
        if self._closed:
            raise DeviceError("the compositor is closed", where="cuda compositor")
        if len(slots) != len(plans):
            raise ValueError(f"{len(slots)} slots for {len(plans)} plans")
        enter_device()
        deep = self._keep_hdr and info.colour.transfer in HDR_TRANSFERS
        pictures: list[list[Any]] = []
        layers: list[list[tuple[Any, ...]]] = []
        bare: dict[tuple[int, int], list[int]] = {}
        position = 0
        for slot, plan in zip(slots, plans, strict=True):
            pictures.append([])
            for canvas in plan.canvases:
                check_canvas(canvas)
                target = self._canvas(position, canvas, np.dtype(np.uint16 if deep else np.uint8))
                position += 1
                pictures[-1].append(target)
                size = (canvas.width_px, canvas.height_px)
                over = _layers(canvas.tiles)
                if not _covered(canvas, over):
                    bare.setdefault(size, []).append(address_of(target))
                for tile, layer in zip(canvas.tiles, over, strict=True):
                    while len(layers) <= layer:
                        layers.append([])
                    job = compose_job(address_of(slot), info, tile, address_of(target), size, deep=deep)
                    layers[layer].append(job)
        with translated("composing"), self._stream:
            for size, addresses in bare.items():
                self._blacken(size, addresses, deep=deep)
            for jobs in layers:
                self._drawing.draw(compose_jobs(jobs))
            wait_for(self._stream)
        self._drawing.finished()
        return pictures

    def close(self) -> None:
        """Free the canvases; harmless when called twice."""
        if self._closed:
            return
        self._closed = True
        give_back_stream(self._stream)  # waits: what a failed call has queued must not write into another's memory
        self._canvases.clear()
        self._drawing.close()

    def _canvas(self, position: int, plan: CanvasPlan, sample: np.dtype[Any]) -> Any:
        key = position, plan.width_px, plan.height_px
        found = self._canvases.get(key)
        if found is None or found.dtype != sample:
            with translated("allocating a canvas"):
                found = cupy().empty((plan.height_px * 3 // 2, plan.width_px), sample)
            self._canvases[key] = found
        return found

    def _blacken(self, size: tuple[int, int], addresses: list[int], *, deep: bool) -> None:
        width, height = size
        pointers = self._black.upload(np.array(addresses, np.uint64), self._stream)
        grid = (-(-width * height * 3 // 2 // _THREADS), len(addresses), 1)
        arguments = (np.uint64(pointers.data.ptr), np.int32(width), np.int32(height), np.int32(deep))
        kernel("blacken")(grid, (_THREADS,), arguments)
        self._stream.synchronize()  # the upload's buffer is used again for the next size


def _overlap(a: TilePlan, b: TilePlan) -> bool:
    return not (
        a.x_px + a.width_px <= b.x_px
        or b.x_px + b.width_px <= a.x_px
        or a.y_px + a.height_px <= b.y_px
        or b.y_px + b.height_px <= a.y_px
    )


def _layers(tiles: Sequence[TilePlan]) -> list[int]:
    """The launch each tile belongs to: a tile over another one is drawn after it."""
    result: list[int] = []
    for index, tile in enumerate(tiles):
        below = [result[other] for other in range(index) if _overlap(tiles[other], tile)]
        result.append(max(below) + 1 if below else 0)
    return result


def _covered(plan: CanvasPlan, layers: Sequence[int]) -> bool:
    """Whether the tiles hide the whole canvas."""
    area = sum(tile.width_px * tile.height_px for tile in plan.tiles)
    return area == plan.width_px * plan.height_px and not any(layers)
