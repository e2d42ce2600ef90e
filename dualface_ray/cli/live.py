"""Progress on a terminal: the running videos and the total, redrawn in place."""

from __future__ import annotations

from pathlib import PurePath
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from dualface_ray.cli.summary import STYLES, print_summary
from dualface_ray.cli.text import duration, shown
from dualface_ray.cli.totals import totals
from dualface_ray.report import JobSnapshot, VideoProgress, VideoState

_MAX_ROWS = 12
"""More running videos than this are counted, not listed: the picture must fit the terminal."""
_MAX_LANES = 4
_BAR_WIDTH = (6, 24)
"""Columns of a bar, on a terminal of 60 columns and on one of 100."""
_BUSY = (VideoState.RUNNING, VideoState.FINISHING)


class LiveDisplay:
    """Redraws a small table on ``err``; what ends moves above it as a line; the summary goes to ``out``."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = Console(file=err, highlight=False)
        self._live = Live(console=self._err, refresh_per_second=8, transient=True)
        self._ended: set[int] = set()
        self._notes = 0

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say_starting(self) -> None:
        """A spinner, for reading the request and starting Ray take seconds."""
        self._spin("starting")

    def say_looking(self, line: str) -> None:
        """Beside the spinner; an empty one says that the request reads well, and what follows is Ray."""
        self._spin(shown(line) or "starting Ray")

    def _spin(self, text: str) -> None:
        dots = self._err.encoding.startswith("utf")  # which Braille needs
        self._live.update(Spinner("dots" if dots else "line", text=Text(text)))

    def say(self, line: str) -> None:
        """One line above the table."""
        self._err.print(Text(shown(line)))

    def update(self, snapshot: JobSnapshot) -> None:
        """Redraw."""
        for note in snapshot.notes[self._notes :]:
            self.say(f"note: {note}")
        self._notes = max(self._notes, len(snapshot.notes))
        for video in snapshot.videos:
            if video.state.final and video.index not in self._ended:
                self._ended.add(video.index)
                self._err.print(_ended_line(video))
        self._live.update(picture(snapshot, self._err.width))

    def finish(self, snapshot: JobSnapshot) -> None:
        """Take the live table away and print the summary."""
        self.update(snapshot)
        self._live.stop()
        print_summary(self._out, snapshot)


def picture(snapshot: JobSnapshot, columns: int = 80) -> RenderableType:
    """The live table of a job: one row per running video, and one for all; names give way where room is short."""
    bar = max(_BAR_WIDTH[0], min(_BAR_WIDTH[1], (columns - 60) * 3 // 5))
    table = Table.grid(padding=(0, 1))
    table.add_column(max_width=36)  # rich narrows first what may be wrapped
    table.add_column(no_wrap=True, width=bar)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    busy = [video for video in snapshot.videos if video.state in _BUSY]
    for video in busy[:_MAX_ROWS]:
        name = Text(shown(PurePath(video.source).name), no_wrap=True, overflow="ellipsis")
        state = Text(video.state.value, style=STYLES[video.state])
        numbers = (video.frames_done, video.frames_total, video.fps, video.eta_s)
        table.add_row(name, _bar(video.frames_done, video.frames_total, bar), *_numbers(*numbers), state)
    sums = totals(snapshot)
    table.add_row(
        Text("total", style="bold"),
        _bar(sums.frames_done, sums.frames_total, bar),
        *_numbers(sums.frames_done, sums.frames_total, sums.fps, sums.eta_s),
        Text(duration(snapshot.elapsed_s), style="dim"),
    )
    below = [] if len(busy) <= _MAX_ROWS else [f"and {len(busy) - _MAX_ROWS} more"]
    below += [shown(lane) for lane in snapshot.lanes[:_MAX_LANES]]
    if len(snapshot.lanes) > _MAX_LANES:
        below.append(f"and {len(snapshot.lanes) - _MAX_LANES} more lanes")
    if len(snapshot.videos) > 1:
        below.append(f"{len(snapshot.videos)} videos: {sums.sentence()}")
    return Group(table, *(Text(line, style="dim") for line in below))


def _bar(done: int, total: int, columns: int) -> ProgressBar:
    return ProgressBar(total=total or None, completed=min(done, total) if total else 0, width=columns, pulse=not total)


def _numbers(done: int, total: int, fps: float, eta_s: float | None) -> tuple[str, str, str]:
    """Frames, rate and time left; empty while there is no rate."""
    frames = f"{done}/{total} frames" if total else f"{done} frames"
    return frames, f"{fps:.1f} fps" if fps > 0 else "", "" if eta_s is None else f"{duration(eta_s)} left"


def _ended_line(video: VideoProgress) -> Text:
    line = Text(video.state.value, style=STYLES[video.state])
    text = video.error if video.state is VideoState.FAILED and video.error else video.source
    if video.state is VideoState.SKIPPED:
        text = f"{video.source}: done before"
    return line.append(f" {shown(text)}", style="default")
