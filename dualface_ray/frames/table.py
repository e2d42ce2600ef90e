"""FaceTable: the faces of many frames as five arrays, so that a message or a batch costs once and not per frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from dualface_ray.frames.faces import F32, Faces

_COLUMNS = ("boxes_px", "landmarks_px", "scores", "descriptors")


class FaceTable(Sequence[Faces]):
    """The ``Faces`` of consecutive frames, laid one below the other; frames are cut out when they are asked for.

    Travels as plain bytes: pickling 16 frames one by one takes ten times as long. Arrays that come out of a pickle
    are read-only, as those that Ray hands out.

    Args:
        ends: (n,), for each frame the number of faces up to and including it.
        boxes_px, landmarks_px, scores, descriptors: as in ``Faces``, of all frames together.
    """

    __slots__ = ("boxes_px", "descriptors", "ends", "landmarks_px", "scores")

    def __init__(
        self, ends: npt.NDArray[np.int64], boxes_px: F32, landmarks_px: F32, scores: F32, descriptors: F32
    ) -> None:
        self.ends = ends
        self.boxes_px = boxes_px
        self.landmarks_px = landmarks_px
        self.scores = scores
        self.descriptors = descriptors

    @staticmethod
    def of(frames: Iterable[Faces]) -> FaceTable:
        """The table of these frames.

        Raises:
            ValueError: their arrays do not fit together (descriptors of different length, other types).
        """
        if isinstance(frames, FaceTable):
            return frames
        listed = list(frames)
        ends = np.cumsum([len(faces) for faces in listed], dtype=np.int64)
        some = [faces for faces in listed if len(faces)] or [Faces.none()]
        if any(getattr(faces, name).dtype != np.float32 for faces in some for name in _COLUMNS):
            raise ValueError("a table holds float32")
        return FaceTable(ends, *(_stacked([getattr(faces, name) for faces in some]) for name in _COLUMNS))

    @staticmethod
    def joined(tables: Sequence[FaceTable]) -> FaceTable:
        """One table of several, in their order.

        Raises:
            ValueError: their arrays do not fit together.
        """
        if len(tables) == 1:
            return tables[0]
        before = np.cumsum([0, *(len(table.scores) for table in tables)])
        ends = [table.ends + start for table, start in zip(tables, before, strict=False)]
        some = [table for table in tables if len(table.scores)] or [FaceTable.of([])]
        columns = (_stacked([getattr(table, name) for table in some]) for name in _COLUMNS)
        return FaceTable(np.concatenate([np.zeros(0, np.int64), *ends]), *columns)

    def part(self, start: int, stop: int) -> FaceTable:
        """The frames from ``start`` to before ``stop``; no copy of the faces."""
        first = int(self.ends[start - 1]) if start else 0
        rows = slice(first, int(self.ends[stop - 1]) if stop > start else first)
        return FaceTable(
            self.ends[start:stop] - first,
            self.boxes_px[rows],
            self.landmarks_px[rows],
            self.scores[rows],
            self.descriptors[rows],
        )

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Faces: ...

    @overload
    def __getitem__(self, index: slice) -> list[Faces]: ...

    def __getitem__(self, index: int | slice) -> Faces | list[Faces]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        stop = int(self.ends[number])
        start = int(self.ends[number - 1]) if number else 0
        if start == stop:
            return Faces.none()
        return Faces(
            self.boxes_px[start:stop],
            self.landmarks_px[start:stop],
            self.scores[start:stop],
            self.descriptors[start:stop],
        )

    def __reduce__(self) -> tuple[Callable[..., FaceTable], tuple[Any, ...]]:
        columns = (np.ascontiguousarray(getattr(self, name)).tobytes() for name in _COLUMNS)
        return _restored, (self.ends.tobytes(), self.descriptors.shape[1], *columns)


def _restored(ends: bytes, size: int, boxes: bytes, landmarks: bytes, scores: bytes, descriptors: bytes) -> FaceTable:
    """What ``FaceTable.__reduce__`` took apart."""
    rows = len(scores) // 4
    return FaceTable(
        np.frombuffer(ends, np.int64),
        np.frombuffer(boxes, np.float32).reshape(rows, 4),
        np.frombuffer(landmarks, np.float32).reshape(rows, 5, 2),
        np.frombuffer(scores, np.float32),
        np.frombuffer(descriptors, np.float32).reshape(rows, size),
    )


def _stacked(parts: Sequence[F32]) -> F32:
    stacked: F32 = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return stacked
