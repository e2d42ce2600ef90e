"""Overlay: the source as a video with boxes, letters and crops drawn over it, and its sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dualface_ray.backends import Picture, load_backend
from dualface_ray.backends.pyav import SegmentWriter, assemble
from dualface_ray.framing import CanvasPlan, TilePlan
from dualface_ray.media import EncodeSession, EncodeSpec, Packet
from dualface_ray.report.footage import Footage
from dualface_ray.report.marks import mark_frame
from dualface_ray.report.tracks import Tracks
from dualface_ray.settings import Settings


def overlay(
    tracks: Tracks,
    source: Path,
    target: Path,
    *,
    settings: Settings | None = None,
    threads: int = 1,
    progress: Callable[[int], None] = lambda _frames: None,
) -> int:
    """Write a video of the source, upright, with everything the tracks say drawn over it; returns its frames.

    Time stamps and sound are the source's. Odd sides are rounded up to even ones. ``progress`` gets the frames done.

    Raises:
        InputError: the source cannot be decoded or is not the one of the tracks.
        OutputError: the video cannot be written; nothing is left then.
    """
    resolved = settings or Settings()
    segment = target.with_name(f"{target.name}.segment.mp4")
    with Footage(source, tracks, resolved, threads) as footage:
        info = footage.info
        width, height = (side + side % 2 for side in (info.display_width_px, info.display_height_px))
        whole = (0.0, 0.0, float(info.display_width_px), float(info.display_height_px))
        plan = CanvasPlan(width, height, (TilePlan(whole, 0, 0, width, height),))
        colour, rate = footage.colour, info.average_rate
        spec = EncodeSpec(
            width, height, info.time_base, rate, quality=resolved.encode.quality, preset=resolved.encode.preset,
            gop_frames=max(1, round(resolved.encode.gop_s * rate)), colour_matrix=colour.matrix,
            colour_primaries=colour.primaries, colour_transfer=colour.transfer, full_range=colour.full_range,
            threads=threads,
        )  # fmt: skip
        encoder = load_backend("cpu").open_encoder(spec)
        writer = _Writer(segment, encoder)
        stamps: list[int] = []

        def layout(_index: int, pts_ticks: int) -> CanvasPlan:
            stamps.append(pts_ticks)
            return plan

        try:
            for index, canvas in footage.play(layout):
                mark_frame(Picture.on_canvas(canvas, colour), tracks, index)
                writer.write(encoder.encode(canvas, stamps[-1]))
                progress(index + 1)
            writer.write(encoder.finish())
            writer.finish()
            done = assemble(source, [segment], target, pts_ticks=stamps, spec=spec, settings=resolved)
        finally:
            encoder.close()
            writer.discard()
            segment.unlink(missing_ok=True)
    return done.frames


class _Writer:
    """A segment that begins with the first packet: only then the codec's configuration is known."""

    def __init__(self, path: Path, encoder: EncodeSession) -> None:
        self._path, self._encoder = path, encoder
        self._segment: SegmentWriter | None = None

    def write(self, packets: list[Packet]) -> None:
        for packet in packets:
            if self._segment is None:
                self._segment = SegmentWriter(self._path, self._encoder.spec, self._encoder.extradata)
            self._segment.write(packet)

    def finish(self) -> None:
        if self._segment is not None:
            self._segment.finish()
            self._segment = None

    def discard(self) -> None:
        if self._segment is not None:
            self._segment.discard()
            self._segment = None
