"""The queue of the batcher in virtual time: fair, punctual, nothing lost or doubled."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.detect import BatchQueue, Part


def items(batch: list[Part[Any]]) -> list[Any]:
    """Of a batch of whole items."""
    return [part.item for part in batch]


puts = st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 0.003)), max_size=60)


@settings(max_examples=300)
@given(puts, st.integers(1, 9), st.integers(0, 4), st.sampled_from([0.0, 0.002]))
def test_every_item_leaves_once_in_order_and_in_time(
    arrivals: list[tuple[str, float]], most: int, cap: int, wait: float
) -> None:
    queue: BatchQueue[tuple[str, int, float]] = BatchQueue(max_batch=most, wait_s=wait, per_stream_cap=cap)
    now, left, waiting = 0.0, [], Counter()
    counts: Counter[str] = Counter()

    def take(at: float) -> None:
        before = waiting.copy()
        due = queue.due_s()
        batch = items(queue.take(at))
        assert bool(batch) == (due is not None and due <= at)
        if not batch:
            return
        assert len(batch) == min(most, sum(before.values()))
        share = Counter(stream for stream, _, _ in batch)
        for stream, got in share.items():
            starving = [other for other in before if other != stream and share[other] < before[other]]
            for other in starving:
                assert got <= share[other] + 1, "a stream took two turns while another waited"
        waiting.subtract(share)
        left.extend(batch)

    for stream, pause in arrivals:
        now += pause
        due = queue.due_s()
        if due is not None and due <= now:
            take(due)
        queue.put(stream, (stream, counts[stream], now), now)
        counts[stream] += 1
        waiting[stream] += 1
        assert len(queue) == sum(waiting.values())
    while len(queue):
        due = queue.due_s()
        assert due is not None
        now = max(now, due)
        take(now)
    assert queue.due_s() is None
    assert queue.take(now + 1) == []
    assert Counter(stream for stream, _, _ in left) == counts
    for stream in counts:
        assert [index for s, index, _ in left if s == stream] == list(range(counts[stream]))


runs = st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 0.003), st.integers(1, 20)), max_size=40)


@settings(max_examples=300)
@given(runs, st.integers(1, 24), st.integers(0, 12), st.sampled_from([0.0, 0.002]))
def test_every_place_of_a_run_leaves_once_in_order_and_in_time(
    arrivals: list[tuple[str, float, int]], most: int, cap: int, wait: float
) -> None:
    queue: BatchQueue[tuple[str, int]] = BatchQueue(max_batch=most, wait_s=wait, per_stream_cap=cap)
    now, waiting, came = 0.0, Counter[str](), Counter[str]()
    left: dict[str, list[tuple[int, int]]] = {stream: [] for stream in "abcd"}
    sizes: dict[tuple[str, int], int] = {}

    def take(at: float) -> None:
        before = waiting.copy()
        due = queue.due_s()
        batch = queue.take(at)
        assert bool(batch) == (due is not None and due <= at)
        if not batch:
            return
        assert sum(map(len, batch)) == min(most, sum(before.values())), "a batch that can be full is full"
        share, turns = Counter[str](), Counter[str]()
        for part in batch:
            assert part.start < part.stop <= sizes[part.item]
            share[part.item[0]] += len(part)
            turns[part.item[0]] += 1
            left[part.item[0]] += [(part.item[1], place) for place in range(part.start, part.stop)]
        limit = cap or most
        starving = [stream for stream in before if share[stream] < before[stream]]
        for stream, got in share.items():
            for other in starving:
                if other == stream:
                    continue
                assert turns[stream] <= turns[other] + 1 or share[other] >= limit, "two turns while another waited"
                assert got <= limit or share[other] >= limit, "over the cap while another was below it"
        waiting.subtract(share)

    for stream, pause, size in arrivals:
        now += pause
        due = queue.due_s()
        if due is not None and due <= now:
            take(due)
        item = (stream, came[stream])
        sizes[item] = size
        queue.put(stream, item, now, size)
        came[stream] += 1
        waiting[stream] += size
        assert len(queue) == sum(waiting.values())
    while len(queue):
        due = queue.due_s()
        assert due is not None
        now = max(now, due)
        take(now)
    assert queue.due_s() is None
    for stream, places in left.items():
        assert places == [(n, place) for n in range(came[stream]) for place in range(sizes[stream, n])]


def test_whole_runs_where_there_is_room() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=64, wait_s=0.002, per_stream_cap=16)
    for name in "abcdefgh":
        queue.put(name, name, 0.0, 16)
    for names in ("abcd", "efgh"):
        assert [(part.item, part.start, part.stop) for part in queue.take(0.0)] == [(n, 0, 16) for n in names]
    queue.put("a", "a", 0.0, 40)
    queue.put("b", "b", 0.0, 40)
    assert [(part.item, part.start, part.stop) for part in queue.take(0.0)] == [
        ("a", 0, 16),
        ("b", 0, 16),
        ("a", 16, 40),
        ("b", 16, 24),
    ], "places that nobody else wants are filled beyond the cap"
    assert queue.remove("b") == ["b"]
    assert len(queue) == 0
    with pytest.raises(ValueError, match="0 places"):
        queue.put("a", "a", 0.0, 0)


def test_a_full_batch_leaves_at_once_and_a_partial_one_when_its_first_item_has_waited() -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch=3, wait_s=0.002)
    queue.put("a", 1, 10.0)
    queue.put("b", 2, 10.0015)
    assert queue.due_s() == pytest.approx(10.002)
    assert queue.take(10.0019) == []
    assert items(queue.take(10.002)) == [1, 2]
    for item in range(4):
        queue.put("a", item, 11.0)
    assert items(queue.take(11.0)) == [0, 1, 2]
    assert queue.take(11.0) == []
    assert items(queue.take(11.002)) == [3]


def test_a_flood_cannot_keep_others_out() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=4, wait_s=0.0)
    for _ in range(100):
        queue.put("flood", "flood", 0.0)
    queue.put("quiet", "quiet", 1.0)
    assert "quiet" in items(queue.take(1.0))
    single: BatchQueue[str] = BatchQueue(max_batch=1, wait_s=0.0)
    for index in range(3):
        for stream in "ab":
            single.put(stream, f"{stream}{index}", 0.0)
    assert [single.take(0.0)[0].item for _ in range(6)] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_the_cap_reserves_places_only_while_others_want_them() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=6, wait_s=0.0, per_stream_cap=2)
    for _ in range(9):
        queue.put("a", "a", 0.0)
    queue.put("b", "b", 0.0)
    assert Counter(items(queue.take(0.0))) == {"a": 5, "b": 1}


def test_remove_and_drain() -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch=2, wait_s=1.0)
    for item, stream in enumerate("aabbb"):
        queue.put(stream, item, 0.0)
    assert queue.remove("a") == [0, 1]
    assert queue.remove("a") == []
    assert len(queue) == 3
    assert queue.drain() == [2, 3, 4]
    assert queue.due_s() is None


@pytest.mark.parametrize("wrong", [{"max_batch": 0}, {"wait_s": -1.0}, {"per_stream_cap": -1}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        BatchQueue(**{"max_batch": 1, "wait_s": 0.0, **wrong})
