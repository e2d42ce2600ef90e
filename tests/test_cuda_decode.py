"""The GPU lane's decoding logic without a GPU: libav stands where NVDEC will, memory copies where the kernels will.

What is real: files, demuxer, Annex B, the ledger, repair of time stamps, cuts, order of surfaces. What is not: the
device. The double keeps NVDEC's manners: silent about damage, surfaces void after the next packet, pictures from the
corner of the coded ones and of one size, an error when they grow.
"""

from __future__ import annotations

import ctypes
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_lane import decode_all
from media_maker import Clip

from dualface_ray.backends.cuda import decode as room
from dualface_ray.backends.cuda.decode import only_on_cpu
from dualface_ray.backends.cuda.ledger import PictureLedger
from dualface_ray.backends.cuda.nvdec import Surface
from dualface_ray.backends.pyav import probe, survey_file
from dualface_ray.errors import DamagedInputError, LimitExceededError, UnsupportedMediaError
from dualface_ray.frames import FrameFlag, StreamInfo
from dualface_ray.frames.signature import reference_signature
from dualface_ray.media import FrameRange
from dualface_ray.settings import Settings


def surface_of(frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """A picture from its corner as NVDEC would hold it: NV12 or P016, rows padded, even, chroma right behind luma."""
    deep = "10" in frame.format.name
    kind = np.dtype(np.uint16 if deep else np.uint8)
    y, u, v = (
        np.frombuffer(plane, kind).reshape(-1, plane.line_size // kind.itemsize)[: -(-height // n), : -(-width // n)]
        for plane, n in zip(frame.planes, (1, 2, 2), strict=True)
    )
    even, shift = width + width % 2, 6 if deep else 0
    out = np.full((height + len(u), even + 32), 3, kind)
    out[:height, :width] = y << shift
    out[height:, 0:even:2], out[height:, 1:even:2] = u << shift, v << shift
    return out


class SoftwareDecoder:
    """In place of ``nvdec.Decoder``: the same calls, the same manners."""

    def __init__(self, where: str, codec: str, stream_handle: int) -> None:
        self._codec = av.CodecContext.create(codec, "r")
        self._codec.thread_count = 1
        self._codec.options = {"apply_cropping": "0"}
        self._size = (0, 0)
        self._buffers: list[np.ndarray] = []

    def decode(self, data: bytes, stamp: int, *, key: bool) -> list[Surface]:
        packet = av.Packet(data)
        packet.pts = packet.dts = stamp
        return self._out(packet)

    def drain(self) -> list[Surface]:
        return self._out(None)

    def close(self) -> None:
        self._scribble()

    def _scribble(self) -> None:
        for buffer in self._buffers:
            buffer[:] = 0xAA  # whoever still reads a surface now reads nonsense
        self._buffers = []

    def _out(self, packet: av.Packet | None) -> list[Surface]:
        self._scribble()
        try:
            frames = self._codec.decode(packet)
        except av.error.InvalidDataError:
            frames = []
        surfaces = []
        for frame in frames:
            width, height = self._codec.width, self._codec.height
            first = self._size = self._size if any(self._size) else (width, height)
            if width > first[0] or height > first[1]:
                raise UnsupportedMediaError("Reconfigure Not supported when width/height > maxwidth/maxheight")
            if (width, height) != first:
                frame = frame.reformat(*first)  # what the chip does
            padded = surface_of(frame, *first)
            self._buffers.append(padded)
            address, pitch = padded.ctypes.data, padded.strides[0]
            size = (first[0] + first[0] % 2, first[1])
            surfaces.append(Surface(address, address + pitch * first[1], pitch, *size, frame.pts))
        return surfaces


class HostCopier:
    """In place of ``surfaces.SlotCopier``: the same copies by memmove."""

    def __init__(self, info: StreamInfo, stream: object) -> None:
        self._info = info

    def copy(self, surface: Surface, slot: np.ndarray) -> bool:
        width, rows = slot.strides[0], self._info.height_px
        for source, first, count in (
            (surface.luma, 0, rows),
            (surface.chroma, self._info.slot_height_px, self._info.slot_height_px // 2),
        ):
            for row in range(count):
                ctypes.memmove(slot[first + row].ctypes.data, source + row * surface.pitch_bytes, width)
        return False

    def repeat(self, source: int, slot: np.ndarray) -> None:
        ctypes.memmove(slot.ctypes.data, source, slot.nbytes)

    def finish(self, slots: list[np.ndarray]) -> np.ndarray:
        rows = [reference_signature(slot, self._info) for slot in slots]
        return np.stack(rows) if rows else np.empty((0, 624), np.uint8)


class NoStream:
    ptr = 0

    def synchronize(self) -> None:
        """Everything here is done when it returns."""


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "Decoder", SoftwareDecoder)
    monkeypatch.setattr(room, "SlotCopier", HostCopier)
    monkeypatch.setattr(room, "new_stream", NoStream)
    monkeypatch.setattr(room, "give_back_stream", lambda _stream: None)
    monkeypatch.setattr(room, "enter_device", lambda: None)
    monkeypatch.setattr(room, "address_of", lambda slot: slot.ctypes.data)
    monkeypatch.setattr(room, "require_support", lambda *arguments: None)

    def run(path: Path, settings: Settings | None = None, batch: int = 5):
        opened = room.CudaDecodeSession(path, "s", settings or Settings())
        try:
            info, frames, slots, signatures = opened.info, [], [], []
            while True:
                fresh = [
                    np.full((info.slot_height_px * 3 // 2, info.slot_width_px), 77, np.uint8) for _ in range(batch)
                ]
                part = opened.decode(fresh)
                frames += part.frames
                slots += fresh[: len(part.frames)]
                signatures.append(part.signatures)
                if part.end:
                    return frames, slots, np.concatenate(signatures), opened.counters()
                assert len(part.frames) == batch, "only the last batch may be short"
        finally:
            opened.close()

    return run


CLIPS = {
    "plain.mp4": Clip(frames=23),
    "b-frames.mp4": Clip(frames=40, b_frames=3, gop=16, rate=Fraction(30000, 1001), time_base=Fraction(1, 30000)),
    "vfr.mkv": Clip(frames=9, time_base=Fraction(1, 1000), pts_ticks=(100, 133, 140, 260, 300, 301, 400, 900, 950)),
    "late.mp4": Clip(frames=12, time_base=Fraction(1, 12800), pts_ticks=tuple(12800 + 512 * n for n in range(12))),
    "hevc.mp4": Clip(frames=20, codec="libx265", b_frames=2),
    "open-gop.ts": Clip(frames=30, b_frames=2, gop=10, time_base=Fraction(1, 90000)),
}


@pytest.mark.parametrize("name", sorted(CLIPS))
@pytest.mark.parametrize("batch", [1, 5, 16])
def test_the_same_frames_as_the_cpu_lane(session, tmp_path: Path, name: str, batch: int) -> None:
    path = CLIPS[name].write(tmp_path / name)
    expected = decode_all(path)
    frames, slots, signatures, counters = session(path, batch=batch)
    assert [f.pts_ticks for f in frames] == expected.pts
    assert [f.flags for f in frames] == [f.flags for f in expected.frames]
    assert np.array_equal(signatures, expected.signatures)
    for mine, other in zip(slots, expected.slots, strict=True):
        assert np.array_equal(mine, other)
    assert "concealed" not in counters


OPEN = {"x264-params": "open-gop=1:b-pyramid=normal", "preset": "medium"}
CUT = {
    "closed.mp4": Clip(frames=96, b_frames=3, gop=24),
    "open.mp4": Clip(frames=96, b_frames=3, gop=24, options=OPEN),
    "open.ts": Clip(frames=96, b_frames=3, gop=24, time_base=Fraction(1, 90000), options=OPEN),
    "hevc.mkv": Clip(
        frames=96, codec="libx265", gop=24, b_frames=3, time_base=Fraction(1, 1000),
        options={"x265-params": "log-level=none:pools=1:open-gop=1:keyint=24:min-keyint=24"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CUT))
def test_a_range_holds_exactly_the_frames_of_the_whole(session, tmp_path: Path, name: str) -> None:
    path, settings = CUT[name].write(tmp_path / name), Settings()
    expected = decode_all(path)
    survey = survey_file(probe(path, settings), settings)
    for first, pts in zip(survey.key_frames, survey.key_pts_ticks, strict=True):
        for count in (1, 17, len(expected.slots) - first):
            part = decode_all(session=room.open_decoder(path, "s", settings, FrameRange(first, pts, count)))
            assert part.pts == expected.pts[first : first + count]
            for mine, other in zip(part.slots, expected.slots[first : first + count], strict=True):
                assert np.array_equal(mine, other)
            assert part.counters == {}


def damage(path: Path, packet: int, target: Path) -> Path:
    """A copy in which one coded picture is gone altogether (its NAL units renamed to filler)."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        place, size = packets[packet].pos, packets[packet].size
    at = place
    while at + 4 < place + size:
        length = int.from_bytes(data[at : at + 4], "big")
        data[at + 4] = 12  # nal_unit_type of filler data (H.264 table 7-1)
        at += 4 + length
    target.write_bytes(data)
    return target


def test_a_picture_that_never_comes_is_concealed_at_its_own_time(session, tmp_path: Path) -> None:
    path = Clip(frames=24, gop=6, options={"x264-params": "ref=1"}).write(tmp_path / "whole.mp4")
    whole, *_ = session(path)
    broken = damage(path, 10, tmp_path / "broken.mp4")
    frames, slots, _, counters = session(broken)
    assert [f.pts_ticks for f in frames] == [f.pts_ticks for f in whole]
    assert [i for i, f in enumerate(frames) if f.flags & FrameFlag.CONCEALED] == [10]
    assert np.array_equal(slots[10], slots[9])
    assert counters["concealed"] == 1
    with pytest.raises(DamagedInputError, match="lost"):
        session(broken, Settings.model_validate({"input": {"on_damage": "stop"}}))


def test_a_file_cut_short_is_noticed(session, tmp_path: Path) -> None:
    path = Clip(frames=100, width_px=64).write(tmp_path / "whole.mkv")
    data = path.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    *_, counters = session(cut)
    assert counters.get("truncated") or counters.get("read_errors")


def test_formats_that_nvdec_does_not_give_are_refused(session, tmp_path: Path) -> None:
    path = Clip(frames=3, pixel_format="yuv444p").write(tmp_path / "444.mp4")
    with pytest.raises(UnsupportedMediaError, match="allow_cpu_decode"):
        session(path)


def test_ten_bits_become_wide_slots(tmp_path: Path) -> None:
    from dualface_ray.backends.pyav import probe
    from dualface_ray.frames import PixelLayout

    path = Clip(frames=3, codec="libx265", pixel_format="yuv420p10le").write(tmp_path / "10.mp4")
    assert room.hardware_info(probe(path, Settings())).layout is PixelLayout.P010


# --- the ledger alone ----------------------------------------------------------------------------------------------
@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(0, 3), st.data())
def test_every_packet_is_shown_once_in_order(comes: list[bool], depth: int, data: st.DataObject) -> None:
    """Packets in any decoding order within a window; some never come out."""
    comes[0] = True
    ledger = PictureLedger(one_picture_each=True, step_ticks=10)
    display = [10 * n for n in range(len(comes))]
    coded = list(display)
    for start in range(1, len(coded) - depth, depth + 1):
        window = coded[start : start + depth + 1]
        coded[start : start + depth + 1] = data.draw(st.permutations(window))
    shown, waiting = [], []
    for pts in coded:
        ledger.feed(pts, None, key=False, discard=False)
        waiting.append(pts)
        while len(waiting) > depth + 1:
            smallest = min(waiting)
            waiting.remove(smallest)
            if comes[smallest // 10]:
                shown += ledger.out(smallest)
    for pts in sorted(waiting):
        if comes[pts // 10]:
            shown += ledger.out(pts)
    shown += ledger.finish()
    assert [s.raw_pts for s in shown] == display
    assert [not s.lost for s in shown] == comes
    assert ledger.counters["concealed"] == comes.count(False)


def test_duplicates_strangers_and_lead_ins() -> None:
    ledger = PictureLedger(one_picture_each=True, step_ticks=10)
    for pts, discard in ((0, True), (10, False), (10, False), (20, False)):
        assert ledger.feed(pts, None, key=pts == 0, discard=discard) == pts
    assert ledger.out(0) == []
    assert [s.raw_pts for s in ledger.out(10) + ledger.out(10) + ledger.out(15) + ledger.out(20)] == [10, 10, 15, 20]
    assert ledger.counters == {"discarded": 1, "stamps_unknown": 1}
    assert ledger.finish() == []


def test_packets_without_time_get_one_and_are_reported_without() -> None:
    ledger = PictureLedger(one_picture_each=True, step_ticks=10)
    first = ledger.feed(None, None, key=True, discard=False)
    second = ledger.feed(None, None, key=False, discard=False)
    assert second > first
    assert [s.raw_pts for s in ledger.out(first) + ledger.out(second)] == [None, None]
    third = ledger.feed(None, 77, key=False, discard=False)
    assert third == 77


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("mirrored", {"mirrored": True}),
        ("interlaced", {"options": {"x264-params": "interlaced=1"}}),
        ("hdr", {"codec": "libx265", "pixel_format": "yuv420p10le", "colour": (9, 9, 18)}),
        ("matrix", {"codec": "libx265", "pixel_format": "yuv420p10le", "colour": (1, 9, 16)}),
    ],
)
def test_what_only_the_cpu_does_goes_there_where_it_may(session, tmp_path: Path, name: str, recipe: dict) -> None:
    path = Clip(frames=6, width_px=128, height_px=96, **recipe).write(tmp_path / "a.mp4")
    found = probe(path, Settings())
    assert only_on_cpu(found, Settings())
    for allowed in (True, False):  # never silently: where it may not go there, the line says what to set
        with pytest.raises(UnsupportedMediaError, match=r"NVDEC.*allow_cpu_decode"):
            room.CudaDecodeSession(path, "s", Settings(lane={"allow_cpu_decode": allowed}))
    off = Settings(input={"deinterlace": "off"}, encode={"hdr": "keep", "codec": "hevc"})
    assert bool(only_on_cpu(found, off)) == (name != "hdr"), "its library always lets the chip deinterlace"


def test_decoded_bytes_are_limited_here_too(session, tmp_path: Path) -> None:
    path = Clip(frames=60, width_px=320, height_px=192).write(tmp_path / "a.h264")
    opened = room.CudaDecodeSession(path, "s", Settings(input={"max_decoded_bytes": 2_000_000}))
    slots = [np.empty((288, 320), np.uint8) for _ in range(16)]
    assert len(opened.decode(slots).frames) == 16
    with pytest.raises(LimitExceededError, match="max_decoded_bytes"):
        opened.decode(slots)
    opened.close()
