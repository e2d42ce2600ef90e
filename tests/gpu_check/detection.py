# ruff: noqa: B905
"""Faces of photographs: found, embedded, and found again in batches that overlap."""

from __future__ import annotations

import time
from pathlib import Path

from gpu_check.material import as_slot, photographs, upload
from gpu_check.steps import clock, need, say, step


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
