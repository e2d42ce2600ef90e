"""The command line: ``dualface run INPUT... -o DIR`` and its neighbours.

    argv ─► app (typer) ─► one module per command ─► api.run ─► Job
                                  follow(job, display) ◄─ JobSnapshot ─┘ ─► terminal | plain lines | JSON lines
    DualfaceError, Ctrl-C, anything else ─► faults ─► one line on stderr and an exit code

Decides nothing about videos; may not know pixels. Starting it must be quick: each command imports what it needs.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of ``dualface`` and ``python -m dualface_ray``; ends the process with the exit code."""
    import signal
    import sys

    from dualface_ray.cli.app import execute

    code = execute(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what libraries do at the exit ends by itself, and
        signal.signal(number, signal.SIG_IGN)  # a late Ctrl-C in the middle of it must not change the exit code
    sys.exit(code)
