"""The CUDA kernels without a device: NVRTC compiles them for every card, and their arithmetic equals the references."""

from __future__ import annotations

import ctypes
import importlib.util
from fractions import Fraction
from pathlib import Path

import cuda_shim
import cv2
import numpy as np
import pytest

from dualface_ray.backends.cuda.kernels import (
    COMPILE_OPTIONS,
    COMPOSE_SPAN,
    COMPOSE_TILE,
    FACE_FLOATS,
    KERNELS,
    letterbox_grid,
    source,
)
from dualface_ray.detect import Letterbox, decode_outputs, suppress, yuv_to_rgb_matrix
from dualface_ray.frames import SIGNATURE_BYTES, Colour, PixelLayout, StreamInfo
from dualface_ray.frames.signature import reference_signature

ARCHITECTURES = ("compute_75", "compute_80", "compute_86", "compute_89", "compute_90", "compute_120")


def stream(width: int, height: int, layout: PixelLayout = PixelLayout.NV12, **more: object) -> StreamInfo:
    return StreamInfo("s", width, height, Fraction(1, 30000), Fraction(30), layout=layout, **more)


def picture(info: StreamInfo, seed: int = 0) -> np.ndarray:
    """A slot with smooth structure, edges and some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = info.slot_height_px, info.slot_width_px
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    luma = 118 + 70 * np.sin(x / 23) * np.cos(y / 17) + 30 * ((x // 40 + y // 30) % 2) + rng.normal(0, 3, y.shape)
    cy, cx = np.mgrid[0 : rows // 2, 0 : columns // 2].astype(np.float32)
    blue = 128 + 50 * np.sin(cx / 31) + rng.normal(0, 2, cy.shape)
    red = 128 + 50 * np.cos(cy / 19) + rng.normal(0, 2, cy.shape)
    chroma = np.stack([blue, red], axis=-1).reshape(rows // 2, columns)
    whole = np.clip(np.concatenate([luma, chroma]), 4, 250)
    if info.layout is PixelLayout.NV12:
        return np.ascontiguousarray(np.rint(whole).astype(np.uint8))
    return np.ascontiguousarray(np.rint(whole * 4).astype(np.uint16) << 6)


# --- NVRTC ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def nvrtc() -> ctypes.CDLL:
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or []) if spec else []
    found = [path for root in roots for path in Path(root).rglob("libnvrtc.so*")]
    if not found:
        pytest.skip("the wheel nvidia-cuda-nvrtc is not installed")
    return ctypes.CDLL(str(found[0]))


def compile_ptx(nvrtc: ctypes.CDLL, text: str, architecture: str) -> bytes:
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None) == 0
    options = [option.encode() for option in (*COMPILE_OPTIONS, f"--gpu-architecture={architecture}")]
    status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    assert b"warning" not in log.value, log.value.decode()
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, code)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code.value


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_nvrtc_compiles_every_kernel(nvrtc: ctypes.CDLL, name: str, architecture: str) -> None:
    ptx = compile_ptx(nvrtc, source(name), architecture)
    for entry in KERNELS[name]:
        assert f".entry {entry}(".encode() in ptx


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_the_table_of_kernels_is_complete(name: str) -> None:
    assert set(cuda_shim.entries(source(name))) == set(KERNELS[name])
    folder = Path(importlib.util.find_spec("dualface_ray.backends.cuda.kernels").submodule_search_locations[0])
    assert {path.stem for path in folder.glob("*.cu")} == set(KERNELS)


# --- letterbox -----------------------------------------------------------------------------------------------------
def letterbox_items(slots: list[np.ndarray], infos: list[StreamInfo], boxes: list[Letterbox]) -> np.ndarray:
    from dualface_ray.backends.cuda.records import letterbox_items as records

    return records([(s.ctypes.data, i, b) for s, i, b in zip(slots, infos, boxes, strict=True)])


def axis_matrix(content: int, size: int, spread: float) -> np.ndarray:
    """Weights (content, size) of one axis by the kernel's definition, in float64."""
    weights = np.zeros((content, size))
    step = size / content
    for index in range(content):
        centre, half = (index + 0.5) * step, 0.5 * step * spread
        if half * 2 > 1:
            low, high = max(0.0, centre - half), min(float(size), centre + half)
            edges = np.arange(size)
            weights[index] = np.clip(np.minimum(high, edges + 1) - np.maximum(low, edges), 0, None) / (high - low)
        else:
            position = min(max(centre - 0.5, 0.0), size - 1.0)
            first = int(position)
            weights[index, first] += 1 - (position - first)
            weights[index, min(first + 1, size - 1)] += position - first
    return weights


