"""Identity: which face is whose, from the first frame to the last.

    facts + detections ─► shots ─► two-person tracker ─► re-identification ─► TrackedFrame (A, B)
                                        └─ Ask: examine or embed exactly these frames, while they are still held

Pure: the same facts give the same tracks, bit for bit. May not know pixels, files, clocks or threads.
"""

from __future__ import annotations

from dualface_ray.identity.cast import Cast, Role
from dualface_ray.identity.casting import SurveyedFrame, build_cast, faces_to_embed
from dualface_ray.identity.fades import FadeWatch, Glance
from dualface_ray.identity.gallery import Person
from dualface_ray.identity.knots import Frame, Knot
from dualface_ray.identity.motion import Motion, iou
from dualface_ray.identity.plain import decode, encode
from dualface_ray.identity.probing import Probe
from dualface_ray.identity.session import IdentitySession, Progress
from dualface_ray.identity.shots import ShotCutter
from dualface_ray.identity.sights import Sight, Track
from dualface_ray.identity.state import IdentityState
from dualface_ray.identity.tracker import Crossing, Tracker
from dualface_ray.identity.tracks import (
    PERSONS,
    Box,
    FrameFact,
    IdentityEvent,
    PersonState,
    PersonTrack,
    TrackedFrame,
)

STATE_TYPES = (
    Crossing,
    FadeWatch,
    Frame,
    FrameFact,
    Glance,
    IdentityEvent,
    IdentityState,
    Knot,
    Motion,
    Person,
    Probe,
    ShotCutter,
    Sight,
    Track,
    Tracker,
)
"""Everything an IdentityState is made of, besides messages of ``frames``."""

__all__ = [
    "PERSONS",
    "STATE_TYPES",
    "Box",
    "Cast",
    "FrameFact",
    "IdentityEvent",
    "IdentitySession",
    "IdentityState",
    "PersonState",
    "PersonTrack",
    "Progress",
    "Role",
    "SurveyedFrame",
    "TrackedFrame",
    "build_cast",
    "decode",
    "encode",
    "faces_to_embed",
    "iou",
]
