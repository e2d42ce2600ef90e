"""``dualface run``: from the request to the exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from dualface_ray.cli.display import open_display
from dualface_ray.cli.faults import INTERRUPTED
from dualface_ray.cli.follow import follow
from dualface_ray.cli.outlet import Outlet
from dualface_ray.cli.signals import terminated_is_interrupted
from dualface_ray.settings import Settings, resolve


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for, as typed."""

    inputs: tuple[str, ...]
    output: Path | str
    list_file: Path | None = None
    config: Path | None = None
    sets: tuple[str, ...] = ()
    layout: str | None = None
    overwrite: bool = False
    address: str | None = None

    def settings(self) -> Settings:
        """The settings of the request; options with a name of their own win over ``--set``.

        Raises:
            SettingsError: one line naming the key.
        """
        named: dict[str, object] = {}
        if self.layout is not None:
            named["framing.layout"] = self.layout
        if self.overwrite:
            named["job.overwrite"] = True
        return resolve(self.config, self.sets, **named)


def run_request(request: Request, *, as_json: bool = False, quiet: bool = False) -> int:
    """Start the job, show it, and return the exit code of DESIGN section 3.

    Raises:
        DualfaceError: the request is wrong, or the job itself broke.
    """
    settings = request.settings()
    out, err = Outlet(sys.stdout), Outlet(sys.stderr)
    with open_display(as_json=as_json, quiet=quiet, out=cast("TextIO", out), err=cast("TextIO", err)) as display:
        display.say_starting()
        from dualface_ray.api import run  # brings Ray: only now that the request reads well

        code: int | None = None
        try:
            with (
                terminated_is_interrupted(),
                run(
                    list(request.inputs),
                    request.output,
                    list_file=request.list_file,
                    settings=settings,
                    address=request.address,
                    say=display.say,
                    looking=display.say_looking,
                ) as job,
            ):
                code = follow(job, display, lambda: out.gone or err.gone)
        except KeyboardInterrupt:
            if code is None:
                raise
    if code == INTERRUPTED and out.gone:
        err.write("dualface: stopped: nobody reads its output any more\n")
        err.flush()
    return code
