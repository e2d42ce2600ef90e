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
import tempfile
from pathlib import Path

from dualface_ray.errors import EncoderSessionsExhausted

_NO_NVENC = re.compile(r"\b(A100|A800|A30|H100|H200|H800|H20|GH200|B100|B200|B300|GB200|GB300|V100S?-?DGXS)\b")
"""Data-centre cards without NVENC (NVIDIA's video encode and decode support matrix)."""


def lacks_encoder(card: str) -> bool:
    """Whether a card of this name has no NVENC at all, so that nobody needs to ask the driver."""
    return bool(_NO_NVENC.search(card.upper()))


def gate_folder(card: bytes) -> Path:
    """Where this user's lock files of a card lie.

    Args:
        card: its UUID.
    """
    return Path(tempfile.gettempdir()) / f"dualface-nvenc-{os.getuid()}" / card.hex()


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
        """
        if self._limit <= 0:
            return Slot(-1)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(self._limit):
            handle = os.open(self._folder / f"session-{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            return Slot(handle)
        raise exhausted(where, f"all {self._limit} encoder sessions of this lane are taken")


class Slot:
    """One session's place; released by ``leave``, or by the kernel with the process."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def leave(self) -> None:
        """Give it back; harmless when called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def exhausted(where: str, what: str) -> EncoderSessionsExhausted:
    """The typed error with its remedy."""
    return EncoderSessionsExhausted(what, where=where, remedy="Lower lane.streams, or wait for other encoders to end.")
