"""A job as a notebook shows it: a table that is drawn anew whenever it is displayed."""

from __future__ import annotations

from collections import Counter
from html import escape

from dualface_ray.report.progress import JobSnapshot, VideoProgress, VideoState

_MAX_ROWS = 50
"""More videos than this are counted: a notebook keeps what it shows."""
_COLOURS = {
    VideoState.DONE: "#2e9e4f",
    VideoState.SKIPPED: "#2e9e4f",
    VideoState.FAILED: "#d1382c",
    VideoState.CANCELLED: "#b8860b",
}
"""Read well on white and on black."""
_BUSY = (VideoState.RUNNING, VideoState.FINISHING)
_CELL = "style='text-align:left;padding:2px 12px 2px 0;vertical-align:top'"


def job_html(snapshot: JobSnapshot) -> str:
    """One row a video: what is going on first, then what failed, then the rest."""
    videos = sorted(snapshot.videos, key=_rank)
    rows = "".join(_row(video) for video in videos[:_MAX_ROWS])
    more = f"<div>and {len(videos) - _MAX_ROWS} more</div>" if len(videos) > _MAX_ROWS else ""
    counts = Counter(video.state for video in videos)
    below = [", ".join(f"{counts[state]} {state.value}" for state in VideoState if counts[state]) or "nothing to do"]
    below += [*snapshot.lanes[:4], *(f"note: {note}" for note in snapshot.notes)]
    small = "".join(f"<div style='opacity:0.7'>{_text(line)}</div>" for line in below)
    head = "".join(f"<th {_CELL}>{name}</th>" for name in ("video", "state", "frames", "", "result"))
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}{small}</div>"


def _rank(video: VideoProgress) -> int:
    return 0 if video.state in _BUSY else 1 if video.state is VideoState.FAILED else 2


def _row(video: VideoProgress) -> str:
    state = video.state
    word = f"<span style='color:{_COLOURS[state]}'>{state.value}</span>" if state in _COLOURS else state.value
    total = f"/{video.frames_total}" if video.frames_total and not state.final else ""
    frames = f"{video.frames_done}{total}" if video.frames_done or total else ""
    paths = video.outputs if state in (VideoState.DONE, VideoState.SKIPPED) else ()
    result = _text(video.error) if video.error else "<br/>".join(_text(path) for path in paths)
    bar = _bar(video) if state in _BUSY else ""
    cells = (_text(video.source), word, frames, bar, result)
    return "<tr>" + "".join(f"<td {_CELL}>{cell}</td>" for cell in cells) + "</tr>"


def _bar(video: VideoProgress) -> str:
    limits = f" max='{video.frames_total}' value='{video.frames_done}'" if video.frames_total else ""
    rate = f" {video.fps:.1f} fps" if video.fps > 0 else ""
    return f"<span style='white-space:nowrap'><progress style='width:120px'{limits}></progress>{rate}</span>"


def _text(words: str) -> str:
    """Names come from file systems and containers: nothing in them may be markup, turn the line or steer anything."""
    clean = " ".join(words.split())
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in clean))
