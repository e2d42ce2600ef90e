"""SessionGate: how many encoder sessions a lane may have on its card, counted before one is opened.

The driver's cap on GeForce cards holds for all processes of the machine together, and finding out by failure costs a
context and sometimes the process. The lane plan deals the cap out to the lanes; a lane has its card to itself, and each
session of its processes holds one of N lock files of that card, which the kernel releases with the process. Pure; knows
neither CUDA nor the encoder.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from pathlib import Path

from dualface_ray.errors import DeviceError, EncoderSessionsExhausted

_NO_NVENC = re.compile(r"\b(A100|A800|A30|H100|H200|H800|H20|GH200|B100|B200|B300|GB200|GB300|V100S?-?DGXS)\b")
"""Data-centre cards without NVENC (NVIDIA's video encode and decode support matrix)."""


def lacks_encoder(card: str) -> bool:
    """Whether a card of this name has no NVENC at all, so that nobody needs to ask the driver."""
    return bool(_NO_NVENC.search(card.upper()))


def gate_folder(card: bytes) -> Path:
    """Where this user's lock files of a card lie: right below the temporary folder, so that nobody else can swap it.

    Args:
        card: its UUID.
    """
    return Path(tempfile.gettempdir()) / f"dualface-nvenc-{os.getuid()}-{card.hex()}"


class SessionGate:
    """A counting lock across processes.

    Args:
        limit: sessions at once; 0 = never refuse.
        folder: of the lock files; see ``gate_folder``.
    """

    def __init__(self, limit: int, folder: Path) -> None:
        self._limit = limit
        self._folder = folder

    def enter(self, where: str) -> Slot:
        """Take one session.

        Raises:
            EncoderSessionsExhausted: all of them are taken.
            DeviceError: the lock files cannot be kept where they belong.
        """
        if self._limit <= 0:
            return Slot(-1)
        try:
            self._claim()
            handles = map(self._lock, range(self._limit))
            handle = next((handle for handle in handles if handle is not None), None)
        except OSError as error:
            raise _no_folder(self._folder, error.strerror or str(error)) from error
        if handle is None:
            raise exhausted(where, f"all {self._limit} encoder sessions of this lane are taken")
        return Slot(handle)

    def _claim(self) -> None:
        """Make the folder; one that others can write to would let them count for us."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise _no_folder(self._folder, "it belongs to, or can be written by, somebody else")

    def _lock(self, number: int) -> int | None:
        """The descriptor of one lock file, or None while another session holds it."""
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._folder / f"session-{number}.lock", flags, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return handle


class Slot:
    """One session's place; released by ``leave``, or by the kernel with the process."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def leave(self) -> None:
        """Give it back; harmless when called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def _no_folder(folder: Path, why: str) -> DeviceError:
    return DeviceError(
        f"encoder sessions cannot be counted here: {why}",
        where=str(folder),
        remedy="Remove it, or set TMPDIR to a folder of your own on this node.",
    )


def exhausted(where: str, what: str) -> EncoderSessionsExhausted:
    """The typed error with its remedy."""
    return EncoderSessionsExhausted(what, where=where, remedy="Lower lane.streams, or wait for other encoders to end.")
