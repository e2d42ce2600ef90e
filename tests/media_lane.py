"""The plainest lane there is: decode a file, encode every picture as it is, join it with its sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from dualface_ray.backends.cpu.decode import CpuDecodeSession
from dualface_ray.backends.cpu.encode import CpuEncodeSession
from dualface_ray.backends.pyav import AssembleReport, SegmentWriter, assemble
from dualface_ray.frames import PixelLayout, StreamInfo
from dualface_ray.media import DecodedFrame, DecodeSession, EncodeSpec, Packet
from dualface_ray.settings import Settings


@dataclass
class Decoded:
    info: StreamInfo
    frames: list[DecodedFrame]
    slots: list[np.ndarray]
    counters: dict[str, int]
    signatures: np.ndarray

    @property
    def pts(self) -> list[int]:
        return [frame.pts_ticks for frame in self.frames]

    def luma(self, index: int) -> np.ndarray:
        return self.slots[index][: self.info.height_px, : self.info.width_px]


def decode_all(
    path: Path | None = None,
    settings: Settings | None = None,
    *,
    batch: int = 5,
    threads: int = 1,
    session: DecodeSession | None = None,
) -> Decoded:
    """Every frame of a file, or of an open session, in its own slot; closes it."""
    if session is None:
        assert path is not None
        session = CpuDecodeSession(path, "s", settings or Settings(), threads)
    try:
        info = session.info
        frames: list[DecodedFrame] = []
        slots: list[np.ndarray] = []
        signatures = []
        while True:
            kind = np.uint8 if info.layout is PixelLayout.NV12 else np.uint16
            fresh = [np.full((info.slot_height_px * 3 // 2, info.slot_width_px), 77, kind) for _ in range(batch)]
            part = session.decode(fresh)
            frames += part.frames
            slots += fresh[: len(part.frames)]
            signatures.append(part.signatures)
            if part.end:
                return Decoded(info, frames, slots, session.counters(), np.concatenate(signatures))
            assert len(part.frames) == batch, "only the last batch may be short"
    finally:
        session.close()


def spec_of(info: StreamInfo, **changes: object) -> EncodeSpec:
    values: dict[str, object] = {
        "width_px": info.slot_width_px,
        "height_px": info.slot_height_px,
        "time_base": info.time_base,
        "rate": info.average_rate,
        "bits": 8 if info.layout is PixelLayout.NV12 else 10,
        "preset": "ultrafast",
        "gop_frames": 12,
    }
    return EncodeSpec(**{**values, **changes})  # type: ignore[arg-type]


def write_segment(path: Path, spec: EncodeSpec, slots: Sequence[np.ndarray], pts: Sequence[int]) -> Path:
    """Encode pictures into one segment file."""
    encoder = CpuEncodeSession(spec)
    packets: list[Packet] = []
    for slot, ticks in zip(slots, pts, strict=True):
        packets += encoder.encode(slot, ticks)
    packets += encoder.finish()
    writer = SegmentWriter(path, spec, encoder.extradata)
    for packet in packets:
        writer.write(packet)
    encoder.close()
    return writer.finish()


def roundtrip(
    source: Path, target: Path, *, settings: Settings | None = None, segments: int = 1, **changes: object
) -> tuple[AssembleReport, Decoded]:
    """Source to target through the real decode, encode, segment and mux."""
    decoded = decode_all(source, settings)
    spec = spec_of(decoded.info, **changes)
    edges = [round(n * len(decoded.slots) / segments) for n in range(segments + 1)]
    paths = [
        write_segment(target.with_name(f"{target.stem}.{n}.segment"), spec, decoded.slots[a:b], decoded.pts[a:b])
        for n, (a, b) in enumerate(pairwise(edges))
    ]
    report = assemble(source, paths, target, pts_ticks=decoded.pts, spec=spec, settings=settings or Settings())
    return report, decoded
