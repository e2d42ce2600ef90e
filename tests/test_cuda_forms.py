"""Pictures that change their form in mid-stream, are cropped, or are refused with the first packets, on the GPU lane.

Bitstreams are real; the device is the stand-in of ``test_cuda_decode`` and ``host_cupy``, which keeps to the first size
and to the corner of the coded picture as NVDEC does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import host_cupy
import numpy as np
import pytest
from gpu_check import decoding, material
from hypothesis import given
from hypothesis import strategies as st
from media_lane import decode_all
from media_maker import Clip
from test_cuda_decode import SoftwareDecoder

from dualface_ray.backends import load_backend
from dualface_ray.backends.cuda import decode as room
from dualface_ray.backends.cuda import nvdec
from dualface_ray.backends.cuda.coded import CodedForm, coded_form, from_corner
from dualface_ray.backends.cuda.formats import hardware_info
from dualface_ray.backends.pyav import Demuxer, probe
from dualface_ray.errors import DamagedInputError, InputError, LimitExceededError, UnsupportedMediaError
from dualface_ray.media import DecodeSession
from dualface_ray.settings import Settings

STOP = Settings.model_validate({"input": {"on_damage": "stop"}})
ALLOWED = Settings.model_validate({"lane": {"allow_cpu_decode": True}})


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield host_cupy.install(monkeypatch)
    host_cupy.remove()


@pytest.fixture
def card(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(room, "Decoder", SoftwareDecoder)
    monkeypatch.setattr(room, "require_support", lambda *arguments: None)
    return cupy


def on_card(path: Path, settings: Settings | None = None) -> Any:
    """As ``decode_all``, into the stand-in's device memory."""
    return through(load_backend("cuda").open_decoder(path, "s", settings or Settings(), 1))


def through(session: DecodeSession) -> Any:
    frames, slots, _, counters = decoding.decode_all(session, 5)
    return SimpleNamespace(frames=frames, pts=[f.pts_ticks for f in frames], slots=slots, counters=counters)


def joined(folder: Path, *parts: dict[str, Any]) -> Path:
    """One transport stream of several, ten frames and two groups each."""
    path = folder / "joined.ts"
    with av.open(str(path), "w") as out:
        copy: Any = None
        for n, part in enumerate(parts):
            stamps = tuple(range(50 + 10 * n, 60 + 10 * n))
            clip = Clip(**{"frames": 10, "gop": 5, "pts_ticks": stamps, **part}).write(folder / f"{n}.ts")
            with av.open(str(clip)) as given:
                copy = copy or out.add_stream_from_template(given.streams.video[0])
                for packet in given.demux(video=0):
                    if packet.size:
                        packet.stream = copy
                        out.mux(packet)
    return path


def sized(codec: str, *sizes: tuple[int, int], **more: Any) -> list[dict[str, Any]]:
    return [{"codec": codec, "width_px": width, "height_px": height, **more} for width, height in sizes]


def spliced(before: Path, after: Path, target: Path, packets: int) -> Path:
    """So many packets of one file, then those of the other behind as many."""
    with av.open(str(before)) as one, av.open(str(after)) as two, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(one.streams.video[0])
        chosen = [p for p in one.demux(video=0) if p.size][:packets] + [p for p in two.demux(video=0) if p.size][
            packets:
        ]
        for packet in chosen:
            packet.stream = copy
            out.mux(packet)
    return target


def key_form(path: Path) -> CodedForm | None:
    demuxer = Demuxer(path)
    packet = next(demuxer.packets(annex_b=True))
    data = packet.data
    if demuxer.context.codec.canonical_name == "av1":
        data = room._leading_bytes("av1", demuxer.context.extradata, False) + data
    form = coded_form(demuxer.context.codec.canonical_name, data)
    demuxer.close()
    return form


