"""Colours from file to file: every matrix and range within a stated colour difference, HDR by its formula."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from matrix_lane import passed, static_plan
from media_lane import decode_all
from skimage.color import deltaE_ciede2000, rgb2lab

from dualface_ray.backends import load_backend
from dualface_ray.errors import SettingsError, UnsupportedMediaError
from dualface_ray.frames import PixelLayout
from dualface_ray.media import sdr_signal
from dualface_ray.settings import Settings, resolve

KR_KB = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
CELL_PX = 32
CHART = np.array(
    [
        *[(level / 7,) * 3 for level in range(8)],
        (0.45, 0.32, 0.27), (0.76, 0.58, 0.50), (0.36, 0.48, 0.61), (0.35, 0.42, 0.26),
        (0.51, 0.50, 0.69), (0.38, 0.74, 0.67), (0.85, 0.48, 0.18), (0.28, 0.35, 0.65),
        (0.77, 0.33, 0.38), (0.36, 0.24, 0.42), (0.62, 0.73, 0.25), (0.89, 0.63, 0.18),
        (0.16, 0.24, 0.58), (0.27, 0.58, 0.29), (0.70, 0.20, 0.23), (0.93, 0.78, 0.12),
    ]
)  # fmt: skip
"""R'G'B' of eight greys and sixteen colours of everyday things (skin, foliage, sky, cloth)."""


def to_yuv(rgb: np.ndarray, matrix: int, *, full: bool, bits: int) -> np.ndarray:
    """R'G'B' (n, 3) to code values (n, 3), H.273 equations 20 to 40."""
    kr, kb = KR_KB[matrix]
    y = rgb @ np.array([kr, 1 - kr - kb, kb])
    u, v = (rgb[:, 2] - y) / (2 * (1 - kb)), (rgb[:, 0] - y) / (2 * (1 - kr))
    unit, peak = 2 ** (bits - 8), 2**bits - 1
    scaled = (y * peak, u * peak, v * peak) if full else ((219 * y + 16) * unit, 224 * unit * u, 224 * unit * v)
    codes = np.stack([scaled[0], scaled[1] + 128 * unit, scaled[2] + 128 * unit], axis=1)
    return np.clip(np.rint(codes), 0, peak).astype(int)


def to_rgb(codes: np.ndarray, matrix: int, *, bits: int = 8) -> np.ndarray:
    """Code values of limited range back to R'G'B'."""
    kr, kb = KR_KB[matrix]
    unit = 2 ** (bits - 8)
    y = (codes[:, 0] / unit - 16) / 219
    u, v = ((codes[:, k] / unit - 128) / 224 for k in (1, 2))
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], axis=1), 0, 1)


