"""Shot cuts from signatures: a generous guess by the decoder; ``identity``, which can look ahead, is the judge of it.

``CutCandidates`` runs beside decoding and sees only the past: it may cry wolf (a detection too many), but must not
miss a hard cut. It is a pure function of the signatures, so a recorded run replays the same cuts.

Where the constants come from: two real clips, watched frame by frame. In a 640x360 stage recording with three camera
cuts (and a hand-held lurch right after the first) the cuts measure 2.46, 2.59 and 3.18 and the steepest of all other
steps 0.74; in a 1080p crowd walking towards the camera, which has no cut, the steepest step measures 0.28. Scaling
five pictures of the stage by 1.1 (a "punch-in" on the same person) gives 0.64 to 0.85, by 1.2 gives 0.96 to 1.26.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dualface_ray.frames.signature import BLOCKS

Signature = npt.NDArray[np.uint8]

_CONTRAST_MIN, _CONTRAST_MAX = 8.0, 48.0
"""Standard deviation of the block means, in levels, between which a difference counts relative to the contrast: a cut
in a dark scene moves few levels. Below 8 noise would count, above 48 nothing is gained."""
_HISTOGRAM_UNIT = 0.3
"""Share of points that change their histogram bin; weighs as much as luma blocks that moved by half the contrast."""

CANDIDATE_MIN = 0.3
"""Differences below this are never a cut: above the steepest step of the crowd, half of the weakest punch-in."""
CANDIDATE_RATIO = 1.6
"""A candidate is so many times steeper than the second steepest of the last frames."""
CANDIDATE_ALWAYS = 1.2
"""Differences from here on are candidates whatever the motion before: half of the weakest measured camera cut."""
_RECENT = 8


def distance(a: Signature, b: Signature) -> float:
    """How different two frames look: 0 = the same, about 0.2 = ordinary motion, above 1 = usually another shot.

    The mean absolute difference of the luma blocks over half the mean contrast of the two pictures, plus the share of
    points that change their histogram bin over 0.3.

    Args:
        a: uint8 (SIGNATURE_BYTES,).
        b: the same.
    """
    blocks_a, blocks_b = a[:BLOCKS].astype(np.float32), b[:BLOCKS].astype(np.float32)
    contrast = 0.5 * (float(blocks_a.std()) + float(blocks_b.std()))
    luma = float(np.abs(blocks_a - blocks_b).mean()) / (0.5 * min(max(contrast, _CONTRAST_MIN), _CONTRAST_MAX))
    # Three channels of 255 each; a point that changes its bin counts twice.
    moved = float(np.abs(a[BLOCKS:].astype(np.int16) - b[BLOCKS:].astype(np.int16)).sum()) / (2 * 3 * 255)
    return luma + moved / _HISTOGRAM_UNIT


class CutCandidates:
    """Marks frames that may begin a new shot; feed every frame of a video in display order.

    Small, picklable, deterministic. It adapts to the motion of the last frames: what is steep on a talking head is
    ordinary in a hand-held run.
    """

    def __init__(self) -> None:
        self._last: Signature | None = None
        self._recent: list[float] = []

    def push(self, signature: Signature) -> bool:
        """Take the next frame; True for the first frame and for one that may begin a new shot.

        Args:
            signature: uint8 (SIGNATURE_BYTES,); it is copied.
        """
        last, self._last = self._last, np.array(signature, np.uint8)
        if last is None:
            return True
        step = distance(last, self._last)
        # The second steepest: the motion of the recent frames, blind to one cut among them.
        motion = sorted(self._recent)[-2] if len(self._recent) > 1 else 0.0
        self._recent = [*self._recent[-(_RECENT - 1) :], step]
        return step >= CANDIDATE_MIN and (step >= CANDIDATE_ALWAYS or step >= CANDIDATE_RATIO * motion)