# --- what headers say ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "recipe", "form"),
    [
        ("a.mp4", {"width_px": 98, "height_px": 70}, CodedForm(98, 70)),
        ("a.mkv", {"options": {"x264-params": "interlaced=1"}, "height_px": 72}, CodedForm(96, 72)),
        ("b.mp4", {"pixel_format": "yuv420p10le"}, CodedForm(96, 64, bits=10)),
        ("c.mp4", {"pixel_format": "yuv422p"}, CodedForm(96, 64, four_two_zero=False)),
        ("d.mp4", {"pixel_format": "yuv444p"}, CodedForm(96, 64, four_two_zero=False)),
        ("a.ts", {"codec": "libx265", "width_px": 98, "height_px": 70}, CodedForm(98, 70)),
        ("b.mkv", {"codec": "libx265", "pixel_format": "yuv420p10le"}, CodedForm(96, 64, bits=10)),
        ("c.mkv", {"codec": "libx265", "pixel_format": "yuv444p"}, CodedForm(96, 64, four_two_zero=False)),
        ("d.mkv", {"codec": "libvpx-vp9", "width_px": 97, "height_px": 65}, CodedForm(97, 65)),
        ("e.mkv", {"codec": "libvpx"}, CodedForm(96, 64)),
        ("f.mkv", {"codec": "mpeg2video"}, CodedForm(96, 64)),
        ("g.mkv", {"codec": "libsvtav1", "options": {"preset": "12"}}, CodedForm(96, 64)),
        ("e.mp4", {"codec": "libsvtav1", "pixel_format": "yuv420p10le", "options": {"preset": "12"}},
         CodedForm(96, 64, bits=10)),
    ],
)  # fmt: skip
def test_headers_say_size_and_depth(tmp_path: Path, name: str, recipe: dict[str, Any], form: CodedForm) -> None:
    assert key_form(Clip(**{"frames": 2, **recipe}).write(tmp_path / name)) == form


@given(
    st.sampled_from(("h264", "hevc", "av1", "vp9", "vp8", "mpeg2video", "mpeg4")),
    st.sampled_from((b"", b"\0\0\1\x67\x64", b"\0\0\1\x42\1", b"\x0a\x0b", b"\x82\x49\x83\x42", b"\0\0\1\xb3")),
    st.binary(max_size=60),
)
def test_nonsense_has_no_form_or_a_sane_one(codec: str, begin: bytes, rest: bytes) -> None:
    form = coded_form(codec, begin + rest)
    assert form is None or min(form.width_px, form.height_px) > 0
    from_corner(codec, begin + rest)


# --- cropping --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("crop", [(16, 8), (2, 2), (64, 4), (98, 0), (0, 6)])
@pytest.mark.parametrize(("codec", "encoder"), [("h264", "libx264"), ("hevc", "libx265")])
def test_what_is_cropped_at_the_left_and_the_top_is_as_on_the_cpu(
    card: Any, tmp_path: Path, codec: str, encoder: str, crop: tuple[int, int]
) -> None:
    whole = material.clip(tmp_path, f"{codec}.ts", frames=12, width=192, height=128, codec=encoder, b_frames=2)
    path = material.cropped(whole, tmp_path / "cropped.ts", codec, *crop)
    form = key_form(path)
    assert form == CodedForm(192 - crop[0] - 2, 128 - crop[1] - 4, *crop)
    demuxer = Demuxer(path)
    again = from_corner(codec, next(demuxer.packets(annex_b=True)).data)
    demuxer.close()
    assert coded_form(codec, again) == CodedForm(190, 124)
    assert from_corner(codec, again) == again
    expected, found = decode_all(path), on_card(path)
    assert found.pts == expected.pts
    assert found.counters == expected.counters
    assert all(np.array_equal(a, b) for a, b in zip(found.slots, expected.slots, strict=True))


@pytest.mark.parametrize("left", [2, 32, 96])
def test_cropping_of_ten_bits(card: Any, tmp_path: Path, left: int) -> None:
    whole = material.clip(tmp_path, "a.ts", frames=6, width=192, height=128, codec="libx265", pixels="yuv420p10le")
    path = material.cropped(whole, tmp_path / "cropped.ts", "hevc", left, 6)
    expected, found = decode_all(path), on_card(path)
    assert found.counters == expected.counters == {}
    pairs = zip(found.slots, expected.slots, strict=True)
    assert max(np.abs((mine >> 8).astype(int) - other).max() for mine, other in pairs) <= 1


@pytest.mark.parametrize("first", ["plain", "cropped"])
def test_cropping_that_comes_or_goes_in_mid_stream(card: Any, tmp_path: Path, first: str) -> None:
    sizes = ((192, 128), (192, 128))
    plain = material.resized(tmp_path, "plain.ts", "libx264", sizes, frames=8)
    cut = material.cropped(plain, tmp_path / "cropped.ts", "h264", 32, 16)
    halves = {"plain": (plain, cut), "cropped": (cut, plain)}[first]
    path = spliced(*halves, tmp_path / "joined.ts", 8)
    expected, found = decode_all(path), on_card(path)
    assert len(found.frames) == len(expected.frames) == 16
    assert found.counters["resolution_changes"] == expected.counters["resolution_changes"] == 1
    assert min(map(decoding.psnr, found.slots, expected.slots)) > 30


# --- another size ----------------------------------------------------------------------------------------------------
SIZES = {
    "grows": ((160, 96), (240, 144)),
    "shrinks": ((240, 144), (160, 96)),
    "turns and comes back": ((160, 96), (96, 160), (160, 96)),
}


