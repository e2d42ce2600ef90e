"""Progress where there is no terminal: few whole lines, no control characters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

from dualface_ray.cli.summary import print_summary
from dualface_ray.cli.text import duration, shown
from dualface_ray.cli.totals import totals
from dualface_ray.report import JobSnapshot, VideoProgress, VideoState

_EVERY_S = 10.0
_LATER_S = 60.0
_SETTLED_S = 600.0
"""After this long a minute between lines is enough: the log of a job of a day stays one that can be read."""
_MAX_ROWS = 8
"""More running videos than this are counted: a large cluster has hundreds."""
_OVERDUE_S = 5.0
"""Ray usually starts within this; a busy machine takes ten times as long, which is not to look like a hang."""


class QuietDisplay:
    """Shows failures only, each on one line of standard error."""

    def __init__(self, err: TextIO) -> None:
        self._err = err

    def say_starting(self) -> None:
        """Say nothing."""

    def say_looking(self, line: str) -> None:
        """Say nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def update(self, snapshot: JobSnapshot) -> None:
        """Say nothing."""

    def finish(self, snapshot: JobSnapshot) -> None:
        """One line for each video that failed."""
        for video in snapshot.videos:
            if video.state is VideoState.FAILED:
                self._err.write(f"dualface: {shown(video.error)}\n")
        self._err.flush()


class PlainDisplay:
    """A line for every change of state, and ten seconds (later a minute) how far it is; the table at the end."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        clock: Callable[[], float] = time.monotonic,
        overdue_s: float = _OVERDUE_S,
    ) -> None:
        self._out = out
        self._err = err
        self._clock = clock
        self._overdue_s = overdue_s
        self._overdue: threading.Timer | None = None
        self._states: dict[int, VideoState] = {}
        self._lanes: tuple[str, ...] = ()
        self._notes = 0
        self._began_s = clock()
        self._next_s = self._began_s + _EVERY_S
        self._look_s = self._began_s

    def say_starting(self) -> None:
        """Say nothing: the lanes introduce themselves, and a refused request shall be one line."""

    def say_looking(self, line: str) -> None:
        """The first one, and then as seldom as how far it is.

        The empty one says that the request reads well: if nothing happens for seconds now, it is Ray that starts.
        """
        if line and self._clock() >= self._look_s:
            self._look_s = self._next_after()
            self.say(line)
        elif not line:
            self._stop_waiting()
            self._overdue = threading.Timer(self._overdue_s, self.say, ("starting Ray",))
            self._overdue.daemon = True
            self._overdue.start()

    def close(self) -> None:
        """Say nothing any more that was not asked for; harmless when called twice."""
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def say(self, line: str) -> None:
        """One line for the user."""
        self._err.write(f"dualface: {shown(line)}\n")
        self._err.flush()

    def update(self, snapshot: JobSnapshot) -> None:
        """Say what changed, and every ten seconds how far it is."""
        self._stop_waiting()
        if snapshot.lanes and snapshot.lanes != self._lanes:
            for lane in snapshot.lanes:
                if lane not in self._lanes:
                    self.say(lane)
            self._lanes = snapshot.lanes
        for note in snapshot.notes[self._notes :]:
            self.say(f"note: {note}")
        self._notes = max(self._notes, len(snapshot.notes))
        for video in snapshot.videos:
            if self._states.get(video.index, VideoState.WAITING) is not video.state:
                self._states[video.index] = video.state
                self.say(_change(video))
        if self._clock() >= self._next_s:
            self._next_s = self._next_after()
            running = [video for video in snapshot.videos if video.state is VideoState.RUNNING]
            for video in running[:_MAX_ROWS]:
                self.say(_progress(video))
            if len(running) > _MAX_ROWS:
                self.say(f"and {len(running) - _MAX_ROWS} more running")
            if len(snapshot.videos) > 1:
                sums = totals(snapshot)
                self.say(f"total: {sums.sentence()}{_pace(sums.fps, sums.eta_s)}")

    def _next_after(self) -> float:
        settled = self._clock() - self._began_s >= _SETTLED_S
        return self._clock() + (_LATER_S if settled else _EVERY_S)

    def finish(self, snapshot: JobSnapshot) -> None:
        """The last changes, then the table."""
        self.update(snapshot)
        print_summary(self._out, snapshot)
        self._out.flush()


def _change(video: VideoProgress) -> str:
    line = f"{video.source}: {video.state.value}"
    if video.state is VideoState.FAILED:
        return f"failed: {video.error or video.source}"
    if video.state is VideoState.SKIPPED:
        return f"{line}, it was done before"
    return f"{line}, {video.frames_done} frames" if video.state is VideoState.DONE else line


def _progress(video: VideoProgress) -> str:
    of = f"{video.frames_done}/{video.frames_total}" if video.frames_total else str(video.frames_done)
    return f"{video.source}: {of} frames{_pace(video.fps, video.eta_s)}"


def _pace(fps: float, eta_s: float | None) -> str:
    """Rate and time left, as far as they are known."""
    rate = f", {fps:.1f} fps" if fps > 0 else ""
    return rate if eta_s is None else f"{rate}, {duration(eta_s)} left"
