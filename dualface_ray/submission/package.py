"""A folder as the zip that travels to the cluster: small, the same bytes for the same files, refused when too large."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from dualface_ray.errors import RequestError

MAX_BYTES = 100 * 1024 * 1024
"""Ray's dashboard takes no larger request (413 above it), so its cap of 512 MiB on packages is never reached."""
_SKIPPED = {"__pycache__", "node_modules", "venv"}
_EPOCH = (1980, 1, 1, 0, 0, 0)
_REMEDY = "The image has the package: leave --working-dir out, or keep data out of the folder (.gitignore counts)."


def pack(
    folder: Path | None, target: Path, max_bytes: int = MAX_BYTES, extra: Mapping[str, bytes] | None = None
) -> int:
    """Write the folder's files, and ``extra`` ones by name, to ``target`` and return its size in bytes.

    In a git working tree those are the files that git knows or would add; elsewhere all but hidden ones. Symbolic links
    are left out: what they point to is not there on the cluster.

    Raises:
        RequestError: there is no such folder, it is empty, or its zip is larger than ``max_bytes``.
    """
    if folder is not None and not folder.is_dir():
        raise RequestError("no such folder", where=str(folder), remedy="Name another working_dir=.")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted((extra or {}).items()):
            _add(archive, name, content)
        if folder is not None:
            _add_folder(archive, folder, target, max_bytes)
    return target.stat().st_size


def _add_folder(archive: zipfile.ZipFile, folder: Path, target: Path, max_bytes: int) -> None:
    sizes: dict[str, int] = {}
    # Packed pictures do not shrink and sources do by a factor of four: much more than this is no use trying.
    hopeless = 8 * max_bytes
    for name in sorted(files_of(folder)):
        sizes[name] = (folder / name).stat().st_size
        if sum(sizes.values()) > hopeless:
            raise _too_large(folder, sizes, max_bytes)
        _add(archive, name, (folder / name).read_bytes(), 0o755 if os.access(folder / name, os.X_OK) else 0o644)
        if target.stat().st_size > max_bytes:
            raise _too_large(folder, sizes, max_bytes)
    if not sizes:
        raise RequestError("nothing in this folder would travel", where=str(folder), remedy=_REMEDY)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)  # always the same date: the same files are the same package
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = mode << 16
    archive.writestr(info, content)


def files_of(folder: Path) -> Iterator[str]:
    """The plain files that travel, relative to the folder."""
    listed = (
        subprocess.run(
            ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=False,
        )
        if _in_git(folder)
        else None
    )
    if listed is not None and listed.returncode == 0:
        names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
        yield from {name for name in names if (folder / name).is_file() and not (folder / name).is_symlink()}
        return
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".") and name not in _SKIPPED]
        for name in names:
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield str(path.relative_to(folder))


def _in_git(folder: Path) -> bool:
    return any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents))


def _too_large(folder: Path, sizes: dict[str, int], max_bytes: int) -> RequestError:
    most = sorted(sizes, key=lambda name: -sizes[name])[:3]
    largest = ", ".join(f"{name} ({sizes[name] / 2**20:.0f} MiB)" for name in most)
    return RequestError(
        f"its zip is larger than the {max_bytes // 2**20} MiB that Ray's dashboard takes; largest: {largest}",
        where=str(folder),
        remedy=_REMEDY,
    )
