"""What a place that files come from or go to must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its place describes it."""

    url: str = field(repr=False)
    size_bytes: int
    """-1 = the place does not say."""
    identity: str
    """Changes with the content: an ETag or a time stamp; empty = the place gives neither."""
    ranges: bool = True
    """Whether parts of it can be read."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Everything its place says that changes with the content, by the place's own names."""

    def differs(self, other: RemoteFile) -> bool:
        """Whether these are two contents, as far as both say anything: a size, or a mark of the same name."""
        sizes = {self.size_bytes, other.size_bytes} - {-1}
        common = self.marks.keys() & other.marks.keys()
        return len(sizes) > 1 or any(self.marks[name] != other.marks[name] for name in common)


class Store(Protocol):
    """One place. Every method translates its library's errors (see ``faults``) and may be called from any thread."""

    writable: bool
    """Whether the methods that write exist."""
    tells: bool
    """Whether every answer says which content it is from; elsewhere only ``stat`` does."""

    def stat(self, url: str) -> RemoteFile:
        """Describe one file."""

    def read(self, url: str, start: int, end: int, known: RemoteFile | None = None) -> bytes:
        """Bytes ``start`` to ``end`` (not included, or the end of the file).

        Args:
            url: the file.
            start: first byte.
            end: behind the last byte.
            known: what it was; where the place tells, another content than that is ``Fault.CHANGED``.
        """

    def stream(self, url: str, known: RemoteFile | None = None) -> Iterator[bytes]:
        """The whole of it, in pieces, from the beginning; ``known`` as for ``read``."""

    def find(self, pattern: str) -> list[str]:
        """Addresses of the files that a pattern or a folder means, sorted."""

    def listing(self, folder: str) -> Mapping[str, int]:
        """Sizes of all files below a folder, by their path below it; empty when there is no such folder."""

    def put(self, source: Path, url: str, sent: Callable[[int], None]) -> None:
        """Upload a file: complete under its name, or not there; ``sent`` is told of bytes on their way."""

    def put_bytes(self, content: bytes, url: str, *, fresh: bool = False) -> bool:
        """Upload a small object; with ``fresh``, False when it exists already (where the place can tell)."""

    def remove(self, url: str) -> None:
        """Remove a file; harmless when it is not there."""
