"""An hour of variable 29.97 with sound: sync at the end, memory on the way. ``DUALFACE_DRIFT_MIN`` sets its length."""

from __future__ import annotations

import os
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from matrix_lane import passed
from media_maker import Audio, Clip, heard_clicks_s, seen_flashes_s, video_pts

RATE = Fraction(30000, 1001)
MINUTES = int(os.environ.get("DUALFACE_DRIFT_MIN", "60"))
GROWTH_BYTES = 24 << 20
"""Between a tenth of the way and its end; the test's own lists of stamps are 8 MiB of it."""


def stamps(minutes: int) -> tuple[int, ...]:
    """Ticks of 1/30000 s: every frame late by 0 to 13 ms, every 97th missing."""
    frames = round(minutes * 60 * RATE)
    return tuple(1001 * n + n * 7919 % 400 for n in range(frames) if n % 97 != 50)


def drift(folder: Path, minutes: int, sound: Audio, suffix: str) -> tuple[float, int]:
    """Largest distance of a click from its flash in seconds, and growth of memory in bytes."""
    base = Fraction(1, 30000)
    pts = stamps(minutes)
    nearest = len(pts) // (2 * minutes)
    flashes = tuple(nearest + n * (len(pts) // (2 * minutes)) for n in range(2 * minutes - 1))
    sound = Audio(**{**sound.__dict__, "clicks_s": tuple(float(pts[n] * base) for n in flashes)})
    recipe = Clip(rate=RATE, time_base=base, pts_ticks=pts, flashes=flashes, audio=(sound,), gop=60)
    source = recipe.write(folder / f"a{suffix}")
    process = psutil.Process()
    seen: dict[str, int] = {}

    def watch(count: int) -> None:
        if count == len(pts) // 10:
            seen["early"] = process.memory_info().rss
        elif count == len(pts):
            seen["late"] = process.memory_info().rss

    result = passed(source, folder / "o.mp4", after_frame=watch)
    assert result.report.frames == len(pts)
    assert result.counters == {}
    out = video_pts(folder / "o.mp4")
    assert out == [(p - pts[0]) * base for p in pts], "no stamp has moved in an hour"
    assert all(a < b for a, b in pairwise(out))
    seen_s, heard_s = seen_flashes_s(folder / "o.mp4"), heard_clicks_s(folder / "o.mp4")
    assert len(seen_s) == len(heard_s) == len(flashes)
    worst = max(abs(a - b) for a, b in zip(seen_s, heard_s, strict=True))
    return worst, seen["late"] - seen["early"]


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("pcm_s16le", ".mov")])
def test_a_minute(tmp_path, codec, suffix):
    """The same measurement, short, in every run: AAC copied, PCM encoded."""
    worst, _ = drift(tmp_path, 1, Audio(codec, 16000, "mono"), suffix)
    assert worst < 0.005


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_hour(tmp_path):
    began = time.monotonic()
    worst, growth = drift(tmp_path, MINUTES, Audio("aac", 16000, "mono"), ".mp4")
    taken_s = time.monotonic() - began
    sys.stdout.write(f"{MINUTES} min: drift {1000 * worst:.2f} ms, memory {growth / 2**20:+.1f} MiB, {taken_s:.0f} s\n")
    assert worst < 1 / RATE
    assert growth < GROWTH_BYTES
