"""RingSpec: where the frames of one stream lie in a pool."""

from __future__ import annotations

from dataclasses import dataclass

from dualface_ray.frames.stream import StreamInfo

SLOT_ALIGN_BYTES = 256
"""Slots start at multiples of this: the alignment CUDA gives allocations and texture rows want; four cache lines."""


@dataclass(frozen=True, slots=True)
class RingSpec:
    """The part of a pool that belongs to one stream: frame i lies in slot ``first_slot + i % count``."""

    pool_id: str
    stream_id: str
    epoch: int
    first_slot: int
    count: int
    offset_bytes: int
    slot_bytes: int
    """Distance of two slots, at least the bytes of a frame."""

    def slot_of(self, frame_index: int) -> int:
        """Index in the generation page."""
        return self.first_slot + frame_index % self.count

    def offset_of(self, frame_index: int) -> int:
        """Byte offset in the arena."""
        return self.offset_bytes + frame_index % self.count * self.slot_bytes


def slot_stride_bytes(info: StreamInfo) -> int:
    """Bytes that one frame of this stream takes in a pool."""
    return -(-info.slot_bytes // SLOT_ALIGN_BYTES) * SLOT_ALIGN_BYTES
