"""Writing: an output container over a file of ours, so that errors keep their number and nothing stays open."""

from __future__ import annotations

import os
from pathlib import Path

import av
from av.container import OutputContainer

_BUFFER_BYTES = 1 << 18


class _WholeFile:
    """The file as PyAV wants it. Every write is complete or raises: libav does not look at short ones."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.closed = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._descriptor)


class OutputFile:
    """An output container in an existing, empty file.

    libav itself would open the path, lose the descriptor when a header is refused, and report a full disk late or as
    something else; this way the operating system's own error comes out.

    Args:
        path: the part to write; must exist.
        format_name: libav's name of the muxer.
        options: of the muxer.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, format_name: str, options: dict[str, str]) -> None:
        self._file = _WholeFile(path)
        try:
            self.container: OutputContainer = av.open(
                self._file, "w", format=format_name, container_options=options, buffer_size=_BUFFER_BYTES
            )
        except BaseException:
            self._file.close()
            raise

    def finish(self) -> None:
        """Write the end of the file and close it.

        Raises:
            OSError, av.error.FFmpegError: it could not be written.
        """
        try:
            self.container.close()
        finally:
            self._file.close()

    def discard(self) -> None:
        """Close without writing anything more; harmless after ``finish``."""
        self._file.close()
