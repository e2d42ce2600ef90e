"""The batcher with real threads: one settlement per item, whatever work and callers do."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from dualface_ray.detect import Batcher, Part
from dualface_ray.errors import ActorError


def at_once(work: Callable[[list[int]], Sequence[object]]) -> Callable[[Sequence[Part[int]]], Callable[[], Any]]:
    """Work on plain numbers, one place each, done when its results are fetched."""
    return lambda parts: lambda: work([part.item for part in parts])


class Ledger:
    """Notes every settlement; the result of an item with one part is that of the part."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.results: dict[int, list[object]] = {}

    def taker(self, key: int):
        def take(result: object) -> None:
            with self.lock:
                alone = result[0] if isinstance(result, list) and len(result) == 1 else result
                self.results.setdefault(key, []).append(alone)
                self.lock.notify_all()

        return take

    def wait(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.results) >= count, timeout=20)


def test_many_threads_many_streams_every_item_once() -> None:
    sizes: Counter[int] = Counter()

    def work(batch: Sequence[int]) -> list[int]:
        sizes[len(batch)] += 1
        return [item * 2 for item in batch]

    batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=8, wait_s=0.002, per_stream_cap=4)
    ledger = Ledger()

    def feed(stream: int) -> None:
        for index in range(100):
            key = stream * 1000 + index
            batcher.submit(stream, key, ledger.taker(key))

    feeders = [threading.Thread(target=feed, args=(stream,)) for stream in range(6)]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    ledger.wait(600)
    batcher.close()
    assert all(ledger.results[key] == [key * 2] for key in ledger.results)
    assert max(sizes) <= 8
    assert max(sizes) > 1


def test_one_bad_item_fails_alone() -> None:
    def work(batch: Sequence[int]) -> list[int]:
        if 3 in batch:
            raise ValueError("three")
        return list(batch)

    batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=8, wait_s=0.05)
    ledger = Ledger()
    for item in range(8):
        batcher.submit(item % 2, item, ledger.taker(item))
    ledger.wait(8)
    batcher.close()
    for item in range(8):
        assert len(ledger.results[item]) == 1
        if item == 3:
            assert isinstance(ledger.results[item][0], ValueError)
        else:
            assert ledger.results[item] == [item]


def test_a_result_that_is_an_exception_fails_its_item_without_a_second_try() -> None:
    calls: list[int] = []

    def work(batch: Sequence[int]) -> list[int | Exception]:
        calls.append(len(batch))
        return [ValueError("odd") if item % 2 else item for item in batch]

    batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=4, wait_s=1.0)
    ledger = Ledger()
    for item in range(4):
        batcher.submit("s", item, ledger.taker(item))
    ledger.wait(4)
    batcher.close()
    assert calls == [4]
    assert [isinstance(ledger.results[item][0], ValueError) for item in range(4)] == [False, True, False, True]


def test_too_few_results_are_an_error_not_a_hang() -> None:
    batcher: Batcher[int, int] = Batcher(at_once(lambda batch: []), max_batch=2, wait_s=0.0)
    ledger = Ledger()
    batcher.submit("s", 1, ledger.taker(1))
    ledger.wait(1)
    batcher.close()
    assert isinstance(ledger.results[1][0], ActorError)
    assert "0 results for 1 items" in str(ledger.results[1][0])


def test_close_settles_what_waits_and_lets_the_running_batch_finish() -> None:
    started, go = threading.Event(), threading.Event()

    def work(batch: Sequence[int]) -> list[int]:
        started.set()
        assert go.wait(20)
        return list(batch)

    batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=1, wait_s=0.0)
    ledger = Ledger()
    for item in range(3):
        batcher.submit("s", item, ledger.taker(item))
    assert started.wait(20)
    closer = threading.Thread(target=batcher.close)
    closer.start()
    ledger.wait(2)
    go.set()
    closer.join(20)
    batcher.submit("s", 9, ledger.taker(9))
    batcher.close()
    assert ledger.results[0] == [0]
    for item in (1, 2, 9):
        assert len(ledger.results[item]) == 1
        assert isinstance(ledger.results[item][0], ActorError)


