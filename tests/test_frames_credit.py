"""Gate, ledger, assembler and order, rule by rule (their interplay: test_frames_liveness)."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.errors import ActorError, DamagedInputError, ProtocolError
from dualface_ray.frames import (
    SIGNATURE_BYTES,
    ChunkAssembler,
    ChunkOrder,
    Credit,
    CreditGate,
    FrameChunk,
    FrameTicket,
    ReleaseLedger,
    StreamEnd,
    WaitingGate,
)


def tickets(first: int, count: int) -> list[FrameTicket]:
    return [FrameTicket("p", n, 2, n, n) for n in range(first, first + count)]


def signatures(first: int, count: int) -> np.ndarray:
    return np.repeat((np.arange(first, first + count) % 256).astype(np.uint8)[:, None], SIGNATURE_BYTES, axis=1)


# --- gate ---------------------------------------------------------------------------------------------------------
def test_the_gate_opens_forwards_only_and_for_its_epoch():
    gate = CreditGate("v", 3)
    assert gate.allowed(0) == 0
    assert gate.grant(Credit("v", 3, 40))
    assert (gate.allowed(0), gate.allowed(39), gate.allowed(40), gate.allowed(50)) == (40, 1, 0, 0)
    assert not gate.grant(Credit("v", 3, 40))
    assert not gate.grant(Credit("v", 3, 20))
    assert not gate.grant(Credit("v", 2, 900))
    assert gate.allowed(0) == 40
    for wrong in (Credit("w", 3, 50), Credit("v", 4, 50)):
        with pytest.raises(ProtocolError):
            gate.grant(wrong)


def waiter(gate: WaitingGate, next_frame: int = 0) -> tuple[threading.Thread, list]:
    seen: list = []

    def wait() -> None:
        try:
            seen.append(gate.wait(next_frame))
        except Exception as error:
            seen.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread, seen


def test_a_credit_wakes_the_decoder():
    gate = WaitingGate(CreditGate("v", 0), poll_s=100)
    threads = [waiter(gate, frame) for frame in (0, 5, 20)]
    assert not gate.grant(Credit("v", 0, 0))
    assert gate.grant(Credit("v", 0, 16))
    for thread, _ in threads[:2]:
        thread.join(10)
    assert [seen for _, seen in threads] == [[16], [11], []]
    assert gate.allowed(4) == 12
    gate.close()
    threads[2][0].join(10)
    assert threads[2][1] == [0]
    assert gate.allowed(4) == 0
    assert gate.wait(0) == 0


def test_nobody_waits_for_ever():
    gate = WaitingGate(CreditGate("v", 0), poll_s=100)
    started = time.monotonic()
    assert gate.wait(0, timeout_s=0.05) == 0
    assert 0.05 <= time.monotonic() - started < 10
    thread, seen = waiter(gate)
    gate.close(DamagedInputError("broken"))
    gate.close()
    thread.join(10)
    assert isinstance(seen[0], DamagedInputError)

    granter = threading.Thread(target=lambda: None)
    granter.start()
    granter.join()
    thread, seen = waiter(WaitingGate(CreditGate("v", 0), alive=granter.is_alive, poll_s=0.01))
    thread.join(10)
    assert isinstance(seen[0], ActorError)


# --- ledger -------------------------------------------------------------------------------------------------------
def ledger(quota: int = 40, lookahead: int = 10, step: int = 8, first: int = 0) -> ReleaseLedger:
    made = ReleaseLedger("v", 1, quota, lookahead_frames=lookahead, step_frames=step, first_frame=first)
    assert made.next_credit() == Credit("v", 1, first + quota)
    return made


def test_credits_come_in_whole_steps():
    book = ledger()
    book.received(40)
    book.encoded(7)
    assert book.next_credit() is None
    book.encoded(19)
    assert book.next_credit() == Credit("v", 1, 56)
    assert book.next_credit() is None
    book.encoded(23)
    assert book.next_credit() is None
    book.encoded(24)
    assert book.next_credit() == Credit("v", 1, 64)


def test_less_than_a_step_is_granted_only_when_nothing_else_would_move():
    book = ledger(quota=12)
    book.received(11)
    book.encoded(1)
    assert book.next_credit() is None  # frame 11 is still on its way
    book.received(12)
    assert book.next_credit() is None  # frame 1 can be encoded now
    book.encoded(2)
    assert book.next_credit() == Credit("v", 1, 14)
    assert book.next_credit() is None


def test_a_segment_may_begin_anywhere():
    book = ledger(first=1000)
    book.received(1016)
    book.encoded(1008)
    assert book.released_upto == 1008
    assert book.next_credit() == Credit("v", 1, 1048)


def test_pinned_frames_hold_everything_after_them():
    book = ledger()
    book.received(40)
    book.pin(1, [5, 20])
    book.pin(2, [9])
    book.encoded(25)
    assert (book.released_upto, book.pinned) == (5, {5, 9, 20})
    assert book.next_credit() is None
    book.unpin(1)
    assert book.released_upto == 9
    book.unpin(2)
    book.unpin(2)
    assert book.released_upto == 25
    assert book.next_credit() == Credit("v", 1, 64)


def test_the_ledger_refuses_what_cannot_be():
    book = ledger()
    book.received(20)
    book.encoded(12)
    book.pin(1, [12])
    for wrong in (
        lambda: book.received(19),
        lambda: book.received(41),
        lambda: book.encoded(11),
        lambda: book.encoded(21),
        lambda: book.pin(2, [11]),
        lambda: book.pin(2, [20]),
        lambda: book.pin(1, [13]),
    ):
        with pytest.raises(ProtocolError):
            wrong()
    assert (book.received_upto, book.encoded_upto, book.released_upto) == (20, 12, 12)


# --- assembler and order ------------------------------------------------------------------------------------------
def test_chunks_leave_full_at_the_end_and_without_credit():
    chunks = ChunkAssembler("v", 1, 4)
    assert chunks.add(tickets(0, 3), signatures(0, 3), credit_left=9) == []
    assert chunks.room == 1
    full = chunks.add(tickets(3, 6), signatures(3, 6), credit_left=3, decoded_at_s=1.5)
    assert [(c.sequence, [t.frame_index for t in c.tickets]) for c in full] == [(0, [0, 1, 2, 3]), (1, [4, 5, 6, 7])]
    assert full[1].signatures[:, 0].tolist() == [4, 5, 6, 7]
    (starved,) = chunks.add(tickets(9, 1), signatures(9, 1), credit_left=0, decoded_at_s=2.5)
    assert (starved.sequence, len(starved.tickets), starved.decoded_at_s, starved.end) == (2, 2, 2.5, None)
    assert chunks.add([], signatures(0, 0), credit_left=0) == []
    end = chunks.finish()
    assert (end.sequence, end.tickets, end.signatures.shape, end.end) == (3, (), (0, SIGNATURE_BYTES), StreamEnd.END)
    for late in (
        chunks.finish,
        lambda: chunks.abort(ValueError()),
        lambda: chunks.add([], signatures(0, 0), credit_left=1),
    ):
        with pytest.raises(ProtocolError):
            late()


def test_an_abort_carries_its_cause_and_what_was_left():
    chunks = ChunkAssembler("v", 1, 4)
    chunks.add(tickets(0, 3), signatures(0, 3), credit_left=9)
    cause = DamagedInputError("broken", where="x.mp4")
    last = chunks.abort(cause)
    assert (len(last.tickets), last.end, last.error) == (3, StreamEnd.ABORT, cause)
    with pytest.raises(ProtocolError):
        chunks.finish()


def test_signatures_must_be_those_of_the_tickets():
    with pytest.raises(ProtocolError, match="shape"):
        ChunkAssembler("v", 1, 4).add(tickets(0, 3), signatures(0, 2), credit_left=9)


def stream(sizes: list[int], epoch: int = 1) -> list[FrameChunk]:
    chunks, first, out = ChunkAssembler("v", epoch, 16), 0, []
    for size in sizes:
        out += chunks.add(tickets(first, size), signatures(first, size), credit_left=0)
        first += size
    return [*out, chunks.finish()]


@given(st.lists(st.integers(1, 16), max_size=12), st.randoms(use_true_random=False), st.lists(st.integers(0, 12)))
def test_any_order_of_arrival_gives_the_sequence(sizes, random, old):
    sent = stream(sizes)
    mixed = [*sent, *(stream(sizes, 0)[n % len(sent)] for n in old)]
    random.shuffle(mixed)
    order = ChunkOrder("v", 1)
    got = [ready for chunk in mixed for ready in order.accept(chunk)]
    assert got == sent
    assert order.finished
    assert order.waiting == 0


@given(st.lists(st.integers(1, 16), min_size=1, max_size=8), st.randoms(use_true_random=False), st.data())
def test_nothing_comes_twice_or_after_the_end(sizes, random, data):
    sent = stream(sizes)
    arrived = sent[:]
    random.shuffle(arrived)
    order = ChunkOrder("v", 1)
    for chunk in arrived[: data.draw(st.integers(1, len(arrived)))]:
        order.accept(chunk)
    with pytest.raises(ProtocolError):
        order.accept(arrived[0])
    order = ChunkOrder("v", 1)
    beyond = FrameChunk("v", 1, len(sent), (), signatures(0, 0), StreamEnd.ABORT)
    arrived.append(beyond)
    random.shuffle(arrived)

    def take_all() -> None:
        for chunk in arrived:
            order.accept(chunk)

    with pytest.raises(ProtocolError):
        take_all()


def test_what_does_not_belong_here_is_refused():
    sent = stream([4, 4])
    for wrong in (
        FrameChunk("w", 1, 0, (), signatures(0, 0)),
        FrameChunk("v", 2, 0, (), signatures(0, 0)),
        FrameChunk("v", 1, 0, (), signatures(0, 0)),
        FrameChunk("v", 1, 0, (*tickets(0, 1), *tickets(2, 1)), signatures(0, 2)),
    ):
        with pytest.raises(ProtocolError):
            ChunkOrder("v", 1).accept(wrong)
    order = ChunkOrder("v", 1)
    order.accept(sent[0])
    with pytest.raises(ProtocolError, match="holds frame 5 where 4 is due"):
        order.accept(FrameChunk("v", 1, 1, tuple(tickets(5, 2)), signatures(5, 2)))
