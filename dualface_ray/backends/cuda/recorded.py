"""RecordedPass: detection of a batch as one CUDA graph, so that many can run side by side at little cost on the host.

    records ─► pinned ─┐ one graph, on a stream of its own                                    ┌─► counts, faces
                       └─► letterbox ─► network ─► peaks, suppression ─► copies to the host ──┘

For measuring arrangements of engines. Every pass deserialises the engine anew: TensorRT 8.5 lets an optimisation
profile serve one execution context, and the weights of this network are small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.detector import Network
from dualface_ray.backends.cuda.facts import Records
from dualface_ray.backends.cuda.kernels import FACE_FLOATS, LETTERBOX_ITEM, letterbox_grid
from dualface_ray.backends.cuda.launch import kernel, new_stream
from dualface_ray.backends.cuda.vendor import (
    COPY_DEVICE_TO_HOST,
    COPY_HOST_TO_DEVICE,
    cupy,
    enter_device,
    translated,
)
from dualface_ray.detect import STRIDE_PX
from dualface_ray.models import Engine, Profile
from dualface_ray.settings import Settings

_THREADS = 256


class _Repeatable(Engine):
    """An engine whose last run can be queued again without touching its shapes, as recording needs."""

    def again(self) -> None:
        """Queue the network for the batch of the last ``run``."""
        self._enqueue(self._any)


class RecordedPass:
    """One execution context, one stream, one graph per batch size; used by one thread at a time.

    Args:
        path: the engine.
        profile: input size, and the largest batch that buffers are made for (at most the engine's).
        settings: thresholds.

    Raises:
        ModelError, VramBudgetError, DeviceError: as ``Engine``.
    """

    def __init__(self, path: Path, profile: Profile, settings: Settings) -> None:
        enter_device()
        self._profile, self._detect = profile, settings.detect
        self._stream = new_stream()
        self._engine = _Repeatable(path, profile, self._stream, graphs=False)
        self._maps = Network(self._engine).map_names
        self._graphs: dict[tuple[int, bool], Any] = {}
        self._rows = profile.max_batch * self._detect.max_faces * FACE_FLOATS
        with translated("allocating a pass"):
            self._faces = cupy().zeros(self._rows, np.float32)
            self._counts = cupy().zeros(profile.max_batch, np.int32)
            self._faces_host = cupy().cuda.alloc_pinned_memory(self._rows * 4)
            self._counts_host = cupy().cuda.alloc_pinned_memory(profile.max_batch * 4)
            # Graphs hold these addresses, so they stay for good.
            self._items = cupy().zeros(profile.max_batch * LETTERBOX_ITEM.itemsize, np.uint8)
            self._items_host = cupy().cuda.alloc_pinned_memory(profile.max_batch * LETTERBOX_ITEM.itemsize)
            cupy().cuda.runtime.deviceSynchronize()
        self._running = 0

    @property
    def max_batch(self) -> int:
        """The largest batch."""
        return self._profile.max_batch

    def prepare(self, records: Records) -> None:
        """Record the graphs of this batch size, with and without what surrounds the network, and run each once."""
        for whole in (True, False):
            self.launch(records, whole=whole)
            self.collect()

    def launch(self, records: Records, *, whole: bool) -> None:
        """Queue a batch; ``collect`` must follow before the next.

        Args:
            records: ``LETTERBOX_ITEM`` of every frame.
            whole: from slots to faces; otherwise the network alone, on whatever its input holds.
        """
        enter_device()
        batch = len(records)
        with translated("detecting faces"):
            graph = self._graphs.get((batch, whole))
            if graph is None:
                self._put(records)
                graph = self._graphs[batch, whole] = self._record(batch, whole=whole)
            if whole:
                self._put(records)
            graph.launch(self._stream)
        self._running = batch if whole else 0

    def collect(self) -> int:
        """Wait for the batch; the number of faces found, 0 for the network alone."""
        enter_device()
        with translated("detecting faces"):
            self._stream.synchronize()
        return int(np.frombuffer(self._counts_host, np.int32, self._profile.max_batch)[: self._running].sum())

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        enter_device()
        self._stream.synchronize()
        self._graphs = {}
        self._engine.close()
        self._faces = self._counts = self._items = None

    def _put(self, records: Records) -> None:
        np.frombuffer(self._items_host, np.uint8, records.nbytes)[:] = records.view(np.uint8)

    def _record(self, batch: int, *, whole: bool) -> Any:
        with self._stream:
            self._queue(batch, whole=whole, first=True)  # sets up what must not be part of a graph
            self._stream.synchronize()
            self._stream.begin_capture()
            try:
                self._queue(batch, whole=whole, first=False)
            finally:
                graph = self._stream.end_capture()
        return graph

    def _queue(self, batch: int, *, whole: bool, first: bool) -> None:
        engine, runtime, handle = self._engine, cupy().cuda.runtime, self._stream.ptr
        height, width = self._profile.height_px, self._profile.width_px
        into, maps = engine.input, engine.outputs
        if whole:
            size = batch * LETTERBOX_ITEM.itemsize
            runtime.memcpyAsync(self._items.data.ptr, self._items_host.ptr, size, COPY_HOST_TO_DEVICE, handle)
            name = "letterbox_half" if into.dtype == np.float16 else "letterbox_float"
            arguments = (np.uint64(self._items.data.ptr), np.uint64(into.data.ptr), np.int32(width), np.int32(height))
            kernel(name)(letterbox_grid(width, height, batch), (_THREADS,), arguments)
        if first:
            engine.run(batch)
        else:
            engine.again()
        if not whole:
            return
        found = (
            *(np.uint64(maps[name].data.ptr) for name in self._maps),
            np.int32(height // STRIDE_PX),
            np.int32(width // STRIDE_PX),
            np.float32(self._detect.min_score),
            np.float32(self._detect.nms_iou),
            np.int32(self._detect.max_faces),
            np.uint64(self._counts.data.ptr),
            np.uint64(self._faces.data.ptr),
        )
        kernel("centerface")((batch,), (2 * _THREADS,), found)
        for host, source, length in (
            (self._counts_host, self._counts, batch * 4),
            (self._faces_host, self._faces, batch * self._detect.max_faces * FACE_FLOATS * 4),
        ):
            runtime.memcpyAsync(host.ptr, source.data.ptr, length, COPY_DEVICE_TO_HOST, handle)
