"""``bench compose``: tiles drawn on the card, against tiles drawn on the CPU from pictures brought down.

    slots on the card ─┬─► CUDA kernels, a chunk at a time ─► canvas ─ pinned memory ─► host
                       └─ pinned memory ─► slot on the host ─► OpenCV ─► canvas (one core; all cores, a frame each)

Both end with the canvas in host memory, where a card without NVENC needs it; with NVENC the first way saves its
download too, which is why it is also measured without. The same plans, pictures and process; rounds in turn, medians.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import limit_library_threads, load_backend
from dualface_ray.compose import Compositor
from dualface_ray.errors import RequestError
from dualface_ray.frames import Colour, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.hardware import cores
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]
Planes = npt.NDArray[np.uint8]

SIZES = ((1280, 720), (1920, 1080), (3840, 2160))
CANVAS = (1920, 1080)
CHUNK = 16
WAYS = ("card", "card, not downloaded", "CPU, one core", "CPU, all cores")


@dataclass(frozen=True, slots=True)
class ComposeCase:
    """One size of source; frames per second by way, medians over the rounds."""

    width_px: int
    height_px: int
    rates_hz: dict[str, float]
    psnr_db: float
    """Between the two ways' canvases; 99 when they are equal."""

    @property
    def ratio(self) -> float:
        """Rate of the card, download included, over that of all cores."""
        return self.rates_hz["card"] / self.rates_hz["CPU, all cores"]


@dataclass(frozen=True, slots=True)
class ComposeBench:
    """What was measured."""

    card: str
    cores: int
    canvas_px: tuple[int, int]
    rounds: int
    cases: tuple[ComposeCase, ...]

    def rows(self) -> list[tuple[str, str]]:
        """The table."""
        canvas = f"canvas {self.canvas_px[0]}x{self.canvas_px[1]} in two tiles"
        rows = [("card", f"{self.card}; {self.cores} cores; {canvas}; medians of {self.rounds}")]
        for case in self.cases:
            label = f"{case.width_px}x{case.height_px}"
            for way, rate in case.rates_hz.items():
                rows.append((label, f"{way:<22}{rate:8.0f} fps {1e3 / rate:8.3f} ms a frame"))
                label = ""
            one = case.rates_hz["card"] / case.rates_hz["CPU, one core"]
            rows.append(
                ("", f"card / all cores = {case.ratio:.1f}, / one core = {one:.0f}; {case.psnr_db:.1f} dB apart")
            )
        return rows

    def to_json(self) -> str:
        """Everything."""
        return json.dumps(dataclasses.asdict(self))


def plans_for(width_px: int, height_px: int, count: int, canvas_px: tuple[int, int] = CANVAS) -> list[FramePlan]:
    """A slow pan and zoom: two tiles side by side, as a talk's crops move."""
    tile_width, tile_height = canvas_px[0] // 2, canvas_px[1]
    plans = []
    for number in range(count):
        high = height_px * (0.72 + 0.1 * math.sin(number / 9))
        wide = high * tile_width / tile_height
        top = (height_px - high) * 0.4
        tiles = tuple(
            TilePlan((left, top, left + wide, top + high), tile_width * side, 0, tile_width, tile_height)
            for side, left in (
                (0, (width_px / 2 - wide) * (0.3 + 0.01 * number)),
                (1, width_px / 2 + (width_px / 2 - wide) * (0.6 - 0.01 * number)),
            )
        )
        plans.append(FramePlan(number, number, (CanvasPlan(*canvas_px, tiles),)))
    return plans


def run_compose_bench(
    say: Say = lambda line: None,
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    frames: int = 320,
    rounds: int = 3,
    canvas_px: tuple[int, int] = CANVAS,
    settings: Settings | None = None,
) -> ComposeBench:
    """Measure; about half a minute on a machine with 16 cores.

    Args:
        say: gets a line per step.
        sizes: of the sources, in pixels.
        frames: of a run on the card; the CPU gets fewer, as many as take it about as long.
        rounds: over all ways.
        canvas_px: size of the result; its halves are the tiles.
        settings: for opening the compositors.

    Raises:
        RequestError: numbers that measure nothing.
        DeviceError: there is no device, or a library is missing.
    """
    if not sizes or frames < CHUNK or rounds < 1 or any(w < 16 or h < 16 or w % 2 or h % 2 for w, h in sizes):
        raise RequestError(
            f"sizes={list(sizes)}, frames={frames}, rounds={rounds} measure nothing",
            where="bench compose",
            remedy=f"Use even sizes, at least {CHUNK} frames and one round.",
        )
    settings = settings or resolve()
    bench = cast("Any", load_backend("cuda")).workbench(settings)
    limit_library_threads(1)  # one core is one core; all cores take a frame each
    cases = []
    for width, height in sizes:
        say(f"{width}x{height}")
        cases.append(_case(bench, settings, (width, height), canvas_px, frames, rounds))
    return ComposeBench(bench.card, cores(), canvas_px, rounds, tuple(cases))


