"""Shots: which cut candidates are cuts.

A hard cut is one step between two calm stretches of different pictures. A flash comes back to the picture before it; a
whip pan changes as much in the frames around as in the candidate itself. Both are told apart with a little future.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import SIGNATURE_COLUMNS, SIGNATURE_ROWS
from dualface_ray.identity import constants as c

_LUMA = SIGNATURE_ROWS * SIGNATURE_COLUMNS
Signature = npt.NDArray[np.uint8]


def change(a: Signature, b: Signature) -> float:
    """Mean absolute difference of two luma thumbnails, 0..1."""
    return float(np.abs(a[:_LUMA].astype(np.int16) - b[:_LUMA].astype(np.int16)).mean()) / 255.0


def structure(a: Signature, b: Signature) -> float:
    """1 - correlation of two luma thumbnails, 0..2: blind to brightness and contrast, as a flash demands."""
    x, y = a[:_LUMA].astype(np.float64), b[:_LUMA].astype(np.float64)
    x -= x.mean()
    y -= y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    if norm < 1.0:  # flat pictures have no structure; their level decides
        return 0.0 if change(a, b) < c.CUT_SAME_CHANGE else 1.0
    return 1.0 - float(x @ y) / norm


def same_picture(a: Signature, b: Signature) -> bool:
    """Whether two signatures may show the same shot."""
    return change(a, b) < c.CUT_SAME_CHANGE or structure(a, b) < c.CUT_SAME_STRUCTURE


@dataclass(slots=True)
class ShotCutter:
    """Keeps the signatures around undecided candidates and judges each after ``wait_frames`` of future.

    ``signatures`` holds the frames from ``first`` on.
    """

    wait_frames: int
    first: int = 0
    signatures: list[Signature] = field(default_factory=list)

    def add(self, frame: int, signature: Signature) -> None:
        """Take the next frame's signature."""
        if not self.signatures:
            self.first = frame
        self.signatures.append(np.array(signature, np.uint8))

    def steepest(self, first: int, last: int) -> int:
        """Which of these frames differs most from the one before it (of those still held)."""
        held = range(max(first, self.first + 1), min(last, self.first + len(self.signatures) - 1) + 1)
        known = self.signatures
        return max(held, key=lambda f: change(known[f - self.first - 1], known[f - self.first]), default=last)

    def forget(self, before: int) -> None:
        """Drop what no later candidate needs: everything more than ``wait_frames`` before that frame."""
        drop = max(0, before - self.wait_frames - 2 - self.first)
        if drop:
            del self.signatures[:drop]
            self.first += drop

    def is_cut(self, frame: int) -> tuple[bool, dict[str, float | str]]:
        """Judge a candidate from the frames held around it; also what it was judged by."""
        at = frame - self.first
        known = self.signatures
        if at <= 0:
            return False, {"reason": "first frame"}
        before = known[max(0, at - max(1, self.wait_frames)) : at]
        after = known[at : at + self.wait_frames + 1]
        step = change(before[-1], after[0])
        why: dict[str, float | str] = {"change": round(step, 4)}
        if step < c.CUT_MIN_CHANGE and structure(before[-1], after[0]) < 2 * c.CUT_SAME_STRUCTURE:
            return False, why | {"reason": "small"}
        if any(same_picture(before[-1], later) for later in after) or any(same_picture(e, after[0]) for e in before):
            return False, why | {"reason": "flash"}
        # Within a pan both sides move as much as the candidate; where it begins or ends only one side does, and by
        # about the same amount. A cut between moving shots still stands out.
        around = [sorted(change(a, b) for a, b in pairwise(side)) for side in (before[-4:], after[:4]) if len(side) > 1]
        moves = [side[len(side) // 2] for side in around]
        why["around"] = round(max(moves, default=0.0), 4)
        steady = len(moves) < 2 or step >= c.CUT_OVER_NEIGHBOURS * min(moves)
        if not steady or step < c.CUT_OVER_BUSY_SIDE * max(moves, default=0.0):
            return False, why | {"reason": "pan"}
        return True, why
