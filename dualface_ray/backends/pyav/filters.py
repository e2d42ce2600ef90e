"""Filters: libav's picture filters as plain calls: deinterlacing, and HDR to BT.709 through a table."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from dualface_ray.frames import Colour
from dualface_ray.media import sdr_signal

_CLOCK = Fraction(1, 25)
"""Any: frames are paired by their order."""
_ENDS = (BlockingIOError, EOFError)
_TABLE_SIDE = 33
_MATRICES = {1: "bt709", 5: "bt601", 6: "bt601"}
"""libavfilter's names by code point of ITU-T H.273; all others, BT.2020 first of all, are taken for BT.2020."""
_Form = tuple[int, int, str]


class Deinterlacer:
    """Whole pictures from interlaced ones, one for one (libavfilter's ``bwdif``); others pass as they are.

    A picture comes out when the next one has gone in. A change of size or pixel format is passed through.

    Args:
        threads: of the filter.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._graph: Graph | None = None
        self._form: _Form | None = None
        self._count = 0

    def push(self, frame: VideoFrame) -> list[VideoFrame]:
        """Take the next picture; give those that are finished, in order."""
        done = []
        form = _form_of(frame)
        if form != self._form:
            done = self.finish()
            self._graph, self._form = (
                _graph(form, self._threads, [("bwdif", {"mode": "send_frame", "deint": "interlaced"})]),
                form,
            )
        graph = self._graph
        if graph is None:  # finish() has been called and nothing came since
            return done
        frame.pts, frame.time_base = self._count, _CLOCK
        self._count += 1
        graph.vpush(frame)
        return done + _pulled(graph)

    def finish(self) -> list[VideoFrame]:
        """The pictures still inside."""
        graph, self._graph, self._form = self._graph, None, None
        if graph is None:
            return []
        graph.vpush(None)
        return _pulled(graph)


class ToneMapper:
    """HLG or PQ pictures of any pixel format to 8-bit BT.709 of limited range, by a table of ``media.sdr_signal``.

    The table has 33 steps an axis and is interpolated between four corners: half a level from the formula on average.

    Args:
        source: colour of the pictures; a matrix that is not said is BT.2020's.
        width_px, height_px: of the result.
        threads: of the filters.
    """

    def __init__(self, source: Colour, width_px: int, height_px: int, threads: int) -> None:
        self._transfer = source.transfer
        self._matrix = _MATRICES.get(source.matrix, "bt2020")
        self._range = "pc" if source.full_range else "tv"
        self._size = {"w": str(width_px), "h": str(height_px)}
        self._threads = threads
        self._graph: Graph | None = None
        self._form: _Form | None = None
        self._count = 0

    def map(self, frame: VideoFrame) -> VideoFrame:
        """The picture as yuv420p; the given one is left as it is."""
        form = _form_of(frame)
        if self._graph is None or form != self._form:
            self._graph, self._form = self._build(form, frame.format.is_rgb), form
        frame.pts, frame.time_base = self._count, _CLOCK
        self._count += 1
        self._graph.vpush(frame)
        (mapped,) = _pulled(self._graph)
        return mapped

    def _build(self, form: _Form, rgb: bool) -> Graph:
        decoded = {"in_range": "pc"} if rgb else {"in_color_matrix": self._matrix, "in_range": self._range}
        with _table_file(self._transfer) as path:
            return _graph(
                form,
                self._threads,
                [
                    ("scale", {**decoded, **self._size, "out_range": "pc", "flags": "bicubic+accurate_rnd"}),
                    ("format", {"pix_fmts": "gbrp16le"}),
                    ("lut3d", {"file": path, "interp": "tetrahedral"}),
                    ("scale", {"out_color_matrix": "bt709", "out_range": "tv", "flags": "bicubic+accurate_rnd"}),
                    ("format", {"pix_fmts": "yuv420p"}),
                ],
            )


def _form_of(frame: VideoFrame) -> _Form:
    return frame.width, frame.height, frame.format.name


def _graph(form: _Form, threads: int, chain: list[tuple[str, dict[str, str]]]) -> Graph:
    graph = Graph()
    graph.threads = max(1, threads)
    width, height, pixel_format = form
    nodes: list[Any] = [
        graph.add_buffer(width=width, height=height, format=VideoFormat(pixel_format), time_base=_CLOCK)
    ]
    nodes += [graph.add(name, **options) for name, options in chain]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _pulled(graph: Graph) -> list[VideoFrame]:
    frames: list[Any] = []
    with contextlib.suppress(*_ENDS):
        while True:
            frames.append(graph.vpull())
    return frames


@contextlib.contextmanager
def _table_file(transfer: int) -> Any:
    """The table in a private file, which libav reads while the graph is built; gone afterwards."""
    descriptor, path = tempfile.mkstemp(suffix=".cube")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_table(transfer))
        yield path
    finally:
        os.unlink(path)  # noqa: PTH108 - what mkstemp gave


@functools.lru_cache(maxsize=2)
def _table(transfer: int) -> bytes:
    """Text of a 3D table (red runs fastest)."""
    axis = np.linspace(0, 1, _TABLE_SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    rows = sdr_signal(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer)
    lines = "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in rows)
    return f"LUT_3D_SIZE {_TABLE_SIDE}\n{lines}".encode()
