"""Outlet: standard output or error of a job that does not depend on them.

write ─► stream ─┬─► works
                 ├─► nobody reads any more (``| head``) ─► silence, and ``gone``
                 └─► a full disk, a terminal that is closed, a stream that never was ─► silence
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, TextIO


class Outlet:
    """A text stream for displays that never fails; what is not defined here is the stream's own.

    Args:
        stream: standard output or error; None where the process was started without.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.gone = False
        """Whoever read it has left."""

    def write(self, text: str) -> int:
        """As a stream's; what cannot be written is lost."""
        with self._tolerant():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As a stream's."""
        with self._tolerant():
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.gone = True
            hush(self._stream)
        except (OSError, ValueError):  # ValueError: closed
            hush(self._stream)


def hush(stream: TextIO | None) -> None:
    """Lead a stream that cannot be written to nowhere, so that Python's own flush at the exit does not fail either."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
