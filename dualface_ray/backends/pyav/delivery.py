"""Delivery: the frames of a decode session as they go out, with the same flags, limits and words on every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.pyav.limits import check_decoded
from dualface_ray.errors import DamagedInputError, LimitExceededError, NotAVideoError
from dualface_ray.frames import CutCandidates, FrameFlag, StreamInfo
from dualface_ray.media import DecodedFrame
from dualface_ray.settings import Settings

HOPELESS_PACKETS = 3000
"""A decoder that takes so many packets without giving a picture will not recover."""


def damaged(what: str, path: Path) -> DamagedInputError:
    """The error of a file that lost something."""
    remedy = "Copy it again, or set input.on_damage=conceal to go on."
    return DamagedInputError(f"is damaged ({what})", where=str(path), remedy=remedy)


class Delivery:
    """Counts and checks what one session gives; used by one thread at a time.

    Args:
        info: of the slots.
        settings: limits.
        path: of the video, for errors.
    """

    def __init__(self, info: StreamInfo, settings: Settings, path: Path) -> None:
        self.frames = 0
        """Given so far."""
        self._slot_bytes = info.slot_bytes
        self._settings = settings
        self._path = path
        self._longest_ticks = settings.input.max_duration_s / float(info.time_base)
        self._cuts = CutCandidates()
        self._first_pts: int | None = None

    def frame(self, pts_ticks: int, signature: npt.NDArray[np.uint8], *, key: bool, lost: bool) -> DecodedFrame:
        """One frame that lies in its slot.

        Raises:
            LimitExceededError: it is beyond ``input.max_decoded_bytes`` or ``input.max_duration_s``.
        """
        flags = FrameFlag.KEY if key else FrameFlag.NONE
        if lost:
            flags |= FrameFlag.CONCEALED
        if self._cuts.push(signature) or not self.frames:
            flags |= FrameFlag.CUT_CANDIDATE
        self.frames += 1
        check_decoded(self.frames * self._slot_bytes, self._settings, self._path)
        self._first_pts = pts_ticks if self._first_pts is None else self._first_pts
        if pts_ticks - self._first_pts > self._longest_ticks:
            raise LimitExceededError(
                "its time stamps run beyond input.max_duration_s",
                where=str(self._path),
                remedy="Raise the limit if you trust the file.",
            )
        return DecodedFrame(pts_ticks, flags)

    def end(self) -> None:
        """The video is over.

        Raises:
            NotAVideoError: there was not one frame.
        """
        if not self.frames:
            raise self.nothing("not one frame can be decoded")

    def nothing(self, what: str) -> NotAVideoError:
        """The error of a file without a picture to begin with."""
        return NotAVideoError(what, where=str(self._path), remedy="Check the file.")
