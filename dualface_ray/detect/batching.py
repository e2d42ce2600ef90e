"""Queue: which waiting items make the next batch; pure, the caller brings the time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Part(Generic[T]):
    """Places ``start`` to before ``stop`` of an item: all of them, unless a batch had less room."""

    item: T
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    """An item, when it came, and which of its places still wait."""

    since_s: float
    item: T
    start: int
    stop: int


class BatchQueue(Generic[T]):
    """Items of many streams, taken in fair batches.

    An item takes one place of a batch or several (a run of frames). A batch is due when ``max_batch`` places wait, or
    ``wait_s`` after the oldest item came. Streams take turns, one item a turn, and the turn goes on where the last
    batch stopped; within a stream the order of arrival holds. An item for which a batch has too little room is
    divided, so that a batch that could be full is full; the rest waits for its stream's next turn. While other
    streams wait, one stream gets at most ``per_stream_cap`` places of a batch; places that nobody else wants are
    filled regardless of the cap, since an empty place helps nobody.

    Args:
        max_batch: most places of one batch.
        wait_s: how long the oldest item may wait for company.
        per_stream_cap: places one stream may take of a batch; 0 = no cap besides the turns.
    """

    def __init__(self, *, max_batch: int, wait_s: float, per_stream_cap: int = 0) -> None:
        if max_batch < 1 or wait_s < 0 or per_stream_cap < 0:
            raise ValueError("max_batch must be positive, wait_s and per_stream_cap not negative")
        self._max_batch = max_batch
        self._wait_s = wait_s
        self._cap = per_stream_cap or max_batch
        self._lines: OrderedDict[Hashable, deque[_Waiting[T]]] = OrderedDict()  # in the order of turns
        self._size = 0

    def __len__(self) -> int:
        """Places that wait."""
        return self._size

    def put(self, stream: Hashable, item: T, now_s: float, places: int = 1) -> None:
        """Let an item wait from now on.

        Raises:
            ValueError: it takes no place.
        """
        if places < 1:
            raise ValueError(f"an item of {places} places")
        line = self._lines.get(stream)
        if line is None:
            line = self._lines[stream] = deque()
        line.append(_Waiting(now_s, item, 0, places))
        self._size += places

    def due_s(self) -> float | None:
        """When the next batch is due: a time in the past or future, or None while nothing waits."""
        if not self._size:
            return None
        oldest = min(line[0].since_s for line in self._lines.values())
        return oldest if self._size >= self._max_batch else oldest + self._wait_s

    def take(self, now_s: float) -> list[Part[T]]:
        """The next batch if it is due, else an empty list."""
        due = self.due_s()
        if due is None or due > now_s:
            return []
        batch: list[Part[T]] = []
        taken: dict[Hashable, int] = {}
        room = self._max_batch
        ready = deque(self._lines)
        capped: deque[Hashable] = deque()
        while room and (ready or capped):
            stream = ready.popleft() if ready else capped.popleft()
            line, had = self._lines[stream], taken.get(stream, 0)
            part = self._turn(line, min(room, self._cap - had) if had < self._cap else room)
            batch.append(part)
            room -= len(part)
            self._size -= len(part)
            taken[stream] = had + len(part)
            self._lines.move_to_end(stream)  # its next turn comes after everybody else's
            if not line:
                del self._lines[stream]
            elif taken[stream] < self._cap:
                ready.append(stream)
            else:
                capped.append(stream)
        return batch

    def remove(self, stream: Hashable) -> list[T]:
        """Take out everything of one stream, also items of which a part was taken before."""
        line = self._lines.pop(stream, None)
        if line is None:
            return []
        self._size -= sum(waiting.stop - waiting.start for waiting in line)
        return [waiting.item for waiting in line]

    def drain(self) -> list[T]:
        """Take out everything."""
        return [item for stream in list(self._lines) for item in self.remove(stream)]

    @staticmethod
    def _turn(line: deque[_Waiting[T]], room: int) -> Part[T]:
        """The first item of a line, or as much of it as there is room for."""
        first = line[0]
        stop = min(first.stop, first.start + room)
        part = Part(first.item, first.start, stop)
        first.start = stop
        if stop == first.stop:
            line.popleft()
        return part
