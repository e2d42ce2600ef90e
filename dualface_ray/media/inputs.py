"""Inputs: what the user named (files, folders, patterns, addresses, a list of those) becomes the videos of a job."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dualface_ray.errors import RequestError
from dualface_ray.media.address import is_address, local_path, scheme_of, shown_address

_KNOWN = "3g2 3gp asf avi dv flv ivf m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf nut ogm ogv ts vob webm wmv wtv"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _KNOWN.split())
"""What is taken from a folder, or by a pattern that names no suffix; a file named by itself may have any."""
_MARKS = (".dualface", ".A", ".B")
_MAGIC = frozenset("*?[")
_WEB = ("http", "https")
_MAX_LIST_BYTES = 64 << 20
_MAX_PATH_BYTES, _MAX_NAME_BYTES = 4095, 255
_SHOWN = 160
Find = Callable[[str], list[str]]


def expand_inputs(given: Sequence[str | Path], find: Find) -> list[Path | str]:
    """The videos that were named, in the order in which they were; a folder's and a pattern's are sorted.

        talk.mp4                    itself, also when it does not exist: that video fails then, the others go on
        talks/                      the videos in this folder, without hidden ones and folders below it
        talks/**/*.mp4              what a pattern matches, quoted so that the shell leaves it alone
        s3://bucket/talks/          as a folder; s3://bucket/talks/*.mp4 as a pattern
        https://host/talk.mp4       itself; the web has neither folders nor patterns

    What exists under its very name is never taken for a pattern. Results of earlier runs (their report lies beside
    them) are not taken from folders and patterns.

    Args:
        given: as typed.
        find: lists what a remote folder or pattern means.

    Raises:
        RequestError: a folder without videos, or a pattern that matches nothing.
        AddressError: an address that cannot be used.
    """
    found: list[Path | str] = []
    for item in given:
        path = local_path(item) if isinstance(item, str) and is_address(item) else Path(item)
        found.extend(_remote(str(item), find) if path is None else _local(path))
    return found


def read_list(path: Path) -> list[str]:
    """The entries of a list file: one a line, blank lines and lines that begin with ``#`` left out.

    Relative paths count from the list's own folder.

    Raises:
        RequestError: it cannot be read, is no text, or names nothing.
    """
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            raise RequestError("is too large for a list of inputs", where=str(path), remedy="Name a text file.")
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        reason = error.strerror or str(error)
        raise RequestError(f"the list cannot be read ({reason})", where=str(path), remedy="Check the path.") from error
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if "\0" in entry:
            raise RequestError("is no text", where=f"{path}:{number}", remedy="Name a text file, one input a line.")
        entries.append(entry if is_address(entry) else str(path.parent / entry))
    if not entries:
        raise RequestError("the list names no input", where=str(path), remedy="Write one a line.")
    return entries


def require_text(place: Path | str) -> None:
    """Names travel between processes and into reports as UTF-8; Linux has others, too.

    Raises:
        RequestError: it is one of those.
    """
    try:
        str(place).encode()
    except UnicodeEncodeError:
        shown = shown_address(str(place)).encode(errors="surrogateescape").decode(errors="backslashreplace")
        remedy = "Rename it; a list has to be saved as UTF-8."
        raise RequestError("the name is not UTF-8", where=shown, remedy=remedy) from None


def require_short(path: Path, more_bytes: int = 0) -> None:
    """Linux takes paths up to 4095 bytes, with names up to 255, and answers anything else with an error of its own.

    Args:
        path: as it will be used.
        more_bytes: what will still be appended to it.

    Raises:
        RequestError: it is longer.
    """
    content = os.fsencode(path)
    longest = max(len(name) for name in content.split(b"/"))
    if len(content) + more_bytes <= _MAX_PATH_BYTES and longest <= _MAX_NAME_BYTES:
        return
    text = content.decode(errors="backslashreplace")
    raise RequestError(
        f"the path is too long for a file system ({len(content)} bytes, its longest name {longest})",
        where=text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 4 :]}",
        remedy="Use shorter names, or fewer folders within one another.",
    )


def _local(path: Path) -> list[Path]:
    if os.path.lexists(path):
        if not path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES:
            return [path]
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        return _some(
            [path / name for name in names if _is_video(path / name)], path, "there is no video in this folder"
        )
    if not _MAGIC & set(str(path)):
        return [path]
    matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - pathlib's follows other rules
    if not Path(path.name.replace("*", "")).suffix:
        matches = [match for match in matches if match.suffix.lower() in VIDEO_SUFFIXES]
    kept = [match for match in matches if not match.is_dir() and not _is_result(match)]
    return _some(kept, path, "the pattern matches no video")


def _remote(address: str, find: Find) -> list[Path | str]:
    if scheme_of(address) in _WEB:
        return [address]
    pattern = bool(_MAGIC & set(address))
    if not pattern and not address.endswith("/"):
        return [address]
    matches = find(address)
    if not pattern or not Path(address.rpartition("/")[2].replace("*", "")).suffix:
        matches = [match for match in matches if _suffix(match) in VIDEO_SUFFIXES]
    results = [match for match in matches if Path(Path(match).stem).suffix in _MARKS]
    reports = {name for folder in {match.rpartition("/")[0] for match in results} for name in find(f"{folder}/*.json")}
    kept = [match for match in matches if not _hidden(match) and not _is_result_of(match, reports)]
    what = "the pattern matches no video" if pattern else "there is no video in this folder"
    return list(_some(kept, shown_address(address), what))


def _some(found: list, where: Path | str, what: str) -> list:  # type: ignore[type-arg]
    if not found:
        raise RequestError(what, where=str(where), remedy="Check the path; `dualface run --help` shows the forms.")
    return found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir() and not _is_result(path)


def _is_result(path: Path) -> bool:
    """Whether an earlier run made it: ``talk.dualface.mp4`` (or ``.A``, ``.B``) beside ``talk.report.json``."""
    inner = Path(path.stem)
    return inner.suffix in _MARKS and path.with_name(f"{inner.stem}.report.json").exists()


def _is_result_of(address: str, reports: set[str]) -> bool:
    folder, _, name = address.rpartition("/")
    inner = Path(Path(name).stem)
    return inner.suffix in _MARKS and f"{folder}/{inner.stem}.report.json" in reports


def _suffix(address: str) -> str:
    return Path(address.rpartition("/")[2]).suffix.lower()


def _hidden(address: str) -> bool:
    return address.rpartition("/")[2].startswith(".")
