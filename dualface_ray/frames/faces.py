"""Faces found in frames, as arrays: one row a face, one Detections a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

DESCRIPTOR_SIZE = 64
EMBEDDING_SIZE = 128


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The n faces of one frame, best score first, in displayed pixels of the source.

    Attributes:
        boxes_px: float32 (n, 4): x0, y0, x1, y1.
        landmarks_px: float32 (n, 5, 2): eyes, nose, mouth corners (image left first), x and y.
        scores: float32 (n,): 0..1.
        descriptors: float32 (n, D): appearance of head and upper body, unit length, or (n, 0) when not computed.
    """

    boxes_px: F32
    landmarks_px: F32
    scores: F32
    descriptors: F32

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def none() -> Faces:
        """No face found."""
        return Faces(
            np.zeros((0, 4), np.float32),
            np.zeros((0, 5, 2), np.float32),
            np.zeros((0,), np.float32),
            np.zeros((0, 0), np.float32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Which frames of a message were examined, and what was found in each.

    A frame absent from ``by_frame`` was not examined; one that is present with zero faces was, and none was found.
    """

    by_frame: dict[int, Faces] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, Faces]]:
        return iter(sorted(self.by_frame.items()))


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """One face to embed: the frame it lies in and its five landmarks in displayed pixels, float32 (5, 2)."""

    frame_index: int
    box_px: tuple[float, float, float, float]
    landmarks_px: F32


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
