"""One contract, every backend: what an arena, decoder, detector, embedder, compositor and encoder must do.

``cpu`` always runs; ``cuda`` wants a card (a missing one skips, or fails where DUALFACE_REQUIRE=cuda promises it);
``double`` is the cuda backend on a stand-in for the card, kernels through the host shim.

On a GPU host, with DUALFACE_REQUIRE=cuda, DUALFACE_CACHE and DUALFACE_FACES set: python -m pytest this file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import contract
import cv2
import numpy as np
import pytest
from compose_pictures import psnr, stream, texture
from contract import Rig, decode, has_faces, scene, slot_of
from media_maker import Clip, read_number
from test_cuda_decode import damage

from dualface_ray.backends import DevicePlan, load_backend
from dualface_ray.compose import compose_reference
from dualface_ray.detect import FramePixels
from dualface_ray.errors import (
    DamagedInputError,
    DualfaceError,
    EncodeError,
    EncoderSessionsExhausted,
    InputError,
    NotAVideoError,
    StaleFrameError,
)
from dualface_ray.frames import FaceCrop, FrameFlag, FramePool, PixelLayout, PoolReader, reference_signature
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan, layout_shape
from dualface_ray.media import EncodeSpec
from dualface_ray.settings import Settings, resolve

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda), "double"],
)
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    if request.param == "cpu":
        yield Rig("cpu", load_backend("cpu"), Settings(), np)
    elif request.param == "cuda":
        import cupy

        backend = load_backend("cuda", DevicePlan(orientations=("landscape",)))
        yield Rig("cuda", backend, Settings(), cupy)
    else:
        if "cuda" in os.environ.get("DUALFACE_REQUIRE", ""):
            pytest.skip("the card itself is here")
        import host_cupy
        from test_cuda_decode import SoftwareDecoder
        from test_cuda_lane import use_ort_engines

        from dualface_ray.backends.cuda import decode as decode_room
        from dualface_ray.backends.cuda import encode as encode_room

        module = host_cupy.install(monkeypatch)
        monkeypatch.setattr(decode_room, "Decoder", SoftwareDecoder)
        monkeypatch.setattr(decode_room, "require_support", lambda *arguments: None)
        use_ort_engines(monkeypatch)
        encode_room.has_nvenc.cache_clear()
        detect = {"input_width_px": 320, "input_height_px": 192, "batch_max": 2}
        yield Rig("double", load_backend("cuda"), Settings.model_validate({"detect": detect}), module)
        host_cupy.remove()


@pytest.fixture
def faces(models: None) -> None:
    if not has_faces():
        pytest.skip(f"no portraits: set {contract.FACES}")


# --- the arena -----------------------------------------------------------------------------------------------------
def test_an_arena_is_seen_by_all_who_attach_and_freed_by_its_owner_last(rig: Rig) -> None:
    arena = rig.backend.create_arena(1 << 20, 8)
    info = stream(96, 64)
    other = rig.backend.attach_arena(arena.handle)
    arena.seal()
    arena.seal()
    assert (arena.handle.size_bytes, arena.handle.slots) == (1 << 20, 8)
    arena.view(512, info)[:] = 9
    rig.wait()
    assert (rig.down(other.view(512, info)) == 9).all()
    wide = stream(96, 64, layout=PixelLayout.P010)
    assert (other.view(0, wide).shape, other.view(0, wide).dtype) == ((96, 96), np.uint16)
    arena.generations[3] = 6
    assert int(other.generations[3]) == 6
    with pytest.raises((DualfaceError, ValueError)):
        arena.view((1 << 20) - 10, info)
    other.close()
    other.close()
    assert (rig.down(arena.view(512, info)) == 9).all(), "closing a reader takes nothing from the owner"
    arena.close()
    arena.close()


def test_a_slot_that_moved_on_is_noticed_before_and_after_a_read(rig: Rig) -> None:
    pool = FramePool(rig.backend.create_arena(1 << 20, 16))
    reader = PoolReader(rig.backend.attach_arena(pool.arena.handle))
    info = stream(96, 64)
    ring = pool.open_stream("s", 0, info, 4)

    def write(first: int, level: int) -> list[Any]:
        from dualface_ray.media import DecodedFrame

        for slot in pool.begin_many(ring, first, 2):
            slot[:] = level
        rig.wait()
        return pool.commit_many(ring, first, [DecodedFrame(first), DecodedFrame(first + 1)])

    tickets = write(0, 11)
    with reader.read(tickets[1], ring, info) as view:
        assert (rig.down(view) == 11).all()
    write(2, 12)
    write(4, 13)  # the ring has four slots: frames 0 and 1 are gone
    with pytest.raises(StaleFrameError), reader.read(tickets[0], ring, info):
        pass
    latest = write(6, 14)
    with pytest.raises(StaleFrameError), reader.read(latest[0], ring, info):
        pool.begin_many(ring, 10, 2)
    reader.close()
    pool.close()


def test_an_arena_that_cannot_be_is_refused(rig: Rig) -> None:
    for size, slots in ((1 << 50, 8), (0, 8), (1 << 20, 0)):
        with pytest.raises(DualfaceError):
            rig.backend.create_arena(size, slots)


# --- decoding ------------------------------------------------------------------------------------------------------
# fmt: off
CLIPS = {
    "plain.mp4": Clip(frames=23, width_px=256, height_px=160),
    "b-frames.mp4": Clip(
        frames=40, width_px=256, height_px=160, b_frames=3, gop=16,
        rate=Fraction(30000, 1001), time_base=Fraction(1, 30000),
    ),
    "vfr.mkv": Clip(
        frames=9, width_px=256, height_px=160, time_base=Fraction(1, 1000),
        pts_ticks=(100, 133, 140, 260, 300, 301, 400, 900, 950),
    ),
    "hevc.mp4": Clip(frames=20, width_px=256, height_px=160, codec="libx265", b_frames=2),
}
# fmt: on


@pytest.mark.parametrize("name", sorted(CLIPS))
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_every_frame_comes_once_in_order_at_its_time_with_its_signature(
    rig: Rig, tmp_path: Path, name: str, batch: int
) -> None:
    found = decode(rig, CLIPS[name].write(tmp_path / name), batch=batch)
    clip = CLIPS[name]
    pts = [p - found.pts[0] for p in found.pts]
    step = Fraction(1) * found.info.time_base / clip.base
    assert [p * step for p in pts] == [p - clip.pts[0] for p in clip.pts]
    lumas = [slot[: found.info.height_px, : found.info.width_px] for slot in found.slots]
    assert [read_number(luma) for luma in lumas] == list(range(clip.frames))
    assert all(
        np.array_equal(row, reference_signature(slot, found.info))
        for row, slot in zip(found.signatures, found.slots, strict=True)
    )
    assert found.frames[0].flags & FrameFlag.KEY
    assert found.frames[0].flags & FrameFlag.CUT_CANDIDATE
    assert not any(frame.flags & FrameFlag.CONCEALED for frame in found.frames)


def test_ten_bits_are_read(rig: Rig, tmp_path: Path) -> None:
    clip = Clip(frames=12, width_px=256, height_px=160, codec="libx265", pixel_format="yuv420p10le")
    found = decode(rig, clip.write(tmp_path / "deep.mp4"))
    assert found.info.layout is (PixelLayout.P010 if rig.on_device else PixelLayout.NV12)
    shift = 8 if rig.on_device else 0
    assert [read_number((slot >> shift)[:160, :256].astype(np.uint8)) for slot in found.slots] == list(range(12))


def test_a_lost_picture_is_concealed_or_stops_as_the_settings_say(rig: Rig, tmp_path: Path) -> None:
    whole = Clip(frames=24, width_px=256, height_px=160, gop=6, options={"x264-params": "ref=1"}).write(
        tmp_path / "whole.mp4"
    )
    broken = damage(whole, 10, tmp_path / "broken.mp4")
    found = decode(rig, broken)
    assert found.pts == decode(rig, whole).pts, "one frame out per frame in"
    assert found.counters, "and it is counted"
    with pytest.raises(DamagedInputError):
        decode(rig, broken, on_damage="stop")


def test_a_file_cut_off_gives_what_it_has_or_stops_as_the_settings_say(rig: Rig, tmp_path: Path) -> None:
    whole = Clip(frames=100, width_px=256, height_px=160).write(tmp_path / "whole.mkv")
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    found = decode(rig, cut)
    assert 20 < len(found.frames) < 80
    assert found.counters.get("truncated") or found.counters.get("read_errors")
    with pytest.raises(DamagedInputError):
        decode(rig, cut, on_damage="stop")


def test_what_is_no_video_is_refused_when_it_is_opened(rig: Rig, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("not a video")
    for path in (empty, text, tmp_path / "absent.mp4"):
        with pytest.raises(InputError):
            rig.backend.open_decoder(path, "s", rig.settings, 1)
    with pytest.raises(NotAVideoError):
        rig.backend.open_decoder(empty, "s", rig.settings, 1)


# --- the detector --------------------------------------------------------------------------------------------------
TWO = (("astronaut.png", 1.3, 0.25, 0.45), ("grace_hopper.jpg", 0.75, 0.75, 0.5))


def near(boxes: np.ndarray, place: tuple[float, float]) -> float:
    """How far the nearest box's centre lies from a place, in widths of that box."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.linalg.norm(centres - np.array(place), axis=1)
    nearest = int(apart.argmin())
    return float(apart[nearest] / (boxes[nearest, 2] - boxes[nearest, 0]))


