"""Real files through the real decoder: time stamps, pixels, limits, damage, and what must not be opened."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from media_lane import decode_all
from media_maker import Audio, Clip, picture, read_number

from dualface_ray.backends.cpu.decode import CpuDecodeSession
from dualface_ray.backends.pyav import Demuxer, probe
from dualface_ray.errors import (
    DamagedInputError,
    InputError,
    InputMissingError,
    LimitExceededError,
    NotAVideoError,
)
from dualface_ray.frames import FrameFlag, reference_signature
from dualface_ray.settings import Settings

STOP = Settings(input={"on_damage": "stop"})
NTSC = Fraction(30000, 1001)


def numbers(decoded):
    return [read_number(decoded.luma(n)) for n in range(len(decoded.frames))]


# --- time stamps ----------------------------------------------------------------------------------------------------
VFR = (0, 33, 66, 500, 501, 560, 1700, 1733)
TIMINGS = {
    "29.97": Clip(rate=NTSC, time_base=Fraction(1, 30000)),
    "59.94 reordered": Clip(
        frames=20, rate=2 * NTSC, time_base=Fraction(1, 60000), b_frames=3, options={"preset": "fast"}
    ),
    "variable": Clip(frames=8, time_base=Fraction(1, 1000), pts_ticks=VFR),
    "starts late": Clip(frames=6, time_base=Fraction(1, 12800), pts_ticks=tuple(64000 + 512 * n for n in range(6))),
}


@pytest.mark.parametrize("name", TIMINGS)
def test_stamps_in_mp4_are_exact(tmp_path, name):
    clip = TIMINGS[name]
    decoded = decode_all(clip.write(tmp_path / "a.mp4"), STOP)
    times = [(pts - decoded.pts[0]) * decoded.info.time_base for pts in decoded.pts]
    assert times == [(pts - clip.pts[0]) * clip.base for pts in clip.pts]
    assert numbers(decoded) == list(range(len(clip.pts)))
    assert decoded.counters == {}


def test_frames_before_zero_are_hidden_by_the_edit_list(tmp_path):
    pts = tuple(40 * n - 400 for n in range(30))
    path = Clip(time_base=Fraction(1, 1000), pts_ticks=pts, gop=4).write(tmp_path / "a.mp4")
    decoded = decode_all(path, STOP)
    assert numbers(decoded) == list(range(10, 30))
    assert decoded.pts == [pts for pts in pts if pts >= 0]


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".flv", ".avi", ".mov", ".nut"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_container_gives_every_frame_in_order(tmp_path, suffix, b_frames):
    clip = Clip(frames=30, b_frames=b_frames, options={"preset": "fast"}, audio=(Audio(),))
    path = clip.write(tmp_path / f"a{suffix}")
    for threads in (1, 3):
        decoded = decode_all(path, STOP, threads=threads, batch=7)
        assert numbers(decoded) == list(range(30))
        for n, (first, second) in enumerate(pairwise(decoded.pts)):
            step = (second - first) * decoded.info.time_base
            if suffix == ".avi" and n == 0:
                continue  # libav's AVI muxer may write an empty frame after the first
            assert abs(step - Fraction(1, 25)) <= Fraction(1, 1000), f"step {n}"


def test_stamps_that_repeat_are_repaired_and_counted(tmp_path):
    """A clock restarts in the middle of a transport stream: two recordings joined byte by byte."""
    raw = Clip(frames=20).write(tmp_path / "a.ts").read_bytes()
    (tmp_path / "b.ts").write_bytes(raw + raw)
    decoded = decode_all(tmp_path / "b.ts")
    assert numbers(decoded) == [*range(20), *range(20)]
    assert decoded.counters["pts_restarts"] == 1
    steps = {second - first for first, second in pairwise(decoded.pts)}
    assert steps == {3600}  # 1/25 s at 90 kHz


def test_a_file_without_presentation_times_gets_the_nominal_rate(tmp_path):
    path = Clip(frames=10, b_frames=2, options={"preset": "fast"}).write(tmp_path / "a.h264")
    decoded = decode_all(path)
    assert numbers(decoded) == list(range(10))
    assert all(a < b for a, b in pairwise(decoded.pts))


# --- pixels ---------------------------------------------------------------------------------------------------------
FORMATS = [
    ("libx264", "yuv420p", ".mp4", False),
    ("libx264", "yuv444p", ".mp4", False),
    ("libx264", "yuv422p10le", ".mkv", False),
    ("libx264", "yuvj420p", ".mp4", True),
    ("libx265", "yuv420p10le", ".mp4", False),
    ("prores_ks", "yuv422p10le", ".mov", False),
    ("libvpx-vp9", "yuv420p", ".webm", False),
    ("libvpx", "yuv420p", ".webm", False),
    ("mpeg4", "yuv420p", ".avi", False),
    ("mpeg2video", "yuv420p", ".mpg", False),
    ("mjpeg", "yuvj420p", ".avi", True),
    ("ffv1", "gray", ".mkv", False),
    ("rawvideo", "nv12", ".nut", False),
]


@pytest.mark.parametrize(("codec", "pixel_format", "suffix", "full"), FORMATS)
def test_luma_of_every_format_arrives(tmp_path, codec, pixel_format, suffix, full):
    clip = Clip(frames=5, width_px=160, height_px=96, codec=codec, pixel_format=pixel_format, full_range=full)
    path = clip.write(tmp_path / f"a{suffix}")
    decoded = decode_all(path, STOP)
    assert numbers(decoded) == list(range(5))
    want = picture(3, 160, 96).astype(float)
    assert np.abs(decoded.luma(3) - want).mean() < 3
    chroma = decoded.slots[3][96:]
    assert np.abs(chroma.astype(int) - 128).max() <= 3


def colours(width, height):
    """Planes of a picture whose U and V differ everywhere, so that swapped or shifted chroma shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    half_rows, half_columns = np.mgrid[0 : (height + 1) // 2, 0 : (width + 1) // 2]
    luma = (rows * 2 + columns) % 200 + 20
    return [p.astype(np.uint8) for p in (luma, 40 + half_columns % 150, 90 + half_rows % 120)]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 48), (64, 49), (67, 51), (18, 16)])
