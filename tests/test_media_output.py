"""Encoding, segments and the final mux: exact stamps, sound untouched or placed to the sample, complete or absent."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_lane import decode_all, roundtrip, spec_of, write_segment
from media_maker import Audio, Clip, heard_clicks_s, read_number, seen_flashes_s, video_pts

from dualface_ray.backends.cpu.encode import CpuEncodeSession
from dualface_ray.backends.pyav import SegmentWriter, assemble, segment_configuration
from dualface_ray.backends.pyav import segment as segment_room
from dualface_ray.errors import EncodeError, OutputError
from dualface_ray.media import EncodeSpec, Packet
from dualface_ray.settings import Settings, resolve

NTSC = Fraction(30000, 1001)
SPEC = EncodeSpec(96, 64, Fraction(1, 25), Fraction(25), preset="ultrafast", gop_frames=6)


def canvas(value: int, width: int = 96, height: int = 64) -> np.ndarray:
    """NV12 with a ramp, so that frames differ and are not flat."""
    rows, columns = np.mgrid[0 : height * 3 // 2, 0:width]
    return ((rows + columns + value * 3) % 160 + 40).astype(np.uint8)


def encode(spec: EncodeSpec, count: int) -> tuple[list[Packet], bytes]:
    session = CpuEncodeSession(spec)
    packets = [p for n in range(count) for p in session.encode(canvas(n, spec.width_px, spec.height_px), n)]
    packets += session.finish()
    extradata = session.extradata
    session.close()
    session.close()
    return packets, extradata


# --- the encoder ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_packets_come_in_display_order_with_regular_key_frames(codec):
    packets, extradata = encode(EncodeSpec(96, 64, Fraction(1, 25), Fraction(25), codec, gop_frames=6), 20)
    assert [p.pts_ticks for p in packets] == list(range(20))
    assert [p.dts_ticks for p in packets] == list(range(20))
    assert [n for n, p in enumerate(packets) if p.key] == [0, 6, 12, 18]
    assert extradata


def test_a_cut_starts_no_group_of_its_own():
    session = CpuEncodeSession(SPEC)
    rnd = np.random.default_rng(1)
    packets = []
    for n in range(12):
        noise = rnd.integers(16, 235, (96, 96), np.uint8) if n >= 3 else canvas(n)
        packets += session.encode(noise, n)
    packets += session.finish()
    assert [n for n, p in enumerate(packets) if p.key] == [0, 6]


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_the_canvas_may_be_reused_at_once(codec):
    """Every frame is read completely before ``encode`` returns: overwriting it changes nothing."""
    spec = EncodeSpec(96, 64, Fraction(1, 25), Fraction(25), codec, quality=10, gop_frames=30, threads=2)

    def run(spoil):
        session = CpuEncodeSession(spec)
        shared = np.empty((96, 96), np.uint8)
        packets = []
        for n in range(12):
            shared[:] = canvas(n)
            packets += session.encode(shared, n)
            if spoil:
                shared[:] = 255
        return [p.data for p in packets + session.finish()]

    assert run(spoil=True) == run(spoil=False)


@pytest.mark.parametrize(("width", "height"), [(96, 64), (98, 66), (64, 50)])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_pixels_survive(tmp_path, width, height, codec):
    spec = EncodeSpec(width, height, Fraction(1, 25), Fraction(25), codec, quality=4, preset="ultrafast")
    source = [canvas(n, width, height) for n in range(4)]
    path = write_segment(tmp_path / "a.mp4", spec, source, range(4))
    decoded = decode_all(path)
    for got, want in zip(decoded.slots, source, strict=True):
        error = (got.astype(float) - want) ** 2 + 1e-9
        assert 10 * np.log10(255**2 / error[:height].mean()) > 40
        assert 10 * np.log10(255**2 / error[height:].mean()) > 36  # the ramp's chroma is harsh


def test_the_stream_says_what_it_is(tmp_path):
    spec = EncodeSpec(
        96, 64, Fraction(1, 25), Fraction(25), colour_matrix=6, colour_primaries=5, colour_transfer=7, full_range=True
    )
    path = write_segment(tmp_path / "a.mp4", spec, [canvas(0)], [0])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (6, 5, 7, 2)
        assert (context.profile, context.pix_fmt, context.has_b_frames) == ("High", "yuvj420p", False)
        assert stream.sample_aspect_ratio in (None, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"codec": "gif"}, "unknown codec"), ({"width_px": 95}, "odd"), ({"preset": "warp"}, "cannot be opened")],
)
def test_specs_that_cannot_work(changes, words):
    values = {**{name: getattr(SPEC, name) for name in SPEC.__slots__}, **changes}
    with pytest.raises(EncodeError, match=words):
        CpuEncodeSession(EncodeSpec(**values))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_every_preset_that_the_settings_take_opens_the_encoder(codec):
    names = ["ultrafast", "veryfast", "medium", "veryslow", "placebo", *(f"p{n}" for n in range(1, 8))]
    for name in [*names, *(["0", "7", "13"] if codec == "av1" else [])]:
        preset = resolve(codec=codec, preset=name).encode.preset
        CpuEncodeSession(replace(SPEC, width_px=128, height_px=128, codec=codec, preset=preset)).close()


def test_wrong_use_of_the_encoder():
    session = CpuEncodeSession(SPEC)
    session.encode(canvas(0), 5)
    with pytest.raises(EncodeError, match="must increase"):
        session.encode(canvas(0), 5)
    with pytest.raises(EncodeError, match="a canvas must be"):
        session.encode(canvas(0, 64, 64), 6)
    session.finish()
    assert session.finish() == []
    with pytest.raises(EncodeError, match="closed"):
        session.encode(canvas(0), 7)


# --- segments -------------------------------------------------------------------------------------------------------
def test_a_segment_is_complete_or_absent(tmp_path):
    packets, extradata = encode(SPEC, 8)
    writer = SegmentWriter(tmp_path / "s", SPEC, extradata)
    for packet in packets:
        writer.write(packet)
        assert not (tmp_path / "s").exists()
    assert writer.finish() == tmp_path / "s"
    writer.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert video_pts(tmp_path / "s") == [Fraction(n, 25) for n in range(8)]


def test_a_discarded_or_empty_segment_leaves_nothing(tmp_path):
    packets, extradata = encode(SPEC, 8)
    writer = SegmentWriter(tmp_path / "s", SPEC, extradata)
    writer.write(packets[0])
    writer.discard()
    writer.discard()
    with pytest.raises(EncodeError, match="no frame"):
        SegmentWriter(tmp_path / "t", SPEC, extradata).finish()
    with pytest.raises(EncodeError, match="key frame"):
        SegmentWriter(tmp_path / "u", SPEC, extradata).write(packets[1])
    assert list(tmp_path.iterdir()) == []


def test_parameter_sets_may_be_in_the_packets(tmp_path):
    """As hardware encoders deliver them."""
    packets, extradata = encode(SPEC, 4)
    writer = SegmentWriter(tmp_path / "s", SPEC)
    for packet in packets:
        data = extradata + packet.data if packet.key else packet.data
        writer.write(Packet(data, packet.pts_ticks, packet.dts_ticks, packet.key))
    assert len(video_pts(writer.finish())) == 4


HLG = {"colour_matrix": 9, "colour_primaries": 9, "colour_transfer": 18}
SAID = [{}, {"full_range": True}, {"colour_matrix": 6, "colour_primaries": 5, "colour_transfer": 6}, HLG]


def as_nvenc(spec: EncodeSpec, encoded: tuple[list[Packet], bytes], path: Path) -> Path:
    """A segment that is to be ``spec``, whatever its headers say, which come with every key frame."""
    packets, extradata = encoded
    writer = SegmentWriter(path, spec, extradata)
    for packet in packets:
        data = extradata + packet.data if packet.key and spec.codec != "av1" else packet.data
        writer.write(replace(packet, data=data))
    return writer.finish()


@pytest.mark.parametrize("changes", SAID, ids=["709", "full range", "601", "hlg"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_a_stream_without_its_colours_is_given_them(tmp_path, codec, changes):
    """NVENC leaves H.264 and HEVC untagged, and marks AV1 as full range where it is told BT.709."""
    spec = replace(SPEC, codec=codec, preset="veryfast", **changes)
    nothing = replace(spec, colour_matrix=2, colour_primaries=2, colour_transfer=2, full_range=False)
    wrong = replace(spec, full_range=not spec.full_range)
    silent = encode(nothing, 14)
    plain = as_nvenc(nothing, silent, tmp_path / "plain")
    segments = [as_nvenc(spec, one, tmp_path / str(n)) for n, one in enumerate((silent, silent, encode(wrong, 14)))]
    assert segment_configuration(segments[0]) == segment_configuration(segments[1]) != segment_configuration(plain)
    joined = tmp_path / "joined.mkv"
    stamps = list(range(28))
    assemble(None, segments[:2], joined, pts_ticks=stamps, spec=spec, settings=Settings())
    for path in (*segments, joined):
        with av.open(str(path)) as container:
            told = container.streams.video[0].codec_context  # the container's word, then the stream's own
            said = [(told.colorspace, told.color_primaries, told.color_trc, told.color_range)]
            said += [(p.colorspace, p.color_primaries, p.color_trc, p.color_range) for p in container.decode(video=0)]
        assert len(said) in (15, 29)
        assert set(said) == {
            (spec.colour_matrix, spec.colour_primaries, spec.colour_transfer, 2 if spec.full_range else 1)
        }
    with av.open(str(plain)) as first, av.open(str(segments[0])) as second:
        for one, other in zip(first.decode(video=0), second.decode(video=0), strict=True):
            assert np.array_equal(one.to_ndarray(), other.to_ndarray())


@pytest.mark.parametrize("changes", SAID, ids=["709", "full range", "601", "hlg"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_a_stream_that_says_its_colours_is_left_alone(tmp_path, monkeypatch, codec, changes):
    monkeypatch.setattr(segment_room, "ColourTags", None)
    spec = replace(SPEC, codec=codec, preset="veryfast", **changes)
    assert len(video_pts(as_nvenc(spec, encode(spec, 14), tmp_path / "s"))) == 14


def test_headers_that_cannot_be_tagged_are_a_typed_error(tmp_path):
    packets, extradata = encode(SPEC, 2)
    writer = SegmentWriter(tmp_path / "s", replace(SPEC, full_range=True), extradata)
    writer.write(packets[0])
    with pytest.raises(EncodeError, match="segment"):
        writer.write(replace(packets[1], data=b"\0\0\1"))
    assert list(tmp_path.iterdir()) == []


# --- exact time stamps ----------------------------------------------------------------------------------------------
JITTER = tuple(1001 * n + (n * 7919) % 500 for n in range(24))
CLOCKS = {
    "29.97": Clip(frames=24, rate=NTSC, time_base=Fraction(1, 30000)),
    "variable": Clip(frames=24, rate=NTSC, time_base=Fraction(1, 30000), pts_ticks=JITTER),
    "a clock of 1/25": Clip(frames=24),
    "odd clock": Clip(frames=24, time_base=Fraction(1, 11988), pts_ticks=tuple(10214 + 400 * n for n in range(24))),
    "reordered": Clip(frames=24, time_base=Fraction(1, 12800), b_frames=2, options={"preset": "fast"}),
}


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("name", CLOCKS)
def test_every_frame_keeps_its_time(tmp_path, name, container):
    clip = CLOCKS[name]
    report, decoded = roundtrip(clip.write(tmp_path / "a.mp4"), tmp_path / f"b.{container}", segments=3)
    out = video_pts(tmp_path / f"b.{container}")
    want = [(pts - clip.pts[0]) * clip.base for pts in clip.pts]
    assert report.frames == len(out) == len(clip.pts)
    assert out[0] == 0
    if container == "mkv":
        assert max(abs(a - b) for a, b in zip(out, want, strict=True)) <= Fraction(1, 2000)
    else:
        assert out == want
    again = decode_all(tmp_path / f"b.{container}")
    assert [read_number(again.luma(n)) for n in range(24)] == list(range(24))
    assert report.duration_s == pytest.approx(float(want[-1] + 1 / decoded.info.average_rate), abs=0.002)


def test_the_finest_and_the_coarsest_clocks(tmp_path):
    for base in (Fraction(1, 1), Fraction(1001, 30000), Fraction(1, 1_000_000)):
        spec = EncodeSpec(96, 64, base, min(1 / base, Fraction(25)), preset="ultrafast")
        pts = [3, 4, 6, 7]
        segment = write_segment(tmp_path / "s", spec, [canvas(n) for n in range(4)], pts)
        assemble(None, [segment], tmp_path / "o.mp4", pts_ticks=pts, spec=spec, settings=Settings())
        assert video_pts(tmp_path / "o.mp4") == [(p - 3) * base for p in pts]


# --- joining --------------------------------------------------------------------------------------------------------
def test_segments_that_do_not_fit_are_refused(tmp_path):
    fine = write_segment(tmp_path / "1", SPEC, [canvas(n) for n in range(3)], range(3))
    other_spec = EncodeSpec(64, 64, Fraction(1, 25), Fraction(25))
    other = write_segment(tmp_path / "2", other_spec, [canvas(n, 64) for n in range(3)], range(3))
    target = tmp_path / "out" / "o.mp4"
    target.parent.mkdir()
    for segments, count, words in (
        ([fine, other], 6, "configuration differs"),
        ([fine], 4, "3 frames, 4 were expected"),
        ([fine], 2, "more than the 2 frames"),
        ([], 3, "no frame to write"),
    ):
        with pytest.raises(EncodeError, match=words):
            assemble(None, segments, target, pts_ticks=list(range(count)), spec=SPEC, settings=Settings())
    with pytest.raises(EncodeError, match="do not increase"):
        assemble(None, [fine], target, pts_ticks=[0, 2, 2], spec=SPEC, settings=Settings())
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_other_codecs_join_too(tmp_path, codec):
    source = Clip(frames=12, width_px=128, height_px=96).write(tmp_path / "a.mp4")
    preset = {"preset": "ultrafast"}
    for container in ("mp4", "mkv"):
        target = tmp_path / f"o.{container}"
        roundtrip(source, target, segments=2, codec=codec, **preset)
        again = decode_all(target)
        assert [read_number(again.luma(n)) for n in range(12)] == list(range(12))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == {"hevc": "hvc1", "av1": "av01"}[codec]


def test_the_index_is_in_front_and_the_colours_are_tagged(tmp_path):
    source = Clip(frames=6, rotation_deg=90, metadata={"title": "Talk", "comment": "/home/me/secret.mov"})
    roundtrip(source.write(tmp_path / "a.mp4"), tmp_path / "o.mp4")
    raw = (tmp_path / "o.mp4").read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")
    assert raw[raw.index(b"nclx") + 4 :][:6] == struct.pack(">HHH", 1, 1, 1)
    assert b"secret" not in raw
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.metadata["title"] == "Talk"
        assert next(container.decode(video=0)).rotation == 0


# --- sound ----------------------------------------------------------------------------------------------------------
def audio_packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("libmp3lame", ".mp4"), ("alac", ".mov")])
def test_copied_sound_is_the_same_to_the_last_bit(tmp_path, codec, suffix):
    source = Clip(frames=30, audio=(Audio(codec=codec),)).write(tmp_path / f"a{suffix}")
    report, _ = roundtrip(source, tmp_path / "o.mp4")
    assert (report.audio, report.counters["audio_packets"]) == ("copied", len(audio_packets(source)))
    assert audio_packets(tmp_path / "o.mp4") == audio_packets(source)


F10, F20 = 0.4, 0.8
SYNC = {
    "aac": (Audio(clicks_s=(F10, F20)), ".mp4", "copied"),
    "aac from a transport stream": (Audio(clicks_s=(F10, F20)), ".ts", "copied"),
    "aac, late": (Audio(start_s=0.3, clicks_s=(F10, F20)), ".mp4", "copied"),
    "aac, longer": (Audio(duration_s=3, clicks_s=(F10, F20)), ".mp4", "copied"),
    "aac, shorter": (Audio(duration_s=0.9, clicks_s=(F10, F20)), ".mp4", "copied"),
    "mp3": (Audio("libmp3lame", clicks_s=(F10, F20)), ".mp4", "copied"),
    "opus": (Audio("libopus", clicks_s=(F10, F20)), ".mkv", "encoded"),
    "pcm": (Audio("pcm_s16le", clicks_s=(F10, F20)), ".mkv", "encoded"),
    "pcm, late": (Audio("pcm_s16le", start_s=0.3, clicks_s=(F10, F20)), ".mkv", "encoded"),
    "pcm, 22 kHz mono": (Audio("pcm_s16le", 22050, "mono", clicks_s=(F10, F20)), ".mkv", "encoded"),
    "pcm, 192 kHz 5.1": (Audio("pcm_s16le", 192000, "5.1", clicks_s=(F10, F20)), ".mkv", "encoded"),
    "flac": (Audio("flac", clicks_s=(F10, F20)), ".mkv", "encoded"),
    "ac-3": (Audio("ac3", clicks_s=(F10, F20)), ".mkv", "encoded"),
}


@pytest.mark.parametrize("name", SYNC)
def test_flashes_and_clicks_stay_together(tmp_path, name):
    audio, suffix, action = SYNC[name]
    source = Clip(frames=30, flashes=(10, 20), audio=(audio,)).write(tmp_path / f"a{suffix}")
    for container in ("mp4", "mkv"):
        target = tmp_path / f"o.{container}"
        report, _ = roundtrip(source, target)
        assert report.audio == (action if container == "mp4" else "copied")
        assert seen_flashes_s(target) == pytest.approx([F10, F20], abs=0.0006)
        assert heard_clicks_s(target) == pytest.approx([F10, F20], abs=0.003), container


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("pcm_s16le", ".mkv"), ("aac", ".mkv")])
def test_sound_that_starts_before_the_picture(tmp_path, codec, suffix):
    """The picture starts half a second in; what sounds before is cut off, the rest stays where it belongs."""
    pts = tuple(500 + 40 * n for n in range(30))
    audio = Audio(codec, duration_s=1.7, clicks_s=(0.2, 0.9, 1.3))
    clip = Clip(frames=30, time_base=Fraction(1, 1000), pts_ticks=pts, flashes=(10, 20), audio=(audio,))
    source = clip.write(tmp_path / f"a{suffix}")
    for container in ("mp4", "mkv"):
        target = tmp_path / f"o.{container}"
        roundtrip(source, target)
        assert video_pts(target)[0] == 0
        assert seen_flashes_s(target) == pytest.approx([F10, F20], abs=0.0006)
        assert heard_clicks_s(target) == pytest.approx([F10, F20], abs=0.003)


def test_gaps_in_encoded_sound_become_silence(tmp_path):
    """Two pieces of sound with a hole between: the second click stays at its time."""
    whole = Clip(frames=50, flashes=(10, 40), audio=(Audio("pcm_s16le", clicks_s=(0.4, 1.6)),)).write(
        tmp_path / "w.mkv"
    )
    with av.open(str(whole)) as source, av.open(str(tmp_path / "a.mkv"), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            hole = packet.stream.type == "audio" and 0.6 < float((packet.pts or 0) * packet.time_base) < 1.2
            if packet.size and not hole:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    report, _ = roundtrip(tmp_path / "a.mkv", tmp_path / "o.mp4")
    assert report.counters["audio_samples_silence"] == pytest.approx(0.6 * 48000, rel=0.1)
    assert heard_clicks_s(tmp_path / "o.mp4") == pytest.approx([0.4, 1.6], abs=0.003)


def test_a_runaway_time_stamp_in_the_sound_does_not_make_hours_of_silence(tmp_path):
    clip = Clip(frames=30, audio=(Audio("pcm_s16le", clicks_s=(0.4,)),))
    with av.open(str(clip.write(tmp_path / "w.mkv"))) as source, av.open(str(tmp_path / "a.mkv"), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if not packet.size:
                continue
            if packet.stream.type == "audio" and packet.pts > 800:
                packet.pts = packet.dts = packet.pts + 36_000_000
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    report, _ = roundtrip(tmp_path / "a.mkv", tmp_path / "o.mp4")
    assert report.counters["audio_samples_dropped"] > 0
    assert report.counters["audio_samples"] < 2 * 48000
    assert heard_clicks_s(tmp_path / "o.mp4") == pytest.approx([0.4], abs=0.003)


def test_the_right_sound_of_several(tmp_path):
    tracks = (Audio(clicks_s=(0.4,)), Audio(clicks_s=(0.8,)))
    source = Clip(frames=30, audio=tracks).write(tmp_path / "a.mp4")
    decoded = decode_all(source)
    spec = spec_of(decoded.info)
    segment = write_segment(tmp_path / "s", spec, decoded.slots, decoded.pts)
    for index, time in ((1, 0.4), (2, 0.8), (None, 0.4)):
        assemble(
            source,
            [segment],
            tmp_path / "o.mp4",
            pts_ticks=decoded.pts,
            spec=spec,
            settings=Settings(),
            audio_index=index,
        )
        assert heard_clicks_s(tmp_path / "o.mp4") == pytest.approx([time], abs=0.003)


def test_no_sound_is_no_sound(tmp_path):
    report, _ = roundtrip(Clip(frames=4).write(tmp_path / "a.mp4"), tmp_path / "o.mp4")
    assert (report.audio, report.audio_codec, report.audio_problem) == ("none", "", "")


def test_damaged_sound_costs_sound_only(tmp_path):
    clip = Clip(frames=50, flashes=(10, 40), audio=(Audio("ac3", clicks_s=(0.4, 1.6)),))
    raw = bytearray(clip.write(tmp_path / "a.mkv").read_bytes())
    with av.open(str(tmp_path / "a.mkv")) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    for position, size in packets[20:26]:
        at = raw.index(b"\x0b\x77", position)
        raw[at : at + size - 20] = bytes(size - 20)
    (tmp_path / "b.mkv").write_bytes(raw)
    report, _ = roundtrip(tmp_path / "b.mkv", tmp_path / "o.mp4")
    assert (report.frames, report.audio) == (50, "encoded")
    assert heard_clicks_s(tmp_path / "o.mp4") == pytest.approx([0.4, 1.6], abs=0.003)


def test_sound_that_cannot_be_copied_is_decoded_instead(tmp_path):
    """The first ADTS header is broken: the muxer refuses the copy, the picture must not suffer."""
    clip = Clip(frames=30, flashes=(10, 20), audio=(Audio(clicks_s=(0.4, 0.8)),))
    source = clip.write(tmp_path / "a.ts")
    decoded = decode_all(source)
    spec = spec_of(decoded.info)
    segment = write_segment(tmp_path / "s", spec, decoded.slots, decoded.pts)
    raw = bytearray(source.read_bytes())
    first = raw.index(b"\xff\xf1")
    raw[first + 2] |= 0x3C  # a sampling frequency that does not exist
    (tmp_path / "b.ts").write_bytes(raw)
    for container, action in (("mkv", "copied"), ("mp4", "encoded")):
        target = tmp_path / f"o.{container}"
        report = assemble(tmp_path / "b.ts", [segment], target, pts_ticks=decoded.pts, spec=spec, settings=Settings())
        assert report.frames == 30
        assert report.audio == action
        assert heard_clicks_s(target) == pytest.approx([0.4, 0.8], abs=0.003)


# --- a full disk ----------------------------------------------------------------------------------------------------
FILL = """
import resource, signal, sys
from pathlib import Path
from test_media_output import SPEC, canvas, encode
from dualface_ray.backends.pyav import SegmentWriter, assemble
from dualface_ray.errors import DiskFullError
from dualface_ray.media import EncodeSpec
from dualface_ray.settings import Settings
from media_lane import write_segment
folder = Path(sys.argv[1])
spec = EncodeSpec(96, 64, SPEC.time_base, SPEC.rate, quality=0, preset="ultrafast")
packets, extradata = encode(spec, 60)
segment = write_segment(folder / "seg", spec, [canvas(n) for n in range(60)], range(60))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    writer = SegmentWriter(folder / "s", spec, extradata)
    for packet in packets:
        writer.write(packet)
    writer.finish()
    print("segment written")
