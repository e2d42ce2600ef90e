"""The real gate, assembler, ledger, order and pool in a simulated lane: every stream always finishes, once, in order.

Time is virtual: a heap of events with random delays, so that messages overtake each other. When the heap is empty and a
stream is unfinished, the lane has deadlocked. Memory is real (one array), so a frame overwritten too early is seen.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualface_ray.errors import StaleFrameError
from dualface_ray.frames import (
    SIGNATURE_BYTES,
    ArenaHandle,
    ChunkAssembler,
    ChunkOrder,
    Credit,
    CreditGate,
    FrameChunk,
    FrameFlag,
    FramePool,
    FrameTicket,
    PoolReader,
    ReleaseLedger,
    StreamEnd,
    StreamInfo,
    slot_stride_bytes,
)


class DeadlockError(Exception):
    """Nothing is left to happen, and a stream is unfinished."""


class MemoryArena:
    """An arena in this process's own memory."""

    def __init__(self, size_bytes: int, slots: int) -> None:
        self.handle = ArenaHandle("simulated", "cpu", size_bytes, slots, "here", b"")
        self.generations = np.zeros(slots, np.uint64)
        self._bytes = np.zeros(size_bytes, np.uint8)

    def view(self, offset_bytes: int, info: StreamInfo) -> Any:
        return self._bytes[offset_bytes : offset_bytes + info.slot_bytes].view(np.uint32)

    def seal(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """One simulated lane."""

    lookahead: int
    chunk: int
    depth: int
    quota: int
    totals: tuple[int, ...]
    ask_rate: float = 0.0
    kills: int = 0
    stalls: int = 0
    answers: bool = True
    flush: bool = True
    overgrant: int = 0

    @staticmethod
    def legal_quota(lookahead: int, chunk: int, depth: int) -> int:
        return lookahead + 3 * chunk + depth


@dataclass(frozen=True)
class Stamp:
    pts_ticks: int
    flags: FrameFlag = FrameFlag.NONE


@dataclass
class Attempt:
    """One epoch of one stream, at all its actors; ``dead`` once a kill has ended it."""

    stream: int
    epoch: int
    total: int
    plan: Plan
    info: StreamInfo
    ring: Any
    lazy_end: bool
    dead: bool = False
    down: set[str] = field(default_factory=set)
    """Its actors that were killed; the job has not noticed yet."""
    next_frame: int = 0
    decoder_awake: bool = False
    held: dict[int, FrameTicket] = field(default_factory=dict)
    planned: int = 0
    in_encoder: list[int] = field(default_factory=list)
    encoder_busy: bool = False
    ended: bool = False
    asks: dict[int, list[int]] = field(default_factory=dict)
    next_ask: int = 0
    out: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        name, plan = self.info.stream_id, self.plan
        self.gate = CreditGate(name, self.epoch)
        self.assembler = ChunkAssembler(name, self.epoch, plan.chunk)
        self.order = ChunkOrder(name, self.epoch)
        self.ledger = ReleaseLedger(
            name, self.epoch, plan.quota + plan.overgrant, lookahead_frames=plan.lookahead, step_frames=plan.chunk
        )


class Lane:
    """Decoder, inference and encoder of one lane, and the job that restarts what was killed."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.random = random.Random(seed)
        self.now = 0.0
        self.events: list[tuple[float, int, str, Callable[[], None]]] = []
        self.pushed = 0
        self.seen: Counter[str] = Counter()
        self.stalled_until = {"decoder": 0.0, "inference": 0.0, "encoder": 0.0, "job": 0.0}
        self.infos = [
            StreamInfo(f"s{n}", 4 + 2 * (n % 3), 4, Fraction(1, 30), Fraction(30)) for n in range(len(plan.totals))
        ]
        need = sum(slot_stride_bytes(info) for info in self.infos) * plan.quota
        arena = MemoryArena(need, plan.quota * len(self.infos))
        self.pool, self.reader = FramePool(arena), PoolReader(arena)
        self.attempts: list[Attempt] = []
        for number in range(len(self.infos)):
            self.attempts.append(self.open(number, 0))
        for attempt in self.attempts:
            self.start(attempt)
        for _ in range(plan.kills):
            self.later("job", self.random.uniform(0, 200), self.kill)
        for _ in range(plan.stalls):
            self.later("job", self.random.uniform(0, 200), self.stall)

    # --- clock ------------------------------------------------------------------------------------------------
    def later(self, actor: str, delay: float, action: Callable[[], None]) -> None:
        self.pushed += 1
        heapq.heappush(self.events, (self.now + delay, self.pushed, actor, action))

    def message(self, actor: str, action: Callable[[], None]) -> None:
        slow = self.random.random() < 0.05
        self.later(actor, self.random.uniform(0, 60 if slow else 2), action)

    def run(self) -> None:
        for _ in range(400_000):
            if not self.events:
                break
            when, _, actor, action = heapq.heappop(self.events)
            self.now = max(self.now, when)
            if self.stalled_until[actor] > self.now:
                self.later(actor, self.stalled_until[actor] - self.now, action)
            else:
                action()
        else:
            raise AssertionError("the lane moves for ever")
        unfinished = [a.info.stream_id for a in self.attempts if not (a.order.finished and len(a.out) == a.total)]
        if unfinished:
            raise DeadlockError(", ".join(unfinished))

    # --- job --------------------------------------------------------------------------------------------------
    def open(self, number: int, epoch: int) -> Attempt:
        info = self.infos[number]
        ring = self.pool.open_stream(info.stream_id, epoch, info, self.plan.quota)
        total = self.plan.totals[number]
        return Attempt(number, epoch, total, self.plan, info, ring, lazy_end=self.random.random() < 0.5)

    def start(self, attempt: Attempt) -> None:
        self.message("encoder", lambda: self.credit(attempt))

    def kill(self) -> None:
        """One actor of one stream dies, or the inference of all; the others go on until the job notices."""
        victim = self.random.choice(["decoder", "inference", "encoder"])
        numbers = range(len(self.infos)) if victim == "inference" else [self.random.randrange(len(self.infos))]
        for number in numbers:
            attempt = self.attempts[number]
            if not attempt.order.finished and not attempt.down:
                attempt.down.add(victim)
                self.later("job", self.random.uniform(0, 40), lambda attempt=attempt: self.restart(attempt))

    def restart(self, old: Attempt) -> None:
        self.seen["restarted"] += 1
        old.dead = True
        self.pool.close_stream(old.info.stream_id, old.epoch)
        self.attempts[old.stream] = self.open(old.stream, old.epoch + 1)
        self.start(self.attempts[old.stream])

    def stall(self) -> None:
        actor = self.random.choice(["decoder", "inference", "encoder"])
        self.stalled_until[actor] = self.now + self.random.uniform(10, 300)

    # --- decoder ----------------------------------------------------------------------------------------------
    def granted(self, stream: int, credit: Credit) -> None:
        attempt = self.attempts[stream]  # a late credit meets the gate of the epoch that runs now
        if attempt.gate.grant(credit):
            self.wake_decoder(attempt)
        else:
            self.seen["credit ignored"] += 1

    def wake_decoder(self, attempt: Attempt) -> None:
        if not attempt.decoder_awake and not attempt.dead and attempt.assembler.end is None:
            attempt.decoder_awake = True
            self.later("decoder", self.random.uniform(0, 3), lambda: self.decode(attempt))

    def decode(self, attempt: Attempt) -> None:
        attempt.decoder_awake = False
        frames = min(attempt.gate.allowed(attempt.next_frame), attempt.assembler.room)
        if attempt.dead or "decoder" in attempt.down or frames == 0:
            return
        frames = self.random.randint(1, frames)
        views = self.pool.begin_many(attempt.ring, attempt.next_frame, frames)
        got = min(frames, attempt.total - attempt.next_frame)
        for index, view in zip(range(attempt.next_frame, attempt.next_frame + got), views, strict=False):
            view[:] = code(attempt, index)
        stamps = [Stamp(index) for index in range(attempt.next_frame, attempt.next_frame + got)]
        tickets = self.pool.commit_many(attempt.ring, attempt.next_frame, stamps)
        attempt.next_frame += got
        left = attempt.gate.allowed(attempt.next_frame) if self.plan.flush else 1
        signatures = np.zeros((got, SIGNATURE_BYTES), np.uint8)
        chunks = attempt.assembler.add(tickets, signatures, credit_left=left, decoded_at_s=self.now)
        if got < frames or (attempt.next_frame == attempt.total and not attempt.lazy_end):
            chunks.append(attempt.assembler.finish())
        for chunk in chunks:
            self.message("inference", lambda chunk=chunk: self.infer(attempt, chunk))
        self.wake_decoder(attempt)

    # --- inference --------------------------------------------------------------------------------------------
    def infer(self, attempt: Attempt, chunk: FrameChunk) -> None:
        if self.read(attempt, chunk.tickets):  # a chunk without tickets goes on too
            self.message("encoder", lambda: self.arrive(attempt.stream, chunk))

    def answer(self, attempt: Attempt, ask: int, tickets: list[FrameTicket]) -> None:
        if self.read(attempt, tickets):
            self.message("encoder", lambda: self.answered(attempt, ask))

    def read(self, attempt: Attempt, tickets: Any) -> bool:
        """Read frames and compare; only a killed attempt's may be stale."""
        try:
            with self.reader.read_many([(ticket, attempt.ring, attempt.info) for ticket in tickets]) as views:
                for ticket, view in zip(tickets, views, strict=True):
                    assert (view == code(attempt, ticket.frame_index)).all()
        except StaleFrameError:
            assert attempt.dead, "a frame was overwritten before its release"
            self.seen["stale read"] += 1
            return False
        return "inference" not in attempt.down

    # --- encoder ----------------------------------------------------------------------------------------------
    def arrive(self, stream: int, chunk: FrameChunk) -> None:
        attempt = self.attempts[stream]  # a late chunk meets the session of the epoch that runs now
        if "encoder" in attempt.down:
            return
        self.seen["old chunk"] += chunk.epoch < attempt.epoch
        self.seen["early chunk"] += attempt.order.waiting > 0
        for turn in attempt.order.accept(chunk):
            attempt.held.update({ticket.frame_index: ticket for ticket in turn.tickets})
            if turn.tickets:
                attempt.ledger.received(turn.tickets[-1].frame_index + 1)
                self.maybe_ask(attempt)
            attempt.ended = turn.end is StreamEnd.END
        self.advance(attempt)

    def maybe_ask(self, attempt: Attempt) -> None:
        if self.random.random() >= self.plan.ask_rate:
            return
        candidates = range(attempt.planned, attempt.ledger.received_upto)
        frames = sorted(self.random.sample(candidates, min(len(candidates), self.random.randint(1, 3))))
        ask, attempt.next_ask = attempt.next_ask, attempt.next_ask + 1
        attempt.ledger.pin(ask, frames)
        if frames and self.random.random() < 0.5:
            attempt.asks[ask] = frames  # the session will not plan these before it knows
        if self.plan.answers:
            tickets = [attempt.held[frame] for frame in frames]
            self.later("inference", self.random.uniform(0, 150), lambda: self.answer(attempt, ask, tickets))

    def answered(self, attempt: Attempt, ask: int) -> None:
        attempt.asks.pop(ask, None)
        attempt.ledger.unpin(ask)
        self.advance(attempt)

    def advance(self, attempt: Attempt) -> None:
        if attempt.dead or "encoder" in attempt.down:
            return
        ledger, barrier = attempt.ledger, min((f for frames in attempt.asks.values() for f in frames), default=10**9)
        while (
            len(attempt.in_encoder) < self.plan.depth
            and attempt.planned < min(barrier, ledger.received_upto)
            and (attempt.ended or attempt.planned + self.plan.lookahead < ledger.received_upto)
        ):
            attempt.in_encoder.append(attempt.planned)
            attempt.planned += 1
        if attempt.in_encoder and not attempt.encoder_busy:
            attempt.encoder_busy = True
            self.later("encoder", self.random.uniform(0, 2), lambda: self.encode(attempt))
        self.credit(attempt)

    def encode(self, attempt: Attempt) -> None:
        attempt.encoder_busy = False
        if attempt.dead or "encoder" in attempt.down:
            return
        frame = attempt.in_encoder.pop(0)
        self.read(attempt, [attempt.held[frame]])
        attempt.out.append(frame)
        attempt.ledger.encoded(frame + 1)
        self.advance(attempt)

    def credit(self, attempt: Attempt) -> None:
        credit = attempt.ledger.next_credit()
        if credit is not None and not attempt.dead:
            self.message("decoder", lambda: self.granted(attempt.stream, credit))


def code(attempt: Attempt, frame: int) -> int:
    return attempt.stream << 24 | (attempt.epoch & 0xFF) << 16 | frame


def finish(plan: Plan, seed: int) -> Lane:
    """Run a lane and check what came out."""
    lane = Lane(plan, seed)
    lane.run()
    for attempt, total in zip(lane.attempts, plan.totals, strict=True):
        assert attempt.out == list(range(total))
        assert attempt.assembler.end is StreamEnd.END
        assert attempt.order.waiting == 0
        assert attempt.ledger.released_upto == total
    lane.pool.close()
    assert lane.pool.free_bytes == lane.pool.arena.handle.size_bytes
    return lane


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 16), st.integers(1, 8))
TOTALS = st.lists(st.integers(0, 260), min_size=1, max_size=4).map(tuple)
SEEDS = st.integers(0, 2**32)
MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(SHAPES, TOTALS, SEEDS)
def test_every_stream_finishes_with_the_smallest_legal_quota(shape, totals, seed):
    finish(Plan(*shape, Plan.legal_quota(*shape), totals), seed)


