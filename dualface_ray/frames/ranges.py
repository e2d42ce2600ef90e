"""RangeAllocator: which parts of a line of numbers are taken (first fit, free neighbours merge)."""

from __future__ import annotations

from bisect import bisect_left

from dualface_ray.errors import ProtocolError


class RangeAllocator:
    """Hands out disjoint ranges of 0..size and takes them back."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free: list[tuple[int, int]] = [(0, size)] if size > 0 else []  # (start, end), sorted, never touching
        self._taken: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Sum of all free ranges."""
        return sum(end - start for start, end in self._free)

    @property
    def largest(self) -> int:
        """Length of the largest free range."""
        return max((end - start for start, end in self._free), default=0)

    def take(self, length: int) -> int | None:
        """The start of the first free range of this length (at least 1), now taken; None when there is none."""
        for index, (start, end) in enumerate(self._free):
            if end - start >= length:
                self._free[index : index + 1] = [(start + length, end)] if end - start > length else []
                self._taken[start] = length
                return start
        return None

    def give_back(self, start: int) -> None:
        """Free the range that starts here.

        Raises:
            ProtocolError: no taken range starts here (given back twice, or never taken).
        """
        length = self._taken.pop(start, None)
        if length is None:
            raise ProtocolError(f"no taken range starts at {start}", where="frame pool")
        end = start + length
        index = bisect_left(self._free, (start, end))
        if index < len(self._free) and self._free[index][0] == end:
            end = self._free.pop(index)[1]
        if index > 0 and self._free[index - 1][1] == start:
            index -= 1
            start = self._free.pop(index)[0]
        self._free.insert(index, (start, end))
