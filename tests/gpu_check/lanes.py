# ruff: noqa: B905
"""Decoding with detection, and a whole lane in one process on both backends."""

from __future__ import annotations

import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from gpu_check.material import clip
from gpu_check.steps import MIB, need, say, step


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