@pytest.mark.parametrize("change", SIZES)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_another_size_in_mid_stream_as_on_the_cpu(
    card: Any, tmp_path: Path, codec: str, change: str, b_frames: int
) -> None:
    path = joined(tmp_path, *sized(codec, *SIZES[change], b_frames=b_frames))
    expected, found = decode_all(path), on_card(path, STOP)
    assert [f.flags for f in found.frames] == [f.flags for f in expected.frames]
    assert found.pts == expected.pts
    assert len(found.frames) == 10 * len(SIZES[change])
    assert found.counters == expected.counters
    assert found.counters["resolution_changes"] == len(SIZES[change]) - 1
    assert all(np.array_equal(a, b) for a, b in zip(found.slots[:10], expected.slots[:10], strict=True))
    assert min(map(decoding.psnr, found.slots, expected.slots)) > 22, "hard edges, other kernels"


def test_vp9_of_another_size(card: Any, tmp_path: Path) -> None:
    for sizes in (((160, 96), (240, 144)), ((240, 144), (160, 96))):
        path = material.resized(tmp_path, f"{sizes[0][0]}.mkv", "libvpx-vp9", sizes, frames=6)
        expected, found = decode_all(path), on_card(path, STOP)
        assert found.pts == expected.pts
        assert len(found.frames) == 12
        assert found.counters == expected.counters == {"resolution_changes": 1}
        assert min(map(decoding.psnr, found.slots, expected.slots)) > 30


def test_pictures_that_only_become_deeper_are_another_kind(card: Any, tmp_path: Path) -> None:
    """One group is given up, since its headers might be damaged; then the video is what it says."""
    eight, ten = ({"codec": "libx265", "pixel_format": kind} for kind in ("yuv420p", "yuv420p10le"))
    path = joined(tmp_path, eight, ten)
    with pytest.raises(UnsupportedMediaError, match=r"become 10 bits in mid-stream.*lane.backend=cpu"):
        on_card(path)
    with pytest.raises(UnsupportedMediaError, match="10 bits"):
        on_card(path, STOP)
    once = joined(tmp_path, eight, {**ten, "gop": 10}, eight)
    found = on_card(once)
    assert len(found.frames) == 30
    assert (found.counters["concealed"], found.counters["decode_errors"]) == (10, 1)


def test_pictures_that_grow_beyond_the_limit_are_refused(card: Any, tmp_path: Path) -> None:
    path = joined(tmp_path, *sized("libx264", (160, 96), (320, 192)))
    limits = {"max_width_px": 200, "max_height_px": 200}
    with pytest.raises(LimitExceededError, match="320x192"):
        on_card(path, Settings.model_validate({"input": limits}))


