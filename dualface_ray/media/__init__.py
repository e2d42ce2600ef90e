"""Media: the ports for demux, decode, encode and mux, and the rules around files.

    file ─► probe (limits) ─► DecodeSession ─► slots ··· canvases ─► EncodeSession ─► segment ─► mux with audio ─► file

Knows containers, codecs and atomic output as ports and rules; the libraries behind them live in ``backends``.
"""

from __future__ import annotations

from dualface_ray.media.ports import (
    Canvas,
    DecodedBatch,
    DecodedFrame,
    DecodeSession,
    EncodeSession,
    EncodeSpec,
    Packet,
    Slot,
)

__all__ = [
    "Canvas",
    "DecodeSession",
    "DecodedBatch",
    "DecodedFrame",
    "EncodeSession",
    "EncodeSpec",
    "Packet",
    "Slot",
]
