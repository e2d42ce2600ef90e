"""API: the notebook's and the command line's way in: ``run(...)`` returns a Job that lives with its process.

    run ─► request (checked) ─► Hold: the output folders are ours ─► connect: which Ray ─► JobActor
    Job: snapshot, wait, cancel, close ◄──────────────── JobSnapshot, a few times a second ─┘

Decides nothing about videos and shows nothing; may not know how a command line looks. Importing it starts no Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualface_ray.api.connection import connect, is_shared
from dualface_ray.api.job import Job
from dualface_ray.errors import RequestError
from dualface_ray.request import Inputs, prepare
from dualface_ray.settings import Settings, resolve

__all__ = ["Job", "connect", "run"]


def run(
    inputs: Inputs = (),
    output: str | Path | None = None,
    *,
    list_file: str | Path | None = None,
    settings: Settings | None = None,
    address: str | None = None,
    say: Callable[[str], None] = lambda _line: None,
    looking: Callable[[str], None] = lambda _line: None,
    **overrides: Any,
) -> Job:
    """Start a job on these videos and return at once.

    Args:
        inputs: a path or several: files, folders, patterns such as ``talks/**/*.mp4``, addresses such as
            ``s3://bucket/talk.mp4``.
        output: folder of the results, or its address; by default the folder of the (first) input.
        list_file: a file with further inputs, one a line.
        settings: complete settings; by default the packaged defaults.
        address: which Ray: this argument, else ``RAY_ADDRESS``, else a private local one.
        say: gets a line per step while a model is fetched, which takes a while the first time.
        looking: gets a line a second while slow disks or servers are waited for; an empty one when that is over.
        overrides: single settings by short or dotted name, such as ``layout="stacked"``.

    Raises:
        RequestError: the request itself is wrong; nothing was started or written.
        ModelError: a model is neither cached nor to be had.
    """
    if settings is not None and overrides:
        raise RequestError("complete settings and single ones were given", remedy="Put the single ones into resolve().")
    resolved = settings or resolve(**overrides)
    shared = is_shared(address)
    tasks = prepare(inputs, output, resolved, say, list_file=list_file, shared=shared, looking=looking)
    looking("")
    return Job(tasks, resolved, address)
