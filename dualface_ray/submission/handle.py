"""``submit`` and what it returns: a job that lives on the cluster."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualface_ray.errors import ClusterError, ContactLostError, RequestError
from dualface_ray.settings import Settings, resolve
from dualface_ray.submission.cluster import Cluster
from dualface_ray.submission.order import Order, new_id
from dualface_ray.submission.package import pack
from dualface_ray.submission.probe import look
from dualface_ray.submission.tail import Tail

STOP_WAIT_S = 40
"""A stopped job may clean up for this long; Ray's own 3 s would kill it while partial files still lie about."""
_POLL_S = 1.0
_PENDING_QUIET_S = 5.0
"""A job that has not begun is explained after this long: every job takes a few seconds to begin."""
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Attributes:
        status: ``succeeded``, ``failed`` or ``stopped``.
        exit_code: that of ``run``: 0 all done, 1 some failed, 2 a wrong request, 130 stopped.
        text: what its own log cannot say: why it ended, when it did not end by itself. Otherwise empty.
    """

    status: str
    exit_code: int
    text: str = ""


def submit(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    address: str | None = None,
    settings: Settings | None = None,
    name: str | None = None,
    working_dir: str | Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
    **overrides: Any,
) -> Submission:
    """Send a job to a cluster and return at once; it goes on when this process ends.

    Args:
        inputs: absolute paths, patterns or URLs as the cluster's machines know them.
        output: folder of the results, likewise.
        address: the dashboard, such as ``http://head:8265``; else ``RAY_API_SERVER_ADDRESS``, else this machine.
        settings: complete settings; by default the packaged defaults.
        name: the job's id; by default made of date and time.
        working_dir: a checkout to send along, for clusters whose machines lack the package.
        say: gets a line of note, such as that versions differ.
        overrides: single settings by short or dotted name, such as ``layout="stacked"``.

    Raises:
        RequestError: the request is wrong or the cluster does not take it (ClusterError); nothing was submitted.
    """
    if settings is not None and overrides:
        raise RequestError("complete settings and single ones were given", remedy="Put the single ones into resolve().")
    paths = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    order = Order(tuple(str(path) for path in paths), str(output), settings or resolve(**overrides))
    folder = None if working_dir is None else Path(working_dir)
    return send(order, lambda: Cluster(address), name=name, working_dir=folder, say=say)


def send(
    order: Order,
    connect: Callable[[], Cluster],
    *,
    name: str | None = None,
    working_dir: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Submission:
    """Check everything that can be checked, look at the cluster, then start the job.

    Raises:
        RequestError: nothing was submitted.
    """
    own = str(vars(sys.modules[__name__.partition(".")[0]])["__version__"])  # the door, without importing upwards
    job_id, entrypoint, files = new_id(name), order.entrypoint(), order.files()
    environment: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}}
    with tempfile.TemporaryDirectory(prefix="dualface-submit-") as scratch:
        if working_dir is not None or files:
            target = Path(scratch) / "working-dir.zip"
            size_bytes = pack(working_dir, target, extra=files)
            what = working_dir or f"the list of {len(order.inputs)} inputs"
            say(f"sending {size_bytes / 2**20:.1f} MiB along: {what}")
            environment["working_dir"] = str(target)
        cluster = connect()
        if name is not None and cluster.knows(job_id):
            raise ClusterError(
                "a job of that name has been there already", where=job_id, remedy="Choose another, or leave it out."
            )
        found = look(cluster, job_id, environment)
        if found.dualface != own:
            say(f"note: the cluster does the work with its dualface-ray {found.dualface}; here it is {own}")
        cluster.submit(entrypoint, job_id, environment, {"job_name": job_id, "dualface": own})
    return Submission(job_id, cluster=cluster)


class Submission:
    """A job on a cluster, found by its id from any process.

    Args:
        job_id: what ``submit`` said.
        address: as for ``submit``.
        cluster: one that is connected already.
    """

    def __init__(self, job_id: str, address: str | None = None, *, cluster: Cluster | None = None) -> None:
        self.id = job_id
        self.cluster = cluster or Cluster(address)

    @property
    def address(self) -> str:
        """The cluster's dashboard."""
        return self.cluster.address

    @property
    def status(self) -> str:
        """``pending``, ``running``, ``succeeded``, ``failed`` or ``stopped``."""
        return str(self.cluster.info(self.id).status).lower()

    def logs(self) -> str:
        """All that the job has said so far."""
        return self.cluster.logs(self.id)

    def wait(
        self,
        timeout_s: float | None = None,
        on_line: Callable[[str], None] | None = None,
        on_status: Callable[[str], None] | None = None,
    ) -> Outcome | None:
        """Wait for the end, or at most ``timeout_s`` seconds (then None).

        Args:
            timeout_s: None waits as long as it takes.
            on_line: gets each line of the job's log, from its first one on.
            on_status: gets why the job has not begun, when that changes.

        Raises:
            ContactLostError: the cluster does not answer any more; the job goes on if the cluster does.
        """
        said, next_s, begun = "", time.monotonic() + _PENDING_QUIET_S, False
        for line in Tail(self.cluster, self.id).lines(timeout_s):
            if line is not None:
                begun = True
                if on_line is not None:
                    on_line(line)
            elif not begun and on_status is not None and time.monotonic() >= next_s:
                next_s = time.monotonic() + _POLL_S
                why = self._why_pending()
                if why and why != said:
                    said = why
                    on_status(why)
        return self.outcome()

    def outcome(self) -> Outcome | None:
        """How the job ended; None while it has not."""
        info = self.cluster.info(self.id)
        return outcome(info) if info.status.is_terminal() else None

    def _why_pending(self) -> str:
        try:
            info = self.cluster.info(self.id)
        except ContactLostError:
            return ""  # the log's own connection decides how long that is borne
        return " ".join(str(info.message or "").split()) if str(info.status) == "PENDING" else ""

    def stop(self, timeout_s: float = STOP_WAIT_S + 10.0) -> bool:
        """Stop the job and wait until it has cleaned up: finished videos stay, nothing partial is left.

        Returns:
            Whether it was still running.

        Raises:
            ClusterError: it has not ended within ``timeout_s``.
        """
        running = self.cluster.stop(self.id)
        end_s = time.monotonic() + timeout_s
        while not self.cluster.info(self.id).status.is_terminal():
            if time.monotonic() > end_s:
                raise ClusterError(f"it has not stopped within {timeout_s:g} s", where=self.id)
            time.sleep(_POLL_S / 2)
        return running

    def __repr__(self) -> str:
        return f"Submission({self.id!r}, {self.address!r})"


def outcome(info: Any) -> Outcome:
    """What an ended job's record says."""
    status = str(info.status).lower()
    code = info.driver_exit_code
    if status == "succeeded":
        return Outcome(status, 0)
    if status == "stopped":
        return Outcome(status, _INTERRUPTED, "the job was stopped: finished videos stay, the others are gone")
    if code in (1, 2, _INTERRUPTED):
        return Outcome(status, code)
    if code is not None:
        killed = f" (signal {-code})" if code < 0 else " (killed: out of memory?)" if code == 137 else ""
        why = f"the job's process ended with code {code}{killed}"
    else:
        why = f"the job broke off: {' '.join(str(info.message or 'no reason given').split())[:400]}"
    return Outcome(status, 1, f"{why}. Submit it again: what is done stays done")
