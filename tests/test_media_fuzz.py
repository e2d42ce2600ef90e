"""Mutated files of many kinds through the real front and back: a result or a typed error for each, in bounded time.

``DUALFACE_FUZZ_S=600 pytest tests/test_media_fuzz.py -m long`` runs as long as one likes, from another seed each time.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from media_lane import decode_all, spec_of, write_segment
from media_maker import Audio, Clip
from test_media_files import mutate

from dualface_ray.backends.pyav import assemble
from dualface_ray.errors import InputError
from dualface_ray.settings import Settings

FAST = {"preset": "fast"}
RECIPES = {
    "h264.mp4": Clip(b_frames=2, options=FAST, audio=(Audio(),), container_options={"movflags": "+faststart"}),
    "h264.mkv": Clip(b_frames=2, options=FAST, audio=(Audio("flac"),)),
    "h264.ts": Clip(b_frames=2, options=FAST, audio=(Audio(),)),
    "h264.flv": Clip(b_frames=2, options=FAST, audio=(Audio(),)),
    "hevc.mp4": Clip(codec="libx265", b_frames=2, container_options={"movflags": "+faststart"}),
    "vp9.webm": Clip(codec="libvpx-vp9", audio=(Audio("libopus"),)),
    "mpeg4.avi": Clip(codec="mpeg4", audio=(Audio("libmp3lame"),)),
    "mpeg2.mpg": Clip(codec="mpeg2video", b_frames=2, audio=(Audio("mp2"),)),
    "prores.mov": Clip(codec="prores_ks", pixel_format="yuv422p10le", container_options={"movflags": "+faststart"}),
    "hdr.mp4": Clip(
        codec="libx265",
        pixel_format="yuv420p10le",
        colour=(9, 9, 18),
        container_options={"movflags": "+faststart"},
    ),
    "fields.ts": Clip(options={"x264-params": "interlaced=1"}, audio=(Audio(),)),
    "mirrored.mov": Clip(mirrored=True, rotation_deg=90, container_options={"movflags": "+faststart"}),
    "fragments.mp4": Clip(audio=(Audio(),), container_options={"movflags": "frag_keyframe+empty_moov"}),
}
TIME_LIMIT_S = 20
LEAK_BYTES = 64 << 20
"""Two thirds of 390 files and more may not add this much."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("corpus")
    recipes = {n: Clip(**{**c.__dict__, "frames": 40, "width_px": 128, "height_px": 96}) for n, c in RECIPES.items()}
    return {name: clip.write(folder / name).read_bytes() for name, clip in recipes.items()}


def one(raw: bytes, name: str, seed: int, folder: Path) -> bool:
    """Decode and write one mutation; True = a complete result, False = a typed error."""
    path = folder / f"m{Path(name).suffix}"
    path.write_bytes(mutate(raw, seed))
    try:
        decoded = decode_all(path, threads=1 + seed % 3)
    except InputError:
        return False
    assert decoded.frames
    assert all(a < b for a, b in pairwise(decoded.pts))
    spec = spec_of(decoded.info)
    segment = write_segment(folder / "segment", spec, decoded.slots, decoded.pts)
    target = folder / ("o.mkv" if seed % 2 else "o.mp4")
    report = assemble(path, [segment], target, pts_ticks=decoded.pts, spec=spec, settings=Settings())
    assert report.frames == len(decoded.frames)
    assert report.audio != "dropped" or report.audio_problem
    return True


@pytest.mark.long
@pytest.mark.timeout(0)
def test_mutations_of_every_kind(tmp_path, corpus):
    budget_s = float(os.environ.get("DUALFACE_FUZZ_S", "0"))
    first = time.time_ns() % 10**9 if budget_s else 0
    started = time.monotonic()
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    results: list[bool] = []
    seed = first
    process, early_bytes = psutil.Process(), 0
    while seed < first + 30 or time.monotonic() - started < budget_s:
        for name, raw in corpus.items():
            before = time.monotonic()
            try:
                results.append(one(raw, name, seed, tmp_path))
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}") from error
            assert time.monotonic() - before < TIME_LIMIT_S, f"{name}, seed {seed}"
        seed += 1
        if seed == first + 10:
            early_bytes = process.memory_info().rss
    assert len(results) >= 300
    assert process.memory_info().rss - early_bytes < LEAK_BYTES
    assert sum(results) > len(results) // 2
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_files + 1
    assert not list(tmp_path.glob("*.part"))
