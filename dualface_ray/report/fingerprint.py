"""Fingerprint: the same input with the same settings has been done already."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from dualface_ray.errors import InputMissingError
from dualface_ray.settings import Settings

RESULT_VERSION = 3
"""Raised whenever a newer version of this package makes a different result of the same input and settings."""

_BLOCKS = 17
_BLOCK_BYTES = 256 * 1024

# Settings that change how fast or where a result is made, or whether it is attempted, but not the result.
_WITHOUT = {
    "lane": None,
    "job": None,
    "storage": None,
    "input": ("on_damage", "max_fps", "deinterlace"),
    "detect": ("!batch_max", "!batch_wait_s"),
}


def fingerprint(path: Path, settings: Settings, *, content: str = "", result_version: int = RESULT_VERSION) -> str:
    """64 hex digits that are equal exactly when a finished result may be taken as done.

    Counted: the input's content (``input_fingerprint``), ``result_version``, and every setting that changes the
    result: ``timing``, ``detect`` (without batch size and waiting time), ``identity``, ``framing``, ``encode``, and of
    ``input`` ``on_damage``, ``max_fps`` and ``deinterlace``. An explicit model file counts by its content, not by its
    path, and so does the description beside that of an embedding.

    Not counted: ``lane``, ``job`` and ``storage`` (sizes, backend, attempts), the input limits, the input's name, place
    and time stamps. A result made on another backend therefore counts as done: its frames, time stamps and labels are
    the same by contract.

    Args:
        path: the input.
        settings: of the job.
        content: fingerprint of the input where it is known already, or where the file lies elsewhere.
        result_version: see above.

    Raises:
        InputMissingError: the input or a model file cannot be read.
    """
    record = {
        "result_version": result_version,
        "input": content or input_fingerprint(path, follow=settings.input.allow_symlinks),
        "settings": counted_settings(settings),
    }
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def counted_settings(settings: Settings) -> dict[str, Any]:
    """The settings that a fingerprint counts, as plain data."""
    plain: dict[str, dict[str, Any]] = settings.model_dump(mode="json")
    for group, keys in _WITHOUT.items():
        if keys is None:
            del plain[group]
        elif keys[0].startswith("!"):
            plain[group] = {k: v for k, v in plain[group].items() if f"!{k}" not in keys}
        else:
            plain[group] = {k: v for k, v in plain[group].items() if k in keys}
    for values in plain.values():
        for key, value in values.items():
            if key.endswith("_path") and value:
                values[key] = _model_content(value, described=key == "embedding_path")
    return plain


def _model_content(given: str, *, described: bool) -> str:
    """The content of an explicit model file and, where there may be one, of the description beside it."""
    from dualface_ray.models import own_file, sidecar_path  # brings ONNX, which few jobs need this early

    model = own_file(given)
    beside = sidecar_path(model)
    content = input_fingerprint(model)
    return f"{content}+{input_fingerprint(beside)}" if described and beside.is_file() else content


def input_fingerprint(path: Path, *, follow: bool = True) -> str:
    """A fast fingerprint of a file's content: SHA-256 over its size and 17 blocks of 256 KiB.

    The blocks lie evenly from the first byte to the last, one in the middle; a file no larger than all of them
    together is read whole. Two videos that agree in
    all of that and yet differ would have to be made on purpose. The file's name and time stamps do not count: a copy is
    the same input.

    Args:
        path: the file.
        follow: read what a symbolic link in the last component leads to.

    Raises:
        InputMissingError: the file cannot be read, or is no plain one.
    """
    digest = hashlib.sha256()
    try:
        with open_plain(path, follow=follow) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(str(size).encode() + b"\n")
            last = max(0, size - _BLOCK_BYTES)
            whole = size <= _BLOCKS * _BLOCK_BYTES
            starts = range(0, size, _BLOCK_BYTES) if whole else [last * i // (_BLOCKS - 1) for i in range(_BLOCKS)]
            for start in starts:
                file.seek(start)
                block = file.read(_BLOCK_BYTES)
                while 0 < len(block) < min(_BLOCK_BYTES, size - start):
                    more = file.read(min(_BLOCK_BYTES, size - start) - len(block))
                    if not more:
                        break
                    block += more
                digest.update(block)
    except OSError as error:
        raise InputMissingError(
            error.strerror or "cannot be read", where=str(path), remedy="Check the path and its permissions."
        ) from error
    return digest.hexdigest()


def open_plain(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a plain file to be read; a pipe nobody writes to is refused instead of waited for, as is a device.

    Raises:
        OSError: it cannot be opened, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return os.fdopen(descriptor, "rb", buffering=0)
