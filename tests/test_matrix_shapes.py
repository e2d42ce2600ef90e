"""What a viewer sees: the eight orientations, pixels that are not square, fields of two moments."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from matrix_lane import passed
from media_lane import decode_all

from dualface_ray.settings import Settings

WIDTH, HEIGHT = 128, 96
FINE = {"encode": {"preset": "ultrafast", "quality": 6}}


def planes(width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """A picture that differs under every turn and flip, in luma and in chroma."""
    rows, columns = np.mgrid[0:height, 0:width]
    luma = 40 + 90 * columns / width + 60 * (rows > height / 2) + 30 * (columns < width / 4) * (rows < height / 4)
    rows, columns = np.mgrid[0 : height // 2, 0 : width // 2]
    blue = 90 + 70 * columns / (width / 2)
    red = 90 + 70 * rows / (height / 2) + 20 * (columns > width / 4)
    return [np.rint(plane).astype(np.uint8) for plane in (luma, blue, red)]


def write(path: Path, *, turn: int = 0, mirrored: bool = False, aspect: Fraction = Fraction(1)) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.sample_aspect_ratio = 1, 1, aspect
        stream.set_display_rotation(-turn, hflip=mirrored)
        for n in range(3):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            for plane, pixels in zip(frame.planes, planes(), strict=True):
                view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                view[: pixels.shape[0], : pixels.shape[1]] = pixels
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def shown(path: Path) -> list[np.ndarray]:
    made = decode_all(path)
    height = made.info.height_px
    chroma = made.slots[-1][height:].reshape(height // 2, -1, 2)
    return [made.slots[-1][:height], chroma[..., 0], chroma[..., 1]]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_all_eight_orientations(tmp_path, turn, mirrored):
    """Turned clockwise, then flipped left to right, as the container says; chroma stays on its luma."""
    passed(write(tmp_path / "a.mp4", turn=turn, mirrored=mirrored), tmp_path / "o.mp4", Settings(**FINE))
    want = [np.rot90(plane, -turn // 90) for plane in planes()]
    if mirrored:
        want = [np.fliplr(plane) for plane in want]
    for got, plane in zip(shown(tmp_path / "o.mp4"), want, strict=True):
        assert got.shape == plane.shape
        error = np.abs(got.astype(float) - plane)
        assert np.median(error) <= 1.5
        assert (error > 12).mean() < 0.05, "edges may move by half a chroma sample, areas may not"


def test_pixels_become_square(tmp_path):
    result = passed(write(tmp_path / "a.mp4", aspect=Fraction(3, 2)), tmp_path / "o.mp4", Settings(**FINE))
    luma = shown(tmp_path / "o.mp4")[0]
    assert luma.shape == (HEIGHT, WIDTH * 3 // 2)
    assert (result.info.display_width_px, result.info.display_height_px) == (192, 96)
    wide = np.interp((np.arange(192) + 0.5) / 1.5 - 0.5, np.arange(WIDTH), planes()[0][60].astype(float))
    assert np.abs(luma[60] - wide).mean() < 2


def fields(path: Path, *, top_first: bool) -> Path:
    """A bar that moves 6 pixels a field: woven into frames it has combs."""
    order = "tff" if top_first else "bff"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "4", "x264-params": f"{order}=1"})
        stream.width, stream.height, stream.pix_fmt = 256, 128, "yuv420p"
        stream.codec_context.thread_count = 1
        for n in range(12):
            frame = av.VideoFrame(256, 128, "yuv420p")
            luma = np.full((128, 256), 60, np.uint8)
            for moment in (0, 1):
                parity = moment if top_first else 1 - moment
                left = 20 + 6 * (2 * n + moment)
                luma[parity::2, left : left + 40] = 200
            for index, plane in enumerate(frame.planes):
                view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                if index == 0:
                    view[:128, :256] = luma
                else:
                    view[:] = 128
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def combs(luma: np.ndarray) -> float:
    """Mean size of line-to-line steps that reverse at once: teeth."""
    steps = np.diff(luma.astype(float), axis=0)
    return float(np.abs(np.where(steps[1:] * steps[:-1] < 0, np.minimum(abs(steps[1:]), abs(steps[:-1])), 0)).mean())


@pytest.mark.parametrize("top_first", [True, False])
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_fields_of_two_moments_lose_their_teeth(tmp_path, suffix, top_first):
    path = fields(tmp_path / f"a{suffix}", top_first=top_first)
    whole = decode_all(path)
    woven = decode_all(path, Settings(input={"deinterlace": "off"}))
    assert whole.counters == {"interlaced": 12, "deinterlaced": 12}
    assert woven.counters == {"interlaced": 12}
    assert whole.pts == woven.pts
    for n in range(12):
        assert combs(woven.luma(n)) > 3
        assert combs(whole.luma(n)) < combs(woven.luma(n)) / 5
        bar = (whole.luma(n)[64] > 130).nonzero()[0]
        assert abs(bar.mean() - (39.5 + 12 * n + 3)) <= 4, "the picture shows its own moment"


def test_whole_pictures_are_left_alone(tmp_path):
    path = write(tmp_path / "a.mp4")
    off = Settings(input={"deinterlace": "off"})
    assert all(np.array_equal(a, b) for a, b in zip(decode_all(path).slots, decode_all(path, off).slots, strict=True))
