"""Returning memory: what a process that was killed had of the card comes back a little after its end, not with it.

    a lane dies ─► its processes are killed ─► the driver ends their contexts, a second or several ─► memory is free
    it starts again at once ─► await_memory: looks until there is enough, for WAIT_S at most ─► allocates, or is refused

Without this a lane that starts again could find its own predecessor in the way, and go on with a smaller plan for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dualface_ray.backends.cuda.vendor import cupy, enter_device, translated

WAIT_S = 10.0
"""Longer than drivers take; what is not free by then is somebody else's."""
LOOK_S = 0.2
_MIB = 1 << 20


def await_memory(wanted_bytes: int, progress: Callable[[str], None] = lambda line: None) -> tuple[int, int]:
    """Wait until so much of the card is free, ``WAIT_S`` at most.

    Args:
        wanted_bytes: device memory; 0 = do not wait.
        progress: called once, with a readable line, when there is something to wait for.

    Returns:
        Free and total bytes at the end, whether that is enough or not.

    Raises:
        DeviceError: there is no working device.
    """
    enter_device()
    until_s, said = time.monotonic() + WAIT_S, False
    while True:
        with translated("asking for free memory"):
            free, total = (int(size) for size in cupy().cuda.runtime.memGetInfo())
        if free >= wanted_bytes or time.monotonic() >= until_s:
            return free, total
        if not said:
            said = True
            progress(f"waiting for memory: {free / _MIB:.0f} of {wanted_bytes / _MIB:.0f} MiB are free on the card")
        time.sleep(LOOK_S)