def letterbox_reference(slot: np.ndarray, info: StreamInfo, box: Letterbox) -> np.ndarray:
    """float64 (3, H, W): what the kernel is defined to make."""
    samples = slot.astype(np.float64) / (256 if info.layout is PixelLayout.P010 else 1)
    luma = samples[: info.height_px, : info.width_px]
    chroma = samples[info.slot_height_px :].reshape(info.slot_height_px // 2, info.slot_width_px // 2, 2)
    width, height = box.stored_content_px
    light = axis_matrix(height, info.height_px, 1) @ luma @ axis_matrix(width, info.width_px, 1).T
    down = axis_matrix(height, chroma.shape[0], 2)
    across = axis_matrix(width, chroma.shape[1], 2)
    blue, red = (down @ chroma[..., k] @ across.T for k in (0, 1))
    matrix = yuv_to_rgb_matrix(info.colour, info.height_px).astype(np.float64)
    rgb = np.einsum("ck,khw->chw", matrix[:, :3], np.stack([light, blue, red])) + matrix[:, 3, None, None]
    rgb = np.rot90(rgb, -info.rotation_deg // 90, axes=(1, 2))
    out = np.zeros((3, box.input_height_px, box.input_width_px))
    out[:, : rgb.shape[1], : rgb.shape[2]] = np.clip(rgb, 0, 255)
    return out


SHAPES = [
    stream(320, 180),
    stream(321, 179, colour=Colour(matrix=1, full_range=True)),
    stream(90, 50, PixelLayout.P010, colour=Colour(matrix=9)),
    stream(256, 144, rotation_deg=90),
    stream(256, 144, rotation_deg=180, colour=Colour(matrix=6)),
    stream(255, 143, rotation_deg=270, sample_aspect=Fraction(4, 3)),
    stream(16, 16),
]


@pytest.mark.parametrize("info", SHAPES, ids=lambda i: f"{i.width_px}x{i.height_px}-{i.layout.value}-{i.rotation_deg}")
def test_letterbox_equals_its_reference(info: StreamInfo) -> None:
    slot = picture(info)
    box = Letterbox.fit(info, 160, 96)
    out = np.full((1, 3, box.input_height_px, box.input_width_px), -1, np.float32)
    items = letterbox_items([slot], [info], [box])
    size = box.input_width_px, box.input_height_px
    cuda_shim.run("letterbox", "letterbox_float", letterbox_grid(*size, 1), 128, items, out, *size)
    expected = letterbox_reference(slot, info, box)
    assert np.abs(out[0] - expected).max() <= 0.51  # rounding to whole levels, and float32 on the way


def test_letterbox_of_a_mixed_batch_is_that_of_each_alone_and_half_is_exact() -> None:
    infos = [stream(320, 180), stream(90, 50, PixelLayout.P010, colour=Colour(matrix=9)), stream(321, 179)]
    slots = [picture(info, seed) for seed, info in enumerate(infos)]
    boxes = [Letterbox.fit(info, 160, 96) for info in infos]
    items = letterbox_items(slots, infos, boxes)
    whole = np.zeros((3, 3, 96, 160), np.float32)
    half = np.zeros((3, 3, 96, 160), np.float16)
    cuda_shim.run("letterbox", "letterbox_float", letterbox_grid(160, 96, 3), 128, items, whole, 160, 96)
    cuda_shim.run("letterbox", "letterbox_half", letterbox_grid(160, 96, 3), 128, items, half, 160, 96)
    assert np.array_equal(whole, half.astype(np.float32))  # whole levels to 255 are exact in half precision
    for row in range(3):
        alone = np.zeros((1, 3, 96, 160), np.float32)
        cuda_shim.run(
            "letterbox", "letterbox_float", letterbox_grid(160, 96, 1), 128, items[row : row + 1].copy(), alone, 160, 96
        )
        assert np.array_equal(alone[0], whole[row])


def test_letterbox_is_near_the_cpu_lane() -> None:
    from dualface_ray.backends.cpu.letterbox import letterboxed_rgb

    info = stream(1280, 720, colour=Colour(matrix=1))
    slot = picture(info)
    slot[:] = cv2.GaussianBlur(slot, (5, 5), 0)
    box = Letterbox.fit(info, 640, 384)
    expected = np.empty((3, 384, 640), np.float32)
    letterboxed_rgb(slot, info, box, expected)
    out = np.zeros((1, 3, 384, 640), np.float32)
    cuda_shim.run(
        "letterbox",
        "letterbox_float",
        letterbox_grid(640, 384, 1),
        128,
        letterbox_items([slot], [info], [box]),
        out,
        640,
        384,
    )
    error = np.abs(out[0] - expected)
    assert error.mean() < 1.5
    assert np.percentile(error, 99) < 6


def test_shrinking_leaves_no_alias() -> None:
    """Lines as fine as the samples must become grey, not stripes."""
    info = stream(640, 384)
    slot = np.full((info.slot_height_px * 3 // 2, info.slot_width_px), 128, np.uint8)
    slot[:384] = np.where(np.arange(640) % 2, 235, 16)
    box = Letterbox.fit(info, 160, 96)
    out = np.zeros((1, 3, 96, 160), np.float32)
    cuda_shim.run(
        "letterbox",
        "letterbox_float",
        letterbox_grid(160, 96, 1),
        128,
        letterbox_items([slot], [info], [box]),
        out,
        160,
        96,
    )
    assert np.ptp(out) <= 2


# --- CenterFace ----------------------------------------------------------------------------------------------------
def run_centerface(maps: list[np.ndarray], *, min_score: float, max_iou: float, max_faces: int, threads: int = 32):
    batch, _, rows, columns = maps[0].shape
    counts = np.full(batch, -1, np.int32)
    faces = np.zeros((batch, max_faces, FACE_FLOATS), np.float32)
    arguments = (*maps, rows, columns, min_score, max_iou, max_faces, counts, faces)
    cuda_shim.run("centerface", "centerface", (batch, 1, 1), threads, *arguments)
    return counts, faces


def maps_with_faces(seed: int, batch: int = 3, rows: int = 24, columns: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    heat = rng.uniform(0, 0.3, (batch, 1, rows, columns)).astype(np.float32)
    for one in heat[:, 0]:
        for _ in range(int(rng.integers(0, 12))):
            y, x = int(rng.integers(0, rows)), int(rng.integers(0, columns))
            one[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] += rng.uniform(0.1, 0.5)
            one[y, x] = rng.uniform(0.5, 1.0)
            if x and rng.random() < 0.5:
                one[y, x - 1] = one[y, x] - rng.uniform(0.001, 0.1)  # between two cells
    size = rng.uniform(0, 2.5, (batch, 2, rows, columns)).astype(np.float32)
    offset = rng.uniform(-0.5, 0.5, (batch, 2, rows, columns)).astype(np.float32)
    points = rng.uniform(0, 1, (batch, 10, rows, columns)).astype(np.float32)
    return [np.ascontiguousarray(m) for m in (heat, size, offset, points)]


@pytest.mark.parametrize("seed", range(6))
def test_centerface_equals_decoding_and_suppression(seed: int) -> None:
    maps = maps_with_faces(seed)
    counts, faces = run_centerface(maps, min_score=0.4, max_iou=0.3, max_faces=8)
    for index in range(len(counts)):
        found = decode_outputs(maps[0][index, 0], maps[1][index], maps[2][index], maps[3][index], 0.4)
        expected = suppress(found, 0.3, 8)
        assert counts[index] == len(expected)
        rows = faces[index, : counts[index]]
        assert np.allclose(rows[:, :4], expected.boxes_px, atol=1e-3)
        assert np.array_equal(rows[:, 4], expected.scores)
        assert np.allclose(rows[:, 5:].reshape(-1, 5, 2), expected.landmarks_px, atol=2e-3)


def test_centerface_with_nothing_and_with_too_much() -> None:
    maps = maps_with_faces(1, batch=2, rows=96, columns=96)
    maps[0][0] = 0.01
    # Every other cell of every other row is a peak: 2304 of them, more than the kernel's 1024 places.
    maps[0][1] = 0.0
    scores = np.random.default_rng(5).permutation(2304).astype(np.float32) / 2400 + 0.03
    maps[0][1, 0, ::2, ::2] = scores.reshape(48, 48)
    maps[1][:] = -1.0  # boxes of 1.5 px: no overlap
    counts, faces = run_centerface(maps, min_score=0.02, max_iou=0.3, max_faces=64)
    assert counts[0] == 0
    assert counts[1] == 64
    assert np.array_equal(faces[1, :, 4], np.sort(scores)[::-1][:64])


def test_centerface_survives_broken_maps() -> None:
    maps = maps_with_faces(2, batch=1)
    maps[1][:] = 1e30
    maps[0][0, 0, 0, 0] = np.nan
    counts, faces = run_centerface(maps, min_score=0.4, max_iou=0.3, max_faces=4)
    assert 0 <= counts[0] <= 4
    assert np.isfinite(faces[0, : counts[0], :4]).all()


# --- signature and edges -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", list(PixelLayout))
@pytest.mark.parametrize("size", [(1920, 1080), (641, 359), (16, 16), (17, 33)])
def test_signature_is_the_reference_byte_for_byte(size: tuple[int, int], layout: PixelLayout) -> None:
    info = stream(*size, layout)
    slots = [picture(info, seed) for seed in range(2)]
    slots[1][:] = 0
    pointers = np.array([slot.ctypes.data for slot in slots], np.uint64)
    out = np.zeros((2, SIGNATURE_BYTES), np.uint8)
    wide = int(layout is PixelLayout.P010)
    cuda_shim.run(
        "signature", "signature", (2, 1, 1), 16, pointers, info.slot_width_px, info.slot_height_px, *size, wide, out
    )
    for row, slot in enumerate(slots):
        assert np.array_equal(out[row], reference_signature(slot, info))


@pytest.mark.parametrize("layout", list(PixelLayout))
@pytest.mark.parametrize("size", [(33, 20), (32, 21), (33, 21), (32, 20)])
def test_edges_of_odd_pictures_are_repeated(size: tuple[int, int], layout: PixelLayout) -> None:
    info = stream(*size, layout)
    slot = picture(info)
    expected = slot.copy()
    luma = expected[: info.slot_height_px]
    luma[:, info.width_px :] = luma[:, info.width_px - 1 : info.width_px]
    luma[info.height_px :] = luma[info.height_px - 1 : info.height_px]
    slot[: info.slot_height_px, info.width_px :] = 7
    slot[info.height_px : info.slot_height_px] = 9
    wide = int(layout is PixelLayout.P010)
    cuda_shim.run("surface", "repeat_edges", (1, 1, 1), 64, slot, info.slot_width_px, *size, wide)
    assert np.array_equal(slot, expected)


# --- appearance and chips --------------------------------------------------------------------------------------------
LOOKS = [
    stream(640, 360),
    stream(641, 359, PixelLayout.P010, rotation_deg=90),
    stream(640, 360, rotation_deg=180),
    stream(640, 360, rotation_deg=270, sample_aspect=Fraction(4, 3)),
]


def described(patches: np.ndarray, infos: list[StreamInfo]) -> np.ndarray:
    from dualface_ray.backends.cuda.records import face_items
    from dualface_ray.detect import APPEARANCE_TUNING

    out = np.full((len(patches), 64), 9, np.float32)
    arguments = (np.ascontiguousarray(patches), face_items(infos), APPEARANCE_TUNING, out)
    cuda_shim.run("appearance", "describe", (len(patches), 1, 1), 16, *arguments)
    return out


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_descriptors_equal_the_definition(rotation_deg: int, full_range: bool) -> None:
    from dualface_ray.detect import describe_appearance

    rng = np.random.default_rng(rotation_deg)
    patches = rng.uniform(20, 220, (7, 3, 16, 16, 3)).astype(np.float32)
    patches[1] = 128  # grey all over
    patches[2, :, :5] = np.nan  # a part lies beyond the picture
    patches[3, 2] = np.nan  # no face cell at all
    patches[4, 1] = np.nan  # no body
    patches[5] = np.nan  # nothing
    patches[6, ..., 0] = 3  # below black
    info = stream(64, 64, rotation_deg=rotation_deg, colour=Colour(full_range=full_range))
    upright = np.rot90(patches, -(rotation_deg // 90), axes=(2, 3))
    expected = describe_appearance(upright, full_range=full_range)
    got = described(patches, [info] * 7)
    assert np.abs(got - expected).max() < 2e-5
    assert not got[5].any()


@pytest.mark.parametrize("info", LOOKS, ids=lambda i: f"{i.layout.value}-{i.rotation_deg}")
def test_descriptors_are_those_of_the_cpu_lane(info: StreamInfo) -> None:
    from dualface_ray.backends.cpu.descriptor import appearance
    from dualface_ray.backends.cuda.records import patch_items
    from dualface_ray.detect import FramePixels

    slot = picture(info)
    w, h = info.display_width_px, info.display_height_px
    centres = [(0.3, 0.4, 60), (0.6, 0.5, 25), (0.02, 0.05, 80), (0.97, 0.9, 40), (0.5, 0.5, 6)]
    boxes = np.array(
        [[x * w - s / 2, y * h - s / 2, x * w + s / 2, y * h + s / 2 + 3] for x, y, s in centres], np.float32
    )
    items = patch_items(slot.ctypes.data, info, boxes)
    patches = np.zeros((len(items), 16, 16, 3), np.float32)
    cuda_shim.run("appearance", "patches", (len(items), 1, 1), 64, items, patches)
    assert np.isnan(patches).any()
    got = described(patches.reshape(-1, 3, 16, 16, 3), [info] * len(boxes))
    expected = appearance(FramePixels(slot, info), boxes)
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected, axis=1).max() < 0.12  # the CPU thins large cells out differently
    assert np.linalg.norm(got - expected, axis=1).mean() < 0.06


@pytest.mark.parametrize("info", LOOKS, ids=lambda i: f"{i.layout.value}-{i.rotation_deg}")
def test_chips_are_those_of_the_cpu_lane(info: StreamInfo) -> None:
    from dualface_ray.backends.cpu.embedder import aligned_chip
    from dualface_ray.backends.cuda.records import chip_item, chip_items
    from dualface_ray.detect import FramePixels
    from dualface_ray.frames import FaceCrop
    from dualface_ray.models import model_spec

    facts = model_spec("dlib-resnet").input
    template = np.array(facts.landmarks_px, np.float64)
    slot = picture(info)
    slot[:] = cv2.GaussianBlur(slot, (5, 5), 0)
    crops = []
    for x, y, size in ((150.0, 120.0, 90.0), (250.0, 200.0, 300.0), (10.0, 10.0, 60.0)):
        points = np.array([[0.3, 0.36], [0.7, 0.38], [0.5, 0.55], [0.33, 0.73], [0.67, 0.74]], np.float32) * size
        box = (x, y, x + size, y + size)
        crops.append(FaceCrop(0, box, points + np.array([x, y], np.float32)))
    items = chip_items([chip_item(slot.ctypes.data, info, crop, template) for crop in crops])
    out = np.zeros((len(crops), 3, 150, 150), np.float32)
    means = (0.0, 0.0, 0.0)
    cuda_shim.run("chips", "chips_float", (176, 1, 3), 128, items, out, 150, 150, *means, 1.0, 0)
    for row, crop in enumerate(crops):
        expected = aligned_chip(FramePixels(slot, info), crop, facts).transpose(2, 0, 1).astype(np.float32)
        error = np.abs(out[row] - expected)
        assert error.mean() < 2.5
    half = np.zeros((len(crops), 3, 150, 150), np.float16)
    cuda_shim.run("chips", "chips_half", (176, 1, 3), 128, items, half, 150, 150, 127.5, 127.5, 127.5, 1 / 127.5, 1)
    assert np.allclose(half[:, ::-1].astype(np.float32), (out - 127.5) / 127.5, atol=1e-3)


# --- composition ---------------------------------------------------------------------------------------------------
def draw(info: StreamInfo, slot: np.ndarray, plan, threads: int = 32, deep: bool = False) -> np.ndarray:
    from dualface_ray.backends.cuda.records import compose_job, compose_jobs, compose_words

    canvas = np.zeros((plan.height_px * 3 // 2, plan.width_px), np.uint16 if deep else np.uint8)
    pointer = np.array([canvas.ctypes.data], np.uint64)
    cuda_shim.run(
        "compose", "blacken", (-(-canvas.size // 64), 1, 1), 64, pointer, plan.width_px, plan.height_px, int(deep)
    )
    size = (plan.width_px, plan.height_px)
    jobs = compose_jobs(
        [compose_job(slot.ctypes.data, info, tile, canvas.ctypes.data, size, deep=deep) for tile in plan.tiles]
    )
    across = max(-(-tile.width_px // COMPOSE_TILE) for tile in plan.tiles)
    down = max(-(-tile.height_px // COMPOSE_TILE) for tile in plan.tiles)
    words, guard = compose_words(jobs), 64
    rows = np.full(len(jobs) * words + guard, np.nan, np.float32)
    spans = -(-max(max(tile.width_px, tile.height_px) for tile in plan.tiles) // COMPOSE_SPAN)
    cuda_shim.run("compose", "compose_rows", (spans, 4, len(jobs)), threads, jobs, rows, words)
    assert np.isnan(rows[-guard:]).all()
    cuda_shim.run("compose", "compose", (across, down, len(jobs)), threads, jobs, rows, words)
    return canvas


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


PLANS = {
    "enlarged": (stream(320, 180), (40.3, 20.7, 140.3, 120.7), 96, 96),
    "as it is": (stream(320, 180), (64.0, 32.0, 192.0, 128.0), 128, 96),
    "half": (stream(320, 180), (0.0, 0.0, 320.0, 180.0), 160, 90),
    "an eighth": (stream(640, 360), (3.0, 1.0, 639.0, 350.0), 78, 42),
    "matrix and range": (stream(320, 180, colour=Colour(matrix=6, full_range=True)), (10.0, 8.0, 200.5, 150.0), 96, 70),
    "ten bits": (stream(320, 180, PixelLayout.P010, colour=Colour(matrix=9)), (10.0, 8.0, 200.5, 150.0), 96, 70),
    "turned 90": (stream(320, 180, rotation_deg=90, colour=Colour(matrix=6)), (20.0, 40.0, 160.0, 250.0), 70, 100),
    "turned 180": (stream(321, 179, rotation_deg=180, colour=Colour(matrix=6)), (20.5, 4.0, 200.0, 150.0), 100, 80),
    "turned 270": (stream(320, 180, rotation_deg=270, colour=Colour(matrix=1)), (20.0, 40.0, 160.0, 250.0), 70, 100),
    "wide pixels": (stream(320, 180, sample_aspect=Fraction(4, 3)), (100.0, 10.0, 400.0, 170.0), 120, 64),
}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_composition_equals_the_reference(name: str) -> None:
    from dualface_ray.compose import compose_reference
    from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

    info, source, width, height = PLANS[name]
    slot = picture(info)
    tile = TilePlan(source, 4, 2, width, height)
    plan = CanvasPlan(width + 10, height + 6, (tile,))
    expected = compose_reference(info, slot, FramePlan(0, 0, (plan,)))[0]
    canvas = draw(info, slot, plan)
    assert np.abs(canvas.astype(int) - expected).max() <= 1
    assert psnr(canvas, expected) > 60


def test_rows_of_weights_are_those_of_the_definition() -> None:
    """Every weight of all four axes of two jobs, and where the kernels look for them."""
    from dualface_ray.backends.cuda.records import compose_job, compose_jobs, compose_words
    from dualface_ray.compose import CHROMA, LUMA, axis_stages, axis_taps, tile_map
    from dualface_ray.framing import TilePlan

    info = stream(640, 360)
    tiles = [TilePlan((3.0, 1.0, 639.0, 350.0), 0, 0, 78, 142), TilePlan((40.3, 20.7, 140.3, 120.7), 0, 0, 296, 98)]
    jobs = compose_jobs([compose_job(64, info, tile, 64, (640, 360), deep=False) for tile in tiles])
    words = compose_words(jobs)
    rows = np.full((2, words), np.nan, np.float32)
    cuda_shim.run("compose", "compose_rows", (3, 4, 2), 32, jobs, rows, words)
    for number, tile in enumerate(tiles):
        where, at = tile_map(info, tile), 0
        for axis, quality in (
            (where.luma_x, LUMA),
            (where.luma_y, LUMA),
            (where.chroma_x, CHROMA),
            (where.chroma_y, CHROMA),
        ):
            first, weights = axis_taps(axis, quality)
            weights = weights[:, :: axis_stages(axis, quality).decimate]
            taps, length = weights.shape[1], -(-axis.count // COMPOSE_TILE) * COMPOSE_TILE
            part = rows[number, at : at + (taps + 1) * length].reshape(taps + 1, length)[:, : axis.count]
            at += (taps + 1) * length
            assert np.array_equal(part[-1].view(np.int32), first)
            assert np.abs(part[:-1].T - weights).max() < 2e-6
        assert at <= words


def test_two_tiles_of_one_canvas_and_ten_bits_out() -> None:
    from dualface_ray.compose import compose_reference
    from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

    info = stream(320, 180, PixelLayout.P010)
    slot = picture(info)
    tiles = (TilePlan((0, 0, 100, 100), 0, 0, 64, 64), TilePlan((150.2, 30.4, 270.2, 150.4), 64, 0, 64, 64))
    plan = CanvasPlan(128, 64, tiles)
    expected = compose_reference(info, slot, FramePlan(0, 0, (plan,)))[0]
    assert np.abs(draw(info, slot, plan).astype(int) - expected).max() <= 1
    deep = draw(info, slot, plan, deep=True)
    assert not (deep & 63).any()
    assert np.abs((deep >> 6) / 4 - expected).max() <= 0.8


def test_stage_numbers_are_those_of_the_definition() -> None:
    from dualface_ray.backends.cuda.records import compose_axis
    from dualface_ray.compose import CHROMA, LUMA, AxisMap, axis_stages

    rng = np.random.default_rng(0)
    for _ in range(400):
        step = float(np.exp(rng.uniform(np.log(0.05), np.log(40))))
        start = float(rng.uniform(-50, 2000))
        if rng.random() < 0.3:
            step, start = float(round(step) or 1), float(round(start))
        axis = AxisMap(start, step, int(rng.integers(2, 2000)))
        for quality in (LUMA, CHROMA):
            stages = axis_stages(axis, quality)
            got = dict(
                zip(
                    ("step", "phase", "stretch", "decimate", "first", "reach", "lobes", "lead", "count", "size"),
                    compose_axis(axis, quality, 1920),
                    strict=True,
                )
            )
            assert (got["decimate"], got["first"], got["lead"], got["count"]) == (
                stages.decimate,
                stages.first,
                stages.lead,
                stages.count,
            )
            assert got["step"] == stages.step
            assert len(stages.kernel) == (2 * got["reach"] or 1) <= 24
