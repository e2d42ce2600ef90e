"""Credits: the only back-pressure, and the life of a frame between its decoding and its release.

    decoder: CreditGate ─ may decode ─► pool                 encoder: ReleaseLedger ─ frames done, in order ─┐
                  ▲                                                                                          │
                  └──────────────────────────── Credit(upto_frame) ──────────────────────────────────────────┘

A frame below ``upto_frame`` may be written because the frame that had its slot before, ``quota`` frames earlier, is
released: encoded, and pinned by no open question. All classes but ``WaitingGate`` are pure state.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from dualface_ray.errors import ActorError, ProtocolError
from dualface_ray.frames.ticket import Credit


class CreditGate:
    """Decoder's side: how far one epoch of one stream may be decoded."""

    def __init__(self, stream_id: str, epoch: int) -> None:
        self.stream_id = stream_id
        self.epoch = epoch
        self.upto_frame = 0

    def grant(self, credit: Credit) -> bool:
        """Take a credit; False when it changes nothing (another epoch's, or no further than an earlier one).

        Raises:
            ProtocolError: it is for another stream, or for an epoch that has not begun.
        """
        if credit.stream_id != self.stream_id:
            raise ProtocolError(f"a credit for {credit.stream_id} came here", where=self.stream_id)
        if credit.epoch > self.epoch:
            raise ProtocolError(f"a credit for epoch {credit.epoch} came in epoch {self.epoch}", where=self.stream_id)
        if credit.epoch < self.epoch or credit.upto_frame <= self.upto_frame:
            return False
        self.upto_frame = credit.upto_frame
        return True

    def allowed(self, next_frame: int) -> int:
        """How many frames from ``next_frame`` on may be decoded now."""
        return max(0, self.upto_frame - next_frame)


class WaitingGate:
    """A CreditGate that a decoding thread can sleep at; nobody sleeps there for ever.

    A wait ends by a credit, by ``close``, at its timeout, or when ``alive`` says that whoever should grant is gone.
    """

    def __init__(self, gate: CreditGate, alive: Callable[[], bool] = lambda: True, poll_s: float = 0.25) -> None:
        self._gate = gate
        self._alive = alive
        self._poll_s = poll_s
        self._changed = threading.Condition()
        self._closed = False
        self._error: Exception | None = None

    def grant(self, credit: Credit) -> bool:
        """As ``CreditGate.grant``; wakes the waiting threads."""
        with self._changed:
            changed = self._gate.grant(credit)
            if changed:
                self._changed.notify_all()
            return changed

    def allowed(self, next_frame: int) -> int:
        """How many frames may be decoded now; 0 once closed."""
        with self._changed:
            return 0 if self._closed else self._gate.allowed(next_frame)

    def wait(self, next_frame: int, timeout_s: float | None = None) -> int:
        """Sleep until at least one frame may be decoded; 0 after ``close`` or at the timeout.

        Raises:
            ActorError: whoever should grant is gone.
            Exception: the one that ``close`` was given.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._closed:
                frames = self._gate.allowed(next_frame)
                if frames:
                    return frames
                if not self._alive():
                    raise ActorError("whoever grants credits is gone", where=self._gate.stream_id)
                left = self._poll_s if deadline is None else min(self._poll_s, deadline - time.monotonic())
                if left <= 0:
                    return 0
                self._changed.wait(left)
            if self._error is not None:
                raise self._error
            return 0

    def close(self, error: Exception | None = None) -> None:
        """No credit will follow (or this error ended the stream); wakes all. Harmless when called twice."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()


