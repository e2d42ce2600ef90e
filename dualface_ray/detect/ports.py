"""What a backend must offer to find and embed faces in frames that lie in slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dualface_ray.frames import F32, FaceCrop, Faces, StreamInfo
from dualface_ray.media import Slot


@dataclass(frozen=True, slots=True, eq=False)
class FramePixels:
    """One frame to examine: its pixels and how to read them."""

    slot: Slot
    info: StreamInfo


class Detector(Protocol):
    """Finds faces in a batch of frames of any streams."""

    @property
    def max_batch(self) -> int:
        """The largest batch one call may carry."""

    @property
    def ahead(self) -> int:
        """Batches worth beginning before the end of an earlier one: 0 where the caller's thread computes."""

    def detect(self, batch: Sequence[FramePixels]) -> Sequence[Faces]:
        """Faces of each frame in displayed pixels, with appearance descriptors, best score first."""

    def begin(self, batch: Sequence[FramePixels]) -> Callable[[], Sequence[Faces]]:
        """As ``detect`` in two steps: start on a batch; what is returned waits for its faces, to be called once.

        Batches end in the order in which they began; their slots are being read until then.
        """

    def close(self) -> None:
        """Free everything; harmless when called twice."""


class Embedder(Protocol):
    """Turns aligned faces into unit vectors that are near for the same person."""

    @property
    def size(self) -> int:
        """Length of an embedding."""

    def embed(self, frames: Sequence[FramePixels], crops: Sequence[FaceCrop]) -> F32:
        """Embeddings float32 (len(crops), size), unit length; ``frames[i]`` holds the pixels of ``crops[i]``."""

    def close(self) -> None:
        """Free everything; harmless when called twice."""
