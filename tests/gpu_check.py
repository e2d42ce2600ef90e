# ruff: noqa: T201, B905, PERF203
"""Checks the GPU backend on a machine that has one: PASS or FAIL with the cause, one step never hiding the next.

    python tests/gpu_check.py [--cache DIR] [--media DIR] [--out DIR] [--budget-s 540] [--only a,b] [--skip c]

Every step runs in a process of its own, so a crash inside a driver library costs that step alone. Needs no network and
no pytest: models come from the cache (``--cache``, the folder ``DUALFACE_CACHE`` names), clips are encoded on the spot
with PyAV, and pictures with faces come from ``--media`` where there are some. The slow engine builds start first and
run beside the other steps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
MIB = 1 << 20

STEPS: dict[str, Callable[[Path], None]] = {}
SLOW: dict[str, float] = {}
EXTRA: set[str] = set()
"""Steps that take minutes: only those that ``--only`` names are run."""


def step(limit_s: float = 60.0, *, extra: bool = False) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a step; its name is the function's."""

    def register(function: Callable[[Path], None]) -> Callable[[Path], None]:
        STEPS[function.__name__] = function
        SLOW[function.__name__] = limit_s
        if extra:
            EXTRA.add(function.__name__)
        return function

    return register


def say(*parts: object) -> None:
    print("   ", *parts, flush=True)


