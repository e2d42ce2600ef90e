"""CudaDetector: CenterFace on TensorRT, from slots to faces without a picture leaving the device.

    slots of any streams ─ letterbox, one launch ─► TensorRT ─► maps ─ decode, suppress ─► boxes ─► host
    slots + boxes ─ patches ─► cell means ─ describe ─► descriptors ─► host

Landscape and portrait video need inputs of different shape; each has its engine, loaded when it is first needed and
built beforehand, because building takes minutes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.engines import DEFAULT_BATCH, Progress, build_engines, detector_engine
from dualface_ray.backends.cuda.facts import BatchFacts, KnownStreams, Records
from dualface_ray.backends.cuda.kernels import FACE_FLOATS, letterbox_grid
from dualface_ray.backends.cuda.launch import Staging, kernel, new_stream
from dualface_ray.backends.cuda.vendor import COPY_DEVICE_TO_HOST, cupy, enter_device, translated
from dualface_ray.backends.cuda.waiting import new_event, wait_for
from dualface_ray.detect import APPEARANCE_TUNING, PATCH_CELLS, STRIDE_PX, FramePixels
from dualface_ray.errors import DeviceError, ModelError
from dualface_ray.frames import DESCRIPTOR_SIZE, F32, Faces, FaceTable
from dualface_ray.models import Engine, Profile
from dualface_ray.settings import Settings

_THREADS = 256
_PEAK_THREADS = 512
"""One block looks for the peaks of a whole picture."""


class CudaDetector:
    """The ``detect.Detector`` of a GPU; used by one thread at a time.

    Args:
        settings: thresholds, input size and precision are read from ``settings.detect``.
        progress: called with one readable line per step of building an engine.
        orientations: of the videos to come, the usual one first: its engine is loaded now, the others with their first
            video; the engine of one that is not named is even built then.

    Raises:
        ModelError: the model is missing, damaged or refused.
        DeviceError, VramBudgetError: the device or its memory.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress = lambda line: None,
        *,
        orientations: Sequence[str] = ("landscape", "portrait"),
    ) -> None:
        enter_device()
        self._all_settings = settings
        self._settings = settings.detect
        self._max_batch = settings.detect.batch_max or DEFAULT_BATCH
        self._progress = progress
        self._paths = build_engines(settings, progress, orientations)
        self._stream = new_stream()
        self._engines: dict[tuple[int, int], Network] = {}
        self._known = KnownStreams(self._settings.input_width_px, self._settings.input_height_px)
        self._looking = new_stream()
        """Faces of one batch are described on it while the network works on the next."""
        self._free: list[_Pass] = []
        self._open = 0
        """Passes under way."""
        self._patch_items = Staging()
        self._face_items = Staging()
        self._patches: Any = None
        self._looks: Any = None
        self._looks_host: Any = None
        self._described = 0
        with translated("allocating the detector's results"):
            self._faces = cupy().zeros(self._max_batch * self._settings.max_faces * FACE_FLOATS, np.float32)
            self._counts = cupy().zeros(self._max_batch, np.int32)
            self._tuning = cupy().asarray(APPEARANCE_TUNING)
            cupy().cuda.runtime.deviceSynchronize()
        self._network(next(iter(self._paths)))
        self._closed = False

    @property
    def max_batch(self) -> int:
        """The setting, else 64."""
        return self._max_batch

    @property
    def ahead(self) -> int:
        """One batch may be begun while another is under way: the card does not wait for the host between them."""
        return 1

    def detect(self, batch: Sequence[FramePixels]) -> Sequence[Faces]:
        """Faces of each frame in displayed pixels, with appearance descriptors, best score first.

        Frames of the same input shape run together. The slots have been read completely on return.

        Raises:
            DeviceError: CUDA or TensorRT failed, or the detector is closed.
        """
        return self.begin(batch)()

    def begin(self, batch: Sequence[FramePixels]) -> Callable[[], Sequence[Faces]]:
        """As ``detect`` in two steps; see the port. Both raise what ``detect`` raises."""
        if self._closed:
            raise DeviceError("the detector is closed", where="cuda detector")
        enter_device()
        facts = [self._known(frame.info) for frame in batch]
        addresses = [address_of(frame.slot) for frame in batch]
        begun: list[tuple[Sequence[int], _Pass]] = []
        try:
            for shape in sorted({one.input_px for one in facts}):
                members = [i for i, one in enumerate(facts) if one.input_px == shape]
                for start in range(0, len(members), self._max_batch):
                    part = members[start : start + self._max_batch]
                    given = BatchFacts([addresses[i] for i in part], [facts[i] for i in part])
                    begun.append((part, self._run(shape, given, len(part))))
        except BaseException:
            self._give_back([one for _, one in begun], broken=True)
            raise
        return partial(self._finish, len(batch), begun)

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        if not self._closed:
            self._closed = True
            self._stream.synchronize()
            self._looking.synchronize()
            for network in self._engines.values():
                network.engine.close()
            self._engines = {}
            self._faces = self._counts = self._patches = self._looks = self._tuning = None

    def _network(self, shape: tuple[int, int]) -> Network:
        found = self._engines.get(shape)
        if found is None:
            profile = Profile(self._max_batch, *shape)
            if shape not in self._paths:
                self._paths[shape] = detector_engine(self._all_settings, profile, self._progress)
            found = self._engines[shape] = Network(Engine(self._paths[shape], profile, self._stream))
        return found

    def _run(self, shape: tuple[int, int], given: BatchFacts, count: int) -> _Pass:
        """Queue everything from slots to rows of faces."""
        network = self._network(shape)
        height, width = shape
        if self._open and network.batch != count:
            # The context keeps the shapes that its kernels read: they change between batches, never under one.
            self._stream.synchronize()
        network.batch = count
        limit = self._settings.max_faces
        memory = self._free.pop() if self._free else _Pass(self._max_batch * limit * FACE_FLOATS, self._max_batch)
        memory.given, memory.count = given, count
        self._open += 1
        try:
            with translated("detecting faces"), self._stream:
                items = memory.items.upload(given.letterbox_records(), self._stream)
                into = network.engine.input
                name = "letterbox_half" if into.dtype == np.float16 else "letterbox_float"
                arguments = (np.uint64(items.data.ptr), np.uint64(into.data.ptr), np.int32(width), np.int32(height))
                kernel(name)(letterbox_grid(width, height, count), (_THREADS,), arguments)
                maps = network.engine.run(count)
                kernel("centerface")(
                    (count,),
                    (_PEAK_THREADS,),
                    (
                        *(np.uint64(maps[name].data.ptr) for name in network.map_names),
                        np.int32(height // STRIDE_PX),
                        np.int32(width // STRIDE_PX),
                        np.float32(self._settings.min_score),
                        np.float32(self._settings.nms_iou),
                        np.int32(limit),
                        np.uint64(self._counts.data.ptr),
                        np.uint64(self._faces.data.ptr),
                    ),
                )
                for host, source, length in (
                    (memory.counts, self._counts, count * 4),
                    (memory.faces, self._faces, count * limit * FACE_FLOATS * 4),
                ):
                    cupy().cuda.runtime.memcpyAsync(
                        host.ptr, source.data.ptr, length, COPY_DEVICE_TO_HOST, self._stream.ptr
                    )
                memory.done.record(self._stream)
        except BaseException:
            self._give_back([memory], broken=True)
            raise
        return memory

    def _give_back(self, passes: Sequence[_Pass], *, broken: bool = False) -> None:
        """Their memory may be used again; after a failure once nothing writes to it any more."""
        if broken:
            with contextlib.suppress(Exception):  # the failure itself is on its way
                self._stream.synchronize()
        self._open -= len(passes)
        self._free += passes

    def _finish(self, frames: int, begun: Sequence[tuple[Sequence[int], _Pass]]) -> Sequence[Faces]:
        """Wait for the passes of one batch, in the order of ``begin``."""
        enter_device()
        passes = [one for _, one in begun]
        try:
            tables = [self._table(one) for one in passes]
        except BaseException:
            self._give_back(passes, broken=True)
            raise
        self._give_back(passes)
        if len(tables) == 1:
            return tables[0]
        results = [Faces.none()] * frames
        for (members, _), table in zip(begun, tables, strict=True):
            for index, faces in zip(members, table, strict=True):
                results[index] = faces
        return results

    def _table(self, memory: _Pass) -> FaceTable:
        """The faces of a pass, when it has ended."""
        count, limit, given = memory.count, self._settings.max_faces, memory.given
        with translated("detecting faces"):
            memory.done.synchronize()
        counts = np.array(np.frombuffer(memory.counts, np.int32, count))
        if not counts.any():
            return FaceTable.of([Faces.none()] * count)
        size = count * limit * FACE_FLOATS
        rows = np.frombuffer(memory.faces, np.float32, size).reshape(count, limit, FACE_FLOATS)
        owners = np.repeat(np.arange(count), counts)
        found = rows[np.arange(limit) < counts[:, None]]
        points = given.to_display(np.delete(found, 4, axis=1).reshape(-1, 7, 2), owners)
        boxes, marks, scores = points[:, :2].reshape(-1, 4), points[:, 2:].copy(), found[:, 4].copy()
        looks = self._describe(given.patch_records(boxes, owners), given.face_records(owners))
        return FaceTable(np.cumsum(counts, dtype=np.int64), boxes, marks, scores, looks)

    def _describe(self, regions: Records, faces: Records) -> F32:
        """Descriptors (n, D) of n faces from the records of their 3 n regions and their own."""
        total = len(faces)
        size = total * DESCRIPTOR_SIZE
        with translated("describing faces"), self._looking:
            if total > self._described:
                self._described, room = 0, 2 * total  # none, should memory run out half-way
                self._patches = cupy().empty(room * 9 * PATCH_CELLS * PATCH_CELLS, np.float32)
                self._looks = cupy().empty(room * DESCRIPTOR_SIZE, np.float32)
                self._looks_host = cupy().cuda.alloc_pinned_memory(room * DESCRIPTOR_SIZE * 4)
                self._described = room
            items = self._patch_items.upload(regions, self._looking)
            owners = self._face_items.upload(faces, self._looking)
            patches = np.uint64(self._patches.data.ptr)
            kernel("patches")((len(regions),), (_THREADS,), (np.uint64(items.data.ptr), patches))
            arguments = (
                patches,
                np.uint64(owners.data.ptr),
                np.uint64(self._tuning.data.ptr),
                np.uint64(self._looks.data.ptr),
            )
            kernel("describe")((total,), (_THREADS,), arguments)
            cupy().cuda.runtime.memcpyAsync(
                self._looks_host.ptr, self._looks.data.ptr, size * 4, COPY_DEVICE_TO_HOST, self._looking.ptr
            )
            wait_for(self._looking)
        return np.array(np.frombuffer(self._looks_host, np.float32, size)).reshape(total, DESCRIPTOR_SIZE)


class _Pass:
    """Host memory of one batch under way: the card writes to it while another batch is read."""

    def __init__(self, floats: int, frames: int) -> None:
        self.items = Staging()
        with translated("allocating the detector's results"):
            self.faces: Any = cupy().cuda.alloc_pinned_memory(floats * 4)
            self.counts: Any = cupy().cuda.alloc_pinned_memory(frames * 4)
            self.done: Any = new_event()
        self.given: Any = None
        self.count = 0


class Network:
    """An engine and the names of its four maps in the order the kernel takes them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.batch = 0
        """Of the last run."""
        channels = {name: int(array.shape[1]) for name, array in engine.outputs.items() if array.ndim == 4}
        names = ("heatmap", "log_size", "offset", "landmarks")
        if set(names) <= set(channels):
            self.map_names: tuple[str, ...] = names
        elif sorted(channels.values()) == [1, 2, 2, 10]:
            # A user's own graph: by channels; of the two maps with two, the published order is size, then offset.
            order = sorted(channels, key=lambda name: (channels[name], list(channels).index(name)))
            self.map_names = tuple(order)
        else:
            raise ModelError(
                f"not a CenterFace graph: its outputs have {sorted(channels.values())} channels",
                where="cuda detector",
                remedy="Leave detect.model_path empty to use the registered model.",
            )
