"""What runs inside a probing process: its limits, the parts by name, and how they report.

A part is a function of its arguments and ``tell``; what it returns is its value, what it raises its failure. ``tell``
keeps what was found even when the next call into a vendor's library ends the process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from dualface_ray.hardware.facts import plain

Tell = Callable[[Any], None]

PARTS = {
    "nvml": "driver:read_driver",
    "decoding": "codecs:ask_decoder",
    "encoding": "codecs:ask_encoder",
    "sessions": "sessions:open_sessions",
    "versions": "libraries:imported_versions",
    "libraries": "libraries:open_libraries",
    "ipc": "ipc:exchange",
    "ipc_reader": "ipc:read",
    "disk": "disk:measure",
}
"""Module and function of each part, below ``dualface_ray.hardware``."""
_NOISE_BYTES = 64 << 20
_WRITERS = {"disk"}


def main() -> None:
    """Run the part that the command line names: name, arguments as JSON, number of the report's file, seconds."""
    name, arguments, number, limit_s = sys.argv[1:5]
    with open(int(number), "wb", buffering=0, closefd=False) as report:

        def send(**event: Any) -> None:
            report.write(json.dumps(plain(event)).encode() + b"\n")

        _tighten(float(limit_s), writes=name in _WRITERS)
        try:
            module, _, function = PARTS[name].partition(":")
            part = getattr(importlib.import_module(f"dualface_ray.hardware.{module}"), function)
            value = part(lambda found: send(progress=found), **json.loads(arguments))
        except BaseException as error:  # also what a library makes of exit()
            send(failure=_line(error))
            code = 1
        else:
            send(value=value)
            code = 0
    sys.stdout.flush()
    os._exit(code)  # a library's own clean-up may crash or hang after all is told


def _tighten(limit_s: float, *, writes: bool) -> None:
    """No core file, no flood of output, and an end of its own should the parent be gone."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not writes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (_NOISE_BYTES, _NOISE_BYTES))
    signal.alarm(int(limit_s) + 5)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split("\n\n")[0].split())
    return (text or type(error).__name__)[:300]