class ReleaseLedger:
    """Encoder's side: which frames of one epoch of one stream may be overwritten, and the credits that say so.

    Credits come in whole steps, so that the decoder's chunks stay full while the encoder is the slower side. A
    smaller one is given only when otherwise nothing would move: all granted frames have arrived and the look-ahead
    keeps every frame that is left from being encoded.

    Args:
        stream_id: the stream.
        epoch: the attempt at it.
        quota_frames: slots of the stream's ring.
        lookahead_frames: frame i is encoded once frame ``i + lookahead_frames`` or the end has arrived.
        step_frames: frames of one credit; a chunk's worth.
        first_frame: where the segment begins.
    """

    def __init__(
        self,
        stream_id: str,
        epoch: int,
        quota_frames: int,
        *,
        lookahead_frames: int,
        step_frames: int,
        first_frame: int = 0,
    ) -> None:
        self.stream_id = stream_id
        self.epoch = epoch
        self.quota_frames = quota_frames
        self.lookahead_frames = lookahead_frames
        self.step_frames = max(1, min(step_frames, quota_frames))
        self.received_upto = first_frame
        """Frames below have arrived."""
        self.encoded_upto = first_frame
        """Frames below have been encoded (their pixels are no longer needed for the picture)."""
        self._granted_upto = first_frame
        self._released_upto = first_frame
        self._pins: dict[int, frozenset[int]] = {}

    @property
    def released_upto(self) -> int:
        """Frames below may be overwritten: encoded, and nothing before or among them is pinned."""
        first_pinned = min((min(frames) for frames in self._pins.values()), default=self.encoded_upto)
        self._released_upto = max(self._released_upto, min(self.encoded_upto, first_pinned))
        return self._released_upto

    @property
    def pinned(self) -> frozenset[int]:
        """Frames that an open ask still needs."""
        return frozenset().union(*self._pins.values())

    def received(self, upto_frame: int) -> None:
        """Frames below ``upto_frame`` have arrived.

        Raises:
            ProtocolError: they were never granted, or fewer than before.
        """
        if not self.received_upto <= upto_frame <= self._granted_upto:
            what = f"frames up to {upto_frame} arrived; {self.received_upto} to {self._granted_upto} were possible"
            raise ProtocolError(what, where=self.stream_id)
        self.received_upto = upto_frame

    def pin(self, ask_id: int, frames: Iterable[int]) -> None:
        """Keep these frames until the ask is answered.

        Raises:
            ProtocolError: a frame has not arrived or is released, or the ask is open already.
        """
        wanted = frozenset(frames)
        if ask_id in self._pins:
            raise ProtocolError(f"ask {ask_id} is open already", where=self.stream_id)
        outside = [frame for frame in wanted if not self.released_upto <= frame < self.received_upto]
        if outside:
            raise ProtocolError(f"ask {ask_id} is about frame {min(outside)}, which is not held", where=self.stream_id)
        if wanted:
            self._pins[ask_id] = wanted

    def unpin(self, ask_id: int) -> None:
        """The ask is answered or given up; harmless for one that is not open."""
        self._pins.pop(ask_id, None)

    def encoded(self, upto_frame: int) -> None:
        """Frames below ``upto_frame`` have been composed, and the encoder has copied them.

        Raises:
            ProtocolError: they have not arrived, or fewer than before.
        """
        if not self.encoded_upto <= upto_frame <= self.received_upto:
            what = f"frames up to {upto_frame} encoded; {self.encoded_upto} to {self.received_upto} were possible"
            raise ProtocolError(what, where=self.stream_id)
        self.encoded_upto = upto_frame

    def next_credit(self) -> Credit | None:
        """The credit that is due now, if any; the first one is the whole quota. Call after every change."""
        due = self.released_upto + self.quota_frames - self._granted_upto
        if due < self.step_frames and not self._stands_still():
            return None
        if due >= self.step_frames and self._granted_upto > self._released_upto:
            due -= due % self.step_frames
        if due <= 0:
            return None
        self._granted_upto += due
        return Credit(self.stream_id, self.epoch, self._granted_upto)

    def _stands_still(self) -> bool:
        """Nothing is on its way from the decoder, and what is here cannot be encoded without more."""
        return (
            self.received_upto >= self._granted_upto and self.encoded_upto + self.lookahead_frames >= self.received_upto
        )