def test_faces_are_found_where_they_are_whatever_shares_their_batch(rig: Rig, faces: None) -> None:
    detector = rig.backend.load_detector(rig.settings, 2)
    empty = np.full((360, 640, 3), 90, np.uint8)
    given: list[tuple[np.ndarray, list[tuple[float, float]]]] = [
        scene(1280, 720, TWO),
        (empty, []),
        scene(640, 360, [(TWO[0][0], 0.65, 0.6, 0.5)]),
        scene(960, 720, TWO[1:]),
        scene(1280, 720, [(TWO[1][0], 0.6, 0.2, 0.4), (TWO[0][0], 1.0, 0.8, 0.5)]),
    ]
    layouts = [PixelLayout.NV12, PixelLayout.NV12, PixelLayout.NV12, PixelLayout.P010, PixelLayout.NV12]
    frames = []
    for (rgb, _), layout in zip(given, layouts, strict=True):
        slot, info = slot_of(rgb, layout)
        frames.append(FramePixels(rig.up(slot), info))
    found = detector.detect(frames)
    assert [len(one) for one in found] == [len(places) for _, places in given]
    for one, (rgb, places) in zip(found, given, strict=True):
        assert all(near(one.boxes_px, place) < 0.3 for place in places)
        assert np.all(np.diff(one.scores) <= 0), "best first"
        if len(one):
            assert one.boxes_px.min() >= 0
            assert (one.boxes_px[:, 2:] <= np.array(rgb.shape[1::-1])).all()
            inside = (one.landmarks_px >= one.boxes_px[:, None, :2]) & (one.landmarks_px <= one.boxes_px[:, None, 2:])
            assert inside.mean() > 0.9
    alone = detector.detect(frames[:1])[0]
    assert np.abs(alone.boxes_px - found[0].boxes_px).max() < 1, "a batch changes nothing"
    assert np.abs(alone.descriptors - found[0].descriptors).max() < 0.1
    assert detector.detect([]) == []
    detector.close()
    detector.close()