def test_close_gives_up_on_work_that_hangs() -> None:
    started, go, ended = threading.Event(), threading.Event(), threading.Event()

    def work(batch: Sequence[int]) -> list[int]:
        started.set()
        go.wait(20)
        ended.set()
        return list(batch)

    batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=1, wait_s=0.0)
    ledger = Ledger()
    batcher.submit("s", 0, ledger.taker(0))
    assert started.wait(20)
    before = time.monotonic()
    batcher.close(timeout_s=0.1)
    assert time.monotonic() - before < 5
    assert isinstance(ledger.results[0][0], ActorError)
    go.set()
    assert ended.wait(20)
    batcher.close()
    assert len(ledger.results[0]) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_raises_does_not_harm_the_others() -> None:
    batcher: Batcher[int, int] = Batcher(at_once(list), max_batch=3, wait_s=1.0)
    ledger = Ledger()

    def broken(result: object) -> None:
        ledger.taker(1)(result)
        raise RuntimeError("listener")

    batcher.submit("s", 0, ledger.taker(0))
    batcher.submit("s", 1, broken)
    batcher.submit("s", 2, ledger.taker(2))
    ledger.wait(3)
    batcher.submit("s", 3, ledger.taker(3))
    batcher.submit("s", 4, ledger.taker(4))
    batcher.submit("s", 5, ledger.taker(5))
    ledger.wait(6)
    batcher.close()
    assert all(len(got) == 1 for got in ledger.results.values())


def test_a_listener_may_close_the_batcher() -> None:
    batcher: Batcher[int, int] = Batcher(at_once(list), max_batch=1, wait_s=0.0)
    ledger = Ledger()

    def closing(result: object) -> None:
        batcher.close()
        ledger.taker(0)(result)

    batcher.submit("s", 0, closing)
    ledger.wait(1)
    assert ledger.results[0] == [0]


def test_random_storm_with_closing_midway() -> None:
    for seed in range(5):
        dice = random.Random(seed)

        def work(batch: Sequence[int], dice: random.Random = dice) -> list[int]:
            if dice.random() < 0.2:
                raise ValueError("now and then")
            return list(batch)

        batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=4, wait_s=0.0005, per_stream_cap=2)
        ledger = Ledger()

        def feed(base: int, batcher: Batcher[int, int] = batcher, ledger: Ledger = ledger) -> None:
            for index in range(80):
                batcher.submit(base, base + index, ledger.taker(base + index))

        feeders = [threading.Thread(target=feed, args=(stream * 1000,)) for stream in range(4)]
        for feeder in feeders:
            feeder.start()
        if seed % 2:
            ledger.wait(40)
            batcher.close()
        for feeder in feeders:
            feeder.join()
        ledger.wait(320)
        batcher.close()
        assert all(len(got) == 1 for got in ledger.results.values())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_death_of_the_thread_settles_everybody() -> None:
    begun = threading.Event()

    def work(batch: Sequence[int]) -> list[int]:
        assert begun.wait(20)
        raise SystemExit

    batcher: Batcher[int, int] = Batcher(at_once(work), max_batch=1, wait_s=0.0)
    ledger = Ledger()
    for item in range(3):
        batcher.submit("s", item, ledger.taker(item))
    begun.set()
    ledger.wait(3)
    batcher.submit("s", 3, ledger.taker(3))
    batcher.close()
    assert all(isinstance(ledger.results[item][0], ActorError) for item in range(4))
    assert all(len(got) == 1 for got in ledger.results.values())


# --- items of several places -----------------------------------------------------------------------------------------
Sized = tuple[str, int]
"""Which item, and how many places it takes."""


