"""The queue of the batcher in virtual time: fair, punctual, nothing lost or doubled."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.detect import BatchQueue

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
        batch = queue.take(at)
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


def test_a_full_batch_leaves_at_once_and_a_partial_one_when_its_first_item_has_waited() -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch=3, wait_s=0.002)
    queue.put("a", 1, 10.0)
    queue.put("b", 2, 10.0015)
    assert queue.due_s() == pytest.approx(10.002)
    assert queue.take(10.0019) == []
    assert queue.take(10.002) == [1, 2]
    for item in range(4):
        queue.put("a", item, 11.0)
    assert queue.take(11.0) == [0, 1, 2]
    assert queue.take(11.0) == []
    assert queue.take(11.002) == [3]


def test_a_flood_cannot_keep_others_out() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=4, wait_s=0.0)
    for _ in range(100):
        queue.put("flood", "flood", 0.0)
    queue.put("quiet", "quiet", 1.0)
    assert "quiet" in queue.take(1.0)
    single: BatchQueue[str] = BatchQueue(max_batch=1, wait_s=0.0)
    for index in range(3):
        for stream in "ab":
            single.put(stream, f"{stream}{index}", 0.0)
    assert [single.take(0.0)[0] for _ in range(6)] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_the_cap_reserves_places_only_while_others_want_them() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=6, wait_s=0.0, per_stream_cap=2)
    for _ in range(9):
        queue.put("a", "a", 0.0)
    queue.put("b", "b", 0.0)
    assert Counter(queue.take(0.0)) == {"a": 5, "b": 1}


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
