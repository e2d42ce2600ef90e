"""A look at what a job would find on the cluster, before the job is sent."""

from __future__ import annotations

import json
import secrets
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dualface_ray.errors import ClusterError
from dualface_ray.submission.cluster import Cluster

_SCRIPT = """
import json, platform
try:
    import actors, dualface_ray
    version, problem = dualface_ray.__version__, ""
except Exception as error:
    version, problem = None, f"{type(error).__name__}: {error}"
print(json.dumps({"dualface": version, "python": platform.python_version(), "problem": problem}))
"""
_REMEDY = (
    "Use the image of cluster/Dockerfile, install dualface-ray on every node, or send your checkout along with "
    "--working-dir."
)
TIMEOUT_S = 180.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Found:
    """Versions on the cluster's head."""

    dualface: str
    python: str


def look(
    cluster: Cluster,
    job_id: str,
    runtime_env: Mapping[str, Any],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    timeout_s: float = TIMEOUT_S,
) -> Found:
    """Run a few lines of Python as a job of its own where the job would run, and take it off the list again.

    Raises:
        ClusterError: the package is missing there, or nothing can run there at all.
    """
    probe_id = cluster.submit(
        f"python -c {shlex.quote(_SCRIPT)}", f"{job_id}-probe-{secrets.token_hex(2)}", runtime_env, {"probe_of": job_id}
    )
    end_s = clock() + timeout_s
    try:
        while not (info := cluster.info(probe_id)).status.is_terminal():
            if clock() > end_s:
                cluster.stop(probe_id)
                waits = " ".join(str(info.message or info.status).split())[:300]
                raise ClusterError(f"no job has started there within {timeout_s:g} s: {waits}", where=cluster.address)
            sleep(_POLL_S)
        text = cluster.logs(probe_id) if info.driver_exit_code is not None else ""
    except KeyboardInterrupt:
        cluster.stop(probe_id)
        raise
    cluster.delete(probe_id)
    for line in reversed(text.splitlines()):
        if line.startswith('{"dualface"'):
            return _judged(json.loads(line), cluster.address)
    if info.driver_exit_code == 127:
        raise ClusterError("there is no `python` on the path of its jobs", where=cluster.address, remedy=_REMEDY)
    reason = " ".join((text or str(info.message or info.status)).split())[-300:]
    raise ClusterError(f"nothing can run there: {reason}", where=cluster.address)


def _judged(facts: Mapping[str, Any], address: str) -> Found:
    if facts["dualface"] is None:
        raise ClusterError(
            f"the cluster's Python {facts['python']} has no dualface_ray ({facts['problem']})",
            where=address,
            remedy=_REMEDY,
        )
    return Found(str(facts["dualface"]), str(facts["python"]))