def chart_file(
    path: Path,
    rgb: np.ndarray,
    tags: tuple[int, int, int],
    *,
    full: bool = False,
    pixel_format: str = "yuv420p",
    described: tuple[int, int, int] | None = None,
) -> Path:
    """A file with one picture of patches (lossless), tagged as told: matrix, primaries, transfer."""
    bits = 10 if "10" in pixel_format else 8
    columns = 8
    rows = math.ceil(len(rgb) / columns)
    codes = to_yuv(rgb, tags[0], full=full, bits=bits)
    codes = np.vstack([codes, np.repeat(codes[-1:], rows * columns - len(rgb), axis=0)]).reshape(rows, columns, 3)
    frame = av.VideoFrame(columns * CELL_PX, rows * CELL_PX, pixel_format)
    for index, plane in enumerate(frame.planes):
        shrink = 2 if index else 1
        tall = CELL_PX // (shrink if "420" in pixel_format else 1)
        wide = CELL_PX // (shrink if "444" not in pixel_format else 1)
        pixels = np.kron(codes[..., index], np.ones((tall, wide), int))
        kind = np.uint16 if bits == 10 else np.uint8
        view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size).view(kind)
        view[: pixels.shape[0], : pixels.shape[1]] = pixels
    frame.pts = 0
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pixel_format
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = described or tags
        context.color_range = 2 if full else 1
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def patches(slot: np.ndarray, height: int, count: int) -> np.ndarray:
    """Mean code values (count, 3) of the middles of the patches."""
    width = slot.shape[1]
    luma, chroma = slot[:height].astype(float), slot[height:].reshape(height // 2, width // 2, 2).astype(float)
    found = []
    for n in range(count):
        top, left = n // 8 * CELL_PX, n % 8 * CELL_PX
        inner = slice(CELL_PX // 4, 3 * CELL_PX // 4)
        half = slice(CELL_PX // 8, 3 * CELL_PX // 8)
        y = luma[top : top + CELL_PX, left : left + CELL_PX][inner, inner].mean()
        uv = chroma[top // 2 : (top + CELL_PX) // 2, left // 2 : (left + CELL_PX) // 2][half, half].mean(axis=(0, 1))
        found.append((y, *uv))
    return np.array(found)


def difference(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """CIEDE2000 of R'G'B' values, both shown on the same display."""
    return deltaE_ciede2000(rgb2lab(got), rgb2lab(want))


FINE = Settings(encode={"preset": "ultrafast", "quality": 8})
TAGS = {"bt.601": (6, 6, 6), "bt.709": (1, 1, 1), "bt.2020": (9, 9, 14)}


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p10le", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("name", TAGS)
def test_colours_arrive(tmp_path, name, full, pixel_format):
    """Within 1 CIEDE2000 each (what an eye can tell side by side), 0.4 on average, encoding included."""
    source = chart_file(tmp_path / "a.mkv", CHART, TAGS[name], full=full, pixel_format=pixel_format)
    passed(source, tmp_path / "o.mp4", FINE)
    made = decode_all(tmp_path / "o.mp4")
    colour = made.info.colour
    kept = TAGS[name] if name == "bt.2020" else (1, *TAGS[name][1:])
    assert (colour.matrix, colour.primaries, colour.transfer, colour.full_range) == (*kept, False)
    got = to_rgb(patches(made.slots[0], made.info.height_px, len(CHART)), colour.matrix)
    error = difference(got, CHART)
    assert error.max() < 1.0, np.argmax(error)
    assert error.mean() < 0.4


def test_a_small_file_without_tags_is_taken_for_bt601(tmp_path):
    codes = chart_file(tmp_path / "a.mkv", CHART, (6, 2, 2))
    with av.open(str(codes)) as container:
        assert container.streams.video[0].codec_context.color_primaries == 2
    passed(codes, tmp_path / "o.mp4", FINE)
    made = decode_all(tmp_path / "o.mp4")
    assert (made.info.colour.matrix, made.info.colour.primaries, made.info.colour.transfer) == (1, 6, 6)
    assert difference(to_rgb(patches(made.slots[0], 96, len(CHART)), 1), CHART).max() < 1.5


HDR = {"hlg": 18, "pq": 16}
HDR_CHART = np.vstack([np.repeat(np.linspace(0, 1, 16)[:, None], 3, axis=1), CHART[8:] * 0.7])


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("name", HDR)
def test_hdr_is_tone_mapped_by_its_formula(tmp_path, name, full):
    """The table and 8 bits stay within 1.5 CIEDE2000 of the formula, 0.4 on average."""
    tags = (9, 9, HDR[name])
    source = chart_file(tmp_path / "a.mkv", HDR_CHART, tags, full=full, pixel_format="yuv420p10le")
    result = passed(source, tmp_path / "o.mp4", FINE)
    assert result.counters == {"tone_mapped": 1}
    made = decode_all(tmp_path / "o.mp4")
    colour = made.info.colour
    assert (colour.matrix, colour.primaries, colour.transfer, colour.full_range) == (1, 1, 1, False)
    got = to_rgb(patches(made.slots[0], made.info.height_px, len(HDR_CHART)), 1)
    error = difference(got, sdr_signal(HDR_CHART, HDR[name]))
    assert error.max() < 1.5, np.argmax(error)
    assert error.mean() < 0.4
    assert (np.diff(got[:16].mean(axis=1)) > -0.004).all(), "brighter stays brighter"


def test_the_tone_curve_at_known_points():
    """Figures a reader of the recommendations can check by hand."""
    grey = lambda level, transfer: float(sdr_signal(np.full((1, 3), level), transfer)[0, 0])  # noqa: E731
    for transfer in (16, 18):
        assert grey(0.0, transfer) == 0.0
        assert grey(1.0, transfer) == pytest.approx(1.0, abs=1e-6)
    # HDR reference white (75 % HLG, 58 % PQ: 203 cd/m², BT.2408) is 90 % of the SDR signal
    assert grey(0.75, 18) == pytest.approx(0.90, abs=0.01)
    assert grey(0.5807, 16) == pytest.approx(0.90, abs=0.01)
    # below the knee nothing is compressed: 26 cd/m² are (26 / 203) ** (1 / 2.4) of the signal
    assert grey(0.38, 18) == pytest.approx((26.2 / 203) ** (1 / 2.4), abs=0.005)
    red = sdr_signal(np.array([[0.5, 0.2, 0.2]]), 16)[0]
    assert red[0] > red[1] >= 0
    assert red[1] == pytest.approx(red[2], abs=0.1)


@pytest.mark.parametrize("name", HDR)
def test_hdr_is_kept_in_ten_bits(tmp_path, name):
    keep = Settings(encode={"preset": "ultrafast", "quality": 4, "codec": "hevc", "hdr": "keep"})
    tags = (9, 9, HDR[name])
    source = chart_file(tmp_path / "a.mkv", HDR_CHART, tags, pixel_format="yuv420p10le")
    result = passed(source, tmp_path / "o.mp4", keep)
    assert (result.info.layout, result.counters) == (PixelLayout.P010, {})
    with av.open(str(tmp_path / "o.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.profile, context.pix_fmt) == ("Main 10", "yuv420p10le")
        assert (context.colorspace, context.color_primaries, context.color_trc) == tags
    made = decode_all(tmp_path / "o.mp4", keep)
    codes = patches(made.slots[0] >> 6, made.info.height_px, len(HDR_CHART))
    assert np.abs(codes - to_yuv(HDR_CHART, 9, full=False, bits=10)).max() < 4


def test_hdr_that_says_little_or_odd_things(tmp_path):
    """RGB and unspecified matrices count as BT.2020; a matrix that is said is believed; ICtCp is refused."""
    keep = Settings(encode={"preset": "ultrafast", "quality": 4, "codec": "hevc", "hdr": "keep"})
    for tags, described in (((9, 2, 16), (2, 2, 16)), ((1, 9, 16), (1, 9, 16))):
        source = chart_file(tmp_path / "a.mkv", HDR_CHART, tags, pixel_format="yuv444p10le", described=described)
        passed(source, tmp_path / "o.mp4", FINE)
        made = decode_all(tmp_path / "o.mp4")
        got = to_rgb(patches(made.slots[0], made.info.height_px, len(HDR_CHART)), 1)
        assert difference(got, sdr_signal(HDR_CHART, 16)).max() < 1.5
        passed(source, tmp_path / "k.mp4", keep)
        kept = decode_all(tmp_path / "k.mp4", keep)
        assert (kept.info.colour.matrix, kept.info.colour.primaries, kept.info.colour.transfer) == (9, 9, 16)
        codes = patches(kept.slots[0] >> 6, kept.info.height_px, len(HDR_CHART))
        assert np.abs(codes - to_yuv(HDR_CHART, 9, full=False, bits=10)).max() < (5 if described[0] == 2 else 17)
    source = chart_file(tmp_path / "i.mkv", HDR_CHART, (9, 9, 16), pixel_format="yuv444p10le", described=(14, 9, 16))
    with pytest.raises(UnsupportedMediaError, match="ICtCp"):
        decode_all(source)
    assert decode_all(source, keep).info.colour.matrix == 14


def test_what_keeping_hdr_needs(tmp_path):
    with pytest.raises(SettingsError, match=r"encode.codec=hevc"):
        resolve(**{"encode.hdr": "keep"})
    keep = Settings(encode={"codec": "hevc", "hdr": "keep", "preset": "ultrafast"})
    sdr = chart_file(tmp_path / "a.mkv", CHART, (1, 1, 1), pixel_format="yuv420p10le")
    assert passed(sdr, tmp_path / "o.mp4", keep).info.layout is PixelLayout.NV12, "SDR is 8-bit whatever hdr says"
    hdr = chart_file(tmp_path / "b.mkv", CHART, (9, 9, 16), pixel_format="yuv420p10le")
    info = decode_all(hdr, keep).info
    eight = load_backend("cpu").open_compositor(Settings())
    slot = np.zeros((info.slot_height_px * 3 // 2, info.slot_width_px), np.uint16)
    ((canvas,),) = eight.compose(info, [slot], [static_plan(info, 0, 0)])
    assert canvas.dtype == np.uint8, "P010 slots of another lane still become 8 bits"


@pytest.mark.parametrize("size", [(96, 64), (640, 360), (642, 358)])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_a_static_layout_equal_to_the_source_is_above_40_db(tmp_path, size, codec):
    """Frame by frame through decode, compose and encode; a moving picture with detail in luma and chroma."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    path = tmp_path / "a.mkv"
    truth = []
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for n in range(6):
            frame = av.VideoFrame(width, height, "yuv420p")
            luma = 120 + 60 * np.sin((columns + 3 * n) / 9) * np.cos((rows - 2 * n) / 7)
            blue, red = 128 + 50 * np.sin(columns[::2, ::2] / 31 + n / 5), 128 + 50 * np.cos(rows[::2, ::2] / 23)
            planes = [np.rint(p).astype(np.uint8) for p in (luma, blue, red)]
            for plane, pixels in zip(frame.planes, planes, strict=True):
                view = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                view[: pixels.shape[0], : pixels.shape[1]] = pixels
            frame.pts = n
            out.mux(stream.encode(frame))
            truth.append(np.vstack([planes[0], np.stack(planes[1:], axis=-1).reshape(height // 2, width)]))
        out.mux(stream.encode(None))
    quality = {"h264": 12, "hevc": 12, "av1": 12}[codec]
    settings = Settings(encode={"codec": codec, "quality": quality, "preset": "veryfast"})
    result = passed(path, tmp_path / "o.mp4", settings)
    made = decode_all(tmp_path / "o.mp4")
    assert result.report.frames == len(made.slots) == 6
    for got, want in zip(made.slots, truth, strict=True):
        for part in (slice(0, height), slice(height, None)):
            error = ((got[part].astype(float) - want[part]) ** 2).mean()
            assert 10 * np.log10(255**2 / max(error, 1e-9)) > 40