@MANY
@given(SHAPES, TOTALS, SEEDS, st.integers(0, 4), st.integers(0, 4), st.floats(0, 1))
def test_late_answers_stalls_and_killed_actors_do_not_stop_it(shape, totals, seed, kills, stalls, ask_rate):
    finish(Plan(*shape, Plan.legal_quota(*shape), totals, ask_rate, kills, stalls), seed)


@MANY
@given(SHAPES, TOTALS, SEEDS, st.integers(0, 20))
def test_it_lives_down_to_the_quota_that_mathematics_needs(shape, totals, seed, spare):
    lookahead, chunk, depth = shape
    finish(Plan(lookahead, chunk, depth, lookahead + 1 + spare, totals, ask_rate=0.3), seed)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SEEDS, st.integers(1, 100))
def test_a_quota_within_the_look_ahead_deadlocks(shape, seed, more):
    lookahead, chunk, depth = shape
    with pytest.raises(DeadlockError):
        finish(Plan(lookahead, chunk, depth, lookahead, (lookahead + more,)), seed)


def test_the_simulation_meets_what_it_is_meant_to_meet():
    """Overtaking chunks, messages of a former epoch and readers of a closed stream do occur in it."""
    seen: Counter[str] = Counter()
    for seed in range(30):
        seen += finish(Plan(20, 8, 4, 48, (150, 200, 250), ask_rate=0.3, kills=3, stalls=2), seed).seen
    assert all(seen[what] >= 10 for what in ("restarted", "credit ignored", "stale read", "old chunk", "early chunk"))


