"""Faces found in a frame, as arrays: one row a face."""

from __future__ import annotations

from dataclasses import dataclass

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
class FaceCrop:
    """One face to embed: the frame it lies in and its five landmarks in displayed pixels, float32 (5, 2)."""

    frame_index: int
    box_px: tuple[float, float, float, float]
    landmarks_px: F32