def _case(
    bench: Any, settings: Settings, source_px: tuple[int, int], canvas_px: tuple[int, int], frames: int, rounds: int
) -> ComposeCase:
    width, height = source_px
    info = StreamInfo(
        "s", width, height, Fraction(1, 30000), Fraction(30000, 1001), colour=Colour(matrix=1, primaries=1)
    )
    slots = bench.slots(info, [_picture(width, height, n) for n in range(4)] * (CHUNK // 4))
    plans = plans_for(width, height, CHUNK, canvas_px)
    on_card = load_backend("cuda").open_compositor(settings)
    with ThreadPoolExecutor(cores()) as pool:
        downloads = bench.downloader()
        hosts = downloads.slots(CHUNK, (canvas_px[1] * 3 // 2, canvas_px[0]), np.dtype(np.uint8))
        workers = _Workers(bench, settings, info)
        try:

            def card(count: int, *, fetch: bool = True) -> None:
                for _ in range(count // CHUNK):
                    drawn = on_card.compose(info, slots, plans)
                    if fetch:
                        for (canvas,), host in zip(drawn, hosts, strict=True):
                            downloads.fetch(canvas, host)

            def one_core(count: int) -> None:
                for number in range(count):
                    workers.draw(slots[number % CHUNK], plans[number % CHUNK])

            def all_cores(count: int) -> None:
                tasks = [pool.submit(workers.draw, slots[n % CHUNK], plans[n % CHUNK]) for n in range(count)]
                for task in tasks:
                    task.result()

            ways: dict[str, tuple[Callable[[int], None], int]] = {
                "card": (card, frames // CHUNK * CHUNK),
                "card, not downloaded": (lambda count: card(count, fetch=False), frames // CHUNK * CHUNK),
                "CPU, one core": (one_core, max(4, frames // 20)),
                "CPU, all cores": (all_cores, max(4, frames // 20) * cores()),
            }
            quality = min(
                _psnr(host, workers.draw(slot, plan))
                for (host, slot, plan) in list(zip(_fetched(card, hosts), slots, plans, strict=True))[:4]
            )
            all_cores(4 * cores())  # every worker has its memory and compositor now
            runs: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way in WAYS:
                    run, count = ways[way]
                    began_s = time.perf_counter()
                    run(count)
                    runs[way].append(count / (time.perf_counter() - began_s))
        finally:
            workers.close()
            on_card.close()
    return ComposeCase(width, height, {way: statistics.median(rates) for way, rates in runs.items()}, quality)


def _fetched(card: Callable[[int], None], hosts: list[Planes]) -> list[Planes]:
    card(CHUNK)
    return hosts


class _Workers:
    """Each thread's own pinned slot, copying stream and compositor."""

    def __init__(self, bench: Any, settings: Settings, info: StreamInfo) -> None:
        self._bench, self._settings, self._info = bench, settings, info
        self._local = threading.local()
        self._opened: list[Compositor] = []

    def draw(self, slot: Any, plan: FramePlan) -> Planes:
        """Bring the slot down and draw it; the canvas is the thread's own, rewritten by its next call."""
        if not hasattr(self._local, "compositor"):
            downloads = self._bench.downloader()
            shape = (self._info.slot_height_px * 3 // 2, self._info.slot_width_px)
            (self._local.host,) = downloads.slots(1, shape, np.dtype(np.uint8))
            self._local.downloads = downloads
            self._local.compositor = load_backend("cpu").open_compositor(self._settings)
            self._opened.append(self._local.compositor)
        self._local.downloads.fetch(slot, self._local.host)
        ((canvas,),) = self._local.compositor.compose(self._info, [self._local.host], [plan])
        return cast("Planes", canvas)

    def close(self) -> None:
        """Close every thread's compositor."""
        for one in self._opened:
            one.close()


def _picture(width: int, height: int, number: int) -> Planes:
    """A picture with coarse and fine detail, NV12 uint8 (height * 3 // 2, width)."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    luma = 120 + 60 * np.sin((x + 9 * number) / 37) * np.cos(y / 29) + 20 * ((x // 8 + y // 6) % 2)
    rows, columns = np.mgrid[0 : height // 2, 0 : width // 2].astype(np.float32)
    u, v = 128 + 40 * np.sin(columns / 41 + number), 128 + 40 * np.cos(rows / 23)
    chroma = np.stack([u, v], axis=-1).reshape(height // 2, width)
    picture: Planes = np.clip(np.concatenate([luma, chroma]), 16, 235).astype(np.uint8)
    return picture


def _psnr(first: Planes, second: Planes) -> float:
    """Of two pictures, in dB."""
    error = float(np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2))
    return min(99.0, 10 * math.log10(255**2 / error)) if error else 99.0
