"""GenerationPage: one uint64 per slot in host shared memory, and the seqlock rules that give it meaning.

Odd means "being written or given back", even means "holds the frame whose ticket carries this number". A number only
ever grows, across frames, streams and epochs, so that no old ticket can become valid again.

The page catches mistakes; it is not what orders memory. A ticket reaches its reader by a message sent after the
commit, and a slot is written again only after a credit came back by message: those carry the ordering on every CPU.
Where a reader does race a writer, the stores become visible in program order on x86; aligned 8-byte stores never tear.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dualface_ray.frames.shm import SharedBlock

U64 = npt.NDArray[np.uint64]
_ONE = np.uint64(1)
_ITEM_BYTES = 8


class GenerationPage:
    """The generations of a pool; the owner writes them, attached processes only read."""

    def __init__(self, block: SharedBlock) -> None:
        self._block = block
        self._values: U64 | None = block.array().view(np.uint64)

    @staticmethod
    def create(slots: int) -> GenerationPage:
        """A page of ``slots`` zeros.

        Raises:
            SharedMemoryError: shared memory is too small.
        """
        return GenerationPage(SharedBlock.create(slots * _ITEM_BYTES))

    @staticmethod
    def attach(token: bytes) -> GenerationPage:
        """Map the page of another process.

        Raises:
            SharedMemoryError: its owner is gone.
        """
        return GenerationPage(SharedBlock.attach(token))

    @property
    def token(self) -> bytes:
        """Plain data for ``attach`` in another process."""
        return self._block.token

    @property
    def values(self) -> U64:
        """uint64 (slots,), shared; a closed page keeps none (all reads of an empty page fail loudly)."""
        return self._values if self._values is not None else np.zeros(0, np.uint64)

    def seal(self) -> None:
        """Every consumer has attached."""
        self._block.seal()

    def close(self) -> None:
        """Unmap; harmless when called twice."""
        self._values = None
        self._block.close()


def mark_writing(values: U64, slots: npt.NDArray[np.intp]) -> None:
    """Make these slots odd: whatever they held is no longer valid. They must be distinct."""
    values[slots] = values[slots] | _ONE


def mark_committed(values: U64, slots: npt.NDArray[np.intp]) -> list[int]:
    """Make these odd slots even and return their new numbers, each larger than any this slot had before."""
    values[slots] = values[slots] + _ONE
    return [int(number) for number in values[slots]]


def holds(values: U64, slot: int, generation: int) -> bool:
    """Whether the slot still holds the frame that was committed with this generation."""
    return 0 <= slot < len(values) and generation & 1 == 0 and int(values[slot]) == generation