def test_the_cpu_agrees_within_a_pixel(rig: Rig, faces: None) -> None:
    if not rig.on_device:
        pytest.skip("it is the CPU")
    slot, info = slot_of(scene(1280, 720, TWO)[0])
    mine, other = rig.backend.load_detector(rig.settings, 2), load_backend("cpu").load_detector(rig.settings, 2)
    (found,), (wanted,) = mine.detect([FramePixels(rig.up(slot), info)]), other.detect([FramePixels(slot, info)])
    assert len(found) == len(wanted) == 2
    assert np.abs(found.boxes_px - wanted.boxes_px).max() <= 1
    assert np.linalg.norm(found.descriptors - wanted.descriptors, axis=1).max() < 0.12
    mine.close()
    other.close()


# --- the embedder --------------------------------------------------------------------------------------------------
def test_one_person_is_near_and_another_far_however_they_hold_their_head(rig: Rig, faces: None) -> None:
    detector = load_backend("cpu").load_detector(Settings(), 2)
    embedder = rig.backend.load_embedder(rig.settings, 2)
    upright, _ = scene(1280, 720, TWO)
    small, _ = scene(1280, 720, [(name, factor * 0.7, x, y) for name, factor, x, y in TWO])
    turn = cv2.getRotationMatrix2D((640, 360), 12, 1.0)
    tilted = cv2.warpAffine(upright, turn, (1280, 720), borderValue=(70, 70, 70))
    frames, crops = [], []
    for rgb in (upright, small, tilted):
        slot, info = slot_of(rgb)
        (one,) = detector.detect([FramePixels(slot, info)])
        assert len(one) == 2
        for row in np.argsort(one.boxes_px[:, 0]):
            frames.append(FramePixels(rig.up(slot), info))
            crops.append(FaceCrop(0, tuple(map(float, one.boxes_px[row])), one.landmarks_px[row]))
    found = embedder.embed(frames, crops)
    assert found.shape == (6, embedder.size)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    left, right = found[0::2], found[1::2]
    same = [np.linalg.norm(group[a] - group[b]) for group in (left, right) for a, b in ((0, 1), (0, 2), (1, 2))]
    others = [np.linalg.norm(a - b) for a in left for b in right]
    assert max(same) < 0.35 < 0.42 < min(others), (same, others)
    again = embedder.embed(frames[::-1], crops[::-1])[::-1]
    assert np.abs(again - found).max() < 0.02, "order and company change nothing"
    embedder.close()
    embedder.close()
    detector.close()


