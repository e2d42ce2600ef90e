"""Arena: the port behind a pool, one contiguous piece of memory that several processes of one machine see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualface_ray.frames.stream import StreamInfo


@dataclass(frozen=True, slots=True)
class ArenaHandle:
    """What another process needs to map an arena; plain data, travels once as a Ray object."""

    pool_id: str
    kind: str
    """Backend that can open it: "cpu" or "cuda"."""
    size_bytes: int
    slots: int
    node: str
    """Host name of the owner: a handle is good on that machine only."""
    token: bytes
    """Opaque to everybody but the backend (a path, a file descriptor's address, a CUDA IPC handle)."""


class Arena(Protocol):
    """Memory of a pool plus its page of generations."""

    @property
    def handle(self) -> ArenaHandle:
        """What another process needs to attach."""

    @property
    def generations(self) -> npt.NDArray[np.uint64]:
        """uint64 (slots,), in host memory shared by all attached processes; odd = being written."""

    def view(self, offset_bytes: int, info: StreamInfo) -> Any:
        """The slot at this offset as an array of the form given by ``dualface_ray.media.Slot``; no copy."""

    def seal(self) -> None:
        """Every consumer has attached: remove whatever still has a name. Harmless when called twice."""

    def close(self) -> None:
        """Unmap; the owner's close frees the memory. Harmless when called twice."""
