"""``dualface submit``: send a job to a cluster, follow it, find it again, stop it.

With ``--json`` every line is one object. The job runs with ``--json``, too, and its own events
(dualface_ray.cli.json_lines) come through unchanged between these:

{"event": "submitted", "id", "address"}        the job is on the cluster
{"event": "log",       "id", "text"}           a line of the job's log that is no event
{"event": "job",       "id", "status", "exit_code", "text"}          how it stands, or how it ended: the last line
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from dualface_ray.cli.faults import INTERRUPTED
from dualface_ray.cli.run import Request
from dualface_ray.cli.text import shown
from dualface_ray.errors import ContactLostError, RequestError
from dualface_ray.submission import Cluster, Order, Outcome, Submission, send


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """What the user asked for, as typed; ``follow``, ``stop`` and ``status`` name a job that is there already."""

    run: Request | None
    address: str | None = None
    stay: bool = True
    working_dir: Path | None = None
    name: str | None = None
    follow: str | None = None
    stop: str | None = None
    status: str | None = None


def check_one_job(there: Mapping[str, object], new: Mapping[str, object]) -> None:
    """Refuse a command line that is about two jobs.

    Args:
        there: options that name a job which is there already, with what was given.
        new: what makes a new one, likewise.

    Raises:
        RequestError: two of the former, or one of each, were given.
    """
    asked = [name for name, value in there.items() if value is not None]
    making = [name for name, value in new.items() if value]
    if len(asked) > 1 or (asked and making):
        mixed, names = " and ".join((*asked, *making)), ", ".join(there)
        raise RequestError(
            f"{mixed} do not go together: {names} name one job that is there already",
            remedy="Give one of these alone, or none of them to start a new job.",
        )


class Speaker:
    """Lines for a person on standard error and the job's own on standard output; or objects, all on the latter."""

    def __init__(self, as_json: bool, quiet: bool, out: TextIO, err: TextIO) -> None:
        self.as_json = as_json
        self._quiet = quiet
        self._out = out
        self._err = err

    def say(self, line: str) -> None:
        """A remark of the command line itself."""
        if self.as_json:
            self.event("note", text=line)
        elif not self._quiet:
            self._err.write(f"dualface: {shown(line)}\n")
            self._err.flush()

    def event(self, event: str, **fields: Any) -> None:
        """One object; nothing without ``--json``."""
        if self.as_json:
            self._out.write(json.dumps({"event": event, **fields}) + "\n")
            self._out.flush()

    def line(self, job_id: str, text: str) -> None:
        """One line of the job's log."""
        if not self.as_json:
            self._out.write(
                "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text) + "\n"
            )
            self._out.flush()
        elif _is_event(text):
            self._out.write(text.strip() + "\n")
            self._out.flush()
        else:
            self.event("log", id=job_id, text=text)


def run_submit(request: SubmitRequest, *, as_json: bool = False, quiet: bool = False) -> int:
    """Do what was asked and return the job's exit code (0 when it was only sent).

    Raises:
        DualfaceError: the request is wrong, or the cluster does not take it.
    """
    speaker = Speaker(as_json, quiet, sys.stdout, sys.stderr)
    if request.stop is not None:
        return _stop(Submission(request.stop, request.address), speaker)
    if request.status is not None:
        return _status(Submission(request.status, request.address), speaker)
    if request.follow is not None:
        return _follow(Submission(request.follow, request.address), speaker)
    if request.run is None:
        raise RequestError("no input was given", remedy="Name at least one video file, folder or pattern.")
    inputs = request.run.inputs
    if request.run.list_file is not None:
        from dualface_ray.media import read_list

        inputs = (*inputs, *read_list(request.run.list_file))
    order = Order(inputs, str(request.run.output), request.run.settings(), as_json=as_json, quiet=quiet)
    job = send(
        order,
        lambda: Cluster(request.address),
        name=request.name,
        working_dir=request.working_dir,
        say=speaker.say,
    )
    speaker.event("submitted", id=job.id, address=job.address)
    if not as_json:
        speaker.say(f"submitted {job.id} to {job.address}")
    if request.stay:
        return _follow(job, speaker)
    _tell_how(job, speaker)
    return 0


def _follow(job: Submission, speaker: Speaker) -> int:
    def on_line(text: str) -> None:
        speaker.line(job.id, text)

    try:
        ended = job.wait(on_line=on_line, on_status=speaker.say)
    except KeyboardInterrupt:
        return _interrupted(job, speaker)
    except ContactLostError:
        _tell_how(job, speaker)
        raise
    if ended is None:  # only with a time limit, which there is not
        return 1
    return _ended(job, ended, speaker)


def _interrupted(job: Submission, speaker: Speaker) -> int:
    """Ctrl-C: ask once on a terminal; anything but yes lets the job run."""
    if not _asked(f"\nStop {job.id} as well? [y/N] "):
        speaker.say(f"{job.id} goes on")
        _tell_how(job, speaker)
        speaker.event("job", id=job.id, status=job.status, exit_code=None, text="left running")
    else:
        _stop(job, speaker)
    return INTERRUPTED


def _asked(question: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except (KeyboardInterrupt, OSError, UnicodeDecodeError):
        return False


def _stop(job: Submission, speaker: Speaker) -> int:
    if job.outcome() is None:  # an id that nobody knows ends here
        speaker.say(f"stopping {job.id}: unfinished videos are discarded, finished ones stay")
    if not job.stop():
        speaker.say(f"{job.id} had ended already")
        return 0
    ended = job.outcome()
    if ended is not None:
        _ended(job, ended, speaker)
    return 0


def _status(job: Submission, speaker: Speaker) -> int:
    status, ended = job.status, job.outcome()
    code = None if ended is None else ended.exit_code
    speaker.event("job", id=job.id, status=status, exit_code=code, text="" if ended is None else ended.text)
    if not speaker.as_json:
        sys.stdout.write(f"{job.id}: {status}" + ("" if code is None else f", exit code {code}") + "\n")
    return 0


def _ended(job: Submission, ended: Outcome, speaker: Speaker) -> int:
    speaker.event("job", id=job.id, status=ended.status, exit_code=ended.exit_code, text=ended.text)
    if ended.text and not speaker.as_json:
        sys.stderr.write(f"dualface: {job.id}: {shown(ended.text)}\n")
    elif not speaker.as_json and ended.exit_code == 0:
        speaker.say(f"{job.id} {ended.status}")
    return ended.exit_code


def _tell_how(job: Submission, speaker: Speaker) -> None:
    for what in ("follow", "stop"):
        speaker.say(f"{what} it: dualface submit --{what} {job.id} --address {job.address}")


def _is_event(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and "event" in value
