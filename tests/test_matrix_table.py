"""The media matrix: real files of every kind through decode, compose, encode and mux, each with its expectation.

For every case: as many frames out as in, in order, each at its time; the size a viewer sees; flashes in the picture
and clicks in the sound, placed together in the source, are found together in the result, within half a frame.
The whole table goes to MP4 in the normal run (but for a few large or slow cases), and to MKV and MOV in the long one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from matrix_lane import Passed, passed
from media_lane import decode_all
from media_maker import Audio, Clip, heard_clicks_s, read_number, seen_flashes_s, video_pts

from dualface_ray.settings import Settings

F = Fraction
NTSC = F(30000, 1001)
FLASHES = (6, 14)
FRAMES = 20
MS, TICK_90K = F(1, 1000), F(1, 90000)
FAST = {"preset": "fast"}
EXACT = (".mp4", ".mov", ".nut")


@dataclass(frozen=True)
class Case:
    """One row of the table: what is made, and what must come out."""

    suffix: str = ".mp4"
    clip: dict[str, object] = field(default_factory=dict)
    audio: Audio | None = None
    sound: str = "none"
    """What becomes of the sound in MP4."""
    size: tuple[int, int] = (96, 64)
    """As displayed."""
    numbers: bool = True
    """The pictures are large enough to read their numbers."""
    lost: int = 0
    """Frames at the start that an edit list hides."""
    counters: tuple[str, ...] = ()
    """Every counter that may differ from zero."""
    tolerance_s: Fraction | None = None
    """Of a frame's time; None = what the source's container can say."""
    frames: int = FRAMES
    heavy: bool = False

    @property
    def recipe(self) -> Clip:
        clip = Clip(**{"frames": self.frames, "flashes": FLASHES, **self.clip})  # type: ignore[arg-type]
        if self.audio is None:
            return clip
        clicks = tuple(float(clip.pts[n] * clip.base) for n in FLASHES)
        return Clip(**{**clip.__dict__, "audio": (Audio(**{**self.audio.__dict__, "clicks_s": clicks}),)})

    @property
    def slack_s(self) -> Fraction:
        if self.tolerance_s is not None:
            return self.tolerance_s
        if self.suffix in EXACT:
            return F(0)
        return TICK_90K if self.suffix in (".ts", ".mpg") else MS


def rated(rate: Fraction, **more: object) -> dict[str, object]:
    return {"rate": rate, "time_base": F(1, 90000) if rate.denominator == 1 else F(1, rate.numerator), **more}


def wide(codec: str, pixel_format: str = "yuv420p", **more: object) -> dict[str, object]:
    return {"codec": codec, "pixel_format": pixel_format, "width_px": 160, "height_px": 96, **more}


BIG = (160, 96)
VFR = tuple(sum((17, 33, 40, 66, 100)[n % 5] for n in range(k)) for k in range(FRAMES))
CASES = {
    # codecs
    "avc": Case(),
    "avc, b-frames": Case(clip={"b_frames": 3, "options": FAST}),
    "avc, open gop": Case(
        clip={"b_frames": 2, "gop": 6, "options": {"preset": "fast", "x264-params": "open-gop=1:scenecut=0"}}
    ),
    "hevc": Case(clip=wide("libx265"), size=BIG),
    "hevc, b-frames": Case(clip=wide("libx265", b_frames=2, options={"preset": "fast"}), size=BIG),
    "hevc, 10 bits": Case(clip=wide("libx265", "yuv420p10le"), size=BIG),
    "av1": Case(".mp4", wide("libsvtav1", options={"preset": "12"}), size=BIG),
    "av1, 10 bits": Case(".mkv", wide("libsvtav1", "yuv420p10le", options={"preset": "12"}), size=BIG, heavy=True),
    "vp9": Case(".webm", wide("libvpx-vp9"), size=BIG),
    "vp8": Case(".webm", wide("libvpx"), size=BIG),
    "mpeg-4": Case(".mp4", wide("mpeg4"), size=BIG),
    "mpeg-4 in avi": Case(".avi", wide("mpeg4"), size=BIG),
    "mpeg-2": Case(".mpg", wide("mpeg2video", b_frames=2), size=BIG),
    "prores": Case(".mov", wide("prores_ks", "yuv422p10le"), size=BIG),
    "prores 4444": Case(".mov", wide("prores_ks", "yuva444p10le"), size=BIG),
    "dnxhr": Case(
        ".mov", wide("dnxhd", "yuv422p", width_px=256, height_px=128, options={"profile": "dnxhr_sq"}), size=(256, 128)
    ),
    "motion jpeg": Case(".avi", wide("mjpeg", "yuvj420p", full_range=True), size=BIG),
    "ffv1": Case(".mkv", wide("ffv1"), size=BIG),
    "flv1": Case(".flv", wide("flv"), size=BIG),
    "wmv2": Case(".wmv", wide("wmv2"), size=BIG),
    # pixel formats
    "4:2:2": Case(clip={"pixel_format": "yuv422p"}),
    "4:4:4": Case(clip={"pixel_format": "yuv444p"}),
    "avc, 10 bits": Case(clip={"pixel_format": "yuv420p10le"}),
    "4:2:2, 10 bits": Case(".mkv", {"pixel_format": "yuv422p10le"}),
    "full range": Case(clip={"pixel_format": "yuvj420p", "full_range": True}),
    "grey": Case(".mkv", wide("ffv1", "gray"), size=BIG),
    "rgb": Case(".mkv", wide("ffv1", "bgr0"), size=BIG),
    # sizes and shapes
    "720p": Case(clip={"width_px": 1280, "height_px": 720}, size=(1280, 720)),
    "4k": Case(clip={"width_px": 3840, "height_px": 2160}, size=(3840, 2160), heavy=True),
    "tiny": Case(clip={"width_px": 16, "height_px": 16}, size=(16, 16), numbers=False),
    "odd": Case(".mkv", wide("ffv1", width_px=163, height_px=95), size=(164, 96)),
    "odd 4:4:4": Case(clip={"pixel_format": "yuv444p", "width_px": 99, "height_px": 67}, size=(100, 68)),
    "portrait": Case(clip={"width_px": 96, "height_px": 176}, size=(96, 176)),
    "wide pixels": Case(clip={"sample_aspect": F(16, 11), "width_px": 88, "height_px": 64}, size=(128, 64)),
    "tall pixels": Case(clip={"sample_aspect": F(3, 4), "width_px": 128, "height_px": 64}, size=(96, 64)),
    "turned 90": Case(clip={"rotation_deg": 90}, size=(64, 96), numbers=False),
    "turned 180": Case(".mov", {"rotation_deg": 180}, numbers=False),
    "turned 270": Case(".mov", {"rotation_deg": 270}, size=(64, 96), numbers=False),
    "mirrored": Case(clip={"mirrored": True}, numbers=False),
    "turned and mirrored": Case(clip={"rotation_deg": 90, "mirrored": True}, size=(64, 96), numbers=False),
    "interlaced": Case(
        clip={"options": {"x264-params": "interlaced=1"}, "height_px": 128},
        size=(96, 128),
        counters=("interlaced", "deinterlaced"),
    ),
    "interlaced, bottom first": Case(
        ".ts",
        {"options": {"x264-params": "bff=1"}, "height_px": 128},
        size=(96, 128),
        counters=("interlaced", "deinterlaced"),
    ),
    # rates and clocks
    "23.976": Case(clip=rated(F(24000, 1001))),
    "25": Case(clip=rated(F(25))),
    "29.97": Case(clip=rated(NTSC)),
    "50": Case(clip=rated(F(50))),
    "59.94": Case(clip=rated(F(60000, 1001), b_frames=2, options=FAST)),
    "120": Case(clip=rated(F(120))),
    "variable": Case(clip={"time_base": MS, "pts_ticks": VFR}),
    "variable in mkv": Case(".mkv", {"time_base": MS, "pts_ticks": VFR}),
    "starts before zero": Case(
        clip={"time_base": MS, "pts_ticks": tuple(40 * n - 120 for n in range(FRAMES)), "gop": 3}, lost=3
    ),
    "starts late": Case(".mkv", {"time_base": MS, "pts_ticks": tuple(40 * n + 2000 for n in range(FRAMES))}),
    "no time stamps": Case(".h264", {"b_frames": 2, "options": FAST}, counters=("pts_missing",)),
    # containers
    "mov": Case(".mov"),
    "mkv": Case(".mkv"),
    "webm": Case(".webm", wide("libvpx-vp9", audio=()), size=BIG),
    "ts": Case(".ts", {"b_frames": 2, "options": FAST}),
    "flv": Case(".flv"),
    "avi": Case(".avi"),
    "nut": Case(".nut"),
    "fragments": Case(clip={"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "index in front": Case(clip={"container_options": {"movflags": "+faststart"}}),
    # sound
    "aac": Case(audio=Audio(), sound="copied"),
    "aac, mono": Case(audio=Audio(layout="mono"), sound="copied"),
    "aac, 5.1": Case(audio=Audio(layout="5.1"), sound="copied"),
    "aac, 44.1 khz": Case(audio=Audio(rate_hz=44100), sound="copied"),
    "mp3": Case(audio=Audio("libmp3lame"), sound="copied"),
    "alac": Case(".mov", audio=Audio("alac"), sound="copied"),
    "opus": Case(".mkv", audio=Audio("libopus"), sound="encoded"),
    "opus in webm": Case(".webm", wide("libvpx-vp9"), Audio("libopus"), "encoded", BIG),
    "pcm": Case(".mov", audio=Audio("pcm_s16le"), sound="encoded"),
    "pcm, 22 khz": Case(".mkv", audio=Audio("pcm_s16le", 22050, "mono"), sound="encoded"),
    "flac": Case(".mkv", audio=Audio("flac"), sound="encoded"),
    "ac-3": Case(".mkv", audio=Audio("ac3"), sound="encoded"),
    "ac-3, 5.1": Case(".ts", audio=Audio("ac3", layout="5.1"), sound="encoded"),
    "e-ac-3": Case(".mkv", audio=Audio("eac3"), sound="encoded"),
    "mp2": Case(".mpg", wide("mpeg2video"), Audio("mp2"), "encoded", BIG),
    "sound longer": Case(audio=Audio(duration_s=3.0), sound="copied"),
    "sound shorter": Case(audio=Audio(duration_s=0.7), sound="copied"),
    "sound late": Case(audio=Audio(start_s=0.2), sound="copied"),
    "sound late, encoded": Case(".mkv", audio=Audio("pcm_s16le", start_s=0.2), sound="encoded"),
    "aac at 29.97 in ts": Case(".ts", rated(NTSC, b_frames=2, options=FAST), Audio(), "copied"),
    "aac, variable": Case(clip={"time_base": MS, "pts_ticks": VFR}, audio=Audio(), sound="copied"),
    "aac, starts late": Case(
        ".mkv",
        {"time_base": MS, "pts_ticks": tuple(40 * n + 500 for n in range(FRAMES))},
        Audio(duration_s=1.5),
        "copied",
    ),
}
QUICK = [name for name, case in CASES.items() if not case.heavy]


def check(case: Case, source: Path, target: Path) -> Passed:
    clip = case.recipe
    clip.write(source)
    result = passed(source, target)
    shown = clip.pts[case.lost :]
    # frames in = frames out, each at its time
    out = video_pts(target)
    assert result.report.frames == len(out) == len(shown)
    assert out[0] == 0
    slack = case.slack_s + (F(1, 2000) if target.suffix == ".mkv" else 0)
    if case.suffix in (".avi", ".h264"):  # no presentation times: the nominal rate
        assert all(abs((b - a) - 1 / clip.rate) <= MS for a, b in pairwise(out[2:]))
    elif case.suffix == ".mpg":
        assert all(abs(b - a - 1 / clip.rate) <= MS for a, b in pairwise(out))
    else:
        want = [(pts - shown[0]) * clip.base for pts in shown]
        assert max(abs(a - b) for a, b in zip(out, want, strict=True)) <= slack
    if target.suffix != ".mkv":
        assert out == result.times_s, "no stamp is moved between decoder and file"
    # in order
    again = decode_all(target)
    assert (again.info.width_px, again.info.height_px) == case.size
    assert (again.info.rotation_deg, again.info.sample_aspect) == (0, 1)
    if case.numbers:
        seen = [read_number(again.luma(n)) for n in range(len(out))]
        assert seen == [None if n in FLASHES else n for n in range(case.lost, case.lost + len(out))]
    assert set(result.counters) <= set(case.counters), result.counters
    # sound with the picture
    mkv = target.suffix == ".mkv"
    assert result.report.audio == ("copied" if mkv and case.audio else case.sound)
    if case.audio is not None:
        flashes, clicks = seen_flashes_s(target), heard_clicks_s(target)
        assert len(flashes) == len(clicks) == len(FLASHES)
        assert max(abs(a - b) for a, b in zip(flashes, clicks, strict=True)) <= 1 / (2 * clip.rate)
    with av.open(str(target)) as container:
        assert len(container.streams.audio) == (case.audio is not None)
    return result


@pytest.mark.parametrize("name", QUICK)
def test_to_mp4(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    check(case, tmp_path / f"a{case.suffix}", tmp_path / "o.mp4")


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("name", CASES)
def test_to_every_container(tmp_path: Path, name: str, suffix: str) -> None:
    case = CASES[name]
    if suffix == ".mp4" and name in QUICK:
        name = f"{name}: with on_damage=stop"
        case.recipe.write(tmp_path / f"a{case.suffix}")
        decoded = decode_all(tmp_path / f"a{case.suffix}", Settings(input={"on_damage": "stop"}), threads=2)
        assert len(decoded.frames) == len(case.recipe.pts) - case.lost
        return
    check(case, tmp_path / f"a{case.suffix}", tmp_path / f"o{suffix}")
