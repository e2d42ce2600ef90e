"""ChunkAssembler and ChunkOrder: tickets into chunks on one side, chunks back into their order on the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dualface_ray.errors import ProtocolError
from dualface_ray.frames.ticket import SIGNATURE_BYTES, FrameChunk, FrameTicket, StreamEnd

U8 = npt.NDArray[np.uint8]


class ChunkAssembler:
    """Decoder's side: collects the tickets of one epoch of one stream and says when they must travel.

    A chunk leaves when it is full, when the stream ends, and when no credit is left: a decoder that waits while it
    holds frames back would wait for the encoder that waits for these frames.
    """

    def __init__(self, stream_id: str, epoch: int, chunk_frames: int) -> None:
        self.stream_id = stream_id
        self.epoch = epoch
        self.chunk_frames = chunk_frames
        self.end: StreamEnd | None = None
        """How the stream ended; None while it runs."""
        self._sequence = 0
        self._tickets: list[FrameTicket] = []
        self._signatures: list[U8] = []
        self._decoded_at_s = 0.0

    @property
    def room(self) -> int:
        """Frames until the chunk is full: what to decode next at most, to send it as early as possible."""
        return self.chunk_frames - len(self._tickets)

    def add(
        self, tickets: Sequence[FrameTicket], signatures: U8, *, credit_left: int, decoded_at_s: float = 0.0
    ) -> list[FrameChunk]:
        """Add committed frames; returns the chunks that are due now.

        Args:
            tickets: consecutive frames, following the last ones.
            signatures: uint8 (len(tickets), SIGNATURE_BYTES).
            credit_left: frames that may still be decoded now (``CreditGate.allowed``).
            decoded_at_s: monotonic clock when their copies had finished.

        Raises:
            ProtocolError: the stream has ended, or the signatures are not those of the tickets.
        """
        self._require_open()
        if signatures.shape != (len(tickets), SIGNATURE_BYTES):
            what = f"{len(tickets)} tickets came with signatures of shape {signatures.shape}"
            raise ProtocolError(what, where=self.stream_id)
        if tickets:
            self._decoded_at_s = decoded_at_s
        due: list[FrameChunk] = []
        for ticket, signature in zip(tickets, signatures, strict=True):
            self._tickets.append(ticket)
            self._signatures.append(signature)
            if self.room <= 0:
                due.append(self._take())
        if credit_left <= 0 and self._tickets:
            due.append(self._take())
        return due

    def finish(self) -> FrameChunk:
        """The last chunk: what is left (maybe nothing), marked END.

        Raises:
            ProtocolError: the stream has ended before.
        """
        self._require_open()
        self.end = StreamEnd.END
        return self._take(StreamEnd.END)

    def abort(self, error: Exception) -> FrameChunk:
        """The last chunk of a stream that failed: what is left, marked ABORT with its cause.

        Raises:
            ProtocolError: the stream has ended before.
        """
        self._require_open()
        self.end = StreamEnd.ABORT
        return self._take(StreamEnd.ABORT, error)

    def _take(self, end: StreamEnd | None = None, error: Exception | None = None) -> FrameChunk:
        rows = np.array(self._signatures, np.uint8).reshape(len(self._tickets), SIGNATURE_BYTES)
        tickets, self._tickets, self._signatures = tuple(self._tickets), [], []
        sequence, self._sequence = self._sequence, self._sequence + 1
        return FrameChunk(self.stream_id, self.epoch, sequence, tickets, rows, end, error, self._decoded_at_s)

    def _require_open(self) -> None:
        if self.end is not None:
            raise ProtocolError(f"the stream ended before ({self.end.value})", where=self.stream_id)


class ChunkOrder:
    """Consumer's side: chunks of one epoch of one stream in any order of arrival, handed on in sequence."""

    def __init__(self, stream_id: str, epoch: int) -> None:
        self.stream_id = stream_id
        self.epoch = epoch
        self.finished = False
        """The chunk with END or ABORT has been handed on."""
        self._next = 0
        self._last: int | None = None
        self._next_frame: int | None = None
        self._early: dict[int, FrameChunk] = {}

    @property
    def waiting(self) -> int:
        """Chunks that arrived before an earlier one."""
        return len(self._early)

    def accept(self, chunk: FrameChunk) -> list[FrameChunk]:
        """Take a chunk; returns those whose turn has come. Chunks of earlier epochs vanish.

        Raises:
            ProtocolError: it came twice, follows the end, or is of another stream or an epoch that has not begun; or
                frames are missing between two chunks.
        """
        if chunk.stream_id != self.stream_id:
            raise ProtocolError(f"a chunk of {chunk.stream_id} came here", where=self.stream_id)
        if chunk.epoch < self.epoch:
            return []
        if chunk.epoch > self.epoch:
            raise self._wrong(chunk, f"is of epoch {chunk.epoch}, this is {self.epoch}")
        if self._last is not None and chunk.sequence > self._last:
            raise self._wrong(chunk, "follows the end of the stream")
        if chunk.sequence < self._next or chunk.sequence in self._early:
            raise self._wrong(chunk, "came twice")
        if chunk.end is not None:
            if self._last is not None or max(self._early, default=-1) > chunk.sequence:
                raise self._wrong(chunk, "ends a stream that goes on")
            self._last = chunk.sequence
        self._early[chunk.sequence] = chunk
        ready: list[FrameChunk] = []
        while self._next in self._early:
            turn = self._early.pop(self._next)
            self._require_consecutive(turn)
            ready.append(turn)
            self._next += 1
            self.finished = turn.end is not None
        return ready

    def _require_consecutive(self, chunk: FrameChunk) -> None:
        if not chunk.tickets and chunk.end is None:
            raise self._wrong(chunk, "holds nothing")
        for ticket in chunk.tickets:
            if self._next_frame is not None and ticket.frame_index != self._next_frame:
                raise self._wrong(chunk, f"holds frame {ticket.frame_index} where {self._next_frame} is due")
            self._next_frame = ticket.frame_index + 1

    def _wrong(self, chunk: FrameChunk, what: str) -> ProtocolError:
        return ProtocolError(f"chunk {chunk.sequence} {what}", where=f"{self.stream_id} (epoch {chunk.epoch})")
