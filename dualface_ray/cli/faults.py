"""Every way a command can end badly, as one line and an exit code."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from dualface_ray.cli.outlet import Outlet, hush
from dualface_ray.cli.text import shown
from dualface_ray.errors import DualfaceError

INTERRUPTED = 130
"""What shells use for a program that SIGINT ended (128 + 2)."""
WRONG_REQUEST = 2
_SHOWN = 160
"""Letters of a path that nobody would read to its end."""
_AS_OPTIONS = {"overwrite=True": "--overwrite", "working_dir=": "--working-dir", "address=": "--address"}
"""Remedies speak as Python's door does; here stands how the same is typed."""
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def guarded(command: Callable[[], int], *, as_json: bool = False, argv: Sequence[str] = ()) -> int:
    """Run a command; whatever it raises becomes one line on standard error (with ``DUALFACE_DEBUG=1`` a traceback too).

    Args:
        command: does the work and returns the exit code.
        as_json: write an ``error`` event to standard output as well.
        argv: what a wrong command line may be explained by.

    Returns:
        The exit code: the command's own, or the one that belongs to its error.
    """
    try:
        return command()
    except KeyboardInterrupt:
        return _say("stopped", "cancelled", INTERRUPTED, as_json)
    except BrokenPipeError:
        return _reader_gone()
    except DualfaceError as error:
        _debug()
        return _say(_typed(error), error.code, error.exit_code, as_json)
    except Exception as error:
        _debug()
        if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
            return _unwritable(error, as_json)  # files are written elsewhere, and name themselves
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            name = str(error.filename or "")
            where = name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}…{name[-_SHOWN // 4 :]}"
            return _say(f"{where}: the path is too long for a file system", "request", WRONG_REQUEST, as_json)
        if hasattr(error, "format_message"):  # typer's and click's usage errors share no public base class
            return _usage(error.format_message(), error, as_json, argv)
        text = (
            f"internal error: {type(error).__name__}: {error}. Run again with DUALFACE_DEBUG=1 and report the output."
        )
        return _say(text, "internal", 1, as_json)


def _typed(error: DualfaceError) -> str:
    remedy = error.remedy
    for argument, option in _AS_OPTIONS.items():
        remedy = remedy.replace(argument, option)
    return str(type(error)(error.what, where=error.where, remedy=remedy))


def _say(line: str, code: str, exit_code: int, as_json: bool) -> int:
    if as_json:
        event = {"event": "error", "code": code, "message": line, "exit_code": exit_code}
        _write(sys.stdout, json.dumps(event))
    _write(sys.stderr, f"dualface: {shown(line)}")
    return exit_code


def _write(stream: TextIO | None, line: str) -> None:
    """Where it can be written: a terminal that was closed must not change the exit code."""
    outlet = Outlet(stream)
    outlet.write(line + "\n")
    outlet.flush()


def _usage(message: str, error: Any, as_json: bool, argv: Sequence[str]) -> int:
    """A command line that typer could not read; without a message it has shown the help already."""
    if not message:
        return WRONG_REQUEST
    if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help; the name is its only public mark
        _write(sys.stderr, message)
        return WRONG_REQUEST
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "dualface"
    name = _dashed(argv)
    remedy = f"Write ./{name} if that is a file." if name else f"See {command} --help."
    text = f"{message.replace('Value error, ', '').rstrip('.')}. {remedy}"
    return _say(text, "usage", WRONG_REQUEST, as_json)


def _dashed(argv: Sequence[str]) -> str:
    """The first argument that was read as options and looks like a file; empty when there is none."""
    for argument in takewhile(lambda one: one != "--", argv):
        if not argument.startswith("-") or (argument.startswith("--") and "=" in argument):
            continue
        suffix = Path(argument).suffix[1:]
        if (suffix and not suffix.isdigit()) or os.path.lexists(argument):
            return argument
    return ""


def _debug() -> None:
    if os.environ.get("DUALFACE_DEBUG"):
        traceback.print_exc()


def flushed(exit_code: int) -> int:
    """For the end of a command: what it has written has arrived, or a line says that it has not.

    Returns:
        the exit code, but 1 when that was 0 and standard output cannot be written.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        return exit_code or _reader_gone()
    except OSError as error:
        hush(sys.stdout)
        return exit_code or _unwritable(error, False)
    return exit_code


def _unwritable(error: OSError, as_json: bool) -> int:
    return _say(f"standard output cannot be written ({error.strerror})", "output", 1, as_json)


def _reader_gone() -> int:
    """``dualface ... | head``: nobody reads any more. Keep Python's own flush at exit from complaining about it."""
    hush(sys.stdout)
    return 1
