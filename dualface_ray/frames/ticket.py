"""The messages that stand for frames: pixels stay in their pool, tickets travel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

SIGNATURE_ROWS = 18
SIGNATURE_COLUMNS = 32
HISTOGRAM_BINS = 48
SIGNATURE_BYTES = SIGNATURE_ROWS * SIGNATURE_COLUMNS + HISTOGRAM_BINS


class FrameFlag(IntFlag):
    """What the decoder knows about a frame."""

    NONE = 0
    KEY = 1
    """A key frame of the source."""
    CUT_CANDIDATE = 2
    """The signature differs so much from the one before that a new shot may begin here (always set on frame 0)."""
    CONCEALED = 4
    """The source was damaged here: the pixels repeat the last good frame."""


@dataclass(frozen=True, slots=True)
class FrameTicket:
    """The right to read one frame from one slot while the slot's generation is still this one."""

    pool_id: str
    slot: int
    """Index in the pool's generation page."""
    generation: int
    frame_index: int
    """Position in display order within the video, from 0."""
    pts_ticks: int
    """In ``StreamInfo.time_base``, repaired, strictly increasing."""
    flags: FrameFlag = FrameFlag.NONE

    def __reduce__(self) -> tuple[Callable[..., FrameTicket], tuple[Any, ...]]:
        return _ticket, self._fields()

    def _fields(self) -> tuple[str, int, int, int, int, int]:
        return self.pool_id, self.slot, self.generation, self.frame_index, self.pts_ticks, int(self.flags)


_FLAGS = {int(flags): flags for flags in map(FrameFlag, range(8))}
"""Looking one up takes a fifth of making it."""


def _ticket(pool_id: str, slot: int, generation: int, frame_index: int, pts_ticks: int, flags: int) -> FrameTicket:
    known = _FLAGS.get(flags)
    return FrameTicket(pool_id, slot, generation, frame_index, pts_ticks, FrameFlag(flags) if known is None else known)


class StreamEnd(str, Enum):
    """Why no further chunk follows; every stream ends with exactly one of these."""

    END = "end"
    ABORT = "abort"


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunk:
    """Up to 16 consecutive frames of one stream.

    ``signatures`` is uint8 of shape (len(tickets), SIGNATURE_BYTES): 18x32 luma means, row by row, then a histogram of
    48 bins scaled to 0..255.
    """

    stream_id: str
    epoch: int
    """Counts the attempts at this stream; messages of earlier epochs are dropped."""
    sequence: int
    """Position of this chunk in its stream and epoch, from 0 without gaps."""
    tickets: tuple[FrameTicket, ...]
    signatures: npt.NDArray[np.uint8]
    end: StreamEnd | None = None
    error: Exception | None = None
    """The cause, on the chunk that carries ABORT."""
    decoded_at_s: float = 0.0
    """Monotonic clock of the host when the last copy into the pool had finished (latency measurement)."""

    def __reduce__(self) -> tuple[Callable[..., FrameChunk], tuple[Any, ...]]:
        """As plain numbers and bytes: pickling tickets as objects costs more than all that is done with them."""
        tickets = tuple(ticket._fields() for ticket in self.tickets)
        rest = (self.end and self.end.value, self.error, self.decoded_at_s)
        return _chunk, (self.stream_id, self.epoch, self.sequence, tickets, self.signatures.tobytes(), *rest)


def _chunk(
    stream_id: str,
    epoch: int,
    sequence: int,
    tickets: tuple[tuple[str, int, int, int, int, int], ...],
    signatures: bytes,
    end: str | None,
    error: Exception | None,
    decoded_at_s: float,
) -> FrameChunk:
    """What ``FrameChunk.__reduce__`` took apart; the signatures are read-only."""
    return FrameChunk(
        stream_id,
        epoch,
        sequence,
        tuple(_ticket(*fields) for fields in tickets),
        np.frombuffer(signatures, np.uint8).reshape(-1, SIGNATURE_BYTES),
        StreamEnd(end) if end else None,
        error,
        decoded_at_s,
    )


@dataclass(frozen=True, slots=True)
class Credit:
    """The encoder's word that frames below ``upto_frame`` may be decoded: every slot they need has been released."""

    stream_id: str
    epoch: int
    upto_frame: int
