# ruff: noqa: B905
"""The kernels by themselves, against the CPU lane's arithmetic."""

from __future__ import annotations

import time
from pathlib import Path

from gpu_check.material import as_slot, photographs, upload
from gpu_check.steps import clock, need, psnr, say, step


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
