"""PoolReader: the consumer's end of a pool; every read is checked before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dualface_ray.errors import ProtocolError, StaleFrameError
from dualface_ray.frames.arena import Arena
from dualface_ray.frames.generations import holds
from dualface_ray.frames.ring import RingSpec
from dualface_ray.frames.stream import StreamInfo
from dualface_ray.frames.ticket import FrameTicket


class PoolReader:
    """Consumer's side: reads frames by ticket and notices when a slot has moved on."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def fresh(self, ticket: FrameTicket, ring: RingSpec) -> bool:
        """Whether the frame still lies in its slot."""
        return ticket.pool_id == self.arena.handle.pool_id == ring.pool_id and holds(
            self.arena.generations, ticket.slot, ticket.generation
        )

    @contextmanager
    def read(self, ticket: FrameTicket, ring: RingSpec, info: StreamInfo) -> Iterator[Any]:
        """The frame's pixels (``dualface_ray.media.Slot``), valid inside the ``with`` block only.

        Raises:
            StaleFrameError: the slot was given to another frame before, or while, the block ran; what was read is void.
            ProtocolError: ticket, ring and stream do not belong together.
        """
        with self.read_many([(ticket, ring, info)]) as views:
            yield views[0]

    @contextmanager
    def read_many(self, items: Sequence[tuple[FrameTicket, RingSpec, StreamInfo]]) -> Iterator[list[Any]]:
        """Several frames at once, of any streams; errors as in ``read``, for the first frame they concern.

        To keep the good frames of a batch, ask ``fresh`` for each before, and in an ``except StaleFrameError`` after.
        """
        views = [self._view(*item) for item in items]
        try:
            yield views
        except Exception as error:
            stale = self._first_stale(items)  # pixels that changed in mid-read explain an error better than itself
            if stale is not None and not isinstance(error, StaleFrameError):
                raise stale from error
            raise
        stale = self._first_stale(items)
        if stale is not None:
            raise stale

    def close(self) -> None:
        """Unmap the arena; before the owner frees it. Harmless when called twice."""
        self.arena.close()

    def _view(self, ticket: FrameTicket, ring: RingSpec, info: StreamInfo) -> Any:
        if ticket.slot != ring.slot_of(ticket.frame_index) or info.slot_bytes > ring.slot_bytes:
            raise ProtocolError(f"the ticket of frame {ticket.frame_index} is not of this ring", where=ring.stream_id)
        if not self.fresh(ticket, ring):
            raise _stale(ticket, ring)
        return self.arena.view(ring.offset_of(ticket.frame_index), info)

    def _first_stale(self, items: Sequence[tuple[FrameTicket, RingSpec, StreamInfo]]) -> StaleFrameError | None:
        return next((_stale(ticket, ring) for ticket, ring, _ in items if not self.fresh(ticket, ring)), None)


def _stale(ticket: FrameTicket, ring: RingSpec) -> StaleFrameError:
    what = f"frame {ticket.frame_index} is no longer in slot {ticket.slot} (generation {ticket.generation} is over)"
    return StaleFrameError(what, where=ring.stream_id)
