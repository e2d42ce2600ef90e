"""Many streams in threads of one process: that they decode, how fast, and that memory stays flat."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from gpu_check.material import clip
from gpu_check.steps import MIB, need, say, step


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
