"""What a backend must offer to decode, encode and mux; plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import FrameFlag, StreamInfo

Slot = Any
"""A slot's pixels where they live: a NumPy array on the CPU, a CuPy array on a GPU.

Shape (slot_height_px * 3 // 2, slot_width_px), uint8 for NV12 and uint16 for P010: luma rows, then chroma rows
(U and V alternating).
"""

Canvas = Any
"""A composed picture where it lives: same form as a slot, of the canvas's size, NV12 (P010 for 10-bit output)."""


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame that now lies in a slot."""

    pts_ticks: int
    flags: FrameFlag = FrameFlag.NONE


@dataclass(frozen=True, slots=True, eq=False)
class DecodedBatch:
    """What one call of ``DecodeSession.decode`` put into the slots it was given, in display order.

    ``signatures``: uint8 (len(frames), SIGNATURE_BYTES). ``end``: the source is exhausted; no further call is due.
    """

    frames: tuple[DecodedFrame, ...]
    signatures: npt.NDArray[np.uint8]
    end: bool = False


class DecodeSession(Protocol):
    """A passive decoder of one video: it works only when called, and only into the slots it is given."""

    @property
    def info(self) -> StreamInfo:
        """The stream's properties, known from opening on."""

    def decode(self, slots: Sequence[Slot]) -> DecodedBatch:
        """Decode up to ``len(slots)`` frames into the slots, in order; the copies have finished on return.

        Returns fewer frames than slots only at the end. Frames whose pixels were lost are concealed (a repeat of the
        last good frame) or raise, as the settings say.

        Raises:
            InputError: the stream cannot be decoded further.
        """

    def counters(self) -> dict[str, int]:
        """Repairs and losses so far, by name (``concealed``, ``pts_missing``, ``pts_duplicate``, ...)."""

    def close(self) -> None:
        """Free everything; harmless when called twice."""


@dataclass(frozen=True, slots=True)
class EncodeSpec:
    """One output video stream; fixed for the whole run."""

    width_px: int
    height_px: int
    time_base: Fraction
    rate: Fraction
    """Nominal frames per second (rate control and GOP length); time stamps come with each frame."""
    codec: str = "h264"
    quality: int = 20
    preset: str = "veryfast"
    gop_frames: int = 60
    colour_matrix: int = 1
    colour_primaries: int = 1
    colour_transfer: int = 1
    full_range: bool = False
    threads: int = 1
    bits: int = 8
    """Of a sample: 8 (canvases are NV12), or 10 (P010)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One compressed frame."""

    data: bytes
    pts_ticks: int
    dts_ticks: int
    key: bool


class EncodeSession(Protocol):
    """One encoder; frames in display order in, packets in decode order out."""

    spec: EncodeSpec

    @property
    def name(self) -> str:
        """Which encoder this is, and on how many threads; for reports."""

    @property
    def extradata(self) -> bytes:
        """Codec configuration (SPS and PPS, or the like); valid once the first packet is out."""

    def encode(self, canvas: Canvas, pts_ticks: int) -> list[Packet]:
        """Encode one picture; it has been read completely on return."""

    def finish(self) -> list[Packet]:
        """Drain; no ``encode`` may follow."""

    def close(self) -> None:
        """Free everything; harmless when called twice."""