except DiskFullError as error:
    print("full:", error)
try:
    assemble(None, [segment], folder / "o.mp4", pts_ticks=list(range(60)), spec=spec, settings=Settings())
    print("file written")
except DiskFullError as error:
    print("full:", error)
"""


def test_a_disk_that_fills_up_is_named_and_leaves_nothing(tmp_path):
    """A limit on file size stands in for a full disk: the write in the middle of a file fails with its errno."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(line.startswith("full:") and "no space left" in line for line in lines), lines
    assert [path.name for path in tmp_path.iterdir()] == ["seg"]


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        SegmentWriter(tmp_path / "file/s", SPEC)


def test_what_the_muxer_calls_no_space_is_not_the_disk(tmp_path):
    """A new AAC configuration in mid-stream is longer than Matroska's reserved place: libav says ENOSPC to that."""
    clip = Clip(frames=30, flashes=(10, 20), audio=(Audio(clicks_s=(0.4, 0.8)),))
    raw = clip.write(tmp_path / "a.flv").read_bytes()
    at = len(raw) * 6 // 10
    while not (raw[at] == 8 and raw[at + 8 : at + 13] == b"\0\0\0\xaf\x01"):
        at += 1
    body = b"\xaf\x00" + b"\x11\x90" + bytes(200)
    head = b"\x08" + len(body).to_bytes(3, "big") + raw[at + 4 : at + 8] + bytes(3)
    tag = head + body + (len(body) + 11).to_bytes(4, "big")
    (tmp_path / "b.flv").write_bytes(raw[:at] + tag + raw[at:])
    report, _ = roundtrip(tmp_path / "b.flv", tmp_path / "o.mkv")
    assert report.frames == 30
    assert report.audio in ("copied", "encoded")
    assert heard_clicks_s(tmp_path / "o.mkv")[0] == pytest.approx(0.4, abs=0.003)
