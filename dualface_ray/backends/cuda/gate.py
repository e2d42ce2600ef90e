"""SessionGate: how many encoder sessions a lane may have on its card, counted before one is opened.

    session ─► one of N lock files of its card ─► one of M lock files of the machine (GeForce) ─► NVENC

The driver's cap on GeForce cards holds for all processes of the machine together, and finding out by failure costs a
context and sometimes the process. The lane plan deals the cap out to the lanes of one run; a lane has its card to
itself. Runs know nothing of one another's plans, so what the whole cap leaves is counted by the machine's files.
The kernel releases them with the process. Other users and other programs are not seen: there the driver refuses. Knows
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
from dualface_ray.hardware import load_profile, profile_for, profile_names

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
    return _folder(card.hex())


def machine_folder() -> Path:
    """Where this user's lock files of the whole machine lie."""
    return _folder("machine")


def _folder(what: str) -> Path:
    return Path(tempfile.gettempdir()) / f"dualface-nvenc-{os.getuid()}-{what}"


def known_machine_cap(card: str, driver: str) -> int:
    """Encoder sessions that a driver allows all cards of a machine together, as profiles know it; 0 = no such cap.

    The cap is one for all GeForce cards: one without a profile has what the profiles of the others say. A driver newer
    than theirs may allow more; a profile in a file says so then. Trying it out instead would be wrong with every
    driver up to now, for a lane without a profile starts with more streams than any of them allows.

    Args:
        card: its name.
        driver: its version; empty counts as the newest.
    """
    known = [load_profile(name) for name in profile_names()]
    found = profile_for(card, known)
    if found is None and "GEFORCE" in card.upper():
        found = next((one for one in known if one.encode.cap_scope == "machine"), None)
    if found is None or found.encode.cap_scope != "machine":
        return 0
    return found.session_cap(driver) or 0


class SessionGate:
    """A counting lock across processes.

    Args:
        limit: sessions at once; 0 = never refuse.
        folder: of the lock files; see ``gate_folder``.
        of: whose sessions they are, in words.
        wider: another gate that each session has to pass, too.
    """

    def __init__(self, limit: int, folder: Path, *, of: str = "lane", wider: SessionGate | None = None) -> None:
        self._limit = limit
        self._folder = folder
        self._of = of
        self._wider = wider

    def enter(self, where: str) -> Slot:
        """Take one session.

        Raises:
            EncoderSessionsExhausted: all of them are taken.
            DeviceError: the lock files cannot be kept where they belong.
        """
        slot = Slot(self._take(where) if self._limit > 0 else -1)
        try:
            return slot if self._wider is None else Slot(-1, slot, self._wider.enter(where))
        except BaseException:
            slot.leave()
            raise

    def _take(self, where: str) -> int:
        """The descriptor of a lock file that is now held."""
        try:
            self._claim()
            handles = map(self._lock, range(self._limit))
            handle = next((handle for handle in handles if handle is not None), None)
        except OSError as error:
            raise _no_folder(self._folder, error.strerror or str(error)) from error
        if handle is None:
            raise exhausted(where, f"all {self._limit} encoder sessions of this {self._of} are taken")
        return handle

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

    def __init__(self, handle: int, *parts: Slot) -> None:
        self._handle = handle
        self._parts = parts

    def leave(self) -> None:
        """Give it back; harmless when called twice."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
        for part in self._parts:
            part.leave()


def _no_folder(folder: Path, why: str) -> DeviceError:
    return DeviceError(
        f"encoder sessions cannot be counted here: {why}",
        where=str(folder),
        remedy="Remove it, or set TMPDIR to a folder of your own on this node.",
    )


def exhausted(where: str, what: str) -> EncoderSessionsExhausted:
    """The typed error with its remedy."""
    return EncoderSessionsExhausted(what, where=where, remedy="Lower lane.streams, or wait for other encoders to end.")
