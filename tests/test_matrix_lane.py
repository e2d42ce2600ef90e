"""A few rows of the matrix through a whole lane: decoder, inference and encoder services, report and all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from in_process import InProcessLane, job_for
from media_maker import Audio, Clip, heard_clicks_s, seen_flashes_s, video_pts

from dualface_ray.report import RunReport, VideoState, read_report, read_tracks
from dualface_ray.settings import resolve

pytestmark = pytest.mark.usefixtures("models")

NTSC = Fraction(30000, 1001)
SMALL = {"framing.width_px": 640, "framing.height_px": 360, "encode.preset": "ultrafast"}
FLASH = 20


def through(source: Path, **settings: object) -> tuple[Path, RunReport, int]:
    chosen = resolve(**{**SMALL, **settings})
    job = job_for(source, source.parent / "out", chosen)
    with InProcessLane(chosen) as lane:
        status = lane.run(job)
    assert status.state is VideoState.DONE, status.error
    return job.outputs.videos[0], read_report(job.outputs.report), len(read_tracks(job.outputs.tracks))


CASES = {
    "29.97, aac": ({"rate": NTSC, "time_base": Fraction(1, 30000)}, Audio(), ".mp4", {}),
    "reordered, ac-3": ({"b_frames": 2, "options": {"preset": "fast"}}, Audio("ac3"), ".mkv", {}),
    "interlaced": (
        {"options": {"x264-params": "interlaced=1"}},
        Audio(),
        ".ts",
        {"interlaced": 40, "deinterlaced": 40},
    ),
    "turned": ({"rotation_deg": 90}, Audio("pcm_s16le"), ".mov", {}),
    "mirrored": ({"mirrored": True}, Audio(), ".mp4", {}),
    "hlg": (
        {"codec": "libx265", "pixel_format": "yuv420p10le", "colour": (9, 9, 18)},
        Audio(),
        ".mp4",
        {"tone_mapped": 40},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_sync_counts_and_colour_through_a_lane(tmp_path, name):
    recipe, audio, suffix, repairs = CASES[name]
    clip = Clip(frames=40, width_px=320, height_px=192, flashes=(FLASH,), **recipe)
    click_s = float(clip.pts[FLASH] * clip.base)
    clip = Clip(**{**clip.__dict__, "audio": (Audio(**{**audio.__dict__, "clicks_s": (click_s,)}),)})
    video, report, lines = through(clip.write(tmp_path / f"a{suffix}"))
    assert (report.frames.frames_in, report.frames.frames_out, lines) == (40, 40, 40)
    assert report.frames.repairs == repairs
    assert report.sound["audio_packets"] > 0
    assert report.degradations == ()
    (flash,), (click,) = seen_flashes_s(video), heard_clicks_s(video)
    assert abs(flash - click) <= 1 / (2 * clip.rate)
    assert flash == pytest.approx(click_s, abs=1e-4)
    with av.open(str(video)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)


def test_hdr_is_kept_through_a_lane(tmp_path):
    recipe = {"codec": "libx265", "pixel_format": "yuv420p10le", "colour": (9, 9, 16)}
    source = Clip(frames=30, width_px=320, height_px=192, **recipe).write(tmp_path / "a.mp4")
    settings = {"encode.hdr": "keep", "encode.codec": "hevc", "framing.layout": "stacked"}
    video, report, _ = through(source, **settings)
    assert report.degradations == ()
    assert report.frames.repairs == {}
    with av.open(str(video)) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.color_trc, context.color_primaries) == ("yuv420p10le", 16, 9)
    assert video_pts(video) == [Fraction(n, 25) for n in range(30)]


def test_a_hole_keeps_sync_and_is_in_the_report(tmp_path):
    clip = Clip(frames=60, width_px=320, height_px=192, gop=10, flashes=(50,), audio=(Audio(clicks_s=(2.0,)),))
    raw = bytearray(clip.write(tmp_path / "a.ts").read_bytes())
    first = len(raw) // 188 * 4 // 10 * 188
    raw[first : first + 188 * 40] = bytes(188 * 40)
    (tmp_path / "a.ts").write_bytes(raw)
    video, report, lines = through(tmp_path / "a.ts")
    assert lines == report.frames.frames_out == 60
    assert report.frames.concealed > 0
    assert seen_flashes_s(video) == pytest.approx([2.0], abs=0.001)
    assert heard_clicks_s(video) == pytest.approx([2.0], abs=0.02)
