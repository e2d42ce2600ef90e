"""AtomicFile: a file that is complete under its name, or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType

from dualface_ray.media.disk import output_error

PART_SUFFIX = ".part"


class AtomicFile:
    """A context in which ``part`` is written; success renames it to ``target``, an error removes it.

        with AtomicFile(target) as file:
            file.part.write_bytes(...)

    The part lies in the target's folder, named ``<target's name>.<8 hex digits>.part``, created afresh, so that a
    planted link cannot redirect it, and private (0600) until it is complete. On success: fsync of the file, rename,
    fsync of the folder. An existing target is replaced in one step; a target that is a link is replaced, not followed.

    Args:
        target: the file.
        make_folder: make its folder when that is missing. Not for results: an output folder that a user deletes while
            a job runs must not come back by itself.

    Raises:
        DiskFullError, OutputError: it cannot be created, synchronised or renamed (or the body raised an OSError that
            says so).
    """

    def __init__(self, target: Path, *, make_folder: bool = False) -> None:
        self.target = target
        self._make_folder = make_folder
        self.part = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PART_SUFFIX}")
        self._open = False

    def __enter__(self) -> AtomicFile:
        """Create the empty part."""
        try:
            if self._make_folder:
                self.target.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise output_error(error, self.target) from error
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or discard when the body raised."""
        if error is None:
            self.commit()
            return
        self.discard()
        if isinstance(error, OSError):
            raise output_error(error, self.target) from error

    def commit(self) -> None:
        """Make the part durable and give it its name."""
        if not self._open:
            return
        try:
            _synchronise(self.part, _usual_mode())
            self.part.replace(self.target)
            self._open = False
            _synchronise(self.target.parent)
        except OSError as error:
            self.discard()
            raise output_error(error, self.target) from error

    def discard(self) -> None:
        """Remove the part; harmless when there is none."""
        self._open = False
        self.part.unlink(missing_ok=True)


def write_atomic(target: Path, data: bytes, *, make_folder: bool = False) -> None:
    """Write a small file in one piece; see ``AtomicFile``.

    Raises:
        DiskFullError, OutputError: it cannot be written.
    """
    with AtomicFile(target, make_folder=make_folder) as file:
        file.part.write_bytes(data)


def remove_parts(target: Path) -> int:
    """Remove what a killed process left of this target; only its owner may call it. Returns the number of files."""
    parts = _parts(target)
    for part in parts:
        part.unlink(missing_ok=True)
    return len(parts)


def has_parts(target: Path) -> bool:
    """Whether a killed process has left parts of this target."""
    return bool(_parts(target))


def _parts(target: Path) -> list[Path]:
    prefix = f"{target.name}."
    try:
        names = os.listdir(target.parent)  # noqa: PTH208 - names are compared, never globbed: they may hold "[" or "*"
    except FileNotFoundError:
        return []
    return [
        target.parent / name
        for name in names
        if name.startswith(prefix) and name.endswith(PART_SUFFIX) and _is_token(name[len(prefix) : -len(PART_SUFFIX)])
    ]


def _is_token(text: str) -> bool:
    return len(text) == 8 and all(c in "0123456789abcdef" for c in text)


def _usual_mode() -> int:
    """What a newly created file would be allowed here (0666 less the umask, read without changing it)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return 0o666 & ~int(line.split()[1], 8)
    except (OSError, ValueError, IndexError):
        pass
    return 0o644


def _synchronise(path: Path, mode: int | None = None) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
