# ruff: noqa: PERF203
"""The decoder's memory: views, another process that reads it through CUDA IPC, refusals, and that it comes back."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from gpu_check.steps import MIB, ROOT, need, say, step


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
