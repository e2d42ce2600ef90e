"""Pool, generations and ranges: no slot lost, doubled, overlapping, or read after its release."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
import time
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dualface_ray.backends.cpu.arena import CpuArena
from dualface_ray.errors import ProtocolError, ResourceError, SharedMemoryError, StaleFrameError
from dualface_ray.frames import (
    SLOT_ALIGN_BYTES,
    FrameFlag,
    FramePool,
    FrameTicket,
    PixelLayout,
    PoolReader,
    RingSpec,
    StreamInfo,
    slot_stride_bytes,
)
from dualface_ray.frames.ranges import RangeAllocator
from dualface_ray.media import DecodedFrame


def info_of(name: str, width: int = 16, height: int = 16, layout: PixelLayout = PixelLayout.NV12) -> StreamInfo:
    return StreamInfo(name, width, height, Fraction(1, 30), Fraction(30), layout)


@pytest.fixture
def pool():
    made = FramePool(CpuArena.create(256 << 10, 64))
    yield made
    made.close()


# --- ranges -------------------------------------------------------------------------------------------------------
@given(st.integers(1, 40), st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=80))
def test_ranges_are_disjoint_first_fit_and_merge(size, steps):
    ranges, taken = RangeAllocator(size), {}
    for take, number in steps:
        cells = [any(start <= cell < start + length for start, length in taken.items()) for cell in range(size)]
        if take:
            fits = [at for at in range(size - number + 1) if not any(cells[at : at + number])]
            start = ranges.take(number)
            assert start == (fits[0] if fits else None)
            if start is not None:
                taken[start] = number
        elif taken:
            start = sorted(taken)[number % len(taken)]
            ranges.give_back(start)
            del taken[start]
            with pytest.raises(ProtocolError):
                ranges.give_back(start)
        assert ranges.free == size - sum(taken.values())
    for start in list(taken):
        ranges.give_back(start)
    assert ranges.largest == ranges.free == size


# --- one stream ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", list(PixelLayout))
def test_a_frame_comes_back_as_it_was_written(pool, layout):
    info = info_of("a", 17, 9, layout)
    ring = pickle.loads(pickle.dumps(pool.open_stream("a", 0, info, 4)))
    view = pool.begin_write(ring, 0)
    assert view.shape == (15, 18)
    assert view.dtype == (np.uint8 if layout is PixelLayout.NV12 else np.uint16)
    picture = np.arange(view.size, dtype=view.dtype).reshape(view.shape)
    view[:] = picture
    ticket = pool.commit(ring, 0, 33, FrameFlag.KEY)
    assert (ticket.pts_ticks, ticket.flags, ticket.frame_index) == (33, FrameFlag.KEY, 0)
    with PoolReader(pool.arena).read(ticket, ring, info) as seen:
        assert (seen == picture).all()


def test_a_chunk_wraps_around_the_ring_and_takes_the_decoders_frames(pool):
    info = info_of("a")
    ring = pool.open_stream("a", 0, info, 5)
    reader, tickets = PoolReader(pool.arena), []
    for first in range(0, 40, 4):
        for offset, view in enumerate(pool.begin_many(ring, first, 4)):
            view[:] = first + offset
        tickets += pool.commit_many(ring, first, [DecodedFrame(first + n) for n in range(4)])
    assert [ticket.slot for ticket in tickets] == [ring.first_slot + n % 5 for n in range(40)]
    assert [ticket.frame_index for ticket in tickets if reader.fresh(ticket, ring)] == [35, 36, 37, 38, 39]
    with reader.read_many([(ticket, ring, info) for ticket in tickets[-5:]]) as views:
        assert [int(view[0, 0]) for view in views] == [35, 36, 37, 38, 39]


def test_the_source_may_end_within_a_chunk(pool):
    ring = pool.open_stream("a", 0, info_of("a"), 8)
    pool.begin_many(ring, 0, 8)
    tickets = pool.commit_many(ring, 0, [DecodedFrame(0), DecodedFrame(1)])
    reader = PoolReader(pool.arena)
    assert all(reader.fresh(ticket, ring) for ticket in tickets)
    pool.abandon(ring)
    assert len(pool.begin_many(ring, 2, 8)) == 8


def test_writing_out_of_turn_is_refused(pool):
    ring = pool.open_stream("a", 0, info_of("a"), 4)
    pool.begin_many(ring, 0, 3)
    for wrong in (lambda: pool.begin_write(ring, 2), lambda: pool.begin_many(ring, 3, 2)):
        with pytest.raises(ProtocolError):
            wrong()
    with pytest.raises(ProtocolError):
        pool.commit(ring, 3, 0, FrameFlag.NONE)
    pool.commit_many(ring, 0, [DecodedFrame(n) for n in range(3)])
    with pytest.raises(ProtocolError):
        pool.commit(ring, 0, 0, FrameFlag.NONE)
    with pytest.raises(ProtocolError):
        pool.begin_write(ring, 1)
    with pytest.raises(ProtocolError):
        pool.begin_many(ring, 3, 5)
    with pytest.raises(ProtocolError):
        pool.open_stream("a", 0, info_of("a"), 4)
    with pytest.raises(ProtocolError):
        pool.open_stream("b", 0, info_of("b"), 0)
    assert pool.close_stream("a", 0)
    assert not pool.close_stream("a", 0)
    with pytest.raises(ProtocolError):
        pool.begin_write(ring, 3)


def test_tickets_rings_and_streams_must_belong_together(pool):
    small, large = info_of("a"), info_of("b", 64, 64)
    ring, other = pool.open_stream("a", 0, small, 4), pool.open_stream("b", 0, large, 4)
    pool.begin_write(ring, 0)
    ticket = pool.commit(ring, 0, 0, FrameFlag.NONE)
    reader = PoolReader(pool.arena)
    for wrong_ring, wrong_info in ((other, large), (ring, large)):
        with pytest.raises(ProtocolError), reader.read(ticket, wrong_ring, wrong_info):
            pass
    for wrong in (replace(ticket, pool_id="x"), replace(ticket, generation=1), replace(ticket, generation=4)):
        with pytest.raises(StaleFrameError), reader.read(wrong, ring, small):
            pass


def test_a_frame_in_writing_has_no_ticket(pool):
    info = info_of("a")
    ring = pool.open_stream("a", 0, info, 4)
    pool.begin_write(ring, 0)
    forged = FrameTicket(ring.pool_id, 0, int(pool.arena.generations[0]), 0, 0)
    assert not PoolReader(pool.arena).fresh(forged, ring)


def test_a_full_pool_says_how_much_there_is(pool):
    info = info_of("big", 256, 160)
    assert pool.fits(info, 4)
    assert not pool.fits(info, 5)
    with pytest.raises(ResourceError, match=r"5 frames need 0\.3 MiB and 5 slots.*0\.2 of 0\.2 MiB and 64 of 64 slots"):
        pool.open_stream("big", 0, info, 5)
    pool.open_stream("many", 0, info_of("many", 2, 2), 60)
    with pytest.raises(ResourceError, match="4 of 64 slots"):
        pool.open_stream("more", 0, info_of("more", 2, 2), 5)
    assert pool.free_bytes == (256 << 10) - 60 * SLOT_ALIGN_BYTES  # the refused one left nothing behind


def test_a_run_is_read_like_its_frames_one_by_one(pool):
    info = info_of("a")
    pool.open_stream("other", 0, info, 3)
    ring = pool.open_stream("a", 0, info, 4)
    pool.begin_many(ring, 0, 4)
    tickets = pool.commit_many(ring, 0, [DecodedFrame(n) for n in range(4)])
    reader = PoolReader(pool.arena)
    run = reader.ring(ring, info, lambda slot: slot)
    with reader.read_many([(ticket, ring, info) for ticket in tickets]) as views:
        reading = run.read(tickets)
        assert [view.ctypes.data for view in reading.views] == [view.ctypes.data for view in views]
    assert all(one is other for one, other in zip(run.read(tickets[1:3]).views, reading.views[1:3], strict=True))
    assert run.read([]).stale() is None
    with pytest.raises(ProtocolError):
        run.read([replace(tickets[0], slot=0)])
    with pytest.raises(ProtocolError):
        run.read([replace(tickets[0], pool_id="x")])
    for wrong in (1, 4, int(pool.arena.generations[tickets[0].slot]) | 1):
        with pytest.raises(StaleFrameError):
            run.read([replace(tickets[0], generation=wrong)])
    with pytest.raises(ProtocolError):
        reader.ring(replace(ring, pool_id="x"), info, lambda slot: slot)
    with pytest.raises(ProtocolError):
        reader.ring(ring, info_of("b", 640, 640), lambda slot: slot)
    reading.check()
    pool.begin_write(ring, 5)
    with pytest.raises(StaleFrameError, match="frame 1 is no longer"):
        reading.check()
    assert run.read(tickets[2:]).stale() is None
    attached = PoolReader(CpuArena.attach(pool.arena.handle))
    reading = attached.ring(ring, info, lambda slot: slot).read(tickets[2:])
    attached.close()
    assert reading.stale() is not None, "a closed pool holds nothing"


def test_a_frame_that_changes_in_mid_read_is_void(pool):
    info = info_of("a")
    ring = pool.open_stream("a", 0, info, 2)
    pool.begin_write(ring, 0)
    ticket = pool.commit(ring, 0, 0, FrameFlag.NONE)
    reader = PoolReader(pool.arena)
    with pytest.raises(StaleFrameError, match=r"a: frame 0 is no longer in slot 0"), reader.read(ticket, ring, info):
        pool.begin_write(ring, 2)
    pool.commit(ring, 2, 0, FrameFlag.NONE)
    pool.begin_write(ring, 3)
    ticket = pool.commit(ring, 3, 0, FrameFlag.NONE)

    def fail_on_changed_pixels():
        with reader.read(ticket, ring, info):
            pool.close_stream("a", 0)
            raise ValueError("nonsense in the pixels")

    with pytest.raises(StaleFrameError) as caught:
        fail_on_changed_pixels()
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_old_ticket_notices_a_stream_with_other_slot_numbers_in_its_bytes(pool):
    """The bytes of a closed stream may be written again under slot numbers that its tickets do not name."""
    info = info_of("a")
    first = pool.open_stream("a", 0, info, 8)
    pool.begin_write(first, 0)
    ticket = pool.commit(first, 0, 0, FrameFlag.NONE)
    keeper = pool.open_stream("keeper", 0, info_of("k", 2, 2), 4)
    pool.close_stream("a", 0)
    large = info_of("b", 32, 32)
    second = pool.open_stream("b", 0, large, 2)  # fits in the old bytes
    assert second.offset_bytes == first.offset_bytes
    pool.begin_write(second, 0)
    pool.commit(second, 0, 0, FrameFlag.NONE)
    assert keeper.first_slot == 8
    with pytest.raises(StaleFrameError), PoolReader(pool.arena).read(ticket, first, info):
        pass


# --- many streams, any interleaving -------------------------------------------------------------------------------
@dataclass
class Live:
    ring: RingSpec
    info: StreamInfo
    next_frame: int
    released: int
    writing: int
    tickets: list[FrameTicket]


SIZES = [(2, 2), (16, 16), (17, 11), (40, 30), (64, 64)]


class PoolMachine(RuleBasedStateMachine):
    """Streams of several sizes come, write under their quota, release in order, are killed, and come again."""

    def __init__(self):
        super().__init__()
        self.live: dict[tuple[str, int], Live] = {}
        self.epochs: dict[str, int] = {}
        self.gone: list[tuple[FrameTicket, RingSpec, StreamInfo]] = []
        self.last_generation: dict[int, int] = {}

    @initialize(size=st.integers(48, 300), slots=st.integers(4, 40))
    def make(self, size, slots):
        self.size, self.slots = size * SLOT_ALIGN_BYTES, slots
        self.pool = FramePool(CpuArena.create(self.size, slots))
        self.reader = PoolReader(CpuArena.attach(self.pool.arena.handle))

    @rule(name=st.sampled_from("abcde"), size=st.sampled_from(SIZES), quota=st.integers(1, 12), p010=st.booleans())
    def open(self, name, size, quota, p010):
        info = info_of(name, *size, PixelLayout.P010 if p010 else PixelLayout.NV12)
        epoch = self.epochs.get(name, -1) + 1
        fits = self.pool.fits(info, quota)
        try:
            ring = self.pool.open_stream(name, epoch, info, quota)
        except ResourceError:
            assert not fits
            assert quota > 1 or self.live  # an empty pool has room for one frame of every size here
            return
        assert fits
        self.epochs[name] = epoch
        self.live[name, epoch] = Live(ring, info, 0, 0, 0, [])

    def pick(self, data):
        return self.live[data.draw(st.sampled_from(sorted(self.live)))]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), wanted=st.integers(1, 5))
    def begin(self, data, wanted):
        live = self.pick(data)
        first = live.next_frame + live.writing
        frames = min(wanted, live.released + live.ring.count - first)
        if frames <= 0:
            return
        for offset, view in enumerate(self.pool.begin_many(live.ring, first, frames)):
            view[:] = self.value(live, first + offset)
        live.writing += frames

    @precondition(lambda self: any(live.writing for live in self.live.values()))
    @rule(data=st.data(), part=st.floats(0, 1))
    def commit(self, data, part):
        live = data.draw(st.sampled_from([live for live in self.live.values() if live.writing]))
        frames = round(live.writing * part)
        stamps = [DecodedFrame(live.next_frame + n) for n in range(frames)]
        tickets = self.pool.commit_many(live.ring, live.next_frame, stamps)
        assert len(tickets) == frames
        for ticket in tickets:
            assert ticket.generation % 2 == 0
            assert ticket.generation > self.last_generation.get(ticket.slot, 0)
            self.last_generation[ticket.slot] = ticket.generation
        live.tickets += tickets
        live.next_frame += frames
        live.writing -= frames

    @precondition(lambda self: any(live.writing for live in self.live.values()))
    @rule(data=st.data())
    def abandon(self, data):
        live = data.draw(st.sampled_from([live for live in self.live.values() if live.writing]))
        self.pool.abandon(live.ring)
        live.writing = 0

    @precondition(lambda self: any(live.released < live.next_frame for live in self.live.values()))
    @rule(data=st.data(), wanted=st.integers(1, 5))
    def release(self, data, wanted):
        live = data.draw(st.sampled_from([live for live in self.live.values() if live.released < live.next_frame]))
        live.released = min(live.next_frame, live.released + wanted)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def close(self, data):
        key = data.draw(st.sampled_from(sorted(self.live)))
        live = self.live.pop(key)
        assert self.pool.close_stream(*key)
        self.gone += [(ticket, live.ring, live.info) for ticket in live.tickets[-12:]]

    @invariant()
    def rings_share_nothing(self):
        for attribute, width in (("first_slot", lambda ring: ring.count), ("offset_bytes", bytes_of)):
            spans = sorted((getattr(x.ring, attribute), width(x.ring)) for x in self.live.values())
            ends = [start + length for start, length in spans]
            assert all(end <= start for end, (start, _) in zip(ends, spans[1:], strict=False))
            if spans:
                assert spans[0][0] >= 0
                assert ends[-1] <= (self.slots if attribute == "first_slot" else self.size)
        for live in self.live.values():
            assert live.info.slot_bytes <= live.ring.slot_bytes == slot_stride_bytes(live.info)

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "pool"):
            used = sum(bytes_of(live.ring) for live in self.live.values())
            assert self.pool.free_bytes == self.size - used

    @invariant()
    def what_is_not_released_can_be_read(self):
        items = [
            (ticket, live.ring, live.info)
            for live in self.live.values()
            for ticket in live.tickets
            if ticket.frame_index >= live.released
        ]
        if items:
            with self.reader.read_many(items) as views:
                for (ticket, ring, _), view in zip(items, views, strict=True):
                    assert (view == self.value_of(ring, ticket.frame_index)).all()

    @invariant()
    def what_was_overwritten_cannot(self):
        for live in self.live.values():
            written = live.next_frame + live.writing
            for ticket in live.tickets:
                if ticket.frame_index + live.ring.count < written:
                    assert not self.reader.fresh(ticket, live.ring)
        for ticket, ring, info in self.gone:
            with pytest.raises(StaleFrameError), self.reader.read(ticket, ring, info):
                pass

    def value(self, live, frame):
        return self.value_of(live.ring, frame)

    @staticmethod
    def value_of(ring, frame):
        return (ord(ring.stream_id) * 7 + ring.epoch * 31 + frame) % 251 + 1

    def teardown(self):
        if not hasattr(self, "pool"):
            return
        for key in list(self.live):
            self.pool.close_stream(*key)
        assert self.pool.free_bytes == self.size
        assert self.pool.fits(info_of("x", 2, 2), min(self.slots, self.size // SLOT_ALIGN_BYTES))  # in one piece again
        self.reader.close()
        self.pool.close()


def bytes_of(ring: RingSpec) -> int:
    return ring.count * ring.slot_bytes


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


# --- a writer that races a reader ---------------------------------------------------------------------------------
def _race_writer(connection) -> None:
    """Write as fast as possible without any credit, until told to stop."""
    arena = CpuArena.create(64 << 20, 2)
    pool = FramePool(arena)
    info = info_of("race", 1920, 1080)
    ring = pool.open_stream("race", 0, info, 2)
    pool.begin_write(ring, 0)[:] = 0
    connection.send((arena.handle, ring, info, pool.commit(ring, 0, 0, FrameFlag.NONE)))
    assert connection.recv() == "go"
    frame = 0
    while not connection.poll():
        frame += 1
        pool.begin_write(ring, frame)[:] = frame % 251
        connection.send(pool.commit(ring, frame, frame, FrameFlag.NONE))
    connection.send(None)
    assert connection.recv() == "stop"
    assert connection.recv() == "done"
    pool.close()


def test_a_reader_never_takes_a_torn_frame_for_a_whole_one():
    """Two processes, no back-pressure: what a read accepts is whole, and torn reads do happen and are refused."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_race_writer, args=(there,), daemon=True)
    process.start()
    try:
        handle, ring, info, first = here.recv()
        reader = PoolReader(CpuArena.attach(handle))
        counts = {"whole": 0, "torn": 0}

        def look(ticket: FrameTicket) -> None:
            lowest = highest = -1
            try:
                with reader.read(ticket, ring, info) as view:
                    lowest, highest = int(view.min()), int(view.max())
            except StaleFrameError:
                counts["torn"] += lowest != highest
                return
            counts["whole"] += 1
            assert lowest == highest == ticket.frame_index % 251

        look(first)
        inbox = [first]

        def listen() -> None:
            while (ticket := here.recv()) is not None:
                inbox.append(ticket)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        here.send("go")
        deadline = time.monotonic() + 60
        while counts["torn"] < 5 and time.monotonic() < deadline:
            look(inbox[-1])
        here.send("stop")
        listener.join(30)
        look(inbox[-1])  # the writer rests: its last frame is whole
        assert counts["whole"] >= 2
        assert counts["torn"] >= 5
        here.send("done")
        reader.close()
        process.join(30)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def test_a_reader_cannot_write(pool):
    reader = CpuArena.attach(pool.arena.handle)
    view = reader.view(0, info_of("a"))
    with pytest.raises(ValueError, match="read-only"):
        view[:] = 1
    with pytest.raises(ValueError, match="read-only"):
        reader.generations[0] = 1
    reader.close()
    with pytest.raises(SharedMemoryError):
        reader.view(0, info_of("a"))
    assert (view == 0).all()  # what was handed out stays mapped
