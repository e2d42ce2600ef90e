"""HostEncodeSession: for cards without NVENC. Canvases come down through pinned memory, encoders run on CPU threads.

    canvas ─ async copy ─► pinned ring slot ─ queue ─► one of N workers ─► x264 | x265 | SVT-AV1 ─► packets

A session's pictures are encoded in order, by one worker at a time; N workers serve all sessions of the process. N is
the lane plan's word (``LanePlan.encode_at_once``), so that the lane's processes together keep to its cores. When a
session's ring is full, ``encode`` waits: that is the back-pressure. Many single-threaded encoders side by side are the
fastest arrangement (DESIGN section 5).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.launch import give_back_stream, new_stream
from dualface_ray.backends.cuda.vendor import COPY_DEVICE_TO_HOST, cupy, enter_device, translated
from dualface_ray.backends.cuda.waiting import wait_for
from dualface_ray.errors import EncodeError
from dualface_ray.media import Canvas, EncodeSession, EncodeSpec, Packet

RING_SLOTS = 6
"""Pictures of one session that wait or are being encoded: a third of a chunk hides the jitter of an encoder."""


class Downloader(Protocol):
    """Brings canvases to host memory."""

    def slots(self, count: int, shape: tuple[int, int], sample: np.dtype[Any]) -> list[npt.NDArray[Any]]:
        """Host memory for so many pictures."""

    def fetch(self, canvas: Canvas, slot: npt.NDArray[Any]) -> None:
        """Copy; complete on return."""

    def close(self) -> None:
        """Free everything; nothing may be fetched after it. Harmless when called twice."""


class PinnedDownloader:
    """Copies on a stream of its own into pinned memory."""

    def __init__(self) -> None:
        self._stream = new_stream()
        self._memory: Any = None

    def slots(self, count: int, shape: tuple[int, int], sample: np.dtype[Any]) -> list[npt.NDArray[Any]]:
        """Pinned memory for so many pictures of this shape and kind of sample."""
        size = shape[0] * shape[1]
        with translated("allocating pinned memory"):
            self._memory = cupy().cuda.alloc_pinned_memory(count * size * sample.itemsize)
        flat = np.frombuffer(self._memory, sample, count * size)
        return list(flat.reshape(count, *shape))

    def fetch(self, canvas: Canvas, slot: npt.NDArray[Any]) -> None:
        """Copy one canvas; complete on return."""
        enter_device()
        with translated("downloading a picture"):
            cupy().cuda.runtime.memcpyAsync(
                slot.ctypes.data, address_of(canvas), slot.nbytes, COPY_DEVICE_TO_HOST, self._stream.ptr
            )
            wait_for(self._stream)

    def close(self) -> None:
        """Give the stream back and leave the memory to whoever still holds a slot."""
        stream, self._stream, self._memory = self._stream, None, None
        if stream is not None:
            give_back_stream(stream)


class HostEncodeSession:
    """The ``EncodeSession`` port: download, then encode elsewhere; packets come with later calls.

    Args:
        spec: what to encode.
        inner: the software encoder.
        pool: workers shared by all sessions of the process.
        downloader: how pictures come to the host.
        ring_slots: pictures that may wait.
        at_once: encoders that work at once in this process.
    """

    def __init__(
        self,
        spec: EncodeSpec,
        inner: EncodeSession,
        pool: ThreadPoolExecutor,
        downloader: Downloader,
        *,
        ring_slots: int = RING_SLOTS,
        at_once: int = 1,
    ) -> None:
        self.spec = spec
        self._inner = inner
        self._pool = pool
        self._downloader = downloader
        self._shape = (spec.height_px * 3 // 2, spec.width_px)
        self._sample: np.dtype[Any] = np.dtype(np.uint8 if spec.bits == 8 else np.uint16)
        self._free = deque(downloader.slots(ring_slots, self._shape, self._sample))
        self._ring_slots = ring_slots
        self._at_once = at_once
        self._changed = threading.Condition()
        self._waiting: deque[tuple[npt.NDArray[Any], int]] = deque()
        self._busy = False
        self._packets: list[Packet] = []
        self._error: BaseException | None = None
        self._finished = False
        self._closed = False

    @property
    def name(self) -> str:
        """The inner encoder's, and how many of them work at once."""
        return f"{self._inner.name}, at most {self._at_once} at once in its process"

    @property
    def extradata(self) -> bytes:
        """The inner encoder's."""
        return self._inner.extradata

    def encode(self, canvas: Canvas, pts_ticks: int) -> list[Packet]:
        """Take one picture; it has been read completely on return.

        Returns:
            Packets that were ready by now, often of earlier pictures.

        Raises:
            EncodeError: wrong shape, closed, or an earlier picture failed.
        """
        if self._finished or self._closed:
            raise EncodeError("the encoder is closed", where=self._where)
        if tuple(canvas.shape) != self._shape or canvas.dtype != self._sample:
            raise EncodeError(
                f"a canvas must be {self._sample} {self._shape}, not {canvas.dtype} {canvas.shape}", where=self._where
            )
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._error is not None)
            self._raise()
            slot = self._free.popleft()
        try:
            self._downloader.fetch(canvas, slot)
        except BaseException:
            with self._changed:
                self._free.append(slot)
            raise
        with self._changed:
            self._waiting.append((slot, pts_ticks))
            self._start()
            return self._taken()

    def finish(self) -> list[Packet]:
        """Wait for everything and drain; no ``encode`` may follow.

        Raises:
            EncodeError: a picture failed.
        """
        if self._finished or self._closed:
            return []
        self._finished = True
        with self._changed:
            self._changed.wait_for(lambda: not self._busy and not self._waiting)
            self._raise()
            packets = self._taken()
        return packets + self._inner.finish()

    def close(self) -> None:
        """Free everything; harmless when called twice. Pictures that wait are dropped."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.wait_for(lambda: not self._busy)
        self._inner.close()
        self._free.clear()
        self._downloader.close()

    @property
    def _where(self) -> str:
        return f"{self.spec.codec} {self.spec.width_px}x{self.spec.height_px}"

    def _taken(self) -> list[Packet]:
        packets, self._packets = self._packets, []
        return packets

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        """Have a worker look after this session, unless one does."""
        if not self._busy and self._waiting:
            self._busy = True
            self._pool.submit(self._work)

    def _work(self) -> None:
        """Encode one picture, then queue up again behind the other sessions."""
        with self._changed:
            if not self._waiting or self._error is not None:
                self._waiting.clear()
                self._busy = False
                self._changed.notify_all()
                return
            slot, pts_ticks = self._waiting.popleft()
        packets: list[Packet] = []
        error: BaseException | None = None
        try:
            packets = self._inner.encode(slot, pts_ticks)
        except BaseException as caught:  # handed to the next call: a worker has nobody to raise to
            error = caught
        with self._changed:
            self._packets.extend(packets)
            self._error = self._error or error
            self._free.append(slot)
            self._busy = False
            if self._error is None:
                self._start()
            else:
                self._waiting.clear()
            self._changed.notify_all()


_workers: dict[int, ThreadPoolExecutor] = {}
_workers_lock = threading.Lock()


def workers(count: int) -> ThreadPoolExecutor:
    """The process's pool of so many encoder threads."""
    with _workers_lock:
        if count not in _workers:
            _workers[count] = ThreadPoolExecutor(count, thread_name_prefix="encode")
        return _workers[count]


def host_encoder(
    spec: EncodeSpec, at_once: int, make_downloader: Callable[[], Downloader] = PinnedDownloader
) -> HostEncodeSession:
    """A session over the CPU's encoders.

    Args:
        spec: what to encode; ``threads`` counts per session.
        at_once: encoders that may work at once in this process, at least one.
        make_downloader: how pictures come to the host.

    Raises:
        EncodeError: the software encoder cannot be opened.
    """
    from dualface_ray.backends.cpu.encode import CpuEncodeSession

    inner, at_once = CpuEncodeSession(spec), max(1, at_once)
    try:
        return HostEncodeSession(spec, inner, workers(at_once), make_downloader(), at_once=at_once)
    except BaseException:
        inner.close()
        raise
