"""FramePool: the owner's end of a pool of frames (the consumers' end: ``PoolReader``).

owner: open_stream ─► begin_write (odd) ─ pixels ─► commit (even) ─► FrameTicket ═ message ═► reader: check, read, check
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualface_ray.errors import ProtocolError, ResourceError
from dualface_ray.frames.arena import Arena
from dualface_ray.frames.generations import mark_committed, mark_writing
from dualface_ray.frames.ranges import RangeAllocator
from dualface_ray.frames.ring import SLOT_ALIGN_BYTES, RingSpec, slot_stride_bytes
from dualface_ray.frames.stream import StreamInfo
from dualface_ray.frames.ticket import FrameFlag, FrameTicket


class Stamped(Protocol):
    """What the decoder says about a frame besides its pixels (``dualface_ray.media.DecodedFrame`` fits)."""

    @property
    def pts_ticks(self) -> int: ...  # noqa: D102 - see FrameTicket

    @property
    def flags(self) -> FrameFlag: ...  # noqa: D102 - see FrameTicket


@dataclass(slots=True)
class _Ring:
    spec: RingSpec
    info: StreamInfo
    next_frame: int = 0
    """Frames below were committed or skipped; none of them is written again."""
    writing: set[int] = field(default_factory=set)


class FramePool:
    """Owner's side: divides an arena among streams that come and go, and writes frames into it.

    Streams may be opened and closed from any thread; one ring is written by one thread at a time.
    """

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._lock = threading.Lock()
        self._bytes = RangeAllocator(arena.handle.size_bytes // SLOT_ALIGN_BYTES)
        self._slots = RangeAllocator(arena.handle.slots)
        self._rings: dict[tuple[str, int], _Ring] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes no stream has, in all pieces together."""
        return self._bytes.free * SLOT_ALIGN_BYTES

    def fits(self, info: StreamInfo, quota_frames: int) -> bool:
        """Whether ``open_stream`` would succeed now."""
        with self._lock:
            units = quota_frames * slot_stride_bytes(info) // SLOT_ALIGN_BYTES
            return self._bytes.largest >= units and self._slots.largest >= quota_frames

    def open_stream(self, stream_id: str, epoch: int, info: StreamInfo, quota_frames: int) -> RingSpec:
        """Take ``quota_frames`` slots for a stream.

        Raises:
            ResourceError: they do not fit beside the streams that are open; with the numbers.
            ProtocolError: this epoch of this stream is open already, or the quota is not positive.
        """
        if quota_frames < 1:
            raise ProtocolError(f"a quota of {quota_frames} frames holds nothing", where=stream_id)
        stride = slot_stride_bytes(info)
        with self._lock:
            if (stream_id, epoch) in self._rings:
                raise ProtocolError(f"epoch {epoch} of this stream is open already", where=stream_id)
            start = self._bytes.take(quota_frames * stride // SLOT_ALIGN_BYTES)
            first = self._slots.take(quota_frames) if start is not None else None
            if start is None or first is None:
                if start is not None:
                    self._bytes.give_back(start)
                raise self._full(stream_id, info, quota_frames)
            pool_id = self.arena.handle.pool_id
            spec = RingSpec(pool_id, stream_id, epoch, first, quota_frames, start * SLOT_ALIGN_BYTES, stride)
            self._rings[stream_id, epoch] = _Ring(spec, info)
            return spec

    def close_stream(self, stream_id: str, epoch: int) -> bool:
        """Give a stream's slots back; all its tickets are stale from here on. False when it was not open.

        The bytes may next belong to a stream with other slot numbers, so the old numbers are invalidated here: their
        generations would not notice the new writer.
        """
        with self._lock:
            ring = self._rings.pop((stream_id, epoch), None)
            if ring is None:
                return False
            spec = ring.spec
            mark_writing(self.arena.generations, np.arange(spec.first_slot, spec.first_slot + spec.count))
            self._bytes.give_back(spec.offset_bytes // SLOT_ALIGN_BYTES)
            self._slots.give_back(spec.first_slot)
            return True

    def begin_write(self, ring: RingSpec, frame_index: int) -> Any:
        """The slot of this frame (``dualface_ray.media.Slot``), invalid for readers until committed."""
        return self.begin_many(ring, frame_index, 1)[0]

    def begin_many(self, ring: RingSpec, first_frame: int, frames: int) -> list[Any]:
        """The slots of consecutive frames, invalid for readers until committed.

        Raises:
            ProtocolError: the ring is closed, a frame was committed or begun before, or more frames than the ring has
                slots would be in writing at once.
        """
        state = self._state(ring)
        wanted = range(first_frame, first_frame + frames)
        if first_frame < state.next_frame:
            raise ProtocolError(f"frame {first_frame} was written before", where=ring.stream_id)
        if not state.writing.isdisjoint(wanted):
            raise ProtocolError(f"frame {first_frame} is being written already", where=ring.stream_id)
        both = state.writing.union(wanted)
        if both and max(both) - min(both) >= ring.count:
            raise ProtocolError(f"more than {ring.count} frames in writing at once", where=ring.stream_id)
        views = [self.arena.view(ring.offset_of(index), state.info) for index in wanted]
        mark_writing(self.arena.generations, _slots_of(ring, wanted))
        state.writing = both
        return views

    def commit(self, ring: RingSpec, frame_index: int, pts_ticks: int, flags: FrameFlag) -> FrameTicket:
        """The frame lies in its slot completely; its ticket may travel."""
        return self._commit(ring, frame_index, [(pts_ticks, flags)])[0]

    def commit_many(self, ring: RingSpec, first_frame: int, frames: Sequence[Stamped]) -> tuple[FrameTicket, ...]:
        """Consecutive frames lie in their slots completely (fewer than were begun, when the source ended).

        Raises:
            ProtocolError: the ring is closed, or a frame was not begun.
        """
        return self._commit(ring, first_frame, [(frame.pts_ticks, frame.flags) for frame in frames])

    def abandon(self, ring: RingSpec) -> None:
        """Forget frames that were begun and will not be committed; what their slots held is lost."""
        self._state(ring).writing.clear()

    def close(self) -> None:
        """Close all streams and the arena; importers have closed theirs before. Harmless when called twice."""
        for stream_id, epoch in list(self._rings):
            self.close_stream(stream_id, epoch)
        self.arena.close()

    def _commit(self, ring: RingSpec, first: int, stamps: list[tuple[int, FrameFlag]]) -> tuple[FrameTicket, ...]:
        state = self._state(ring)
        frames = range(first, first + len(stamps))
        if not state.writing.issuperset(frames):
            raise ProtocolError(f"a frame of {first}..{frames.stop - 1} was not begun", where=ring.stream_id)
        generations = mark_committed(self.arena.generations, _slots_of(ring, frames))
        state.writing.difference_update(frames)
        state.next_frame = max(state.next_frame, frames.stop)
        return tuple(
            FrameTicket(ring.pool_id, ring.slot_of(index), generation, index, pts_ticks, flags)
            for index, generation, (pts_ticks, flags) in zip(frames, generations, stamps, strict=True)
        )

    def _state(self, ring: RingSpec) -> _Ring:
        state = self._rings.get((ring.stream_id, ring.epoch))
        if state is None or state.spec != ring:
            raise ProtocolError(f"epoch {ring.epoch} of this stream is not open in the pool", where=ring.stream_id)
        return state

    def _full(self, stream_id: str, info: StreamInfo, quota_frames: int) -> ResourceError:
        mib = 1 << 20
        need, largest = quota_frames * slot_stride_bytes(info), self._bytes.largest * SLOT_ALIGN_BYTES
        return ResourceError(
            f"{quota_frames} frames need {need / mib:.1f} MiB and {quota_frames} slots in one piece; the largest free "
            f"piece has {largest / mib:.1f} of {self.arena.handle.size_bytes / mib:.1f} MiB and {self._slots.largest} "
            f"of {self.arena.handle.slots} slots",
            where=stream_id,
            remedy="Raise lane.pool_budget_bytes, or lower lane.streams or framing.lookahead_s.",
        )


def _slots_of(ring: RingSpec, frames: range) -> npt.NDArray[np.intp]:
    return np.array([ring.slot_of(index) for index in frames], np.intp)
