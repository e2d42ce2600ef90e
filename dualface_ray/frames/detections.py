"""Detections of a message, and the questions and answers about frames that are still held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dualface_ray.frames.faces import EMBEDDING_SIZE, F32, FaceCrop, Faces
from dualface_ray.frames.table import FaceTable


class Detections:
    """Which frames of a message were examined, and what was found in each.

    A frame absent from ``by_frame`` was not examined; one that is present with zero faces was, and none was found.

    Args:
        by_frame: the faces of every examined frame.
    """

    __slots__ = ("_by_frame", "_frames", "_table")

    def __init__(self, by_frame: Mapping[int, Faces] | None = None) -> None:
        self._by_frame: dict[int, Faces] | None = dict(by_frame or {})
        self._frames: tuple[int, ...] = ()
        self._table: FaceTable | None = None

    @staticmethod
    def of(frames: Sequence[int], table: FaceTable) -> Detections:
        """Those of these frames, in the table's order; the table is cut up when somebody looks at its frames."""
        made = Detections()
        made._by_frame, made._frames, made._table = None, tuple(frames), table
        return made

    @property
    def by_frame(self) -> dict[int, Faces]:
        """The faces of every examined frame."""
        if self._by_frame is None:
            self._by_frame = dict(zip(self._frames, self._table or (), strict=True))
        return self._by_frame

    def __len__(self) -> int:
        """Frames examined."""
        return len(self._frames if self._by_frame is None else self._by_frame)

    def __iter__(self) -> Iterator[tuple[int, Faces]]:
        return iter(sorted(self.by_frame.items()))

    def __reduce__(self) -> tuple[Callable[..., Detections], tuple[Any, ...]]:
        if self._table is not None:
            return Detections.of, (self._frames, self._table)
        if not self._by_frame:
            return Detections, ()
        try:
            return Detections.of, (tuple(self._by_frame), FaceTable.of(self._by_frame.values()))
        except ValueError:
            return Detections, (self._by_frame,)


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What a video's session wants to know about frames it still holds.

    Exactly one of the two is non-empty: ``detect`` names frames to examine, ``embed`` names faces to embed.
    """

    ask_id: int
    detect: tuple[int, ...] = ()
    embed: tuple[FaceCrop, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The reply to one Ask, in its order: ``detections`` for ``detect``, ``embeddings`` (m, E) for ``embed``."""

    ask_id: int
    detections: Detections = field(default_factory=Detections)
    embeddings: F32 = field(default_factory=lambda: np.zeros((0, EMBEDDING_SIZE), np.float32))


def frames_of(asks: Sequence[Ask]) -> set[int]:
    """All frames that must stay in their slots until these asks are answered."""
    return {f for ask in asks for f in ask.detect} | {c.frame_index for ask in asks for c in ask.embed}
