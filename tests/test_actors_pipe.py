"""The pipe in front of the encoders: order, bounds, failures, stopping."""

from __future__ import annotations

import threading

import pytest

from actors.work.pipe import Pipe


def test_tasks_run_in_order_and_no_more_than_the_depth_are_open() -> None:
    pipe, done, open_now, most = Pipe("t", 3), [], [0], [0]
    lock = threading.Lock()

    def task(number: int) -> None:
        done.append(number)
        with lock:
            open_now[0] -= 1

    for number in range(200):
        pipe.reserve()
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        pipe.put(lambda n=number: task(n))
    pipe.drain()
    assert done == list(range(200))
    assert most[0] <= 3


def test_the_first_failure_reaches_the_writer_and_later_tasks_are_dropped() -> None:
    pipe, done = Pipe("t", 2), []

    def fail() -> None:
        raise OSError("disk")

    def write() -> None:
        for number in range(50):
            pipe.reserve()
            pipe.put(fail if number == 5 else lambda n=number: done.append(n))

    with pytest.raises(OSError, match="disk"):
        write()
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="disk"):
        pipe.drain()
    pipe.stop()


def test_stopping_lets_the_running_task_end_and_drops_the_others() -> None:
    pipe, begun, go, done = Pipe("t", 4), threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        assert go.wait(10)
        done.append("slow")

    for task in (slow, lambda: done.append("dropped")):
        pipe.reserve()
        pipe.put(task)
    assert begun.wait(10)
    stopper = threading.Thread(target=pipe.stop)
    stopper.start()
    while not pipe._stopped:
        pass
    go.set()
    stopper.join(10)
    assert not stopper.is_alive()
    assert done == ["slow"]
    pipe.stop()
