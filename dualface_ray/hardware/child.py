"""One probing part in a process of its own: a vendor library that crashes or hangs is a finding, not our end.

    run_part ─ name, arguments ─► python -c … ─► parts.main ─ JSON lines into an unlinked file ─► Outcome
                  └─ no end in time, or Ctrl-C: the whole process group is killed

Knows nothing of what the parts ask.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
ENTRY = "import sys; sys.path[:] = filter(None, sys.path); from dualface_ray.hardware.parts import main; main()"
"""Without the current folder in the search path: a folder of videos may hold a ``cupy.py``, too."""
_GRACE_S = 5.0
"""A process that SIGKILL does not end within this time waits inside the kernel (a dead network folder); it is left."""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one part."""

    value: Any = None
    why: str = ""
    """Why there is no value; empty when there is one."""
    progress: tuple[Any, ...] = ()
    """What the part reported on its way, also when it did not reach its end."""
    ended: str = "done"
    """``done``, ``failed`` (it said so itself), ``crashed`` or ``time``."""


def run_part(
    name: str,
    arguments: Mapping[str, Any],
    *,
    title: str,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> Outcome:
    """Run one part to its end, or until its time is over.

    Args:
        name: of the part (``parts.PARTS``).
        arguments: for it; plain JSON.
        title: who is to blame in a message, such as ``the decoder library``.
        limit_s: it is killed after this long.
        environment: set on top of ours.
        command: another program in its place, for tests; it gets the same four arguments.
    """
    given = {**os.environ, **(environment or {})}
    given["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [given.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as noise:
        number = report.fileno()
        program = [*(command or (sys.executable, "-X", "faulthandler", "-c", ENTRY))]
        program += [name, json.dumps(dict(arguments)), str(number), str(limit_s)]
        try:
            child = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=noise,
                stderr=noise,
                pass_fds=(number,),
                env=given,
                start_new_session=True,
            )
        except OSError as error:
            return Outcome(why=f"no process can be started: {error.strerror or error}", ended="failed")
        timed_out = False
        try:
            child.wait(limit_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            stuck = _kill(child)
        return _outcome(child.returncode, _lines(report), _last_words(noise), title, limit_s, timed_out, stuck)


def _kill(child: subprocess.Popen[bytes]) -> bool:
    """End what is left of the group; True when it cannot be ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _outcome(
    code: int | None, events: list[dict[str, Any]], words: str, title: str, limit_s: float, timed_out: bool, stuck: bool
) -> Outcome:
    progress = tuple(event["progress"] for event in events if "progress" in event)
    for event in reversed(events):
        if "value" in event:
            return Outcome(event["value"], progress=progress)
        if "failure" in event:
            return Outcome(why=str(event["failure"]), progress=progress, ended="failed")
    if timed_out:
        more = "; its process cannot be killed, it waits inside the kernel" if stuck else ""
        return Outcome(why=f"{title} gave no answer in {limit_s:g} s{more}", progress=progress, ended="time")
    if code is not None and code < 0:
        return Outcome(why=f"{title} crashed: {_signal(-code)}", progress=progress, ended="crashed")
    tail = f": {words}" if words else ""
    return Outcome(why=f"{title} ended its process with code {code}{tail}", progress=progress, ended="crashed")


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _lines(report: Any) -> list[dict[str, Any]]:
    """Whole lines that are JSON objects; whatever else a dying process left is ignored."""
    report.seek(0)
    found = []
    for line in report.read(_MOST_BYTES).decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                found.append(event)
    return found


def _last_words(noise: Any) -> str:
    size = noise.seek(0, os.SEEK_END)
    noise.seek(max(0, size - 4096))
    lines = [line.strip() for line in noise.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
