"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dualface_ray.cli.text import duration, shown
from dualface_ray.cli.totals import totals
from dualface_ray.report import JobSnapshot, VideoProgress, VideoState

STYLES = {
    VideoState.WAITING: "dim",
    VideoState.RUNNING: "cyan",
    VideoState.FINISHING: "cyan",
    VideoState.DONE: "green",
    VideoState.SKIPPED: "green",
    VideoState.FAILED: "bold red",
    VideoState.CANCELLED: "yellow",
}

_WIDTH = 10_000
"""Wide enough that rich never folds or cuts a line of a log."""


def print_summary(out: TextIO, snapshot: JobSnapshot) -> None:
    """One row per video, then the sums.

    On a terminal that is too narrow for whole paths the results' common folder gets a line of its own, and what is
    still too long is folded; elsewhere everything stays whole.
    """
    if not out.isatty():
        plain = Console(file=out, width=_WIDTH, color_system=None, highlight=False)
        with plain.capture() as captured:
            plain.print(_table(snapshot))
        out.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        _print_end(plain, snapshot)
        return
    console = Console(file=out, highlight=False)
    table, folder = _table(snapshot), ""
    if console.measure(table, options=console.options.update(width=_WIDTH)).maximum > console.width:
        folder = _common_folder([path for video in snapshot.videos if _there(video) for path in video.outputs])
        table = _table(snapshot, folder)
    console.print(table)
    if folder:
        console.print(Text(f"results in {shown(folder)}"))
    _print_end(console, snapshot)


def _print_end(console: Console, snapshot: JobSnapshot) -> None:
    for note in snapshot.notes:
        console.print(Text(f"note: {shown(note)}"))
    console.print(Text(closing_line(snapshot)))


def _table(snapshot: JobSnapshot, folder: str = "") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("video", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    table.add_column("result", overflow="fold")
    for video in snapshot.videos:
        table.add_row(
            Text(shown(video.source)),
            Text(video.state.value, style=STYLES[video.state]),
            str(video.frames_done) if video.frames_done else "–",
            Text(result(video, folder)),
        )
    return table


def _common_folder(paths: Sequence[str]) -> str:
    """What all these paths or addresses begin with, up to and with a slash; empty = nothing worth a line."""
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    shared = "".join(f"{names[0]}/" for names in takewhile(lambda names: len(set(names)) == 1, levels))
    return "" if shared.endswith("//") or shared == "/" else shared


def _there(video: VideoProgress) -> bool:
    return video.state in (VideoState.DONE, VideoState.SKIPPED)


def result(video: VideoProgress, folder: str = "") -> str:
    """Where the result is, below ``folder``, or why there is none."""
    if _there(video):
        return ", ".join(shown(path.removeprefix(folder)) for path in video.outputs)
    return shown(video.error) if video.state is VideoState.FAILED else "–"


def closing_line(snapshot: JobSnapshot) -> str:
    """``3 done, 1 failed: 5400 frames in 1:32 (58.7 frames per second)``."""
    sums = totals(snapshot)
    line = sums.sentence() or "nothing to do"
    if sums.frames_done and snapshot.elapsed_s > 0:
        rate = sums.frames_done / snapshot.elapsed_s
        line += f": {sums.frames_done} frames in {duration(snapshot.elapsed_s)} ({rate:.1f} frames per second)"
    return line
