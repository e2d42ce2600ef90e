"""Opening: the only place where a file meets libav, with formats and protocols restricted and errors translated."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer

from dualface_ray.errors import (
    DamagedInputError,
    DualfaceError,
    EncodeError,
    InputError,
    InputMissingError,
    LimitExceededError,
    NotAVideoError,
    OutputError,
    UnsupportedMediaError,
)
from dualface_ray.media import output_error

DEMUXERS = (
    "asf",
    "av1",
    "avi",
    "dv",
    "flv",
    "h264",
    "hevc",
    "ivf",
    "m4v",
    "matroska",
    "mov",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "mxf",
    "nut",
    "obu",
    "ogg",
    "webm",
    "wtv",
)
"""Containers that hold their own media. Absent on purpose is everything that opens *other* files or addresses by
what it reads (playlists such as hls and dash, concat, sdp, image sequences) or makes up pictures (lavfi)."""

_OPTIONS = {
    "format_whitelist": ",".join(DEMUXERS),
    "protocol_whitelist": "file",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}

PROBLEMS = (av.error.FFmpegError, OSError, ValueError, MemoryError, OverflowError)
"""What PyAV's calls raise; ``av.error.FFmpegError`` is not one base of all (some are Python's own classes too)."""


def open_input(path: Path, max_pixels: int = 0, content: Any = None) -> InputContainer:
    """Open a file for reading; only self-contained formats, only this one file.

    Args:
        path: a plain file (see ``media.check_input``).
        max_pixels: decoders refuse larger pictures; 0 = no limit.
        content: read this (a file opened in Python) instead; the path only names it then.

    Raises:
        InputError: it cannot be opened; with what, where and a remedy.
    """
    options = dict(_OPTIONS)
    if max_pixels:
        options["max_pixels"] = str(max_pixels)
    try:
        # The explicit protocol keeps a name such as "concat:a|b" from being taken for an address.
        named = f"file:{path.absolute()}" if content is None else content
        return av.open(named, "r", options=options, metadata_errors="replace")
    except PROBLEMS as error:
        raise input_error(error, path) from error


def input_error(error: BaseException, path: Path, *, opened: bool = False) -> DualfaceError:
    """Translate what libav raised while reading.

    Args:
        error: the vendor's error.
        path: the file being read.
        opened: the container had been recognised before, so bad data means damage.
    """
    where = str(path)
    if isinstance(error, DualfaceError):
        return error
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return InputMissingError("cannot be read", where=where, remedy="Check the path and its permissions.")
    if isinstance(error, MemoryError):
        return LimitExceededError("it asks for more memory than there is", where=where, remedy="Convert it first.")
    if isinstance(error, (av.error.DecoderNotFoundError, av.error.PatchWelcomeError, NotImplementedError)):
        remedy = "Convert it to H.264 first."
        return UnsupportedMediaError(f"cannot be decoded ({_reason(error)})", where=where, remedy=remedy)
    if opened:
        remedy = "Copy it again, or set input.on_damage=conceal to use what is left."
        return DamagedInputError(f"is damaged ({_reason(error)})", where=where, remedy=remedy)
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return InputError("cannot be read from the disk", where=where, remedy="Check the disk.")
    what = "is no video file of a known format, or is cut off before its index"
    return NotAVideoError(what, where=where, remedy="Check the file in a player.")


def encode_error(error: BaseException, path: Path | None, what: str) -> OutputError:
    """Translate what was raised while encoding or muxing: DiskFullError or EncodeError.

    Files are written by ``writing.OutputFile``, so the disk speaks in plain OSErrors. libav's own errors may bear the
    same numbers and mean a table of its muxer (ENOSPC for a codec configuration that has grown).
    """
    if isinstance(error, OutputError):
        return error
    if isinstance(error, OSError) and path is not None and not isinstance(error, av.error.FFmpegError):
        return output_error(error, path)
    where = "" if path is None else str(path)
    return EncodeError(f"{what} ({_reason(error)})", where=where, remedy="Check the encode settings.")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate libav's errors while a container that could be opened is being read."""
    try:
        yield
    except PROBLEMS as error:
        raise input_error(error, path, opened=True) from error


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
