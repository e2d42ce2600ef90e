"""Choosing how a job is shown: live on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from dualface_ray.cli.follow import Display

_DUMB = ("dumb", "unknown")
"""Terminals without a cursor that moves: an editor's shell. Rich draws nothing there until the end."""


class RunDisplay(Display, Protocol):
    """A display that also covers the seconds before the first snapshot."""

    def say_starting(self) -> None:
        """Tell the user that the job is being set up."""

    def say_looking(self, line: str) -> None:
        """Tell the user what is waited for meanwhile; it changes every second, and is empty when that is over."""


@contextmanager
def open_display(*, as_json: bool, quiet: bool, out: TextIO, err: TextIO) -> Iterator[RunDisplay]:
    """The display that fits; leaving the block restores the terminal.

    Args:
        as_json: JSON lines on ``out``, whatever else is asked for.
        quiet: only errors, on ``err``.
        out: where results go.
        err: where progress and errors go; live when it is a terminal that can be redrawn.
    """
    if as_json:
        from dualface_ray.cli.json_lines import JsonDisplay

        yield JsonDisplay(out, err)
    elif quiet:
        from dualface_ray.cli.plain import QuietDisplay

        yield QuietDisplay(err)
    elif can_redraw(err):
        from dualface_ray.cli.live import LiveDisplay

        with LiveDisplay(out, err) as display:
            yield display
    else:
        from dualface_ray.cli.plain import PlainDisplay

        plain = PlainDisplay(out, err)
        try:
            yield plain
        finally:
            plain.close()


@contextmanager
def working(line: str, err: TextIO) -> Iterator[None]:
    """Within this block a terminal shows what is being done, and since when; elsewhere it is said once."""
    if not can_redraw(err):
        err.write(f"dualface: {line}\n")
        err.flush()
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=err), transient=True) as progress:
        progress.add_task(line, total=None)
        yield


def can_redraw(stream: TextIO) -> bool:
    """Whether it is a terminal whose cursor moves."""
    return stream.isatty() and os.environ.get("TERM") not in _DUMB
