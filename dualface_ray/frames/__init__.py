"""Frames: pixels stay in fixed pools, tickets travel.

    FramePool (owner) ─ writes slot, generation even ─► FrameTicket ─ in FrameChunk ─► consumer: check, read, check
          ▲                                                                                   │
          └──────────────────────── Credit(stream, upto_frame) ◄──────── released in order ◄──┘

Knows memory, order and life time of frames; may not know how they are decoded, what is in them or who runs it.
"""

from __future__ import annotations

from dualface_ray.frames.arena import Arena, ArenaHandle
from dualface_ray.frames.chunks import ChunkAssembler, ChunkOrder
from dualface_ray.frames.credit import CreditGate, ReleaseLedger, WaitingGate
from dualface_ray.frames.cuts import CutCandidates, distance
from dualface_ray.frames.detections import Answer, Ask, Detections, frames_of
from dualface_ray.frames.faces import DESCRIPTOR_SIZE, EMBEDDING_SIZE, F32, FaceCrop, Faces
from dualface_ray.frames.generations import GenerationPage
from dualface_ray.frames.pool import FramePool, Stamped
from dualface_ray.frames.reader import PoolReader, Reading, RingReader
from dualface_ray.frames.ring import SLOT_ALIGN_BYTES, RingSpec, slot_stride_bytes
from dualface_ray.frames.shm import SharedBlock, free_bytes, shm_directory
from dualface_ray.frames.shm_named import sweep
from dualface_ray.frames.signature import reference_signature, signature_grids
from dualface_ray.frames.stream import Colour, PixelLayout, StreamInfo
from dualface_ray.frames.table import FaceTable
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
    "SLOT_ALIGN_BYTES",
    "Answer",
    "Arena",
    "ArenaHandle",
    "Ask",
    "ChunkAssembler",
    "ChunkOrder",
    "Colour",
    "Credit",
    "CreditGate",
    "CutCandidates",
    "Detections",
    "FaceCrop",
    "FaceTable",
    "Faces",
    "FrameChunk",
    "FrameFlag",
    "FramePool",
    "FrameTicket",
    "GenerationPage",
    "PixelLayout",
    "PoolReader",
    "Reading",
    "ReleaseLedger",
    "RingReader",
    "RingSpec",
    "SharedBlock",
    "Stamped",
    "StreamEnd",
    "StreamInfo",
    "WaitingGate",
    "distance",
    "frames_of",
    "free_bytes",
    "reference_signature",
    "shm_directory",
    "signature_grids",
    "slot_stride_bytes",
    "sweep",
]
