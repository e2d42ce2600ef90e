"""RemoteReader: a remote file as PyAV reads it, by blocks as they are needed, and no more than is allowed."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial

from dualface_ray.backends.storage.faults import Fault, StoreFault, again
from dualface_ray.backends.storage.ports import RemoteFile, Store
from dualface_ray.errors import LimitExceededError
from dualface_ray.media import scheme_of, shown_address
from dualface_ray.settings import Settings

_BLOCK_BYTES = 512 << 10
_KEPT_BLOCKS = 32


class RemoteReader:
    """A file to read and seek in.

    Args:
        store: its place.
        found: what ``stat`` said; it must give parts.
        name: the file's name, from which libav guesses the format.
        settings: of the job; ``storage.probe_bytes`` limits what is fetched.
    """

    def __init__(self, store: Store, found: RemoteFile, name: str, settings: Settings) -> None:
        self.name = name
        self._store = store
        self._found = found
        self._settings = settings
        self._left_bytes = settings.storage.probe_bytes
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from here; empty at the end.

        Raises:
            StoreFault: it cannot be fetched.
            LimitExceededError: more would be fetched than is allowed.
        """
        left = self._found.size_bytes - self._place
        size = left if size < 0 else min(size, left)
        if size <= 0:
            return b""
        number, offset = divmod(self._place, _BLOCK_BYTES)
        piece = self._block(number)[offset : offset + size]
        self._place += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go there; returns the new place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._found.size_bytes}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        """Where it is."""
        return self._place

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Nothing is open."""

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            start = number * _BLOCK_BYTES
            end = min(self._found.size_bytes, start + _BLOCK_BYTES)
            self._left_bytes -= end - start
            if self._left_bytes < 0:
                raise LimitExceededError(
                    f"more than {self._settings.storage.probe_bytes} bytes of it would be needed to look into it",
                    where=shown_address(self._found.url),
                    remedy="Raise storage.probe_bytes, or copy it here first.",
                )
            block = again(partial(self._fetch, start, end), self._settings.storage.attempts)
        self._blocks[number] = block
        if len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block

    def _fetch(self, start: int, end: int) -> bytes:
        block = self._store.read(self._found.url, start, end, self._found)
        if len(block) != end - start:
            text = f"{end - start} bytes were asked for, {len(block)} came"
            raise StoreFault(Fault.PASSING, text, scheme_of(self._found.url))
        return block
