"""Closed loop: passes that each take the next batch as soon as their last one is done, and what that gives.

pictures, in turn over all streams ─► free pass ─ launch ─► ... ─ collect ─► next batch
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Pass(Protocol):
    """Something that works on a batch in the background."""

    def launch(self, first: int) -> None:
        """Begin with the batch whose first frame has this number."""

    def collect(self) -> int:
        """Wait for it; how much was found."""


@dataclass(frozen=True, slots=True)
class LoopResult:
    """One run."""

    frames: int
    seconds: float
    found: int
    latencies_s: tuple[float, ...]
    """From launch to result, one a batch; every frame of a batch has waited that long."""

    @property
    def rate_hz(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    def quantile_s(self, share: float) -> float:
        """A quantile of the latencies: the smallest that at least this share does not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def run_loop(
    passes: Sequence[Pass],
    *,
    batch: int,
    frames: int,
    threads: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> LoopResult:
    """Work through ``frames`` frames, rounded down to whole batches, at least one for each pass.

    Args:
        passes: each is used by one thread only.
        batch: frames of each batch.
        frames: in all.
        threads: that serve the passes, at most one each; a thread serves its passes in turn.
        clock: in seconds.

    Raises:
        Exception: what a pass raises; the other threads stop at their next batch.
    """
    if not 1 <= threads <= len(passes):
        raise ValueError(f"{threads} threads for {len(passes)} passes")
    batches = max(len(passes), frames // batch)
    numbers = iter(range(batches))
    lock, gate, failed = threading.Lock(), threading.Barrier(threads + 1), threading.Event()
    results: list[tuple[int, list[float]]] = []
    errors: list[BaseException] = []

    def take() -> int | None:
        with lock:
            return None if failed.is_set() else next(numbers, None)

    def serve(mine: Sequence[Pass]) -> None:
        running: deque[tuple[Pass, float]] = deque()
        found, latencies = 0, []
        try:
            try:
                for one in mine:  # not counted: the thread's own set-up, and whatever the passes do first
                    one.launch(0)
                    one.collect()
            finally:
                gate.wait()
            waiting = list(mine)
            while True:
                for one in waiting:
                    number = take()
                    if number is not None:
                        began_s = clock()
                        one.launch(number * batch)
                        running.append((one, began_s))
                if not running:
                    break
                one, began_s = running.popleft()
                found += one.collect()
                latencies.append(clock() - began_s)
                waiting = [one]
        except BaseException as error:  # raised again by the caller's thread
            failed.set()
            errors.append(error)
        finally:
            for one, _ in running:  # nothing may still run when the next measurement begins
                _settle(one, errors)
        results.append((found, latencies))

    workers = [threading.Thread(target=serve, args=(passes[k::threads],), daemon=True) for k in range(threads)]
    for worker in workers:
        worker.start()
    while gate.n_waiting < threads:  # so that nobody starts before the clock
        time.sleep(0.001)
    began_s = clock()
    gate.wait()
    for worker in workers:
        worker.join()
    seconds = clock() - began_s
    if errors:
        raise errors[0]
    latencies = [latency for _, part in results for latency in part]
    return LoopResult(batches * batch, seconds, sum(found for found, _ in results), tuple(latencies))


def _settle(one: Pass, errors: list[BaseException]) -> None:
    try:
        one.collect()
    except Exception as error:  # the first one is raised
        errors.append(error)
