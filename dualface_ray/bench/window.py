"""Window: the rate of many streams in the time in which all of them run, so that neither start nor tail counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from dualface_ray.errors import ActorError

_SHORTEST_S = 0.5
Mark = tuple[float, int]
"""A moment, and the frames done by then."""


class Progress:
    """Frames of each stream over time."""

    def __init__(self, streams: int) -> None:
        self._marks: list[list[Mark]] = [[] for _ in range(streams)]

    def mark(self, stream: int, now_s: float, frames: int) -> None:
        """Take a mark; counts that did not change are passed over."""
        marks = self._marks[stream]
        if frames and (not marks or marks[-1][1] != frames):
            marks.append((now_s, frames))

    def window(self) -> tuple[float, float]:
        """From the last first mark to the first last mark.

        Raises:
            ActorError: there is no such window: the clip is too short.
        """
        if not all(len(marks) > 1 for marks in self._marks):
            raise ActorError("a stream was over before it could be measured", remedy="Use a longer clip.")
        begin_s = max(marks[0][0] for marks in self._marks)
        end_s = min(marks[-1][0] for marks in self._marks)
        if end_s - begin_s < _SHORTEST_S:
            raise ActorError("the streams never ran together", remedy="Use a longer clip.")
        return begin_s, end_s

    def rate(self) -> float:
        """Frames per second over all streams in the window.

        Raises:
            ActorError: there is none.
        """
        begin_s, end_s = self.window()
        return sum(_at(marks, end_s) - _at(marks, begin_s) for marks in self._marks) / (end_s - begin_s)


def _at(marks: Sequence[Mark], when_s: float) -> float:
    """Frames at a moment, linear between marks."""
    for (s0, n0), (s1, n1) in itertools.pairwise(marks):
        if s0 <= when_s <= s1:
            return n0 + (n1 - n0) * (when_s - s0) / max(1e-9, s1 - s0)
    return float(marks[-1][1])
