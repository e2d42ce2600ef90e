"""Identity: which face is whose, from the first frame to the last.

    facts + detections ─► shots ─► two-person tracker ─► re-identification ─► TrackedFrame (A, B)
                                        └─ Ask: examine or embed exactly these frames, while they are still held

Pure: the same facts give the same tracks, bit for bit. May not know pixels, files, clocks or threads.
"""

from __future__ import annotations

from dualface_ray.identity.tracks import (
    PERSONS,
    Box,
    FrameFact,
    IdentityEvent,
    PersonState,
    PersonTrack,
    TrackedFrame,
)

__all__ = [
    "PERSONS",
    "Box",
    "FrameFact",
    "IdentityEvent",
    "PersonState",
    "PersonTrack",
    "TrackedFrame",
]