def test_planes_lie_in_the_slot_bit_by_bit(tmp_path, width, height):
    planes = colours(width, height)
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, pixels in zip(frame.planes, planes, strict=True):
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: pixels.shape[0], : pixels.shape[1]] = pixels
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    decoded = decode_all(path, STOP)
    slot, info = decoded.slots[0], decoded.info
    assert slot.shape == (info.slot_height_px * 3 // 2, info.slot_width_px)
    luma, chroma = slot[: info.slot_height_px], slot[info.slot_height_px :]
    assert np.array_equal(luma[:height, :width], planes[0])
    assert np.array_equal(chroma[:, 0::2], planes[1])
    assert np.array_equal(chroma[:, 1::2], planes[2])
    if width % 2:
        assert np.array_equal(luma[:, -1], luma[:, -2])
    if height % 2:
        assert np.array_equal(luma[-1], luma[-2])


def test_rgb_becomes_the_matrix_that_is_reported(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        red = np.zeros((48, 64, 3), np.uint8)
        red[..., 0] = 255
        out.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        out.mux(stream.encode(None))
    decoded = decode_all(path, STOP)
    assert (decoded.info.colour.matrix, decoded.info.colour.full_range) == (6, False)
    y, u, v = decoded.slots[0][10, 10], decoded.slots[0][60, 10], decoded.slots[0][60, 11]
    # BT.601, limited range: red is Y = 16 + 219 * 0.299, Cb = 128 - 224 * 0.168736, Cr = 128 + 224 / 2
    assert (abs(int(y) - 81), abs(int(u) - 90), abs(int(v) - 240)) <= (2, 2, 2)


def test_stream_info_tells_the_truth(tmp_path):
    clip = Clip(
        width_px=64, height_px=96, rotation_deg=90, sample_aspect=Fraction(4, 3), colour=(9, 9, 16), full_range=True
    )
    found = probe(clip.write(tmp_path / "a.mp4"), Settings(), "s")
    info = found.video
    assert (info.stream_id, info.width_px, info.height_px, info.codec) == ("s", 64, 96, "h264")
    assert (info.rotation_deg, info.sample_aspect) == (90, Fraction(4, 3))
    assert (info.display_width_px, info.display_height_px) == (96, 85)
    assert (info.colour.matrix, info.colour.primaries, info.colour.transfer, info.colour.full_range) == (9, 9, 16, True)
    assert (info.average_rate, info.frame_count_estimate) == (Fraction(25), 12)
    assert info.duration_ticks * info.time_base == Fraction(12, 25)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotation_is_clockwise(tmp_path, turn):
    assert probe(Clip(frames=2, rotation_deg=turn).write(tmp_path / "a.mov"), Settings()).video.rotation_deg == turn


def test_probe_lists_the_other_streams(tmp_path):
    clip = Clip(audio=(Audio(codec="aac", layout="mono"), Audio(codec="ac3", layout="5.1", start_s=0.25)))
    found = probe(clip.write(tmp_path / "a.mkv"), Settings())
    assert [(a.codec, a.channels, a.rate_hz) for a in found.audio] == [("aac", 1, 48000), ("ac3", 6, 48000)]
    assert found.best_audio is not None
    assert abs(found.audio[1].start_s - Fraction(1, 4)) < Fraction(1, 50)
    assert (found.subtitles, found.chapters, found.bits, found.interlaced) == (0, 0, 8, False)


def test_cover_art_is_not_the_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        art = out.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 512, 512, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        film = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        out.mux(art.encode(av.VideoFrame(512, 512, "yuvj420p")))
        out.mux(art.encode(None))
        for _ in range(3):
            out.mux(film.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(film.encode(None))
    found = probe(path, Settings())
    assert (found.video.width_px, found.video.height_px, found.data_streams) == (64, 48, 1)
    assert len(decode_all(path, STOP).frames) == 3


def test_signatures_and_cut_candidates(tmp_path):
    decoded = decode_all(Clip(frames=12, flashes=(6, 7, 8, 9, 10, 11)).write(tmp_path / "a.mp4"))
    for slot, found in zip(decoded.slots, decoded.signatures, strict=True):
        assert np.array_equal(found, reference_signature(slot, decoded.info))
    cuts = [n for n, frame in enumerate(decoded.frames) if frame.flags & FrameFlag.CUT_CANDIDATE]
    assert 0 in cuts
    assert 6 in cuts
    assert decoded.frames[0].flags & FrameFlag.KEY
    assert not decoded.frames[1].flags & FrameFlag.KEY


def test_a_change_of_resolution_is_scaled_and_counted(tmp_path):
    first = Clip(frames=10, width_px=160, height_px=96).write(tmp_path / "a.ts")
    second = Clip(frames=20, width_px=240, height_px=144, pts_ticks=tuple(range(10, 20))).write(tmp_path / "b.ts")
    (tmp_path / "c.ts").write_bytes(first.read_bytes() + second.read_bytes())
    decoded = decode_all(tmp_path / "c.ts")
    assert numbers(decoded) == [*range(10), *range(10)]
    assert decoded.counters["resolution_changes"] == 1
    assert decoded.info.width_px == 160


def test_close_twice_and_decode_after_the_end(tmp_path):
    session = CpuDecodeSession(Clip(frames=2).write(tmp_path / "a.mp4"), "s", Settings(), 1)
    slots = [np.empty((96, 96), np.uint8) for _ in range(4)]
    assert session.decode(slots).end
    again = session.decode(slots)
    assert (again.frames, again.end) == ((), True)
    session.close()
    session.close()


# --- a demuxer for other decoders -----------------------------------------------------------------------------------
def test_packets_as_a_byte_stream_decode_alone(tmp_path):
    path = Clip(frames=12, b_frames=2, options={"preset": "fast"}).write(tmp_path / "a.mp4")
    demuxer = Demuxer(path)
    packets = list(demuxer.packets(annex_b=True))
    demuxer.close()
    demuxer.close()
    assert sorted(p.pts_ticks for p in packets) == list(range(12))
    assert packets[0].key
    assert all(p.data.startswith((b"\0\0\0\1", b"\0\0\1")) for p in packets)
    decoder = av.CodecContext.create("h264", "r")
    frames = [f for p in packets for f in decoder.decode(av.Packet(p.data))] + decoder.decode(None)
    assert [read_number(f.to_ndarray(format="gray")) for f in frames] == list(range(12))


# --- damage ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    clip = Clip(
        frames=48,
        width_px=160,
        height_px=96,
        b_frames=2,
        options={"preset": "fast"},
        audio=(Audio(),),
    )
    faststart = {".mp4": {"movflags": "+faststart"}}
    made = {}
    for suffix in (".mp4", ".mkv", ".ts", ".avi", ".flv"):
        recipe = Clip(**{**clip.__dict__, "container_options": faststart.get(suffix, {})})
        made[suffix] = recipe.write(folder / f"a{suffix}").read_bytes()
    return made


def test_a_truncated_file_gives_what_is_left_or_stops(tmp_path, whole):
    path = tmp_path / "a.mp4"
    path.write_bytes(whole[".mp4"][: len(whole[".mp4"]) * 7 // 10])
    decoded = decode_all(path)
    assert 5 < len(decoded.frames) < 48
    assert decoded.counters["truncated"] == 1
    with pytest.raises(DamagedInputError, match="on_damage=conceal"):
        decode_all(path, STOP)


def test_slides_are_not_a_truncated_file(tmp_path):
    """Frames minutes apart, the last one shown for long: nothing is missing."""
    pts = (0, 60_000, 120_000, 180_000)
    for suffix in (".mp4", ".mkv"):
        path = Clip(time_base=Fraction(1, 1000), pts_ticks=pts, audio=(Audio(duration_s=1),)).write(
            tmp_path / f"a{suffix}"
        )
        assert decode_all(path, STOP).pts == list(pts)


def test_interlaced_frames_are_counted(tmp_path):
    clip = Clip(frames=6, options={"x264-params": "interlaced=1"})
    path = clip.write(tmp_path / "a.mp4")
    assert probe(path, Settings()).interlaced
    decoded = decode_all(path, STOP)
    assert decoded.counters == {"deinterlaced": 6, "interlaced": 6}
    assert numbers(decoded) == list(range(6))


def test_lost_pictures_repeat_the_last_good_one_at_their_own_time(tmp_path, whole):
    raw = bytearray(whole[".mp4"])
    with av.open(str(_written(tmp_path / "whole.mp4", raw))) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size]
    position, size, _ = packets[20]
    raw[position + 4 : position + size] = bytes(size - 4)
    path = _written(tmp_path / "a.mp4", raw)
    for threads in (1, 2):
        decoded = decode_all(path, threads=threads)
        concealed = [n for n, frame in enumerate(decoded.frames) if frame.flags & FrameFlag.CONCEALED]
        assert decoded.pts == sorted(p[2] for p in packets)  # as many frames, at the same times, as were meant
        assert concealed
        assert decoded.counters["concealed"] == len(concealed)
        for n in concealed:
            assert np.array_equal(decoded.slots[n], decoded.slots[n - 1])
    with pytest.raises(DamagedInputError):
        decode_all(path, STOP)


def test_a_missing_key_frame_at_the_start_costs_only_the_start(tmp_path, whole):
    path = _written(tmp_path / "a.ts", whole[".ts"][188 * 40 :])
    seen = numbers(decode_all(path))
    assert seen[-1] == 47
    assert seen == list(range(seen[0], 48))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".flv"])
def test_mutations_end_in_frames_or_a_typed_error(tmp_path, whole, suffix):
    good = failed = 0
    for seed in range(24):
        path = _written(tmp_path / f"a{suffix}", mutate(whole[suffix], seed))
        decoded, error = outcome(path, threads=1 + seed % 2)
        if decoded is None:
            failed += 1
            assert "\n" not in str(error)
            continue
        good += 1
        assert all(a < b for a, b in pairwise(decoded.pts))
        marks = sum(bool(frame.flags & FrameFlag.CONCEALED) for frame in decoded.frames)
        assert marks == decoded.counters.get("concealed", 0)
    assert good > failed


def outcome(path, threads):
    """Frames or the deliberate error; anything else is a fault of ours and passes through."""
    try:
        return decode_all(path, threads=threads), None
    except InputError as error:
        return None, error


def mutate(raw: bytes, seed: int) -> bytearray:
    """Truncated, flipped, zeroed or with a hole: one of each kind in turn."""
    rnd = random.Random(seed)
    data = bytearray(raw)
    kind = seed % 4
    if kind == 0:
        del data[rnd.randrange(len(data) // 4, len(data)) :]
    elif kind == 1:
        for _ in range(rnd.randrange(1, 40)):
            data[rnd.randrange(len(data) // 8, len(data))] ^= 1 << rnd.randrange(8)
    else:
        first = rnd.randrange(len(data) // 8, len(data) - 1000)
        if kind == 2:
            data[first : first + 700] = bytes(700)
        else:
            del data[first : first + 700]
    return data


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- limits and refusals --------------------------------------------------------------------------------------------
def test_what_is_no_video(tmp_path):
    text = _written(tmp_path / "a.mp4", b"hello, I am a text file\n" * 100)
    noise = _written(tmp_path / "b.mp4", random.Random(1).randbytes(20000))
    sound = tmp_path / "c.mp4"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 48000
        out.mux(stream.encode(silence))
        out.mux(stream.encode(None))
    for path, words in ((text, "no video file"), (noise, "no video file"), (sound, "holds no video stream")):
        with pytest.raises(NotAVideoError, match=words):
            probe(path, Settings())
    with pytest.raises(InputMissingError, match="a directory"):
        probe(tmp_path, Settings())


def test_a_video_without_frames(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.start_encoding()
    with pytest.raises(NotAVideoError):
        probe(path, Settings())


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_width_px": 90}, "max_width_px=90"),
        ({"max_height_px": 60}, "max_height_px=60"),
        ({"min_side_px": 80}, "min_side_px=80"),
        ({"max_duration_s": 0.3}, "max_duration_s=0.3"),
        ({"max_streams": 2}, "max_streams=2"),
    ],
)
def test_limits(tmp_path, limits, words):
    path = Clip(audio=(Audio(), Audio())).write(tmp_path / "a.mp4")
    with pytest.raises(LimitExceededError, match=words) as caught:
        CpuDecodeSession(path, "s", Settings(input=limits), 1)
    assert str(path) in str(caught.value)


def test_absurd_dimensions_in_a_small_file_allocate_nothing(tmp_path):
    """The header claims 16000x16000 (H.264 allows it); nobody may believe it."""
    raw = Clip(frames=2, width_px=16000, height_px=32).write(tmp_path / "wide.mp4")
    with pytest.raises(LimitExceededError, match="16000x32"):
        probe(raw, Settings())
    data = bytearray(Clip(frames=2, codec="ffv1").write(tmp_path / "a.mkv").read_bytes())
    for code in (b"\xb0\x81\x60", b"\xba\x81\x40"):  # Matroska PixelWidth 96, PixelHeight 64
        at = data.index(code)
        data[at : at + 3] = code[:1] + b"\x81\xff"
    path = _written(tmp_path / "b.mkv", data)
    with pytest.raises(InputError):
        probe(path, Settings(input={"max_width_px": 200, "max_height_px": 200}))


def test_time_stamps_that_run_away_stop_the_video(tmp_path):
    stamps = (0, 40, 90_000_000, 90_000_040)
    path = Clip(frames=4, time_base=Fraction(1, 1000), pts_ticks=stamps).write(tmp_path / "a.ts")
    with pytest.raises(LimitExceededError, match="max_duration_s"):
        decode_all(path, Settings(input={"max_duration_s": 3600}))


PLAYLISTS = {
    "concat": ("ffconcat version 1.0\nfile secret.ts\n", {"safe": "0"}),
    "hls": ("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n", {}),
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_cannot_read_another_file(tmp_path, kind):
    Clip(frames=5).write(tmp_path / "secret.ts")
    text, options = PLAYLISTS[kind]
    for name in ("list.mp4", "list.m3u8", "list.ffconcat"):
        path = _written(tmp_path / name, text.encode())
        with pytest.raises(NotAVideoError):
            probe(path, Settings())
    with av.open(str(tmp_path / "list.m3u8" if kind == "hls" else path), options=options) as unrestricted:
        assert len(list(unrestricted.decode(video=0))) == 5  # libav itself would have read it


def test_a_movie_cannot_point_to_another_file(tmp_path):
    """QuickTime may hold only an index and name the file with the media; that reference is never followed."""
    raw = bytearray(Clip(frames=5).write(tmp_path / "a.mov").read_bytes())
    at = raw.index(b"url ")
    raw[at + 7] &= 0xFE  # clear the flag "media is in this file"
    media = raw.index(b"mdat")
    raw[media + 4 : media + 400] = bytes(396)
    path = _written(tmp_path / "b.mov", raw)
    with pytest.raises(InputError):
        decode_all(path, STOP)


@pytest.mark.parametrize("name", ["concat:secret.ts|secret.ts", "http:x.mp4", "-i", "a\nb.mp4", "%03d.mp4", "été.mp4"])
def test_a_name_is_only_a_name(tmp_path, monkeypatch, name):
    Clip(frames=3).write(tmp_path / "secret.ts")
    made = Clip(frames=4).write(tmp_path / "made.mp4")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissingError, match="no such file"):
        probe(Path(name), Settings())
    made.rename(tmp_path / name)
    assert len(decode_all(Path(name), STOP).frames) == 4


def test_names_that_are_no_text(tmp_path):
    made = Clip(frames=3).write(tmp_path / "made.mp4")
    path = Path(f"{tmp_path}/\udcff\udcfe.mp4")
    made.rename(path)
    assert len(decode_all(path, STOP).frames) == 3


def test_metadata_that_is_no_text(tmp_path):
    raw = bytearray(Clip(frames=3, metadata={"title": "ABCDEFGH"}).write(tmp_path / "a.mp4").read_bytes())
    at = raw.index(b"ABCDEFGH")
    raw[at : at + 8] = b"\xff\xfe\xfd\x80\x81\xc0\xc1\xf5"
    assert len(decode_all(_written(tmp_path / "b.mp4", raw), STOP).frames) == 3
