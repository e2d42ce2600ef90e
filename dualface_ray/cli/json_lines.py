"""``--json``: one object per line on standard output, for machines.

{"event": "starting"}
{"event": "started",  "schema": 1, "lanes": [...], "videos": [{"index", "source", "outputs"}]}
{"event": "video",    "index", "state", ...}          one per change of a video's state
{"event": "progress", "elapsed_s", "frames_done", "frames_total", "fps", "eta_s", "videos": [...running ones...]}
{"event": "note",     "text"}
{"event": "summary",  "exit_code", "elapsed_s", "videos": [...all of them...]}       the last line of a run
{"event": "error",    "code", "message", "exit_code"}                 instead of it, when the run could not be made
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from dualface_ray.cli.text import shown
from dualface_ray.cli.totals import totals
from dualface_ray.report import JobSnapshot, VideoProgress, VideoState

SCHEMA = 1
_EVERY_S = 1.0


class JsonDisplay:
    """Writes events; a line is complete when it is written, so a reader may follow the file."""

    def __init__(self, out: TextIO, err: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._err = err
        self._clock = clock
        self._states: dict[int, VideoState] | None = None
        self._notes = 0
        self._next_s = 0.0

    def say_starting(self) -> None:
        """Tell the reader that the request was accepted so far."""
        self._write("starting")

    def say_looking(self, line: str) -> None:
        """Say nothing: a machine waits without being told."""

    def say(self, line: str) -> None:
        """A remark of the command line itself."""
        self._write("note", text=line)

    def update(self, snapshot: JobSnapshot) -> None:
        """Write what changed, and a progress line at most once a second."""
        if self._states is None:
            self._states = {}
            videos = [{"index": v.index, "source": v.source, "outputs": list(v.outputs)} for v in snapshot.videos]
            self._write("started", schema=SCHEMA, lanes=list(snapshot.lanes), videos=videos)
        for note in snapshot.notes[self._notes :]:
            self._write("note", text=note)
        self._notes = max(self._notes, len(snapshot.notes))
        for video in snapshot.videos:
            if self._states.get(video.index, VideoState.WAITING) is not video.state:
                self._states[video.index] = video.state
                self._write("video", **_video(video))
        if self._clock() >= self._next_s:
            self._next_s = self._clock() + _EVERY_S
            self._write_progress(snapshot)

    def _write_progress(self, snapshot: JobSnapshot) -> None:
        sums = totals(snapshot)
        busy = [_video(v) for v in snapshot.videos if v.state in (VideoState.RUNNING, VideoState.FINISHING)]
        self._write(
            "progress",
            elapsed_s=round(snapshot.elapsed_s, 3),
            frames_done=sums.frames_done,
            frames_total=sums.frames_total,
            fps=round(sums.fps, 2),
            eta_s=None if sums.eta_s is None else round(sums.eta_s, 1),
            videos=busy,
        )

    def finish(self, snapshot: JobSnapshot) -> None:
        """Write the last changes and the summary; failed videos also get their line on standard error."""
        self.update(snapshot)
        for video in snapshot.videos:
            if video.state is VideoState.FAILED:
                self._err.write(f"dualface: {shown(video.error)}\n")
        self._err.flush()
        self._write(
            "summary",
            exit_code=snapshot.exit_code,
            elapsed_s=round(snapshot.elapsed_s, 3),
            notes=list(snapshot.notes),
            videos=[_video(video) for video in snapshot.videos],
        )

    def _write(self, event: str, **fields: Any) -> None:
        self._out.write(json.dumps({"event": event, **fields}, allow_nan=False) + "\n")
        self._out.flush()


def _video(video: VideoProgress) -> dict[str, Any]:
    fields = asdict(video)
    fields["state"] = video.state.value
    fields["outputs"] = list(video.outputs)
    fields["fps"] = round(video.fps, 2)
    fields["eta_s"] = None if video.eta_s is None else round(video.eta_s, 1)
    return fields