def test_sizes_that_only_the_library_notices_are_damage_not_the_end(
    card: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As VP9 that changes its size between key frames: the next key frame is decoded again."""
    path = Clip(frames=20, gop=5).write(tmp_path / "a.mp4")
    decode, made = SoftwareDecoder.decode, []

    def refusing(self: SoftwareDecoder, data: bytes, stamp: int, *, key: bool) -> Any:
        made.append(self)
        if len(made) == 8:
            raise UnsupportedMediaError("NVDEC does not take it (Reconfigure Not supported)")
        return decode(self, data, stamp, key=key)

    monkeypatch.setattr(SoftwareDecoder, "decode", refusing)
    found = on_card(path)
    assert len(found.frames) == 20
    assert found.counters["decode_errors"] == 1
    assert 2 <= found.counters["concealed"] <= 4
    assert len({id(one) for one in made}) == 2
    made.clear()
    with pytest.raises(UnsupportedMediaError):
        on_card(path, STOP)


# --- refused with the first packets ----------------------------------------------------------------------------------
def refuse(monkeypatch: pytest.MonkeyPatch, packet: int, error: type[InputError]) -> None:
    decode, fed = SoftwareDecoder.decode, []

    def refusing(self: SoftwareDecoder, data: bytes, stamp: int, *, key: bool) -> Any:
        fed.append(stamp)
        if len(fed) == packet:
            raise error("NVDEC does not take it", where="x")
        return decode(self, data, stamp, key=key) if len(fed) > packet else []

    monkeypatch.setattr(SoftwareDecoder, "decode", refusing)


@pytest.mark.parametrize("packet", [1, 2, 3])
def test_what_is_refused_with_the_first_packets_is_decoded_on_the_cpu(
    card: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packet: int
) -> None:
    path = Clip(frames=9).write(tmp_path / "a.mp4")
    refuse(monkeypatch, packet, UnsupportedMediaError)
    expected, found = decode_all(path), on_card(path, ALLOWED)
    assert found.pts == expected.pts
    assert all(np.array_equal(a, b) for a, b in zip(found.slots, expected.slots, strict=True))
    assert found.counters == {"frames_decoded_on_cpu": 9}
    refuse(monkeypatch, packet, UnsupportedMediaError)
    session = load_backend("cuda").open_decoder(path, "s", Settings(), 1)
    with pytest.raises(UnsupportedMediaError):
        through(session)


def test_damage_is_no_reason_to_decode_on_the_cpu(card: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Clip(frames=9, gop=3).write(tmp_path / "a.mp4")
    refuse(monkeypatch, 1, DamagedInputError)
    found = on_card(path, ALLOWED)
    assert "frames_decoded_on_cpu" not in found.counters
    assert found.counters["decode_errors"] == 1


def test_decoding_on_the_cpu_stands_in_the_report(
    card: Any, models: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import in_process
    from test_cuda_lane import use_ort_engines

    from dualface_ray.report import read_report

    use_ort_engines(monkeypatch)
    backend = load_backend("cuda")
    monkeypatch.setattr(in_process, "load_backend", lambda _: backend)
    settings = Settings.model_validate(
        {
            "lane": {"allow_cpu_decode": True},
            "detect": {"input_width_px": 320, "input_height_px": 192},
            "framing": {"width_px": 256, "height_px": 144},
        }
    )
    degradations = {}
    for kind in ("yuv420p", "yuv444p"):
        out = tmp_path / kind
        out.mkdir()
        path = Clip(frames=6, width_px=320, height_px=192, pixel_format=kind).write(tmp_path / f"{kind}.mp4")
        job = in_process.job_for(path, out, settings)
        with in_process.InProcessLane(settings, streams=1, pool_bytes=64 << 20) as lane:
            assert lane.run(job, 60).error is None
        degradations[kind] = read_report(job.outputs.report).degradations
    assert degradations == {"yuv420p": (), "yuv444p": ("decoded on the CPU, not by NVDEC",)}


# --- the edge to the library -----------------------------------------------------------------------------------------
def test_the_lock_is_held_until_pictures_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser makes the hardware's session at the end of the first picture, in the second packet or later."""
    luma = np.zeros((64, 96, 1), np.uint8)
    frame = SimpleNamespace(cuda=lambda: [luma], GetPtrToPlane=lambda n: 1000 + n * 64 * 128, getPTS=lambda: 5)
    locked: list[bool] = []

    class Library:
        PyNvVCExceptionUnsupported = KeyError
        cudaVideoCodec = SimpleNamespace(H264=4)  # noqa: N815 - the library's names
        PacketData = SimpleNamespace

        def CreateDecoder(self, **_: object) -> Any:  # noqa: N802
            return self

        def Decode(self, packet: object) -> list[Any]:  # noqa: N802
            locked.append(nvdec.LIFE_LOCK.locked())
            if len(locked) == 2:
                raise RuntimeError("one damaged packet")
            return [frame] if len(locked) > 3 else []

    monkeypatch.setattr(nvdec, "context_handle", lambda: 1)
    monkeypatch.setattr(nvdec, "video_codec", Library)
    decoder = nvdec.Decoder("x.mp4", "h264", 0)
    for number in range(6):
        if number == 1:
            with pytest.raises(DamagedInputError):
                decoder.decode(b"\0\0\1", number, key=True)
        else:
            decoder.decode(b"\0\0\1", number, key=not number)
    assert locked == [True, True, True, True, False, False]
    assert not nvdec.LIFE_LOCK.locked()


# --- colours ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("told", "kept"), [((2, 2, 16), (9, 9, 16)), ((9, 1, 18), (9, 1, 18)), ((2, 9, 18), (9, 9, 18))]
)
def test_hdr_is_described_as_by_the_cpu_lane(tmp_path: Path, told: tuple[int, ...], kept: tuple[int, ...]) -> None:
    keep = Settings.model_validate({"encode": {"hdr": "keep", "codec": "hevc"}})
    path = Clip(frames=2, codec="libx265", pixel_format="yuv420p10le", colour=told).write(tmp_path / "a.mp4")
    info = hardware_info(probe(path, keep))
    assert (info.colour.matrix, info.colour.primaries, info.colour.transfer) == kept
    assert replace(info, stream_id="s") == decode_all(path, keep).info
    assert not room.only_on_cpu(probe(path, keep), keep)


def test_the_steps_for_cards_run_on_the_stand_in(card: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec, "capabilities", lambda codec, bits: {"supported": 1})
    decoding.decode_cropped(tmp_path)
    decoding.decode_growing(tmp_path)
    decoding.decode_shrinking(tmp_path)
    decoding.decode_refused(tmp_path)
