"""The messages that stand for frames: pixels stay in their pool, tickets travel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag

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


@dataclass(frozen=True, slots=True)
class Credit:
    """The encoder's word that frames below ``upto_frame`` may be decoded: every slot they need has been released."""

    stream_id: str
    epoch: int
    upto_frame: int
