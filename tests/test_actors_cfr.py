"""A constant output rate through a whole lane: pictures repeated and dropped, tracks and sound as they were."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from in_process import InProcessLane, job_for
from media_maker import Audio, Clip, heard_clicks_s, seen_flashes_s, video_pts

from dualface_ray.report import VideoState, read_report, read_tracks
from dualface_ray.settings import resolve
from dualface_ray.timeline import plan_cfr

pytestmark = pytest.mark.usefixtures("models")

STAMPS = (500, 533, 566, 600, 640, 645, 650, 655, 660, 700, 900, 940, 1000, 1040, 1100, 1133, 1166, 1300, 1340, 1380)
"""Milliseconds; the video starts half a second in, runs too fast for a moment and stalls later."""
FLASH = 11


def made(folder: Path, **settings: object) -> tuple[Path, Path, object]:
    clip = Clip(
        width_px=320,
        height_px=180,
        time_base=Fraction(1, 1000),
        pts_ticks=STAMPS,
        flashes=(FLASH,),
        audio=(Audio("pcm_s16le", duration_s=1.4, clicks_s=(STAMPS[FLASH] / 1000,)),),
    )
    source = clip.write(folder / "jumpy.mkv")
    chosen = resolve(
        **{
            "framing.width_px": 640,
            "framing.height_px": 360,
            "encode.preset": "ultrafast",
            "timing.mode": "cfr",
            **settings,
        }
    )
    job = job_for(source, folder / "out", chosen)
    with InProcessLane(chosen) as lane:
        status = lane.run(job)
    assert status.state is VideoState.DONE, status.error
    return source, job.outputs.videos[0], job


@pytest.mark.parametrize("rate", ["25", "30000/1001", "10"])
def test_every_tick_has_one_picture_and_the_sound_stays(tmp_path: Path, rate: str) -> None:
    _, video, job = made(tmp_path, **{"timing.rate": rate})
    hz = Fraction(rate)
    stamps = video_pts(video)
    assert stamps == [n / hz for n in range(len(stamps))]
    report = read_report(job.outputs.report)
    step_ms = round(1000 / Fraction(report.input.rate))
    plan = plan_cfr(STAMPS, Fraction(1, 1000), hz, STAMPS[-1] + step_ms)
    assert len(stamps) == len(plan.sources)
    assert (report.frames.frames_in, report.frames.frames_out) == (len(STAMPS), len(stamps))
    assert report.frames.repairs.get("cfr_duplicated", 0) == plan.duplicated
    assert report.frames.repairs.get("cfr_dropped", 0) == plan.dropped
    assert len(read_tracks(job.outputs.tracks)) == len(STAMPS), "one line per source frame, whatever is shown"
    flash_s = (STAMPS[FLASH] - STAMPS[0]) / 1000
    if FLASH in plan.sources:
        assert seen_flashes_s(video)[0] == pytest.approx(flash_s, abs=float(1 / hz))
        assert seen_flashes_s(video) == [float(n / hz) for n, index in enumerate(plan.sources) if index == FLASH]
    assert heard_clicks_s(video) == pytest.approx([flash_s], abs=0.003), "sound is placed, never stretched"


def test_without_a_rate_the_source_average_is_used(tmp_path: Path) -> None:
    _, video, job = made(tmp_path)
    stamps = video_pts(video)
    rate = Fraction(read_report(job.outputs.report).input.rate)
    assert {b - a for a, b in pairwise(stamps)} == {1 / rate}


def test_two_files_are_cut_alike(tmp_path: Path) -> None:
    _, _, job = made(tmp_path, **{"timing.rate": "25", "framing.layout": "separate"})
    first, second = (video_pts(path) for path in job.outputs.videos)
    assert first == second
    assert len(first) > len(STAMPS)


def test_a_steady_source_is_left_as_it_is(tmp_path: Path) -> None:
    source = Clip(frames=20, width_px=320, height_px=180).write(tmp_path / "steady.mp4")
    settings = resolve(**{"timing.mode": "cfr", "framing.width_px": 640, "framing.height_px": 360})
    job = job_for(source, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        assert lane.run(job).state is VideoState.DONE
    report = read_report(job.outputs.report)
    assert report.frames.repairs == {}
    assert video_pts(job.outputs.videos[0]) == video_pts(source)


def test_a_picture_shown_for_long_is_progress(tmp_path: Path) -> None:
    """The lane's watchdog looks at the encoder's progress: it must move while one frame is repeated many times."""
    clip = Clip(width_px=64, height_px=48, time_base=Fraction(1, 1000), pts_ticks=(0, 40, 80, 20_080, 20_120))
    source = clip.write(tmp_path / "slides.mkv")
    settings = resolve(**{"timing.mode": "cfr", "timing.rate": "50", "framing.width_px": 320, "framing.height_px": 180})
    job = job_for(source, tmp_path / "out", settings)
    seen = set()
    with InProcessLane(settings) as lane:
        lane.start(job)
        while not lane.encoder.status().streams[0].state.final:
            status = lane.encoder.status()
            seen.add((status.marks[job.key], status.streams[0].frames_done))
        assert lane.wait(job).state is VideoState.DONE
    during = {progress for progress, frames in seen if frames == 3}
    assert len(during) > 3, "only one frame of the source was being shown all that time"
    assert len(video_pts(job.outputs.videos[0])) > 1000
