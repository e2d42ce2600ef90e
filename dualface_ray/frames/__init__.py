"""Frames: pixels stay in fixed pools, tickets travel.

    FramePool (owner) ─ writes slot, generation even ─► FrameTicket ─ in FrameChunk ─► consumer: check, read, check
          ▲                                                                                   │
          └──────────────────────── Credit(stream, upto_frame) ◄──────── released in order ◄──┘

Knows memory, order and life time of frames; may not know how they are decoded, what is in them or who runs it.
"""

from __future__ import annotations

from dualface_ray.frames.arena import Arena, ArenaHandle
from dualface_ray.frames.faces import (
    DESCRIPTOR_SIZE,
    EMBEDDING_SIZE,
    F32,
    Answer,
    Ask,
    Detections,
    FaceCrop,
    Faces,
    frames_of,
)
from dualface_ray.frames.stream import Colour, PixelLayout, StreamInfo
from dualface_ray.frames.ticket import (
    HISTOGRAM_BINS,
    SIGNATURE_BYTES,
    SIGNATURE_COLUMNS,
    SIGNATURE_ROWS,
    Credit,
    FrameChunk,
    FrameFlag,
    FrameTicket,
    StreamEnd,
)

__all__ = [
    "DESCRIPTOR_SIZE",
    "EMBEDDING_SIZE",
    "F32",
    "HISTOGRAM_BINS",
    "SIGNATURE_BYTES",
    "SIGNATURE_COLUMNS",
    "SIGNATURE_ROWS",
    "Answer",
    "Arena",
    "ArenaHandle",
    "Ask",
    "Colour",
    "Credit",
    "Detections",
    "FaceCrop",
    "Faces",
    "FrameChunk",
    "FrameFlag",
    "FrameTicket",
    "PixelLayout",
    "StreamEnd",
    "StreamInfo",
    "frames_of",
]
