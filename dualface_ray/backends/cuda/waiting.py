"""Waiting for a stream: spinning is quickest, sleeping leaves the core to others, such as the CPU's encoders.

CUDA spins by default where a machine has more cores than a process has contexts. A lane whose videos are encoded on
the CPU sleeps, as its plan says; every other one spins. ``DUALFACE_CUDA_WAIT`` in its environment says otherwise.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from dualface_ray.backends.cuda.vendor import cupy
from dualface_ray.errors import SettingsError

SWITCH = "DUALFACE_CUDA_WAIT"
_local = threading.local()
_chosen = [False]


def choose(*, sleep: bool) -> None:
    """What this process does from now on, unless its environment says otherwise."""
    _chosen[0] = sleep


def sleeps() -> bool:
    """Whether this process sleeps while it waits.

    Raises:
        SettingsError: the variable says something else than ``spin`` or ``sleep``.
    """
    word = os.environ.get(SWITCH, "")
    if word not in ("", "spin", "sleep"):
        raise SettingsError(f"{word!r} is no way to wait", where=SWITCH, remedy="Use spin or sleep.")
    return word == "sleep" if word else _chosen[0]


def new_event() -> Any:
    """An event without time, which is waited for as this process waits."""
    return cupy().cuda.Event(block=sleeps(), disable_timing=True)


def wait_for(stream: Any) -> None:
    """Return when everything that was queued on a stream by now has been done.

    Raises:
        RuntimeError: CUDA's own, of something that was queued (callers translate it).
    """
    if not sleeps():
        stream.synchronize()
        return
    if not hasattr(_local, "event"):
        _local.event = new_event()
    _local.event.record(stream)
    _local.event.synchronize()
