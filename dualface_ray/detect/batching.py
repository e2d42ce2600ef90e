"""Queue: which waiting items make the next batch; pure, the caller brings the time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Line(Generic[T]):
    """The waiting items of one stream, oldest first, with their times of arrival."""

    items: deque[tuple[float, T]]


class BatchQueue(Generic[T]):
    """Items of many streams, taken in fair batches.

    A batch is due when ``max_batch`` items wait, or ``wait_s`` after the oldest one came. Streams take turns, one item
    a turn, and the turn goes on where the last batch stopped; within a stream the order of arrival holds. While other
    streams wait, one stream gets at most ``per_stream_cap`` places of a batch; places that nobody else wants are
    filled regardless of the cap, since an empty place helps nobody.

    Args:
        max_batch: most items of one batch.
        wait_s: how long the oldest item may wait for company.
        per_stream_cap: places one stream may take of a batch; 0 = no cap besides the turns.
    """

    def __init__(self, *, max_batch: int, wait_s: float, per_stream_cap: int = 0) -> None:
        if max_batch < 1 or wait_s < 0 or per_stream_cap < 0:
            raise ValueError("max_batch must be positive, wait_s and per_stream_cap not negative")
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._cap = per_stream_cap or max_batch
        self._lines: OrderedDict[Hashable, _Line[T]] = OrderedDict()  # in the order of turns
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, stream: Hashable, item: T, now_s: float) -> None:
        """Let an item wait from now on."""
        line = self._lines.get(stream)
        if line is None:
            line = self._lines[stream] = _Line(deque())
        line.items.append((now_s, item))
        self._size += 1

    def due_s(self) -> float | None:
        """When the next batch is due: a time in the past or future, or None while nothing waits."""
        if not self._size:
            return None
        oldest = min(line.items[0][0] for line in self._lines.values())
        return oldest if self._size >= self._max_batch else oldest + self._wait_s

    def take(self, now_s: float) -> list[T]:
        """The next batch if it is due, else an empty list."""
        due = self.due_s()
        if due is None or due > now_s:
            return []
        batch: list[T] = []
        taken: dict[Hashable, int] = {}
        ready = deque(self._lines)
        capped: deque[Hashable] = deque()
        while len(batch) < self._max_batch and (ready or capped):
            stream = ready.popleft() if ready else capped.popleft()
            line = self._lines[stream]
            batch.append(line.items.popleft()[1])
            self._size -= 1
            taken[stream] = taken.get(stream, 0) + 1
            self._lines.move_to_end(stream)  # its next turn comes after everybody else's
            if not line.items:
                del self._lines[stream]
            elif taken[stream] < self._cap:
                ready.append(stream)
            else:
                capped.append(stream)
        return batch

    def remove(self, stream: Hashable) -> list[T]:
        """Take out everything of one stream."""
        line = self._lines.pop(stream, None)
        if line is None:
            return []
        self._size -= len(line.items)
        return [item for _, item in line.items]

    def drain(self) -> list[T]:
        """Take out everything."""
        items = [item for line in self._lines.values() for _, item in line.items]
        self._lines.clear()
        self._size = 0
        return items