# --- the compositor ------------------------------------------------------------------------------------------------
def tiles_of(layout: str, width: int, height: int) -> tuple[CanvasPlan, ...]:
    """The canvases of a layout at a quarter of their size, with crops off whole pixels and up to the edges."""
    shape = layout_shape(resolve(layout=layout))
    crops = ((0.0, 0.0, width * 0.43, height * 0.97), (width * 0.5711, height * 0.0313, float(width), float(height)))
    canvases = []
    for number, (across, down) in enumerate(shape.canvases):
        tiles = tuple(
            TilePlan(crop, t.x_px // 4, t.y_px // 4, t.width_px // 4, t.height_px // 4)
            for crop, t in zip(crops, shape.tiles, strict=True)
            if t.canvas == number
        )
        canvases.append(CanvasPlan(across // 4, down // 4, tiles))
    return tuple(canvases)


@pytest.mark.parametrize("layout", ["side_by_side", "stacked", "separate"])
@pytest.mark.parametrize(
    "kind",
    ["plain", "deep", "turned", "odd", "anamorphic"],
)
def test_pictures_are_drawn_as_the_reference_draws_them(rig: Rig, layout: str, kind: str) -> None:
    info = {
        "plain": stream(320, 180),
        "deep": stream(320, 180, layout=PixelLayout.P010),
        "turned": stream(320, 180, rotation=90),
        "odd": stream(321, 181),
        "anamorphic": stream(240, 180, aspect=Fraction(4, 3)),
    }[kind]
    slot = texture(info, np.random.default_rng(7))
    plan = FramePlan(0, 0, tiles_of(layout, info.display_width_px, info.display_height_px))
    check(rig, info, slot, plan)


@pytest.mark.parametrize(
    "crop",
    [(11.3, 7.9, 40.2, 31.7), (0.0, 0.0, 2.0, 2.0), (300.0, 170.0, 320.0, 180.0), (0.0, 0.0, 320.0, 180.0)],
)
def test_crops_are_enlarged_and_shrunk_up_to_the_edges(rig: Rig, crop: tuple[float, float, float, float]) -> None:
    info = stream(320, 180)
    slot = texture(info, np.random.default_rng(8))
    for width, height in ((240, 136), (64, 36)):
        plan = FramePlan(0, 0, (CanvasPlan(width + 8, height, (TilePlan(crop, 4, 0, width, height),)),))
        check(rig, info, slot, plan)


def check(rig: Rig, info: Any, slot: np.ndarray, plan: FramePlan) -> None:
    compositor = rig.backend.open_compositor(rig.settings)
    wanted = compose_reference(info, slot, plan)
    (found,) = compositor.compose(info, [rig.up(slot)], [plan])
    for canvas, expected in zip(found, wanted, strict=True):
        got = rig.down(canvas)
        assert got.shape == expected.shape
        quality = psnr(got, expected)
        assert quality >= 45, f"{quality:.1f} dB"
    compositor.close()
    compositor.close()


def test_a_chunk_is_its_frames(rig: Rig) -> None:
    info = stream(320, 180)
    slots = [texture(info, np.random.default_rng(n)) for n in range(3)]
    crops = [(10.0 + n, 5.0, 150.0 + n, 90.0) for n in range(3)]
    plans = [FramePlan(n, n, (CanvasPlan(96, 64, (TilePlan(c, 0, 0, 96, 64),)),)) for n, c in enumerate(crops)]
    compositor = rig.backend.open_compositor(rig.settings)
    size = rig.backend.compose_frames
    for first in range(0, 3, size):
        part = slice(first, first + size)
        drawn = compositor.compose(info, [rig.up(s) for s in slots[part]], plans[part])
        for (canvas,), slot, plan in zip(drawn, slots[part], plans[part], strict=True):
            assert psnr(rig.down(canvas), compose_reference(info, slot, plan)[0]) >= 45
    with pytest.raises(ValueError, match="slots"):
        compositor.compose(info, [rig.up(slots[0])], plans[:2])
    compositor.close()


# --- the encoder ---------------------------------------------------------------------------------------------------
SPEC = EncodeSpec(256, 160, Fraction(1, 30000), Fraction(30000, 1001), gop_frames=12, preset="veryfast")


def canvas(number: int) -> np.ndarray:
    from media_maker import picture

    return np.concatenate([picture(number, 256, 160), np.full((80, 256), 128, np.uint8)])


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_pictures_come_out_of_the_encoder_in_order_at_their_times(rig: Rig, codec: str) -> None:
    from dataclasses import replace

    encoder = rig.backend.open_encoder(replace(SPEC, codec=codec))
    packets = []
    for number in range(40):
        packets += encoder.encode(rig.up(canvas(number)), 1001 * number)
    packets += encoder.finish()
    assert encoder.finish() == []
    head = encoder.extradata
    assert head
    assert [p.pts_ticks for p in packets] == [p.dts_ticks for p in packets] == [1001 * n for n in range(40)]
    assert [n for n, p in enumerate(packets) if p.key][:4] == [0, 12, 24, 36], "a group of pictures is its length"
    with pytest.raises(EncodeError):
        encoder.encode(rig.up(canvas(41)), 1001 * 41)
    encoder.close()
    encoder.close()
    reader = av.CodecContext.create(codec, "r")
    pictures = [f for p in packets for f in reader.decode(av.Packet(head * p.key + p.data))] + reader.decode(None)
    lumas = [f.to_ndarray(format="gray") for f in pictures]
    assert [read_number(luma) for luma in lumas] == list(range(40))


def test_an_encoder_refuses_what_it_was_not_opened_for_and_closes_in_the_middle(rig: Rig) -> None:
    encoder = rig.backend.open_encoder(SPEC)
    with pytest.raises(EncodeError):
        encoder.encode(rig.up(canvas(0)[:, :128]), 0)
    encoder.encode(rig.up(canvas(0)), 1)
    encoder.close()
    encoder.close()


def test_many_sessions_at_once_each_give_their_own_pictures(rig: Rig) -> None:
    encoders = [rig.backend.open_encoder(SPEC) for _ in range(3)]
    packets: list[list[Any]] = [[] for _ in encoders]
    for number in range(15):
        for index, encoder in enumerate(encoders):
            packets[index] += encoder.encode(rig.up(canvas(number + 100 * index)), number * (index + 1))
    for index, encoder in enumerate(encoders):
        packets[index] += encoder.finish()
        assert [p.pts_ticks for p in packets[index]] == [n * (index + 1) for n in range(15)]
        encoder.close()


@pytest.mark.cuda
def test_sessions_beyond_the_plan_are_a_typed_error_and_come_back() -> None:
    from dualface_ray.backends.cuda.encode import has_nvenc

    if not has_nvenc("h264"):
        pytest.skip("this card has no NVENC")
    backend = load_backend("cuda", DevicePlan(encoder="nvenc", encoder_sessions=1))
    first = backend.open_encoder(SPEC)
    with pytest.raises(EncoderSessionsExhausted):
        backend.open_encoder(SPEC)
    first.close()
    backend.open_encoder(SPEC).close()
