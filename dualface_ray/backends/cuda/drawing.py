"""TileDrawing: queues the kernels that draw tiles, with the records and the rows of weights they read.

    COMPOSE_JOB records ─► pinned ─► device ─┬─► compose_rows ─► rows of weights (scratch) ─┐
                                             └─► compose ◄──────────────────────────────────┘

Everything is queued on one stream, so the scratch is used again by the next draw: it overtakes nobody.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dualface_ray.backends.cuda.kernels import COMPOSE_SPAN, COMPOSE_TILE
from dualface_ray.backends.cuda.launch import Staging, kernel
from dualface_ray.backends.cuda.plan import ROWS_BYTES
from dualface_ray.backends.cuda.records import Records, compose_words
from dualface_ray.backends.cuda.vendor import cupy, translated

_THREADS = 256
_ROWS_THREADS = 128


class TileDrawing:
    """Draws tiles on one stream; used by one thread at a time.

    Args:
        stream: the CUDA stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._records: list[Staging] = []
        self._used = 0
        self._rows: Any = None
        self._capacity = 0

    def draw(self, records: Records) -> None:
        """Queue the drawing of these ``COMPOSE_JOB``: one launch of each kernel unless the scratch were too large."""
        if self._used == len(self._records):
            self._records.append(Staging())  # uploads in flight need one each
        device = self._records[self._used].upload(records, self._stream)
        self._used += 1
        words = compose_words(records)
        longest = int(max(records["width"].max(), records["height"].max()))
        across = -(-int(records["width"].max()) // COMPOSE_TILE)
        down = -(-int(records["height"].max()) // COMPOSE_TILE)
        part = max(1, min(len(records), ROWS_BYTES // (4 * words)))
        with translated("drawing tiles"), self._stream:
            self._reserve(part * words)
            for first in range(0, len(records), part):
                count = min(part, len(records) - first)
                arguments = (
                    np.uint64(device.data.ptr + first * records.itemsize),
                    np.uint64(self._rows.data.ptr),
                    np.int32(words),
                )
                kernel("compose_rows")((-(-longest // COMPOSE_SPAN), 4, count), (_ROWS_THREADS,), arguments)
                kernel("compose")((across, down, count), (_THREADS,), arguments)

    def _reserve(self, words: int) -> None:
        """Within the stream: the pool hands the old scratch out again on it alone, so behind what still uses it."""
        if words > self._capacity:
            capacity = max(words, min(ROWS_BYTES // 4, 1 << (words - 1).bit_length()))
            self._rows = cupy().empty(capacity, np.float32)
            self._capacity = capacity  # only now: there may have been no room

    def finished(self) -> None:
        """The stream has been waited for: nothing is in flight any more."""
        self._used = 0

    def close(self) -> None:
        """Free what it holds; harmless when called twice."""
        self._records.clear()
        self._used = 0
        self._rows = None
        self._capacity = 0
