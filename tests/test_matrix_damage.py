"""Damage that raises no error: holes in transport streams and Matroska, single wild stamps, sizes that change."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from matrix_lane import passed
from media_lane import decode_all
from media_maker import Audio, Clip, heard_clicks_s, read_number, seen_flashes_s, video_pts

from dualface_ray.errors import DamagedInputError, LimitExceededError
from dualface_ray.frames import FrameFlag
from dualface_ray.settings import Settings

STOP = Settings(input={"on_damage": "stop"})
MS = Fraction(1, 1000)
LENGTH = 75
LATE = 60


def talk(path: Path, **more: object) -> Path:
    """Three seconds; a flash and a click near the end say whether sync has held."""
    recipe = {
        "frames": LENGTH,
        "width_px": 160,
        "height_px": 96,
        "gop": 10,
        "flashes": (LATE,),
        "audio": (Audio(clicks_s=(LATE / 25,)),),
    }
    return Clip(**{**recipe, **more}).write(path)


def in_sync(path: Path) -> bool:
    (flash,), (click,) = seen_flashes_s(path), heard_clicks_s(path)
    return abs(flash - click) <= 1 / 50 and abs(flash - LATE / 25) <= 1 / 50


def test_a_hole_in_a_transport_stream_is_filled_so_that_sync_holds(tmp_path):
    raw = bytearray(talk(tmp_path / "a.ts").read_bytes())
    first = len(raw) // 188 * 4 // 10 * 188
    raw[first : first + 188 * 30] = bytes(188 * 30)
    (tmp_path / "a.ts").write_bytes(raw)
    result = passed(tmp_path / "a.ts", tmp_path / "o.mp4")
    assert {b - a for a, b in pairwise(result.times_s)} == {Fraction(1, 25)}
    assert result.report.frames == LENGTH
    marks = sum(bool(flags & FrameFlag.CONCEALED) for flags in result.flags)
    assert result.counters["concealed"] == marks > 3
    assert in_sync(tmp_path / "o.mp4")
    with pytest.raises(DamagedInputError):
        decode_all(tmp_path / "a.ts", STOP)


def without(source: Path, target: Path, lost: range) -> Path:
    """The same file without some video frames, as a recorder leaves it that lost them."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in container.streams}
        seen = 0
        for packet in container.demux():
            if not packet.size:
                continue
            if packet.stream.type == "video":
                seen += 1
                if seen - 1 in lost:
                    continue
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    return target


LOST = range(30, 40)
"""One whole group of pictures: what follows decodes without a fault."""


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".flv"])
def test_frames_that_vanished_from_a_steady_stream_without_an_index(tmp_path, suffix):
    path = without(talk(tmp_path / f"w{suffix}"), tmp_path / f"a{suffix}", LOST)
    decoded = decode_all(path)
    assert len(decoded.frames) == LENGTH
    assert decoded.counters["gaps_filled"] == decoded.counters["concealed"] == len(LOST)
    for n in LOST:
        assert decoded.frames[n].flags & FrameFlag.CONCEALED
        assert np.array_equal(decoded.slots[n], decoded.slots[29])
    steps = [(b - a) * decoded.info.time_base for a, b in pairwise(decoded.pts)]
    assert all(abs(step - Fraction(1, 25)) <= MS for step in steps)
    passed(path, tmp_path / "o.mp4")
    assert in_sync(tmp_path / "o.mp4")
    whole = decode_all(path, STOP)
    assert len(whole.frames) == LENGTH - len(LOST), "no proof of damage: stop has nothing to stop for"


def test_an_index_of_all_frames_is_believed(tmp_path):
    path = without(talk(tmp_path / "w.mp4"), tmp_path / "a.mp4", LOST)
    decoded = decode_all(path)
    assert decoded.counters == {}
    assert len(decoded.frames) == LENGTH - len(LOST)


def test_a_variable_rate_has_no_holes(tmp_path):
    stamps = tuple(sum((20, 40, 60, 33)[k % 4] for k in range(n)) + (600 if n > 25 else 0) for n in range(40))
    path = Clip(time_base=MS, pts_ticks=stamps, gop=5).write(tmp_path / "a.mkv")
    decoded = decode_all(path)
    assert decoded.pts == list(stamps)
    assert decoded.counters == {}


def restamp(raw: bytearray, frame: int, shift_ticks: int) -> None:
    """Move the PTS of one picture in a transport stream (ISO/IEC 13818-1, 2.4.3.7: 33 bits with marker bits)."""
    at = -1
    for _ in range(frame + 1):
        at = raw.index(b"\0\0\1\xe0", at + 1)
    b = raw[at + 9 : at + 14]
    pts = (b[0] >> 1 & 7) << 30 | b[1] << 22 | (b[2] >> 1) << 15 | b[3] << 7 | b[4] >> 1
    pts = (pts + shift_ticks) % 2**33
    head = b[0] & 0xF0
    parts = [
        head | pts >> 30 << 1 | 1,
        pts >> 22 & 255,
        (pts >> 15 & 127) << 1 | 1,
        pts >> 7 & 255,
        (pts & 127) << 1 | 1,
    ]
    raw[at + 9 : at + 14] = bytes(parts)


