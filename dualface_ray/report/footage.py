"""Footage: the frames of a finished video's source, upright, drawn by the backend's compositor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import load_backend
from dualface_ray.compose import output_colour
from dualface_ray.errors import InputError
from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan
from dualface_ray.report.tracks import Tracks
from dualface_ray.settings import Settings

U8 = npt.NDArray[np.uint8]

Layout = Callable[[int, int], CanvasPlan]
"""What to show of a frame (its index and time stamp)."""


class Footage:
    """Plays a source once, from its first frame to its last, and shows of each wanted frame what it is asked to.

    Args:
        source: the video the tracks were made from.
        tracks: they must agree with it in size.
        settings: limits on inputs.
        threads: of the decoder.

    Raises:
        InputError: the source cannot be opened, or is not the one of the tracks.
    """

    def __init__(self, source: Path, tracks: Tracks, settings: Settings, threads: int = 1) -> None:
        backend = load_backend("cpu")
        self._decoder = backend.open_decoder(source, source.name, settings, threads)
        self._compositor = backend.open_compositor(settings)
        self.info: StreamInfo = self._decoder.info
        self._frames = len(tracks)
        header, info = tracks.header, self.info
        if (header.width_px, header.height_px) != (info.display_width_px, info.display_height_px):
            self.close()
            raise InputError(
                f"shows {info.display_width_px}x{info.display_height_px}, the tracks are of a video of "
                f"{header.width_px}x{header.height_px}",
                where=str(source),
                remedy="Name the video that these tracks were made from.",
            )
        self._source = source

    @property
    def colour(self) -> Colour:
        """How the canvases are to be read."""
        return output_colour(self.info)

    def play(self, layout: Layout, wanted: Callable[[int], bool] = lambda _index: True) -> Iterator[tuple[int, U8]]:
        """Index and NV12 canvas (valid until the next one) of every wanted frame, in display order.

        Raises:
            InputError: the source cannot be decoded, or has not as many frames as the tracks.
        """
        info, index, end = self.info, 0, False
        dtype = np.uint8 if info.layout is PixelLayout.NV12 else np.uint16
        slot = np.zeros((info.slot_height_px * 3 // 2, info.slot_width_px), dtype)
        while not end:
            batch = self._decoder.decode([slot])
            end = batch.end
            for frame in batch.frames:
                if index < self._frames and wanted(index):
                    plan = FramePlan(index, frame.pts_ticks, (layout(index, frame.pts_ticks),))
                    yield index, self._compositor.compose(info, [slot], [plan])[0][0]
                index += 1
        if index != self._frames:
            raise InputError(
                f"has {index} frames, the tracks have {self._frames}",
                where=str(self._source),
                remedy="Name the video that these tracks were made from.",
            )

    def close(self) -> None:
        """Free everything."""
        self._decoder.close()
        self._compositor.close()

    def __enter__(self) -> Footage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
