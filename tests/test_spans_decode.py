"""Ranges of videos: every frame and time stamp of a range is what the whole video's decoding gives."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import pytest
from media_lane import decode_all
from media_maker import Clip

from dualface_ray.backends import load_backend
from dualface_ray.backends.cpu.decode import CpuDecodeSession
from dualface_ray.backends.pyav import begins_cleanly, parameter_sets, probe, survey_file
from dualface_ray.errors import SeamError
from dualface_ray.media import DecodeSession, FileSurvey, FrameRange, pts_digest
from dualface_ray.settings import Settings

RATE = Fraction(30000, 1001)
MS = Fraction(1, 1000)
TS = Fraction(1, 90000)
X265 = {"x265-params": "log-level=none:pools=1:open-gop=1:keyint=24:min-keyint=24"}
OPEN = {"x264-params": "open-gop=1:b-pyramid=normal", "preset": "medium"}

CLIPS = {
    "closed.mp4": Clip(96, rate=RATE, gop=24, b_frames=3, options={"x264-params": "b-pyramid=normal"}),
    "open.mp4": Clip(96, rate=RATE, gop=24, b_frames=3, options=OPEN),
    "open.mkv": Clip(96, rate=RATE, gop=24, b_frames=3, time_base=MS, options=OPEN),
    "open.ts": Clip(96, rate=Fraction(25), gop=24, b_frames=3, time_base=TS, options=OPEN),
    "hevc.mp4": Clip(96, rate=RATE, gop=24, codec="libx265", b_frames=3, options=X265),
    "hevc.mkv": Clip(96, rate=RATE, gop=24, codec="libx265", time_base=MS, options=X265),
    "hevc.ts": Clip(96, rate=Fraction(25), gop=24, codec="libx265", time_base=TS, options=X265),
    "vp9.webm": Clip(
        96, rate=RATE, gop=24, codec="libvpx-vp9", time_base=MS,
        options={"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "16"},
    ),
    "mpeg2.ts": Clip(96, codec="mpeg2video", b_frames=2, options={"qscale": "2"}),
    "mpeg2.mpg": Clip(96, codec="mpeg2video", b_frames=2, options={"qscale": "2"}),
    "mpeg4.mp4": Clip(96, codec="mpeg4", b_frames=2, options={"qscale": "2"}),
    "ten.mkv": Clip(96, gop=24, b_frames=2, pixel_format="yuv420p10le", time_base=MS),
    "late.mp4": Clip(
        96, rate=RATE, gop=24, b_frames=3, time_base=Fraction(1, 30000),
        pts_ticks=tuple(100_000 + 1001 * n for n in range(96)),
    ),
    "vfr.mp4": Clip(
        96, gop=24, b_frames=2, time_base=TS, pts_ticks=tuple(3000 * n + n * n * 37 % 1500 for n in range(96))
    ),
}  # fmt: skip


def frames_of(session: DecodeSession) -> list[tuple[int, bytes]]:
    """Time stamp and digest of the pixels of every frame; closes the session."""
    decoded = decode_all(session=session)
    return [
        (pts, hashlib.sha256(slot.tobytes()).digest()) for pts, slot in zip(decoded.pts, decoded.slots, strict=True)
    ]


def surveyed(path: Path, settings: Settings | None = None) -> FileSurvey:
    settings = settings or Settings()
    return survey_file(probe(path, settings), settings)


@pytest.mark.parametrize("name", CLIPS)
def test_a_range_holds_exactly_the_frames_of_the_whole(name: str, tmp_path: Path) -> None:
    path = CLIPS[name].write(tmp_path / name)
    backend, settings = load_backend("cpu"), Settings()
    whole = frames_of(backend.open_decoder(path, "s", settings, 1))
    survey = surveyed(path)
    assert survey.refusal == ""
    assert survey.frames == len(whole)
    assert survey.pts_sha256 == pts_digest([pts for pts, _ in whole])
    assert len(survey.key_frames) >= 4
    for first, pts in zip(survey.key_frames, survey.key_pts_ticks, strict=True):
        assert whole[first][0] == pts
        for count in {1, min(30, len(whole) - first), len(whole) - first}:
            for threads in (1, 3):
                part = backend.open_decoder(path, "s", settings, threads, FrameRange(first, pts, count))
                assert frames_of(part) == whole[first : first + count]


@pytest.mark.parametrize("name", ["open.mp4", "open.ts", "hevc.mkv", "vp9.webm", "ten.mkv"])
def test_single_key_frames_are_those_of_the_whole(name: str, tmp_path: Path) -> None:
    path = CLIPS[name].write(tmp_path / name)
    backend, settings = load_backend("cpu"), Settings()
    whole = dict(frames_of(backend.open_decoder(path, "s", settings, 1)))
    keys = surveyed(path).key_pts_ticks
    assert frames_of(backend.open_key_frames(path, "s", settings, 1, keys)) == [(pts, whole[pts]) for pts in keys]
    assert frames_of(backend.open_key_frames(path, "s", settings, 1, [])) == []


def test_an_edit_list_that_hides_the_beginning(tmp_path: Path) -> None:
    """Stream copy from within a group: the frames before the cut are decoded and not shown."""
    whole = Clip(120, gop=24, b_frames=2).write(tmp_path / "whole.mp4")
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        frame = round(1 / (25 * source.streams.video[0].time_base))
        begin = 30 * frame
        for packet in source.demux(video=0):
            if packet.dts is None or packet.pts < 24 * frame:
                continue
            packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
            packet.stream = stream
            out.mux(packet)
    frames = frames_of(CpuDecodeSession(cut, "s", Settings(), 1))
    survey = surveyed(cut)
    assert survey.refusal == ""
    assert survey.frames == len(frames) < 96
    for first, pts in list(zip(survey.key_frames, survey.key_pts_ticks, strict=True))[1:]:
        part = load_backend("cpu").open_decoder(cut, "s", Settings(), 1, FrameRange(first, pts, 10))
        assert frames_of(part) == frames[first : first + 10]


def test_gradual_refreshes_are_no_places_to_cut(tmp_path: Path) -> None:
    """What x264 calls key frames of an intra-refresh stream are right only a second later."""
    path = Clip(120, gop=40, options={"x264-params": "intra-refresh=1", "preset": "medium"}).write(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        flagged = sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
    survey = surveyed(path)
    whole = frames_of(CpuDecodeSession(path, "s", Settings(), 1))
    assert len(survey.key_frames) < flagged or survey.refusal
    for first, pts in zip(survey.key_frames, survey.key_pts_ticks, strict=True):
        part = load_backend("cpu").open_decoder(path, "s", Settings(), 1, FrameRange(first, pts, 1))
        assert frames_of(part) == whole[first : first + 1]


@pytest.mark.parametrize(
    ("name", "clip", "reason"),
    [
        ("a.avi", Clip(48, codec="mpeg4"), "does not say when"),
        ("a.webm", Clip(48, codec="libvpx", time_base=MS), "vp8"),
        ("a.mp4", Clip(48, gop=100, options={"sc_threshold": "0"}), "no key frames"),
        (
            "b.mkv",
            Clip(48, gop=12, time_base=MS, pts_ticks=tuple(40 * (n + 3 * (n > 30)) for n in range(48))),
            "filled",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused_with_its_reason(name: str, clip: Clip, reason: str, tmp_path: Path) -> None:
    assert reason in surveyed(clip.write(tmp_path / name)).refusal


def test_settings_that_count_from_the_beginning_are_refused(tmp_path: Path) -> None:
    path = Clip(24).write(tmp_path / "a.mp4")
    assert "constant" in surveyed(path, Settings(timing={"mode": "cfr"})).refusal


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = CLIPS["open.ts"].write(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert surveyed(path).refusal


def test_a_range_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    path = CLIPS["closed.mp4"].write(tmp_path / "a.mp4")
    backend, settings, survey = load_backend("cpu"), Settings(), surveyed(path)
    with pytest.raises(SeamError, match="not found"):
        backend.open_decoder(path, "s", settings, 1, FrameRange(24, survey.key_pts_ticks[1] + 1, 5))
    with pytest.raises(SeamError, match="ends after 24"):
        frames_of(backend.open_decoder(path, "s", settings, 1, FrameRange(72, survey.key_pts_ticks[3], 30)))


def test_damage_within_a_range_is_not_repaired_there(tmp_path: Path) -> None:
    path = CLIPS["closed.mp4"].write(tmp_path / "a.mp4")
    survey = surveyed(path)
    with av.open(str(path)) as container:
        victim = next(p for p in container.demux(video=0) if p.pts is not None and p.pts > survey.key_pts_ticks[2])
        place, size = victim.pos, victim.size
    data = bytearray(path.read_bytes())
    data[place + 8 : place + size] = bytes(size - 8)
    path.write_bytes(data)
    part = load_backend("cpu").open_decoder(path, "s", Settings(), 1, FrameRange(48, survey.key_pts_ticks[2], 20))
    with pytest.raises(SeamError, match="needs repair"):
        frames_of(part)


def test_recovery_points_in_both_forms(tmp_path: Path) -> None:
    """A unit with start codes and one with lengths say the same."""
    sps, pps = b"\x67\x64\x00\x0a\xac", b"\x68\xee\x3c"
    record = b"\x01\x64\x00\x0a\xff\xe1" + b"\0\5" + sps + b"\x01" + b"\0\3" + pps
    assert parameter_sets(record) == b"\0\0\0\1" + sps + b"\0\0\0\1" + pps
    assert parameter_sets(b"\0\0\0\1" + sps) == b"\0\0\0\1" + sps
    assert parameter_sets(b"") == b""
    at_once, later = b"\x06\x06\x01\xc4\x80", b"\x06\x06\x01\x2c\x80"  # recovery_frame_cnt 0 and 4
    part = b"\x41\x9a"
    for sei, clean in ((at_once, True), (later, False)):
        plain = b"\0\0\0\1" + sei + b"\0\0\1" + part
        sized = b"".join(len(unit).to_bytes(4, "big") + unit for unit in (sei, part))
        assert begins_cleanly("h264", plain, b"") is clean
        assert begins_cleanly("h264", sized, record) is clean
    assert begins_cleanly("h264", b"\0\0\1\x65\x88", b"")
    assert not begins_cleanly("h264", b"\0\0\1" + part, b"")
    assert begins_cleanly("hevc", b"", b"")
    assert not begins_cleanly("vp8", b"", b"")