def places_of(parts: Sequence[Part[Sized]]) -> list[list[tuple[str, int]]]:
    return [[(part.item[0], place) for place in range(part.start, part.stop)] for part in parts]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_divided_items_come_back_whole_and_in_order(ahead: int) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def begin(parts: Sequence[Part[Sized]]) -> Callable[[], list[list[tuple[str, int]]]]:
        number, places = len(begun), places_of(parts)
        begun.append(sum(map(len, parts)))
        assert 1 <= begun[-1] <= 8
        assert number - len(ended) <= ahead, "no more batches are begun than may be"

        def finish() -> list[list[tuple[str, int]]]:
            ended.append(number)
            return places

        return finish

    batcher: Batcher[Sized, list[tuple[str, int]]] = Batcher(
        begin, max_batch=8, wait_s=0.001, per_stream_cap=4, ahead=ahead
    )
    dice = random.Random(ahead)
    sizes = [[dice.randint(1, 19) for _ in range(40)] for _ in range(5)]
    got: dict[str, list[object]] = {}
    lock = threading.Condition()

    def settled(name: str, result: object) -> None:
        with lock:
            got.setdefault(name, []).append(result)
            lock.notify_all()

    def feed(stream: int) -> None:
        for number, size in enumerate(sizes[stream]):
            name = f"{stream}.{number}"
            batcher.submit(stream, (name, size), partial(settled, name), size)

    feeders = [threading.Thread(target=feed, args=(stream,)) for stream in range(5)]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    with lock:
        assert lock.wait_for(lambda: len(got) == 200, timeout=30)
    batcher.close()
    for stream in range(5):
        for number, size in enumerate(sizes[stream]):
            name = f"{stream}.{number}"
            (parts,) = got[name]
            assert isinstance(parts, list)
            assert [place for part in parts for place in part] == [(name, place) for place in range(size)]
    assert ended == list(range(len(begun)))
    assert (batcher.batches, batcher.places) == (len(begun), sum(begun))


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("where", ["begin", "finish"])
def test_a_bad_run_fails_alone_wherever_it_fails(where: str, ahead: int) -> None:
    def begin(parts: Sequence[Part[Sized]]) -> Callable[[], list[list[tuple[str, int]]]]:
        bad = any(part.item[0] == "bad" and part.start <= 5 < part.stop for part in parts)
        if bad and where == "begin":
            raise ValueError("five")

        def finish() -> list[list[tuple[str, int]]]:
            if bad:
                raise ValueError("five")
            return places_of(parts)

        return finish

    batcher: Batcher[Sized, list[tuple[str, int]]] = Batcher(begin, max_batch=4, wait_s=0.02, ahead=ahead)
    got: dict[str, list[object]] = {}
    lock = threading.Condition()

    def settled(name: str, result: object) -> None:
        with lock:
            got.setdefault(name, []).append(result)
            lock.notify_all()

    for stream, name in enumerate(("a", "bad", "b", "c")):
        batcher.submit(stream, (name, 7), partial(settled, name), 7)
    with lock:
        assert lock.wait_for(lambda: len(got) == 4, timeout=20)
    batcher.close()
    assert all(len(results) == 1 for results in got.values())
    assert isinstance(got["bad"][0], ValueError)
    for name in "abc":
        parts = got[name][0]
        assert isinstance(parts, list)
        assert [place for part in parts for place in part] == [(name, place) for place in range(7)]


@pytest.mark.parametrize("ahead", [0, 1])
def test_runs_settle_once_even_when_the_batcher_is_closed_among_failures(ahead: int) -> None:
    for seed in range(6):
        dice = random.Random(seed)

        def begin(
            parts: Sequence[Part[Sized]], dice: random.Random = dice
        ) -> Callable[[], list[list[tuple[str, int]] | Exception]]:
            if dice.random() < 0.1:
                raise ValueError("begin")

            def finish() -> list[list[tuple[str, int]] | Exception]:
                if dice.random() < 0.1:
                    raise ValueError("finish")
                return [ValueError("this one") if dice.random() < 0.05 else one for one in places_of(parts)]

            return finish

        batcher: Batcher[Sized, list[tuple[str, int]]] = Batcher(
            begin, max_batch=6, wait_s=0.0005, per_stream_cap=3, ahead=ahead
        )
        ledger = Ledger()

        def feed(base: int, batcher: Batcher[Any, Any] = batcher, ledger: Ledger = ledger) -> None:
            for index in range(60):
                size = 1 + (base + index) % 9
                batcher.submit(base, (str(base + index), size), ledger.taker(base + index), size)

        feeders = [threading.Thread(target=feed, args=(stream * 1000,)) for stream in range(4)]
        for feeder in feeders:
            feeder.start()
        if seed % 2:
            ledger.wait(30)
            batcher.close()
        for feeder in feeders:
            feeder.join()
        ledger.wait(240)
        batcher.close()
        assert all(len(got) == 1 for got in ledger.results.values())


def test_results_are_told_while_the_next_batch_is_computed() -> None:
    begun: list[int] = []
    told = threading.Event()

    def begin(parts: Sequence[Part[int]]) -> Callable[[], list[int]]:
        begun.append(parts[0].item)

        def finish() -> list[int]:
            if parts[0].item == 0:
                assert begun == [0, 1], "the second batch began before the first one's end"
            else:
                assert told.wait(20), "the first one's results do not wait for the second one's"
            return [part.item for part in parts]

        return finish

    batcher: Batcher[int, int] = Batcher(begin, max_batch=1, wait_s=0.0, ahead=1)
    ledger = Ledger()
    first = ledger.taker(0)
    with batcher._wake:  # both wait before the thread looks
        batcher.submit("a", 0, lambda result: (first(result), told.set()))
        batcher.submit("b", 1, ledger.taker(1))
    ledger.wait(2)
    batcher.close()
    assert ledger.results == {0: [0], 1: [1]}