def test_the_simulation_sees_a_decoder_that_keeps_partial_chunks():
    plan = Plan(lookahead=10, chunk=16, depth=4, quota=12, totals=(100,))
    finish(plan, 1)
    with pytest.raises(DeadlockError):
        finish(Plan(10, 16, 4, 12, (100,), flush=False), 1)


def test_the_simulation_sees_asks_that_are_never_answered():
    with pytest.raises(DeadlockError):
        finish(Plan(10, 8, 4, 38, (400,), ask_rate=1.0, answers=False), 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_simulation_sees_an_encoder_that_grants_too_much(seed):
    with pytest.raises(AssertionError, match="overwritten before its release"):
        finish(Plan(10, 8, 4, 38, (400,), ask_rate=0.5, overgrant=25), seed)


def test_chunks_stay_full_while_the_encoder_is_the_slower_side():
    """Otherwise every frame would travel alone, at the price of a chunk."""
    sizes: list[int] = []

    class Counting(Lane):
        def infer(self, attempt: Attempt, chunk: FrameChunk) -> None:
            sizes.append(len(chunk.tickets))
            super().infer(attempt, chunk)

    plan = Plan(30, 16, 8, Plan.legal_quota(30, 16, 8), (1600,))
    Counting(plan, 3).run()
    assert sum(sizes) == 1600
    assert len(sizes) <= 1600 // 16 + 3
