"""What identity knows of each frame: the tracks both persons leave through the video."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import FrameFlag

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in displayed pixels of the source, as continuous edges."""

PERSONS = ("A", "B")


@dataclass(frozen=True, slots=True, eq=False)
class FrameFact:
    """What the decoder says about one frame (the input of identity, besides detections)."""

    frame_index: int
    pts_ticks: int
    flags: FrameFlag
    signature: npt.NDArray[np.uint8]
    """uint8 (SIGNATURE_BYTES,)."""


class PersonState(str, Enum):
    """How a person's box of a frame came about."""

    DETECTED = "detected"
    """Seen by the detector in this frame, or between two such frames so near that interpolation is exact enough."""
    PREDICTED = "predicted"
    """Hidden or missed; the box is the motion model's."""
    ABSENT = "absent"
    """Not in the picture; there is no box."""


@dataclass(frozen=True, slots=True)
class PersonTrack:
    """One person in one frame."""

    state: PersonState
    box_px: Box | None
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """Both persons in one frame.

    ``certain`` is False while the labels are in doubt (a long crossing): framing must then show both persons in
    each tile rather than guess.
    """

    frame_index: int
    pts_ticks: int
    shot: int
    a: PersonTrack
    b: PersonTrack
    certain: bool = True


@dataclass(frozen=True, slots=True)
class IdentityEvent:
    """Why something was decided: entered, left, occluded, crossed, cut, re-identified, ..."""

    frame_index: int
    kind: str
    person: str = ""
    detail: dict[str, float | str] = field(default_factory=dict)
