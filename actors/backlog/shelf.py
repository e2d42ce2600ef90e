"""Shelf: videos by cost, the longest or the longest below a bound in constant time. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

_CLASSES_PER_OCTAVE = 32
"""Costs within 2.2 % of each other count as equal and leave in the order in which they came."""
_LOWEST = 2.0**-10
_CLASSES = 40 * _CLASSES_PER_OCTAVE
"""From a thousandth of a second of video to thirty years of it; what lies beyond counts as the nearest."""


class Shelf:
    """A queue for each class of cost, and one integer whose bits say which of them hold something.

    Finding the highest bit (below a bound) takes a time that depends on the number of classes alone.
    """

    def __init__(self) -> None:
        self._classes: dict[int, OrderedDict[str, float]] = {}
        self._occupied = 0
        self.size = 0
        """Videos here."""
        self.cost = 0.0
        """Sum over them."""

    def put(self, video: str, cost: float, *, first: bool = False) -> None:
        """Add a video that is not here; ``first`` puts it before others of its class."""
        place = _class_of(cost)
        queue = self._classes.setdefault(place, OrderedDict())
        queue[video] = cost
        if first:
            queue.move_to_end(video, last=False)
        self._occupied |= 1 << place
        self.size += 1
        self.cost += cost

    def remove(self, video: str, cost: float) -> bool:
        """Take this one out; False when it is not here."""
        place = _class_of(cost)
        queue = self._classes.get(place)
        if queue is None or video not in queue:
            return False
        self.cost -= queue.pop(video)
        self.size -= 1
        if not queue:
            del self._classes[place]
            self._occupied &= ~(1 << place)
        if not self.size:
            self.cost = 0.0  # no rounding is carried on
        return True

    def longest(self, bound: float = math.inf) -> tuple[str, float] | None:
        """The longest video that costs at most ``bound`` (to the width of a class); None when there is none."""
        mask = self._occupied
        if bound < _LOWEST:
            return None
        if bound < math.inf:
            mask &= (1 << (_class_of(bound) + 1)) - 1
        return self._head(mask.bit_length() - 1) if mask else None

    def shortest(self) -> tuple[str, float] | None:
        """The shortest video; None when the shelf is empty."""
        low = self._occupied & -self._occupied
        return self._head(low.bit_length() - 1) if low else None

    def longest_first(self) -> Iterator[tuple[str, float]]:
        """All of them with their costs; equal ones in the order in which they leave."""
        for place in sorted(self._classes, reverse=True):
            yield from self._classes[place].items()

    def __iter__(self) -> Iterator[str]:
        for queue in self._classes.values():
            yield from queue

    def _head(self, place: int) -> tuple[str, float]:
        return next(iter(self._classes[place].items()))


def _class_of(cost: float) -> int:
    return min(_CLASSES - 1, max(0, int(_CLASSES_PER_OCTAVE * math.log2(max(cost, _LOWEST) / _LOWEST))))