@pytest.mark.parametrize("shift_s", [3600, 80_000, -1])
@pytest.mark.parametrize("at", [0, 1, 40, 74])
def test_one_wild_stamp_is_repaired(tmp_path, shift_s, at):
    raw = bytearray(Clip(frames=LENGTH, width_px=160, height_px=96).write(tmp_path / "a.ts").read_bytes())
    restamp(raw, at, shift_s * 90_000)
    (tmp_path / "a.ts").write_bytes(raw)
    limited = Settings(input={"max_duration_s": 1800, "on_damage": "stop"})
    decoded = decode_all(tmp_path / "a.ts", limited)
    assert [read_number(decoded.luma(n)) for n in range(LENGTH)] == list(range(LENGTH))
    steps = [b - a for a, b in pairwise(decoded.pts)]
    odd = [n for n, step in enumerate(steps) if step != 3600]
    if (at, shift_s) == (0, -1):
        assert odd == [0], "a first frame shown for a second is what the file may mean"
    else:
        assert odd == []
        assert sum(decoded.counters.values()) == 1
        assert set(decoded.counters) <= {"pts_outliers", "pts_restarts"}


def test_one_stamp_given_twice(tmp_path):
    raw = bytearray(Clip(frames=LENGTH, width_px=160, height_px=96).write(tmp_path / "a.ts").read_bytes())
    restamp(raw, 40, -3600)
    (tmp_path / "a.ts").write_bytes(raw)
    decoded = decode_all(tmp_path / "a.ts", STOP)
    assert [read_number(decoded.luma(n)) for n in range(LENGTH)] == list(range(LENGTH))
    late = [n for n, pts in enumerate(decoded.pts) if pts - decoded.pts[0] != 3600 * n]
    assert late == [40], "the next good stamp is met unchanged"
    assert decoded.pts[39] < decoded.pts[40] < decoded.pts[41]
    assert decoded.counters == {"pts_duplicate": 1}


def test_many_wild_stamps_stop_the_video(tmp_path):
    stamps = (0, 40, 80, 90_000_000, 90_000_040, 90_000_080)
    path = Clip(time_base=MS, pts_ticks=stamps).write(tmp_path / "a.mkv")
    with pytest.raises(LimitExceededError, match="max_duration_s"):
        decode_all(path)


def test_a_size_that_changes_twice_keeps_every_frame_and_the_first_size(tmp_path):
    sizes = [(160, 96), (96, 160), (320, 192)]
    raw = b""
    for n, (width, height) in enumerate(sizes):
        stamps = tuple(range(10 * n, 10 * n + 10))
        clip = Clip(frames=10, width_px=width, height_px=height, pts_ticks=stamps)
        raw += clip.write(tmp_path / f"{n}.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(raw)
    result = passed(tmp_path / "a.ts", tmp_path / "o.mp4")
    assert (result.info.width_px, result.info.height_px) == sizes[0]
    assert result.report.frames == 30
    assert result.counters["resolution_changes"] == 2


def test_wrong_durations_in_the_header_change_nothing(tmp_path):
    raw = bytearray(Clip(frames=20).write(tmp_path / "a.mp4").read_bytes())
    for box in (b"mvhd", b"mdhd"):
        at = raw.index(box) + 4 + 4 + 8 + 4
        raw[at : at + 4] = (1).to_bytes(4, "big")
    (tmp_path / "b.mp4").write_bytes(raw)
    assert len(decode_all(tmp_path / "b.mp4", STOP).frames) == 20


def test_a_movie_of_deinterlaced_pictures_with_losses_keeps_its_order(tmp_path):
    clip = Clip(frames=48, width_px=160, height_px=128, options={"x264-params": "interlaced=1"})
    raw = bytearray(clip.write(tmp_path / "a.mp4").read_bytes())
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = packets[20]
    raw[position + 4 : position + size] = bytes(size - 4)
    (tmp_path / "a.mp4").write_bytes(raw)
    decoded = decode_all(tmp_path / "a.mp4")
    seen = [read_number(decoded.luma(n)) for n in range(len(decoded.frames))]
    assert len(seen) == 48
    assert seen[:20] == list(range(20))
    assert seen[-10:] == list(range(38, 48))
    for n, frame in enumerate(decoded.frames):
        if frame.flags & FrameFlag.CONCEALED:
            assert np.array_equal(decoded.slots[n], decoded.slots[n - 1])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_frame_that_is_shown_for_hours(tmp_path, suffix):
    """A clock of 90 kHz that jumps ahead by 13 hours and goes on there: more ticks than a track can say in one step."""
    hours = 13 * 3600
    raw = bytearray(Clip(frames=20, width_px=160, height_px=96).write(tmp_path / "a.ts").read_bytes())
    for n in range(10, 20):
        restamp(raw, n, hours * 90_000)
    (tmp_path / "a.ts").write_bytes(raw)
    result = passed(tmp_path / "a.ts", tmp_path / f"o{suffix}")
    out = video_pts(tmp_path / f"o{suffix}")
    assert result.report.frames == len(out) == 20
    assert result.times_s[10] - result.times_s[9] == hours + Fraction(1, 25)
    assert max(abs(a - b) for a, b in zip(out, result.times_s, strict=True)) <= Fraction(1, 1000)
    assert all(a < b for a, b in pairwise(out))