def need(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(what)


@contextmanager
def clock(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    say(f"{what}: {time.perf_counter() - started:.3f} s")


# --- material ------------------------------------------------------------------------------------------------------
def pattern(width: int, height: int, number: int) -> Any:
    """A moving picture, NV12 uint8 (height * 3 // 2, width)."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    luma = 120 + 60 * np.sin((x + 4 * number) / 37) * np.cos((y - 3 * number) / 29) + 20 * ((x // 64 + y // 48) % 2)
    cy, cx = np.mgrid[0 : height // 2, 0 : width // 2].astype(np.float32)
    u, v = 128 + 40 * np.sin((cx + number) / 41), 128 + 40 * np.cos((cy + 2 * number) / 23)
    chroma = np.stack([u, v], axis=-1).reshape(height // 2, width)
    return np.clip(np.concatenate([luma, chroma]), 16, 235).astype(np.uint8)


def clip(
    folder: Path,
    name: str,
    *,
    frames: int = 60,
    width: int = 640,
    height: int = 360,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    b_frames: int = 0,
    **options: str,
) -> Path:
    """Encode a clip with regular time stamps in 1/30000, once."""
    import av

    path = folder / name
    if path.exists():
        return path
    base = Fraction(1, 30000)
    quiet = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "veryfast"}}.get(codec, {})
    partial = path.with_name(f"part-{name}")
    with av.open(str(partial), "w", format="matroska" if name.endswith(".mkv") else None) as out:
        stream = out.add_stream(codec, rate=30, options={**quiet, **options})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.time_base = stream.codec_context.time_base = base
        stream.codec_context.gop_size = 30
        stream.codec_context.max_b_frames = b_frames
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(pattern(width & ~1, height & ~1, number), format="nv12")
            frame = frame.reformat(width=width, height=height, format=pixels)
            frame.pts, frame.time_base = 1001 * number, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    partial.rename(path)
    return path


def photographs() -> list[Any]:
    """RGB pictures with faces: photographs and frames of clips from the media folder, else the demo's portraits."""
    import cv2

    media = Path(os.environ.get("GPU_CHECK_MEDIA", ""))
    pictures = [
        cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB) for p in sorted(media.rglob("*.jpg")) if media.is_dir()
    ]
    if not pictures:
        try:
            import skimage.data

            pictures = [skimage.data.astronaut()]
        except ImportError as error:
            raise RuntimeError("no photographs: pass --media with a folder of .jpg files") from error
    return pictures


def as_slot(rgb: Any, width: int, height: int, *, wide: bool = False) -> tuple[Any, Any]:
    """An RGB picture scaled into a slot of this size, and its StreamInfo (BT.709, limited range)."""
    import cv2
    import numpy as np

    from dualface_ray.frames import Colour, PixelLayout, StreamInfo

    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 90, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    r, g, b = (canvas[..., k].astype(np.float32) for k in range(3))
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    u, v = (b - y) / 1.8556 * 224 / 255 + 128, (r - y) / 1.5748 * 224 / 255 + 128
    luma = 16 + y * 219 / 255
    chroma = np.stack([cv2.resize(p, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for p in (u, v)], -1)
    whole = np.concatenate([luma, chroma.reshape(height // 2, width)])
    layout = PixelLayout.P010 if wide else PixelLayout.NV12
    info = StreamInfo("s", width, height, Fraction(1, 30000), Fraction(30), layout=layout, colour=Colour(matrix=1))
    if wide:
        return np.ascontiguousarray(np.rint(whole * 4).clip(0, 1023).astype(np.uint16) << 6), info
    return np.ascontiguousarray(np.rint(whole).clip(0, 255).astype(np.uint8)), info


def upload(slot: Any) -> Any:
    import cupy

    return cupy.asarray(slot)


def psnr(first: Any, second: Any) -> float:
    import numpy as np

    error = float(np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def decode_all(session: Any, batch: int = 16) -> tuple[list[Any], list[Any], Any, dict[str, int]]:
    """Frames, slots on the host, signatures and counters of a session; closes it."""
    import cupy
    import numpy as np

    info = session.info
    kind = np.uint8 if info.layout.bytes_per_sample == 1 else np.uint16
    on_device = type(session).__name__ != "CpuDecodeSession"
    frames, slots, signatures = [], [], []
    shape = (info.slot_height_px * 3 // 2, info.slot_width_px)
    try:
        while True:
            fresh = [cupy.zeros(shape, kind) if on_device else np.zeros(shape, kind) for _ in range(batch)]
            if on_device:
                cupy.cuda.runtime.deviceSynchronize()
            part = session.decode(fresh)
            frames += part.frames
            slots += [cupy.asnumpy(s) if on_device else s for s in fresh[: len(part.frames)]]
            signatures.append(part.signatures)
            if part.end:
                return frames, slots, np.concatenate(signatures), session.counters()
    finally:
        session.close()


# --- steps ---------------------------------------------------------------------------------------------------------
@step()
def versions(work: Path) -> None:
    import cupy
    import numpy

    from dualface_ray.backends.cuda.vendor import context_handle, device, video_codec
    from dualface_ray.models.trt import tensorrt_version

    runtime = cupy.cuda.runtime
    say("python", sys.version.split()[0], "numpy", numpy.__version__, "cupy", cupy.__version__)
    say("driver", runtime.driverGetVersion(), "runtime", runtime.runtimeGetVersion(), "device", device())
    say("TensorRT", tensorrt_version())
    nvc = video_codec()
    say("PyNvVideoCodec", getattr(nvc, "__version__", "?"), "context", hex(context_handle()))
    need(len(device().uuid) == 16, "the device has a uuid")
    packet = nvc.PacketData()
    packet.bsl_data, packet.bsl, packet.pts = 1 << 46, 5, -7
    need((packet.bsl_data, packet.bsl, packet.pts) == (1 << 46, 5, -7), "PacketData takes addresses and negative pts")


@step(120)
def compile_kernels(work: Path) -> None:
    from dualface_ray.backends.cuda.kernels import KERNELS
    from dualface_ray.backends.cuda.launch import compile_all, kernel

    with clock("NVRTC, all kernels"):
        compile_all()
    for entries in KERNELS.values():
        for name in entries:
            one = kernel(name)
            say(f"{name}: {one.num_regs} registers, {one.shared_size_bytes} B shared, {one.local_size_bytes} B local")


@step()
def signatures(work: Path) -> None:
    import numpy as np

    from dualface_ray.backends.cuda.launch import new_stream
    from dualface_ray.backends.cuda.surfaces import SlotCopier
    from dualface_ray.frames import reference_signature

    for wide in (False, True):
        slot, info = as_slot(photographs()[0], 1280, 720, wide=wide)
        copier = SlotCopier(info, new_stream())
        found = copier.finish([upload(slot)] * 16)
        need(np.array_equal(found[0], reference_signature(slot, info)), f"signature, wide={wide}")
        need((found == found[0]).all(), "all of a chunk alike")


@step()
def letterbox(work: Path) -> None:
    import cupy
    import numpy as np

    from dualface_ray.backends.cpu.letterbox import letterboxed_rgb
    from dualface_ray.backends.cuda.kernels import letterbox_grid
    from dualface_ray.backends.cuda.launch import Staging, kernel, new_stream
    from dualface_ray.backends.cuda.records import letterbox_items, letterbox_of

    stream, staging = new_stream(), Staging()
    pairs = [
        as_slot(p, w, h, wide=k) for p in photographs()[:2] for w, h, k in ((1920, 1080, False), (1280, 720, True))
    ]
    boxes = [letterbox_of(info, 640, 384) for _, info in pairs]
    device = [upload(slot) for slot, _ in pairs]
    records = letterbox_items([(d.data.ptr, i, b) for d, (_, i), b in zip(device, pairs, boxes)])
    results = {}
    for name, kind in (("letterbox_float", np.float32), ("letterbox_half", np.float16)):
        out = cupy.full((len(pairs), 3, 384, 640), -1, kind)
        cupy.cuda.runtime.deviceSynchronize()
        with stream:
            items = staging.upload(records, stream)
            arguments = (np.uint64(items.data.ptr), np.uint64(out.data.ptr), np.int32(640), np.int32(384))
            kernel(name)(letterbox_grid(640, 384, len(pairs)), (256,), arguments)
            stream.synchronize()
        results[name] = cupy.asnumpy(out).astype(np.float32)
    need(np.array_equal(results["letterbox_float"], results["letterbox_half"]), "half equals float on whole levels")
    for row, ((slot, info), box) in enumerate(zip(pairs, boxes)):
        expected = np.empty((3, 384, 640), np.float32)
        letterboxed_rgb(slot, info, box, expected)
        error = np.abs(results["letterbox_float"][row] - expected)
        say(f"picture {row}: mean {error.mean():.3f}, 99 % {np.percentile(error, 99):.1f}, worst {error.max():.0f}")
        need(error.mean() < 2.0, "near the CPU lane")


@step()
def centerface_kernel(work: Path) -> None:
    import cupy
    import numpy as np

    from dualface_ray.backends.cuda.launch import kernel, new_stream
    from dualface_ray.detect import decode_outputs, suppress

    rng, stream = np.random.default_rng(1), new_stream()
    heat = rng.uniform(0, 0.45, (64, 1, 96, 160)).astype(np.float32)
    for one in heat[:, 0]:
        for _ in range(20):
            one[rng.integers(0, 96), rng.integers(0, 160)] = rng.uniform(0.5, 1)
    maps = [heat] + [rng.uniform(0, 2, (64, c, 96, 160)).astype(np.float32) for c in (2, 2, 10)]
    device = [cupy.asarray(m) for m in maps]
    for threads in (256, 1024):
        counts, faces = cupy.zeros(64, np.int32), cupy.zeros((64, 32, 15), np.float32)
        cupy.cuda.runtime.deviceSynchronize()
        with stream:
            arguments = (
                *(np.uint64(m.data.ptr) for m in device),
                np.int32(96),
                np.int32(160),
                np.float32(0.5),
                np.float32(0.3),
                np.int32(32),
                np.uint64(counts.data.ptr),
                np.uint64(faces.data.ptr),
            )
            kernel("centerface")((64,), (threads,), arguments)
            stream.synchronize()
        got, rows = cupy.asnumpy(counts), cupy.asnumpy(faces)
        for index in range(64):
            expected = suppress(decode_outputs(*(m[index, 0] if m is heat else m[index] for m in maps), 0.5), 0.3, 32)
            need(got[index] == len(expected), f"picture {index}: {got[index]} faces instead of {len(expected)}")
            need(np.allclose(rows[index, : got[index], :4], expected.boxes_px, atol=1e-2), f"boxes of picture {index}")
    say("faces found:", int(got.sum()))


@step()
def composition(work: Path) -> None:
    from dataclasses import replace

    import cupy
    import numpy as np

    from dualface_ray.backends.cuda.compositor import CudaCompositor
    from dualface_ray.compose import compose_reference
    from dualface_ray.frames import Colour
    from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan

    compositor = CudaCompositor()
    photo = photographs()[0]
    for name, wide, changes in (
        ("8 bits", False, {}),
        ("10 bits", True, {"colour": Colour(matrix=9)}),
        ("BT.601 full range", False, {"colour": Colour(matrix=6, full_range=True)}),
        ("turned", False, {"rotation_deg": 90}),
    ):
        slot, info = as_slot(photo, 1280, 720, wide=wide)
        info = replace(info, **changes)
        w, h = info.display_width_px, info.display_height_px
        tiles = (
            TilePlan((w * 0.1, h * 0.1, w * 0.6, h * 0.9), 0, 0, 480, 540),
            TilePlan((w * 0.31, h * 0.2, w * 0.47, h * 0.5), 480, 0, 480, 540),
        )
        plan = FramePlan(0, 0, (CanvasPlan(960, 540, tiles), CanvasPlan(320, 180, tiles[:0])))
        expected = compose_reference(info, slot, plan)
        found = compositor.compose(info, [upload(slot)] * 3, [plan] * 3)
        cupy.cuda.runtime.deviceSynchronize()
        for one in found:
            got = [cupy.asnumpy(canvas) for canvas in one]
            quality = psnr(got[0], expected[0])
            need(quality >= 45, f"{name}: {quality:.1f} dB")
            need(np.array_equal(got[1], expected[1]), "black canvas")
        say(f"{name}: {quality:.1f} dB, worst {np.abs(got[0].astype(int) - expected[0]).max()}")
    slot, info = as_slot(photo, 1920, 1080)
    device = [upload(slot)] * 16
    tiles = (TilePlan((100, 0, 1060, 1080), 0, 0, 960, 1080), TilePlan((900.5, 10, 1500.5, 685), 960, 0, 960, 1080))
    plans = [FramePlan(n, n, (CanvasPlan(1920, 1080, tiles),)) for n in range(16)]
    compositor.compose(info, device, plans)
    started = time.perf_counter()
    for _ in range(20):
        compositor.compose(info, device, plans)
    say(f"1080p, two tiles: {320 / (time.perf_counter() - started):.0f} frames/s from one thread")
    compositor.close()


@step()
def arena(work: Path) -> None:
    import pickle

    import cupy

    from dualface_ray.backends.cuda.arena import CudaArena
    from dualface_ray.errors import DeviceError, VramBudgetError
    from dualface_ray.frames import PixelLayout, StreamInfo

    free_before = cupy.cuda.runtime.memGetInfo()[0]
    info = StreamInfo("s", 640, 360, Fraction(1, 30), Fraction(30), layout=PixelLayout.P010)
    mine = CudaArena.create(256 * MIB, 64)
    slot = mine.view(info.slot_bytes * 3, info)
    slot[...] = cupy.arange(slot.size, dtype=slot.dtype).reshape(slot.shape)
    cupy.cuda.runtime.deviceSynchronize()
    mine.generations[5] = 8
    handle = pickle.dumps(mine.handle)
    local = CudaArena.attach(mine.handle)
    need((local.view(info.slot_bytes * 3, info) == slot).all(), "attached in its own process")
    local.close()
    code = (
        "import sys, pickle, cupy; from fractions import Fraction as F\n"
        "from dualface_ray.backends.cuda.arena import CudaArena\n"
        "from dualface_ray.frames import PixelLayout, StreamInfo\n"
        "a = CudaArena.attach(pickle.loads(bytes.fromhex(sys.argv[1])))\n"
        "i = StreamInfo('s', 640, 360, F(1, 30), F(30), layout=PixelLayout.P010)\n"
        "s = a.view(i.slot_bytes * 3, i)\n"
        "assert (s.ravel() == cupy.arange(s.size, dtype=s.dtype)).all() and int(a.generations[5]) == 8\n"
        "a.close(); a.close(); print('importer read and closed')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, handle.hex()], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    say(done.stdout.strip() or done.stderr.strip()[-400:])
    need(done.returncode == 0, "another process reads through CUDA IPC")
    for call in (lambda: CudaArena.create(1 << 50, 4), lambda: CudaArena.create(0, 4)):
        try:
            call()
        except VramBudgetError as error:
            say("refused:", error)
        else:
            raise AssertionError("an impossible arena was created")
    mine.close()
    mine.close()
    try:
        mine.view(0, info)
    except DeviceError:
        pass
    else:
        raise AssertionError("a closed arena gave a view")
    lost = free_before - cupy.cuda.runtime.memGetInfo()[0]
    say(f"memory still missing after close: {lost / MIB:.0f} MiB")
    need(lost < 64 * MIB, "memory is back")


@step()
def decoder_capabilities(work: Path) -> None:
    from dualface_ray.backends.cuda.nvdec import capabilities

    for codec in ("h264", "hevc", "vp9", "vp8", "av1", "mpeg2video"):
        for bits in (8, 10):
            try:
                caps = capabilities(codec, bits)
                say(codec, bits, "yes" if caps.get("supported") else "no", caps)
            except Exception as error:
                say(codec, bits, type(error).__name__, error)
    need(capabilities("h264", 8).get("supported"), "H.264 in 8 bits")


def compare_decoders(path: Path, *, exact: bool) -> None:
    import numpy as np

    from dualface_ray.backends.cpu.decode import CpuDecodeSession
    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.frames import PixelLayout
    from dualface_ray.settings import Settings

    settings = Settings()
    expected = decode_all(CpuDecodeSession(path, "s", settings, 2))
    session = CudaDecodeSession(path, "s", settings)
    layout = session.info.layout
    found = decode_all(session, 7)
    say(f"{path.name}: {len(found[0])} frames, {layout.value}, counters {found[3]}")
    need([f.pts_ticks for f in found[0]] == [f.pts_ticks for f in expected[0]], "time stamps equal the CPU lane's")
    need([f.flags for f in found[0]] == [f.flags for f in expected[0]], "flags equal the CPU lane's")
    if layout is PixelLayout.P010:
        worst = min(psnr(a >> 8, b) for a, b in zip(found[1], expected[1]))
        say(f"against the CPU lane's 8 bits: {worst:.1f} dB")
        need(worst > 45, "pixels")
        return
    same = sum(bool(np.array_equal(a, b)) for a, b in zip(found[1], expected[1]))
    say(f"{same} of {len(found[1])} frames equal to the byte")
    need(same == len(found[1]) if exact else min(map(psnr, found[1], expected[1])) > 45, "pixels")
    need(not exact or np.array_equal(found[2], expected[2]), "signatures")


@step()
def decode_h264(work: Path) -> None:
    compare_decoders(clip(work, "plain.mp4"), exact=True)
    compare_decoders(clip(work, "b.mp4", b_frames=3, frames=95), exact=True)
    compare_decoders(clip(work, "b.mkv", b_frames=2), exact=True)


@step()
def decode_odd_size(work: Path) -> None:
    compare_decoders(clip(work, "odd.mkv", width=321, height=181, codec="libvpx-vp9", deadline="realtime"), exact=True)


@step()
def decode_hevc(work: Path) -> None:
    compare_decoders(clip(work, "hevc.mp4", codec="libx265", b_frames=3), exact=True)
    compare_decoders(clip(work, "hevc10.mp4", codec="libx265", pixels="yuv420p10le"), exact=False)


@step()
def decode_vp9(work: Path) -> None:
    compare_decoders(clip(work, "vp9.mkv", codec="libvpx-vp9", frames=40, deadline="realtime"), exact=True)


@step(120.0)
def decode_ranges(work: Path) -> None:
    """Parts of videos from every key frame on, open groups too: the frames that the whole gives."""
    import numpy as np

    from dualface_ray.backends import load_backend
    from dualface_ray.backends.pyav import probe, survey_file
    from dualface_ray.media import FrameRange
    from dualface_ray.settings import Settings

    backend, settings = load_backend("cuda"), Settings()
    x264, x265 = {"x264-params": "open-gop=1:b-pyramid=normal"}, {"x265-params": "log-level=none:open-gop=1:keyint=30"}
    for path in (
        clip(work, "range.mp4", b_frames=3, frames=120),
        clip(work, "range-open.mp4", b_frames=3, frames=120, **x264),
        clip(work, "range-open.mkv", b_frames=3, frames=120, **x264),
        clip(work, "range-hevc.mp4", codec="libx265", b_frames=3, frames=120, **x265),
        clip(work, "range-hevc.mkv", codec="libx265", b_frames=3, frames=120, **x265),
        clip(work, "range-vp9.mkv", codec="libvpx-vp9", frames=90, deadline="realtime"),
    ):
        whole = decode_all(backend.open_decoder(path, "s", settings, 1))
        survey = survey_file(probe(path, settings), settings)
        need(not survey.refusal and len(survey.key_frames) > 1, f"{path.name} may be cut {survey.refusal}")
        for first, pts in zip(survey.key_frames, survey.key_pts_ticks):
            for count in (1, len(whole[0]) - first):
                frames, slots, _, counters = decode_all(
                    backend.open_decoder(path, "s", settings, 1, FrameRange(first, pts, count))
                )
                stamps = [f.pts_ticks for f in whole[0][first : first + count]]
                need([f.pts_ticks for f in frames] == stamps, f"{path.name}, frame {first}: time stamps")
                same = sum(bool(np.array_equal(a, b)) for a, b in zip(slots, whole[1][first : first + count]))
                need(same == count, f"{path.name}, frame {first}: {same} of {count} frames equal to the byte")
                need(not counters, f"{path.name}, frame {first}: {counters}")
        keys = decode_all(backend.open_key_frames(path, "s", settings, 1, survey.key_pts_ticks))
        need([f.pts_ticks for f in keys[0]] == list(survey.key_pts_ticks), f"{path.name}: key frames alone")
        say(f"{path.name}: {len(survey.key_frames)} places to cut at, exact from each")


@step()
def decode_av1(work: Path) -> None:
    """Where the card cannot (Hopper), a clear refusal and the CPU's way; elsewhere the pixels."""
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.nvdec import capabilities
    from dualface_ray.errors import UnsupportedMediaError
    from dualface_ray.settings import Settings

    path = clip(work, "av1.mkv", codec="libsvtav1", frames=40, preset="10")
    if capabilities("av1", 8).get("supported"):
        compare_decoders(path, exact=True)
        return
    backend = load_backend("cuda")
    try:
        backend.open_decoder(path, "s", Settings(), 1)
    except UnsupportedMediaError as error:
        say("refused:", error)
    else:
        raise AssertionError("AV1 was accepted by a card that does not decode it")
    allowed = Settings.model_validate({"lane": {"allow_cpu_decode": True}})
    frames, _, _, counters = decode_all(backend.open_decoder(path, "s", allowed, 2))
    say(f"on the CPU: {len(frames)} frames, {counters}")
    need(len(frames) == 40 and counters["frames_decoded_on_cpu"] == 40, "decoded on the CPU and said so")


@step()
def decode_damage(work: Path) -> None:
    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.settings import Settings

    whole = clip(work, "b.mp4", b_frames=3, frames=95)
    data = bytearray(whole.read_bytes())
    for name, change in {
        "noise": lambda d: d.__setitem__(slice(len(d) // 3, len(d) // 3 + 400), os.urandom(400)),
        "cut": lambda d: d.__delitem__(slice(len(d) * 2 // 3, len(d))),
    }.items():
        broken = bytearray(clip(work, "b.mkv", b_frames=2).read_bytes() if name == "cut" else data)
        change(broken)
        path = work / f"broken-{name}.{'mkv' if name == 'cut' else 'mp4'}"
        path.write_bytes(broken)
        frames, _, _, counters = decode_all(CudaDecodeSession(path, "s", Settings()))
        stamps = [f.pts_ticks for f in frames]
        say(f"{name}: {len(frames)} frames, {counters}")
        need(stamps == sorted(set(stamps)), "time stamps rise")
        need(len(frames) > 10, "what is left is shown")


@step(120)
def decode_many(work: Path) -> None:
    """16 streams in threads at once, several rounds; then 100 short clips one after the other: memory stays flat."""
    import cupy

    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.backends.cuda.vendor import enter_device
    from dualface_ray.settings import Settings

    path = clip(work, "hd.mp4", frames=240, width=1920, height=1080)
    settings, failures, counts = Settings(), [], []

    def run() -> None:
        try:
            enter_device()
            session = CudaDecodeSession(path, "s", settings)
            info, total = session.info, 0
            slots = [cupy.empty((info.slot_height_px * 3 // 2, info.slot_width_px), "u1") for _ in range(16)]
            while True:
                part = session.decode(slots)
                total += len(part.frames)
                if part.end:
                    break
            session.close()
            counts.append(total)
        except BaseException as error:
            failures.append(error)

    for streams in (1, 4, 8, 16):
        counts.clear()
        threads = [threading.Thread(target=run) for _ in range(streams)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        need(counts == [240] * streams, f"frames of {streams} streams: {counts}")
        rate = sum(counts) / (time.perf_counter() - started)
        say(f"{streams} streams in one process: {rate:.0f} frames/s, opening included")
    short = clip(work, "short.mp4", frames=8)
    free = []
    for number in range(100):
        session = CudaDecodeSession(short, "s", settings)
        slots = [cupy.empty((540, 640), "u1") for _ in range(16)]
        need(len(session.decode(slots).frames) == 8, "a short clip")
        session.close()
        if number in (9, 99):
            free.append(cupy.cuda.runtime.memGetInfo()[0])
    say(f"memory lost over 90 short clips: {(free[0] - free[1]) / MIB:.1f} MiB")
    need(free[0] - free[1] < 32 * MIB, "memory stays flat")


@step(400)
def engine_build(work: Path) -> None:
    from dualface_ray.backends.cuda.vendor import device
    from dualface_ray.models import Profile, built_engine, engine_key, resolve

    model, card = resolve("centerface"), device()
    for precision in ("fp16",):
        key = engine_key(model, precision, Profile(64, 384, 640), card.name, card.compute_capability)
        with clock(f"{precision} engine"):
            say(built_engine(model, key, progress=say).name)


@step(400)
def embedder_build(work: Path) -> None:
    from dualface_ray.backends.cuda.embedder import load_embedder
    from dualface_ray.settings import Settings

    with clock("fp32 engine of the embedding, built and loaded"):
        load_embedder(Settings()).close()


@step(120)
def engine_run(work: Path) -> None:
    import cupy
    import numpy as np

    from dualface_ray.backends.cuda.launch import new_stream
    from dualface_ray.backends.cuda.vendor import device
    from dualface_ray.models import Engine, Profile, built_engine, engine_key, resolve
    from dualface_ray.models.quantise import run_model

    model, card, profile = resolve("centerface"), device(), Profile(64, 384, 640)
    path = built_engine(model, engine_key(model, "fp16", profile, card.name, card.compute_capability), progress=say)
    picture = np.zeros((1, 3, 384, 640), np.float32)
    photo = photographs()[0]
    part = photo[:384, :640].transpose(2, 0, 1)
    picture[0, :, : part.shape[1], : part.shape[2]] = part
    expected = run_model(model.read_bytes(), [picture])[0]
    for graphs in (False, True):
        stream = new_stream()
        engine = Engine(path, profile, stream, graphs=graphs)
        say("input", engine.input.dtype, "outputs", {n: a.shape for n, a in engine.outputs.items()})
        say(f"graphs={graphs}, scratch {engine.scratch_bytes / MIB:.0f} MiB")
        for batch in (1, 7, 16, 64, 2):
            engine.input[:batch] = cupy.asarray(picture.astype(engine.input.dtype))
            cupy.cuda.runtime.deviceSynchronize()
            engine.run(batch)
            stream.synchronize()
            for name, limit in (("heatmap", 0.02), ("log_size", 0.02), ("landmarks", 0.02), ("offset", 0.08)):
                for row in {0, batch - 1}:
                    got = cupy.asnumpy(engine.outputs[name][row])
                    loss = float(np.linalg.norm(got - expected[name][0]) / np.linalg.norm(expected[name][0]))
                    need(loss < limit, f"batch {batch} row {row} {name}: relative L2 {loss:.4f}")
        for batch in (1, 8, 32, 64):
            engine.run(batch)
            stream.synchronize()
            started, rounds = time.perf_counter(), 100
            for _ in range(rounds):
                engine.run(batch)
            stream.synchronize()
            say(f"batch {batch}: {rounds * batch / (time.perf_counter() - started):.0f} frames/s")
        engine.close()


@step(120)
def detector(work: Path) -> None:
    import numpy as np

    from dualface_ray.backends.cpu.detector import load_detector
    from dualface_ray.backends.cuda import detector as room
    from dualface_ray.detect import FramePixels
    from dualface_ray.settings import Settings

    settings = Settings()
    with clock("loading"):
        gpu = room.CudaDetector(settings, progress=say, orientations=("landscape",))
    cpu = load_detector(settings, 4)
    pairs = [as_slot(p, w, h, wide=k) for p in photographs() for w, h, k in ((1920, 1080, False), (1280, 720, True))]
    on_host = [FramePixels(slot, info) for slot, info in pairs]
    on_device = [FramePixels(upload(slot), info) for slot, info in pairs]
    found, expected = gpu.detect(on_device), cpu.detect(on_host)
    total, worst, looks = 0, 0.0, 0.0
    for mine, other in zip(found, expected):
        need(len(mine) == len(other), f"{len(mine)} faces instead of {len(other)}")
        for row in range(len(mine)):
            near = int(np.abs(other.boxes_px - mine.boxes_px[row]).max(axis=1).argmin())
            worst = max(worst, float(np.abs(other.boxes_px[near] - mine.boxes_px[row]).max()))
            looks = max(looks, float(np.linalg.norm(other.descriptors[near] - mine.descriptors[row])))
            total += 1
    say(f"{total} faces in {len(pairs)} pictures; boxes differ by {worst:.2f} px, descriptors by {looks:.3f} at most")
    need(total > 0, "there are faces to compare")
    many = (on_device * 64)[:64]
    gpu.detect(many)
    started = time.perf_counter()
    for _ in range(20):
        gpu.detect(many)
    say(f"batches of 64, all included: {1280 / (time.perf_counter() - started):.0f} frames/s")
    need(worst <= 1.5, f"boxes within about a pixel, not {worst:.2f}")
    gpu.close()
    gpu.close()


@step(120)
def overlapping(work: Path) -> None:
    """Batches of changing size, the next one begun before the end of the last, find what they find alone."""
    import numpy as np

    from dualface_ray.backends.cuda import detector as room
    from dualface_ray.detect import FramePixels
    from dualface_ray.settings import Settings

    gpu = room.CudaDetector(Settings(), progress=say)
    pairs = [as_slot(picture, 1920, 1080) for picture in photographs()]
    on_device = [FramePixels(upload(slot), info) for slot, info in pairs]
    order = np.random.default_rng(1).integers(0, len(on_device), 512)
    batches, first = [], 0
    for size in (64, 64, 7, 64, 1, 1, 32, 64, 33, 64, 64, 5, 49):
        batches.append([on_device[n] for n in order[first : first + size]])
        first += size
    alone = [list(gpu.detect(batch)) for batch in batches]
    for _ in range(5):
        together, finish = [], gpu.begin(batches[0])
        for batch in batches[1:]:
            following = gpu.begin(batch)
            together.append(finish())
            finish = following
        together.append(finish())
        for found, expected in zip(together, alone):
            for mine, other in zip(found, expected):
                need(len(mine) == len(other), f"{len(mine)} faces instead of {len(other)}")
                for name in ("boxes_px", "landmarks_px", "scores", "descriptors"):
                    need(np.array_equal(getattr(mine, name), getattr(other, name)), f"the same {name}")
    many, started = (on_device * 64)[:64], time.perf_counter()
    finish = gpu.begin(many)
    for _ in range(39):
        following = gpu.begin(many)
        finish()
        finish = following
    finish()
    say(f"batches of 64, one begun ahead: {2560 / (time.perf_counter() - started):.0f} frames/s")
    gpu.close()


@step(240)
def embedder(work: Path) -> None:
    import numpy as np

    from dualface_ray.backends.cpu.detector import load_detector
    from dualface_ray.backends.cpu.embedder import load_embedder as load_cpu
    from dualface_ray.backends.cuda.embedder import load_embedder
    from dualface_ray.detect import FramePixels
    from dualface_ray.frames import FaceCrop
    from dualface_ray.settings import Settings

    settings = Settings()
    cpu, finder = load_cpu(settings, 4), load_detector(settings, 4)
    frames, crops = [], []
    for photo in photographs():
        slot, info = as_slot(photo, 1280, 720)
        for row, faces in enumerate(finder.detect([FramePixels(slot, info)])):
            for face in range(len(faces)):
                frames.append((slot, info))
                crops.append(FaceCrop(row, tuple(map(float, faces.boxes_px[face])), faces.landmarks_px[face]))
    need(crops, "there are faces to embed")
    with clock("loading and building"):
        gpu = load_embedder(settings)
    expected = cpu.embed([FramePixels(s, i) for s, i in frames], crops)
    found = gpu.embed([FramePixels(upload(s), i) for s, i in frames], crops)
    distance = np.linalg.norm(found - expected, axis=1)
    say(f"{len(crops)} faces, size {gpu.size}, distance to the CPU's: {distance.max():.4f}")
    need(distance.max() < 0.1, "embeddings near the CPU lane's")
    gpu.close()


@step(120)
def encode(work: Path) -> None:
    """Decode, compose and encode two streams to packets through the pool, as a lane does."""
    import av
    import cupy

    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.encode import has_nvenc
    from dualface_ray.frames import FramePool, PoolReader
    from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
    from dualface_ray.media import EncodeSpec
    from dualface_ray.settings import Settings

    backend, settings = load_backend("cuda"), Settings()
    say("NVENC for h264:", has_nvenc("h264"))
    path = clip(work, "plain.mp4")
    pool = FramePool(backend.create_arena(64 * MIB, 64))
    reader = PoolReader(backend.attach_arena(pool.arena.handle))
    session = backend.open_decoder(path, "s", settings, 1)
    info = session.info
    ring = pool.open_stream("s", 0, info, 48)
    compositor = backend.open_compositor(settings)
    spec = EncodeSpec(640, 360, info.time_base, info.average_rate, gop_frames=30)
    encoder = backend.open_encoder(spec)
    say("encoder:", type(encoder).__name__)
    tiles = (TilePlan((0, 0, 320, 360), 0, 0, 320, 360), TilePlan((200, 20, 440, 290), 320, 0, 320, 360))
    packets, position, end = [], 0, False
    while not end:
        batch = session.decode(pool.begin_many(ring, position, 16))
        tickets = pool.commit_many(ring, position, batch.frames)
        if len(batch.frames) < 16:
            pool.abandon(ring)
        with reader.read_many([(ticket, ring, info) for ticket in tickets]) as slots:
            plans = [FramePlan(t.frame_index, t.pts_ticks, (CanvasPlan(640, 360, tiles),)) for t in tickets]
            for (canvas,), plan in zip(compositor.compose(info, slots, plans), plans):
                packets += encoder.encode(canvas, plan.pts_ticks)
        position, end = position + len(batch.frames), batch.end
    packets += encoder.finish()
    head = encoder.extradata
    encoder.close()
    need(len(packets) == 60 and packets[0].key, f"{len(packets)} packets")
    need([p.pts_ticks for p in packets] == [1001 * n for n in range(60)], "time stamps")
    codec = av.CodecContext.create("h264", "r")
    pictures = [f for p in packets for f in codec.decode(av.Packet(head * p.key + p.data))]
    pictures += codec.decode(None)
    need(len(pictures) == 60, f"{len(pictures)} pictures decode again")
    compositor.close()
    session.close()
    reader.close()
    pool.close()
    cupy.cuda.runtime.deviceSynchronize()


@step()
def nvenc(work: Path) -> None:
    """With NVENC: 30 pictures. Without: a typed error, not a crash."""
    import cupy

    from dualface_ray.backends.cuda.encode import has_nvenc
    from dualface_ray.backends.cuda.gate import SessionGate, gate_folder
    from dualface_ray.backends.cuda.launch import new_stream
    from dualface_ray.backends.cuda.nvenc import NvencSession
    from dualface_ray.backends.cuda.vendor import context_handle, device, video_codec
    from dualface_ray.errors import EncodeError
    from dualface_ray.media import EncodeSpec

    spec = EncodeSpec(640, 360, Fraction(1, 30), Fraction(30))
    try:
        gate = SessionGate(0, gate_folder(device().uuid))
        session = NvencSession(spec, gate, video_codec(), new_stream(), context_handle())
    except EncodeError as error:
        say("refused:", error)
        need(not has_nvenc("h264"), "the name table says so too")
        return
    canvas = cupy.full((540, 640), 90, "u1")
    packets = [p for n in range(30) for p in session.encode(canvas, n)] + session.finish()
    session.close()
    need(len(packets) == 30, f"{len(packets)} packets")


@step(120)
def throughput(work: Path) -> None:
    """Decode alone, and decode with detection on every frame, 8 streams of one process: the ratio that matters."""
    import cupy

    from dualface_ray.backends.cuda import detector as room
    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.backends.cuda.vendor import enter_device
    from dualface_ray.detect import FramePixels
    from dualface_ray.settings import Settings

    path, settings = clip(work, "hd.mp4", frames=240, width=1920, height=1080), Settings()
    gpu = room.CudaDetector(settings, progress=say, orientations=("landscape",))

    def measure(detecting: bool) -> None:
        ready: list[Any] = []
        wake, live = threading.Condition(), [8]

        def run() -> None:
            enter_device()
            session = CudaDecodeSession(path, "s", settings)
            info = session.info
            rings = [
                [cupy.empty((info.slot_height_px * 3 // 2, info.slot_width_px), "u1") for _ in range(16)]
                for _ in range(3)
            ]
            number, end = 0, False
            while not end:
                part = session.decode(rings[number % 3])
                if detecting:
                    with wake:
                        ready.extend(FramePixels(s, info) for s in rings[number % 3][: len(part.frames)])
                        wake.notify_all()
                number, end = number + 1, part.end
            session.close()
            with wake:
                live[0] -= 1
                wake.notify_all()

        threads = [threading.Thread(target=run) for _ in range(8)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        examined = 0
        while True:
            with wake:
                wake.wait_for(lambda: ready or not live[0])
                if not ready and not live[0]:
                    break
                batch, ready[:64] = ready[:64], []
            gpu.detect(batch)
            examined += len(batch)
        for thread in threads:
            thread.join()
        say(f"detecting={detecting}: {1920 / (time.perf_counter() - started):.0f} frames/s, {examined} examined")

    for detecting in (False, True, False, True):
        measure(detecting)
    gpu.close()


@step(200)
def lane(work: Path) -> None:
    """Decoder, inference and encoder services in one process over both backends: the same states and boxes."""
    import json

    import av
    import in_process

    from dualface_ray.backends import DevicePlan, load_backend
    from dualface_ray.settings import Settings

    found = [Path(os.environ["GPU_CHECK_CLIP"])] if "GPU_CHECK_CLIP" in os.environ else []
    need(found, "pass --clip with a video of two people")  # who they are must be clear: else a hair decides
    source = work / "excerpt.mp4"
    with av.open(str(found[0])) as given, av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        for number, frame in enumerate(given.decode(video=0)):
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            if number == 180:
                break
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    settings, tracks = Settings(), {}
    for name in ("cpu", "cuda"):
        backend = load_backend(name, DevicePlan(orientations=("landscape",)))
        in_process.load_backend = lambda _, chosen=backend: chosen
        folder = work / f"lane-{name}"
        folder.mkdir(exist_ok=True)
        started = time.perf_counter()
        with in_process.InProcessLane(settings, streams=1, pool_bytes=512 * MIB) as services:
            opened = time.perf_counter()
            status = services.run(in_process.job_for(source, folder, settings), 90)
        took = time.perf_counter() - opened
        say(f"{name}: {opened - started:.1f} s to open, {took:.1f} s for {status.frames_done} frames")
        if status.error is not None:
            raise RuntimeError(f"{name} lane: {status.error}")
        lines = next(folder.glob("*.tracks.jsonl")).read_text().splitlines()[1:]
        tracks[name] = [json.loads(line)["faces"] for line in lines]
    pairs = [(a[p], b[p]) for a, b in zip(tracks["cpu"], tracks["cuda"]) for p in ("A", "B")]
    same = sum(a["state"] == b["state"] for a, b in pairs) / max(1, len(pairs))
    apart = [max(abs(x - y) for x, y in zip(a["box"], b["box"])) for a, b in pairs if a["box"] and b["box"]]
    say(f"same states: {same:.4f}; boxes apart: worst {max(apart, default=0):.2f} px")
    need(same >= 0.995, "the same states")


@step(300)
def probe(work: Path) -> None:
    """`dualface probe --verify` and `dualface doctor`: what they find, and a profile that reads back."""
    import json

    from dualface_ray.hardware import read_profile

    def dualface(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dualface_ray", *words]
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)

    path = work / "probed.yaml"
    done = dualface("probe", "--verify", "--json", "--output", str(path), "--scratch", str(work))
    say("probe ended with", done.returncode, done.stderr.strip())
    need(done.returncode in (0, 1), "a card was probed")
    facts = json.loads(done.stdout)
    say("driver", facts["driver"]["driver"], "CUDA", facts["driver"]["cuda"])
    for part in facts["cards"]:
        say(part["card"])
        for limit in [*part["decoding"]["limits"], *part["encoding"]["limits"]]:
            say(limit)
        say("engines", part["decoding"]["engines"], part["encoding"]["engines"], "sessions", part["sessions"])
    say(facts["libraries"]["versions"])
    say(facts["disks"])
    for row in facts["verify"]["rows"]:
        say(row)
    need(done.returncode == (0 if facts["verify"]["confirmed"] else 1), "the exit code says what the table says")
    need((read_profile(path).verified is not None) == facts["verify"]["confirmed"], "verified means confirmed")
    for line in dualface("doctor").stdout.splitlines():
        say(line)


# --- whole jobs: minutes each, named by --only ------------------------------------------------------------------------
def card_mib() -> float:
    """Memory in use on the card, whoever uses it."""
    from dualface_ray.hardware import GpuMeter

    meter = GpuMeter.open()
    need(meter is not None, "NVML answers")
    reading = meter.read()
    meter.close()
    return float(reading.memory_bytes / MIB)


def looped(path: Path, target: Path, times: int) -> Path:
    """The packets of a clip so many times in a row."""
    import av

    if target.exists():
        return target
    with av.open(str(path)) as given, av.open(str(target), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream) if hasattr(out, "add_stream_from_template") else None
        copy = copy or out.add_stream(template=stream)
        packets = [p for p in given.demux(stream) if p.size]
        length = max(p.pts + p.duration for p in packets) - min(p.pts for p in packets)
        for turn in range(times):
            given.seek(0, stream=stream)
            for packet in given.demux(stream):
                if packet.size:
                    packet.pts += turn * length
                    packet.dts += turn * length
                    packet.stream = copy
                    out.mux(packet)
    return target


def people(work: Path, frames: int) -> tuple[Path, int]:
    """The clip that ``--clip`` names, else a pattern, repeated to about so many frames; and how many it has then."""
    import av

    given = os.environ.get("GPU_CHECK_CLIP", "")
    path = Path(given) if given else clip(work, "hd-120.mp4", frames=120, width=1920, height=1080)
    with av.open(str(path)) as container:
        each = sum(1 for packet in container.demux(video=0) if packet.size)
    times = max(1, round(frames / each))
    return looped(path, work / f"people-{times}.mp4", times), each * times


def links(path: Path, folder: Path, count: int) -> list[Path]:
    """The same file under many names."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{path.stem}-{number:04d}{path.suffix}" for number in range(count)]
    for one in made:
        if not one.exists():
            os.link(path, one)
    return made


def fresh(folder: Path) -> Path:
    """An empty folder of this name."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


SMALL = {"framing.width_px": 480, "framing.height_px": 272, "encode.quality": 40, "job.overwrite": True}


@step(300, extra=True)
def short_clips(work: Path) -> None:
    """200 short clips through one lane of a real job: the card's memory stays flat."""
    from dualface_ray import run

    clips = links(clip(work, "short-30.mp4", frames=30), work / "short", 200)
    memory, started = [], time.monotonic()
    with run(clips, fresh(work / "short-out"), backend="cuda", **SMALL) as job:
        while True:
            snapshot = job.wait(0.3)
            done = sum(video.state.final for video in snapshot.videos)
            if done >= 20 * (len(memory) + 1) and not snapshot.final:
                memory.append(card_mib())
            if snapshot.final:
                break
    took = time.monotonic() - started
    failed = [video.error for video in snapshot.videos if video.state.value != "done"]
    need(not failed, f"{len(failed)} clips failed: {failed[:1]}")
    say(f"200 clips in {took:.0f} s; MiB after each 20: {' '.join(f'{one:.0f}' for one in memory)}")
    steady = memory[2:]
    need(len(steady) >= 3, "there were readings while it ran")
    say(f"short_clips: 200 clips, {took:.0f} s, memory {min(steady):.0f}..{max(steady):.0f} MiB after the first 60")
    need(steady[-1] - steady[0] < 64 and max(steady) - min(steady) < 256, "memory stays flat")


@step(420, extra=True)
def soak(work: Path) -> None:
    """16 streams for minutes: nothing dies, and the rate at the end is that of the beginning."""
    import statistics

    from dualface_ray import run

    minutes = float(os.environ.get("GPU_CHECK_SOAK_MIN", "3"))
    source = looped(clip(work, "hd-120.mp4", frames=120, width=1920, height=1080), work / "hd-long.mp4", 15)
    files = links(source, work / "soak", int(40 + 120 * minutes))
    rates, mark, began = [], None, 0.0
    with run(files, fresh(work / "soak-out"), backend="cuda", streams=16, **SMALL) as job:
        while True:
            snapshot = job.wait(0.5)
            frames = sum(video.frames_done for video in snapshot.videos)
            running = sum(video.state.value == "running" for video in snapshot.videos)
            now = time.monotonic()
            if mark is None and frames:
                mark, began = (now, frames), now
            elif mark is not None and now - mark[0] >= 10 and not snapshot.final:
                rates.append((frames - mark[1]) / (now - mark[0]))
                say(f"{now - began:.0f} s: {rates[-1]:.0f} fps, {running} running, {card_mib():.0f} MiB")
                mark = (now, frames)
            if snapshot.final or (began and now - began > minutes * 60):
                break
        failed = [video.error for video in snapshot.videos if video.state.value == "failed"]
        need(not failed, f"{len(failed)} videos failed: {failed[:1]}")
        need(not snapshot.notes, f"nothing died: {snapshot.notes[:2]}")
    need(len(rates) >= 6, "a minute at least")
    first, last = statistics.mean(rates[1:4]), statistics.mean(rates[-4:-1])
    usual, least = statistics.median(rates), min(rates[1:])
    say(f"soak: {minutes:g} min, {usual:.0f} fps, first {first:.0f}, last {last:.0f}, least {least:.0f}")
    need(last > 0.85 * first, "the rate stays")


def steady_rate(files: list[Path], out: Path, frames_each: int, **changes: Any) -> tuple[float, list[str]]:
    """Frames a second between a fifth and four fifths of a job's frames, and the notes of its reports."""
    from dualface_ray import run
    from dualface_ray.report import read_report

    whole, readings = frames_each * len(files), []
    with run(files, fresh(out), backend="cuda", **{**SMALL, "encode.preset": "ultrafast", **changes}) as job:
        while not (snapshot := job.wait(0.2)).final:
            done = sum(video.frames_done for video in snapshot.videos)
            if 0.2 * whole <= done <= 0.8 * whole:
                readings.append((time.monotonic(), done))
    failed = [video.error for video in snapshot.videos if video.state.value != "done"]
    need(not failed, f"{len(failed)} videos failed: {failed[:1]}")
    need(len(readings) > 4, f"only {len(readings)} readings in the middle of the job")
    (began, first), (ended, last) = readings[0], readings[-1]
    reports = [read_report(path) for path in out.glob("*.report.json")]
    return (last - first) / (ended - began), sorted({n for one in reports if one for n in one.degradations})


HALF = {
    "lane.profile": "h200",
    "lane.allow_unverified_profile": True,
    "lane.cores": 16,
    "lane.streams": 16,
    "identity.reid": "off",  # spares building the embedder's engine
}


@step(500, extra=True)
def second_card(work: Path) -> None:
    """One lane on one card, two lanes on two, the same cores for each lane."""
    import cupy

    need(cupy.cuda.runtime.getDeviceCount() >= 2, "two cards")
    source, frames = people(work, 2400)
    files, rates = links(source, work / "second", 32), {}
    for lanes in (1, 2):
        some = files[: 16 * lanes]
        rates[lanes], notes = steady_rate(some, work / "second-out", frames, **HALF, **{"lane.count": lanes})
        say(f"{lanes} lanes: {rates[lanes]:.0f} fps {'; '.join(notes)}")
    say(f"second_card: one {rates[1]:.0f}, two {rates[2]:.0f} fps: {rates[2] / rates[1]:.2f} times")
    need(rates[2] > 1.6 * rates[1], "a second card adds most of itself")


@step(500, extra=True)
def one_long(work: Path) -> None:
    """One long video on one card: cut into parts for its decoders, and in one piece."""
    from dualface_ray import run
    from dualface_ray.report import read_report

    source, total = people(work, 21600)
    took, frames = {}, {}
    for name, least in (("cut", 60.0), ("whole", 5000.0)):
        changes = {
            **SMALL,
            **HALF,
            "lane.count": 1,
            "encode.preset": "ultrafast",
            "job.segment_min_s": least,
            "job.segment_max_s": 5000,
            "identity.reid": "auto",  # without it faces of different parts cannot be compared, and nothing is cut
        }
        out, first = fresh(work / f"long-{name}"), 0.0
        started = time.monotonic()
        with run([source], out, backend="cuda", **changes) as job:
            while not (snapshot := job.wait(0.2)).final:
                first = first or (time.monotonic() if snapshot.videos[0].state.value == "running" else 0.0)
        took[name] = time.monotonic() - first
        video = snapshot.videos[0]
        need(video.state.value == "done", f"{name}: {video.error}")
        report = read_report(next(out.glob("*.report.json")))
        frames[name] = video.frames_done
        parts, whole = report.spans if report else 0, time.monotonic() - started
        say(f"{name}: {parts} parts, {took[name]:.1f} s since it was begun, {whole:.1f} s in all")
        for note in report.degradations if report else ():
            say("  ", note)
    need(frames["cut"] == frames["whole"] == total, f"every frame: {frames}")
    say(f"one_long: {took['cut']:.1f} s cut, {took['whole']:.1f} s whole: {took['cut'] / took['whole']:.2f}")
    need(took["cut"] < 0.7 * took["whole"], "several decoders are used")


def portraits() -> list[Any]:
    """The demo's two heads, from the folder where the packages that bring them are missing."""
    from dualface_ray.demo import faces

    folder = os.environ.get("DUALFACE_FACES", "")
    if folder:
        paths = {"astronaut": Path(folder) / "astronaut.png", "grace_hopper": Path(folder) / "grace_hopper.jpg"}
        faces._packaged = lambda: paths
    return faces.load_faces()


def export_faces(folder: Path) -> int:
    import shutil

    from dualface_ray.demo import faces

    folder.mkdir(parents=True, exist_ok=True)
    for path in faces._packaged().values():
        shutil.copy(path, folder / path.name)
        print(folder / path.name)
    return 0


def render_scene(name: str, work: str, seconds: float, seed: int) -> str:
    from dualface_ray.demo import SCENES, render

    path = Path(work) / f"scene-{name}-{seed}-{seconds:g}.mp4"
    if not path.exists():
        partial = path.with_name(f"part-{path.name}")
        render(
            SCENES[name], partial, width_px=960, height_px=540, rate=Fraction(25), duration_s=seconds, seed=seed,
            faces=portraits(), name=name,
        )  # fmt: skip
        partial.rename(path)
    return str(path)


def scene_tracks(path: str, backend: str, every_frame: bool, work: str) -> list[dict[str, Any]]:
    """Faces of every frame as the lane of this backend tells them."""
    import json

    import in_process

    from dualface_ray.backends import DevicePlan, load_backend
    from dualface_ray.settings import resolve

    settings = resolve(every_frame=every_frame, **{**SMALL, "encode.preset": "ultrafast"})
    chosen = load_backend(backend, DevicePlan(orientations=("landscape",)))
    in_process.load_backend = lambda _: chosen
    folder = Path(work) / f"out-{backend}-{int(every_frame)}-{Path(path).stem}"
    folder.mkdir(exist_ok=True)
    with in_process.InProcessLane(settings, streams=1, pool_bytes=160 * MIB) as services:
        status = services.run(in_process.job_for(Path(path), folder, settings), 240)
    if status.error is not None:
        raise RuntimeError(f"{backend} {Path(path).stem}: {status.error}")
    lines = next(folder.glob("*.tracks.jsonl")).read_text().splitlines()[1:]
    return [json.loads(line)["faces"] for line in lines]


def swapped(mine: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether somebody carries the other's letter: their box lies on the other person's of the CPU lane."""
    import numpy as np

    boxes = {(side, p): faces[p]["box"] for side, faces in (("m", mine), ("o", other)) for p in ("A", "B")}
    if any(box is None for box in boxes.values()):
        return False
    centre = {key: np.array([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2]) for key, b in boxes.items()}
    straight = sum(float(np.linalg.norm(centre["m", p] - centre["o", p])) for p in "AB")
    crossed = sum(float(np.linalg.norm(centre["m", p] - centre["o", q])) for p, q in ("AB", "BA"))
    return crossed < straight


@step(540, extra=True)
def scenes(work: Path) -> None:
    """Every demo scene through both backends, on the grid and on every frame: labels, states, boxes."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import numpy as np

    from dualface_ray.demo import SCENES
    from dualface_ray.hardware import cores

    seconds, seed = (float(word) for word in os.environ.get("GPU_CHECK_SCENES", "8 0").split())
    spawn_context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, cores() - 1), mp_context=spawn_context) as pool, clock("rendering"):
        names = list(SCENES)
        paths = list(
            pool.map(render_scene, names, [str(work)] * len(names), [seconds] * len(names), [int(seed)] * len(names))
        )
    whole = True
    for every_frame in (False, True):
        found = {}
        for backend, processes in (("cuda", 4), ("cpu", max(1, cores() - 1))):
            with ProcessPoolExecutor(processes, mp_context=spawn_context) as pool, clock(f"{backend} {every_frame=}"):
                count = len(paths)
                jobs = pool.map(scene_tracks, paths, [backend] * count, [every_frame] * count, [str(work)] * count)
                found[backend] = dict(zip(names, jobs))
        apart, states, frames, wrong = [], [], 0, []
        for name in names:
            pairs = list(zip(found["cuda"][name], found["cpu"][name], strict=True))
            frames += len(pairs)
            bad = sum(swapped(a, b) for a, b in pairs)
            same = [a[p]["state"] == b[p]["state"] for a, b in pairs for p in ("A", "B")]
            both = [(a[p]["box"], b[p]["box"]) for a, b in pairs for p in ("A", "B") if a[p]["box"] and b[p]["box"]]
            distance = [max(abs(x - y) for x, y in zip(*one)) for one in both]
            states += same
            apart += distance
            if bad or np.mean(same) < 0.995:
                wrong.append(name)
                worst = max(distance, default=0)
                alike = float(np.mean(same))
                say(f"{name}: {bad} of {len(pairs)} frames swapped, states {alike:.4f}, worst box {worst:.1f} px")
        p50, p95, p99 = np.percentile(apart, (50, 95, 99))
        say(
            f"scenes every_frame={every_frame}: {len(names)} scenes, {frames} frames, "
            f"states equal {np.mean(states):.4f}, "
            f"boxes p50 {p50:.2f} p95 {p95:.2f} p99 {p99:.2f} max {max(apart):.1f} px, "
            f"not alike: {', '.join(wrong) or 'none'}"
        )
        whole = whole and not wrong and np.mean(states) >= 0.995
    need(whole, "the same labels everywhere, the same states in 99.5 % of frames")


def hold(leave_bytes: int) -> None:
    """Hold the card's memory but for so much, until the parent closes the pipe (a process of its own)."""
    import cupy

    free = cupy.cuda.runtime.memGetInfo()[0]
    address = cupy.cuda.runtime.malloc(max(1, free - leave_bytes))
    print(f"holding {(free - leave_bytes) / MIB:.0f} MiB", flush=True)
    sys.stdin.read()
    cupy.cuda.runtime.free(address)


@step(300, extra=True)
def oom(work: Path) -> None:
    """Memory that is not there: a typed error with numbers; a lane that runs out goes on with a smaller plan."""
    from dualface_ray import run
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.vendor import device
    from dualface_ray.errors import VramBudgetError
    from dualface_ray.report import read_report

    total = device().total_bytes
    for wish in (2 * total, int(0.69 * total)):
        arenas = []
        try:
            arenas.append(load_backend("cuda").create_arena(wish, 64))
            arenas.append(load_backend("cuda").create_arena(wish, 64))
        except VramBudgetError as error:
            say("refused:", error)
        else:
            raise AssertionError(f"{wish} bytes twice were granted")
        finally:
            for arena in arenas:
                arena.close()
    source = looped(clip(work, "hd-120.mp4", frames=120, width=1920, height=1080), work / "hd-600.mp4", 5)
    files = links(source, work / "oom", 8)
    leave = 9 << 30
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import gpu_check; gpu_check.hold({leave})"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ["PYTHONPATH"]])},
    )  # fmt: skip
    try:
        need(
            holder.stdout is not None and holder.stdout.readline().startswith("holding"),
            "another process holds the card",
        )
        say(f"the card has {total / MIB:.0f} MiB, {leave / MIB:.0f} are left")
        started = time.monotonic()
        out = fresh(work / "oom-out")
        # ten seconds of look-ahead: eight streams want 8.9 GB of frames alone
        with run(files, out, backend="cuda", streams=8, lookahead_s=10, **SMALL) as job:
            snapshot = job.wait(240)
        for note in snapshot.notes:
            say("note:", note)
        states = [video.state.value for video in snapshot.videos]
        need(
            states == ["done"] * 8, f"all videos are done: {states} {[v.error for v in snapshot.videos if v.error][:1]}"
        )
        reports = [read_report(path) for path in sorted(out.glob("*.report.json"))]
        degraded = sorted({note for report in reports if report for note in report.degradations})
        took = time.monotonic() - started
        told = "; ".join(degraded)
        say(f"oom: {len(states)} videos done in {took:.0f} s, {len(snapshot.notes)} notes, reports say: {told}")
        need(snapshot.notes, "the lane ran out and was started again smaller")
        need(degraded, "the reports say so")
    finally:
        holder.kill()
        holder.wait()


# --- the runner ----------------------------------------------------------------------------------------------------
def run_step(name: str, work: Path) -> int:
    try:
        STEPS[name](work)
    except BaseException as error:
        traceback.print_exc()
        print(f"CAUSE {type(error).__name__}: {error}", flush=True)
        return 1
    return 0


def spawn(name: str, work: Path) -> subprocess.Popen[str]:
    log = (work / f"{name}.log").open("w")
    command = [sys.executable, "-u", "-X", "faulthandler", str(Path(__file__).resolve()), "--step", name]
    return subprocess.Popen([*command, "--work", str(work)], stdout=log, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def settle(name: str, child: subprocess.Popen[str], limit_s: float, work: Path) -> bool:
    started = time.monotonic()
    try:
        code: int | str = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        code = f"no end after {limit_s:.0f} s"
    text = (work / f"{name}.log").read_text(errors="replace")
    causes = [line[6:] for line in text.splitlines() if line.startswith("CAUSE ")]
    passed = code == 0
    cause = "" if passed else f" - {causes[-1] if causes else f'ended with {code}'}"
    print(f"{'PASS' if passed else 'FAIL'} {name} ({time.monotonic() - started:.1f} s){cause}", flush=True)
    lines = text.splitlines()
    for line in lines if passed else lines[-25:]:
        print(f"  | {line[:220]}")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default="", help="folder that DUALFACE_CACHE should name")
    parser.add_argument("--media", default="", help="folder with photographs (.jpg) that show faces")
    parser.add_argument("--out", default="", help="where logs go; kept")
    parser.add_argument("--budget-s", type=float, default=540.0)
    parser.add_argument("--only", default="", help="comma-separated steps")
    parser.add_argument("--skip", default="", help="comma-separated steps")
    parser.add_argument("--soak-min", type=float, default=3.0, help="minutes of the step soak")
    parser.add_argument("--scene-s", type=float, default=8.0, help="length of each clip of the step scenes")
    parser.add_argument("--seed", type=int, default=0, help="of the step scenes")
    parser.add_argument("--faces", default="", help="folder with astronaut.png and grace_hopper.jpg")
    parser.add_argument("--clip", default="", help="video of two people for the steps second_card and one_long")
    parser.add_argument("--export-faces", default="", help="write that folder from the packages here, and end")
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        return run_step(arguments.step, Path(arguments.work))
    if arguments.export_faces:
        return export_faces(Path(arguments.export_faces))
    if arguments.clip:
        os.environ["GPU_CHECK_CLIP"] = str(Path(arguments.clip).resolve())
    if arguments.faces:
        os.environ["DUALFACE_FACES"] = str(Path(arguments.faces).resolve())
    os.environ["GPU_CHECK_SOAK_MIN"] = str(arguments.soak_min)
    os.environ["GPU_CHECK_SCENES"] = f"{arguments.scene_s} {arguments.seed}"
    if arguments.cache:
        os.environ["DUALFACE_CACHE"] = str(Path(arguments.cache).resolve())
    found = [ROOT / "shared" / "media", ROOT.parent / "shared" / "media"]
    media = Path(arguments.media) if arguments.media else next((p for p in found if p.is_dir()), Path("none"))
    os.environ["GPU_CHECK_MEDIA"] = str(media.resolve())
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    work = Path(arguments.out or tempfile.mkdtemp(prefix="gpu-check-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    only, skip = set(filter(None, arguments.only.split(","))), set(filter(None, arguments.skip.split(",")))
    unknown = (only | skip) - set(STEPS)
    if unknown:
        parser.error(f"no such steps: {sorted(unknown)}; known: {', '.join(STEPS)}")
    names = [n for n in STEPS if (n in only if only else n not in EXTRA) and n not in skip]
    deadline = time.monotonic() + arguments.budget_s
    print(f"{len(names)} steps, logs in {work}, media {media}, cache {os.environ.get('DUALFACE_CACHE', 'default')}")
    builders = {name: spawn(name, work) for name in ("engine_build", "embedder_build") if name in names}
    results: dict[str, bool] = {}
    for name in names:
        left = deadline - time.monotonic()
        if left < 2:
            print(f"SKIP {name} - no time left")
            continue
        child = builders.pop(name, None) or spawn(name, work)
        limit_s = max(SLOW[name], arguments.soak_min * 60 + 180) if name == "soak" else SLOW[name]
        results[name] = settle(name, child, min(limit_s, left), work)
    for child in builders.values():
        child.kill()
        child.wait()
    failed = [name for name, good in results.items() if not good]
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}")
    return 1 if failed or len(results) < len(names) else 0


if __name__ == "__main__":
    sys.exit(main())
