"""PoolReader: the consumer's end of a pool; every read is checked before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from dualface_ray.errors import ProtocolError, StaleFrameError
from dualface_ray.frames.arena import Arena
from dualface_ray.frames.generations import holds
from dualface_ray.frames.ring import RingSpec
from dualface_ray.frames.stream import StreamInfo
from dualface_ray.frames.ticket import FrameTicket

V = TypeVar("V")


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

    def ring(self, ring: RingSpec, info: StreamInfo, wrap: Callable[[Any], V]) -> RingReader[V]:
        """A reader of one stream, for whoever reads every frame of it; ``wrap`` turns a slot into what is handed out.

        Raises:
            ProtocolError: the ring is of another pool, or too small for the stream's frames.
        """
        return RingReader(self.arena, ring, info, wrap)

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


class RingReader(Generic[V]):
    """Reads runs of frames of one stream: slots are looked up once, generations compared a run at a time.

    What it has handed out lives as long as it does, so it goes before its arena is closed.
    """

    def __init__(self, arena: Arena, ring: RingSpec, info: StreamInfo, wrap: Callable[[Any], V]) -> None:
        if ring.pool_id != arena.handle.pool_id or info.slot_bytes > ring.slot_bytes:
            raise ProtocolError("the stream's frames do not lie in this pool", where=ring.stream_id)
        self._arena = arena
        self._ring = ring
        self._info = info
        self._wrap = wrap
        self._known: dict[int, V] = {}

    def read(self, tickets: Sequence[FrameTicket]) -> Reading[V]:
        """The frames of these tickets; valid until the last ``Reading.check`` that says nothing.

        Raises:
            StaleFrameError: a slot was given to another frame.
            ProtocolError: a ticket does not belong to this ring.
        """
        ring, known, found = self._ring, self._known, []
        for ticket in tickets:
            slot = ticket.slot
            if slot != ring.first_slot + ticket.frame_index % ring.count or ticket.pool_id != ring.pool_id:
                what = f"the ticket of frame {ticket.frame_index} is not of this ring"
                raise ProtocolError(what, where=ring.stream_id)
            view = known.get(slot)
            if view is None:
                view = self._wrap(self._arena.view(ring.offset_of(ticket.frame_index), self._info))
                known[slot] = view
            found.append(view)
        reading = Reading(found, self._arena, ring, tickets)
        reading.check()
        return reading


class Reading(Generic[V]):
    """Frames that are being read.

    Attributes:
        views: what the reader's ``wrap`` made of their slots, in order.
    """

    __slots__ = ("_arena", "_generations", "_ring", "_slots", "_tickets", "views")

    def __init__(self, views: list[V], arena: Arena, ring: RingSpec, tickets: Sequence[FrameTicket]) -> None:
        self.views = views
        self._arena = arena
        self._ring = ring
        self._tickets = tickets
        count = len(tickets)
        self._slots: npt.NDArray[np.intp] = np.fromiter((ticket.slot for ticket in tickets), np.intp, count)
        self._generations = np.fromiter((ticket.generation for ticket in tickets), np.uint64, count)

    def check(self) -> None:
        """Make sure that every frame still lies in its slot, and has since its ticket was written.

        Raises:
            StaleFrameError: one does not; what was read is void.
        """
        stale = self.stale()
        if stale is not None:
            raise stale

    def stale(self) -> StaleFrameError | None:
        """The first frame that no longer lies in its slot, as an error; None when all do."""
        values = self._arena.generations
        if not self._tickets:
            return None
        if self._ring.first_slot + self._ring.count > len(values):  # the arena is closed
            return _stale(self._tickets[0], self._ring)
        fits = (values[self._slots] == self._generations) & (self._generations & np.uint64(1) == 0)
        return None if fits.all() else _stale(self._tickets[int(np.argmin(fits))], self._ring)


def _stale(ticket: FrameTicket, ring: RingSpec) -> StaleFrameError:
    what = f"frame {ticket.frame_index} is no longer in slot {ticket.slot} (generation {ticket.generation} is over)"
    return StaleFrameError(what, where=ring.stream_id)
