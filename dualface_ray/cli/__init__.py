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
    import sys

    from dualface_ray.cli.faults import flushed, guarded
    from dualface_ray.cli.signals import deafen, listen

    listen()

    def call() -> int:
        from dualface_ray.cli.app import execute  # takes a moment in which somebody may press Ctrl-C

        return flushed(execute(sys.argv[1:]))

    code = guarded(call)
    deafen()
    sys.exit(code)
