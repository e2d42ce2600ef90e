"""The table at the end of a run."""

from __future__ import annotations

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


def print_summary(console: Console, snapshot: JobSnapshot) -> None:
    """One row per video, then the sums; a long path is folded on a terminal and stays whole elsewhere."""
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
            Text(result(video)),
        )
    console.print(table)
    for note in snapshot.notes:
        console.print(Text(f"note: {shown(note)}"))
    console.print(Text(closing_line(snapshot)))


def result(video: VideoProgress) -> str:
    """Where the result is, or why there is none."""
    if video.state in (VideoState.DONE, VideoState.SKIPPED):
        return ", ".join(shown(path) for path in video.outputs)
    return shown(video.error) if video.state is VideoState.FAILED else "–"


def closing_line(snapshot: JobSnapshot) -> str:
    """``3 done, 1 failed: 5400 frames in 1:32 (58.7 frames per second)``."""
    sums = totals(snapshot)
    line = sums.sentence() or "nothing to do"
    if sums.frames_done and snapshot.elapsed_s > 0:
        rate = sums.frames_done / snapshot.elapsed_s
        line += f": {sums.frames_done} frames in {duration(snapshot.elapsed_s)} ({rate:.1f} frames per second)"
    return line
