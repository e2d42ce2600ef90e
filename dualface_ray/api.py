"""The notebook's and the command line's way in: ``run(...)`` returns a Job that lives with its process."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dualface_ray.backends.storage import RemoteLock, scratch_root
from dualface_ray.errors import ActorError, ClusterError, OutputBusyError, OutputError, RequestError
from dualface_ray.hardware import Declared, cores, declared
from dualface_ray.media import OutputLock, folder_gone, lock_missing, remove_partials, remove_workspace
from dualface_ray.report import JobSnapshot, VideoState, VideoTask, write_failure
from dualface_ray.request import Inputs, prepare, refused, settle
from dualface_ray.settings import Settings, resolve

POLL_S = 0.25
CANCEL_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 100 * 1024 * 1024


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
    tasks = prepare(inputs, output, resolved, say, list_file=list_file, shared=_shared(address), looking=looking)
    looking("")
    return Job(tasks, resolved, address)


class Job:
    """A running job; it ends with its process. Usable as a context manager: leaving it cancels what still runs.

    Where every video is done already, or cannot even be opened, it has ended at once and Ray is not started.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, address: str | None = None) -> None:
        self.tasks = tuple(tasks)
        self.settings = settings
        self._last: JobSnapshot | None = None
        self._closed = self._abandoned = False
        self._job_id = secrets.token_hex(4)
        self._actor: Any = None
        self._lock = _lock_of(self.tasks, settings)
        self._lock.take()
        try:
            self.tasks = settle(self.tasks, settings)
            for task, error in refused(self.tasks, settings):
                write_failure(task, error, settings)
            if all(task.state.final for task in self.tasks):
                self._last = JobSnapshot(tuple(task.initial_progress() for task in self.tasks), final=True)
                self._lock.release()
            else:
                self._start(address)
        except BaseException:
            self._lock.release()
            raise

    def _start(self, address: str | None) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from actors.job import JobActor

        connect(self.settings, address)
        here = ray.get_runtime_context().get_node_id()
        place = NodeAffinitySchedulingStrategy(here, soft=False)  # its manifest lies on the driver's disk
        job = ray.remote(JobActor).options(num_cpus=0, max_restarts=0, scheduling_strategy=place)
        self._actor = job.remote(self.tasks, _with_scratch(self.settings), self._job_id)

    def snapshot(self) -> JobSnapshot:
        """The job as it stands now.

        Raises:
            ActorError: the job's own process died.
            OutputBusyError: another job has taken the output folder over, as it may when this machine was cut off.
            OutputError: the output folder was deleted.
        """
        if self._last is not None and (self._last.final or self._closed):
            return self._last
        import ray
        import ray.exceptions

        from actors.lane import remove_groups

        self._require_folder()
        if self._lock.lost:
            self._abandon()
            raise OutputBusyError(self._lock.lost, remedy="Run the same command again when that job has ended.")
        try:
            self._last = ray.get(self._actor.snapshot.remote(), timeout=ANSWER_TIMEOUT_S)
        except ray.exceptions.GetTimeoutError as error:
            raise ActorError(f"the job has not answered for {ANSWER_TIMEOUT_S:g} s", where="job") from error
        except ray.exceptions.RayActorError as error:
            remove_groups(self._job_id)  # with them Ray ends whatever still runs in the lanes
            self._sweep()
            self._lock.release()
            raise ActorError("the job's process died", where="job", remedy="Run the same command again.") from error
        except ray.exceptions.RayTaskError as error:
            raise ActorError(f"the job cannot say how it stands: {error.cause!r}", where="job") from error
        if self._last.final:
            if self._last.exit_code == 1:
                self._require_folder(look=True)  # else its beat has not noticed yet what made the videos fail
            self._lock.release()
        return self._last

    def wait(
        self, timeout_s: float | None = None, on_progress: Callable[[JobSnapshot], None] | None = None
    ) -> JobSnapshot:
        """Wait for the end, or at most ``timeout_s`` seconds; ``on_progress`` sees a snapshot a few times a second."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            snapshot = self.snapshot()
            if on_progress is not None:
                on_progress(snapshot)
            if snapshot.final or (deadline_s is not None and time.monotonic() >= deadline_s):
                return snapshot
            time.sleep(POLL_S)

    def cancel(self) -> None:
        """Stop what is not finished and wait until nothing of it is left."""
        if self._actor is None or self._closed:
            return
        self._actor.cancel.remote()
        try:
            self.wait(CANCEL_TIMEOUT_S)
        except ActorError:
            return  # dead already: snapshot() has swept

    def close(self) -> None:
        """End the job; cancels it when it still runs. Harmless when called twice."""
        if self._closed or self._actor is None:
            return
        import ray

        from actors.lane import remove_groups

        try:
            if not self.snapshot().final:
                self.cancel()
        except (ActorError, OutputBusyError, OutputError):
            pass  # it is dead already, which is what close wants
        self._closed = True
        ray.kill(self._actor, no_restart=True)
        if not self._abandoned and (self._last is None or not self._last.final):
            remove_groups(self._job_id)  # it could not give back what its lanes had reserved
            self._sweep()
        self._lock.release()

    def _require_folder(self, *, look: bool = False) -> None:
        """The job ends where somebody has deleted its output folder, and what it writes until then goes.

        Raises:
            OutputError: it is gone.
        """
        if self._closed or not isinstance(self._lock, OutputLock):
            return
        if look:
            self._lock.look()
        folder = self._lock.gone
        if folder is None:
            return
        try:
            self._actor.cancel.remote()  # what writes makes the folder anew: it ends by itself and clears away
            self._await_end(CANCEL_TIMEOUT_S)
        finally:
            self._abandon()
        if lock_missing(folder):  # else the next job is there already, and what lies there is its
            for task in self.tasks:
                if task.outputs.folder == folder and task.state is not VideoState.SKIPPED:
                    remove_workspace(task.outputs)
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty
        raise folder_gone(folder)

    def _await_end(self, timeout_s: float) -> None:
        """Until the job's own process has nothing more to do, or is dead."""
        import ray
        import ray.exceptions

        deadline_s = time.monotonic() + timeout_s
        with contextlib.suppress(ray.exceptions.RayError):
            while time.monotonic() < deadline_s:
                if ray.get(self._actor.snapshot.remote(), timeout=timeout_s).final:
                    return
                time.sleep(POLL_S)

    def _abandon(self) -> None:
        """The folder is another job's now, or is gone: stop at once, and leave everything in it alone."""
        import ray

        from actors.lane import remove_groups

        self._closed = self._abandoned = True
        ray.kill(self._actor, no_restart=True)
        remove_groups(self._job_id)
        self._lock.release()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sweep(self) -> None:
        """Remove partial files of videos that did not finish, for when the job could not do so itself."""
        for task in self.tasks:
            remove_partials(task.outputs)


def _lock_of(tasks: Sequence[VideoTask], settings: Settings) -> OutputLock | RemoteLock:
    """What keeps other jobs out of every folder that this one will write to; for a job with nothing to do, nothing."""
    busy = [task.outputs for task in tasks if task.state is not VideoState.SKIPPED]
    root = next((outputs.publish_root for outputs in busy), "")
    return RemoteLock(root, settings) if root else OutputLock({outputs.folder for outputs in busy})


def _with_scratch(settings: Settings) -> Settings:
    """The scratch folder by name, so that every node takes the one that the tasks' paths lie in."""
    storage = settings.storage.model_copy(update={"scratch_dir": str(scratch_root(settings))})
    return settings.model_copy(update={"storage": storage})


def _shared(address: str | None) -> bool:
    """Whether other machines may work on the job, so that a relative path would mean something else there."""
    ray = sys.modules.get("ray")  # importing it takes a second, and a job that is done already needs none
    if ray is not None and ray.is_initialized():
        return len([node for node in ray.nodes() if node["Alive"]]) > 1
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"


def connect(settings: Settings, address: str | None = None) -> None:
    """Use the Ray that is connected already, the one at ``address`` or ``RAY_ADDRESS``, else start a private one.

    A private Ray has no dashboard and a small object store, since pixels never enter it, and it never joins a cluster
    that happens to run on this machine.

    Raises:
        ClusterError: nobody listens at the address, or whoever does lets us not in.
    """
    import ray

    if ray.is_initialized():
        return
    target = address or os.environ.get("RAY_ADDRESS")
    logs = bool(os.environ.get("DUALFACE_DEBUG"))
    if target:
        _check_listener(target)
        try:
            ray.init(address=target, log_to_driver=logs, logging_level="ERROR")
        except (ConnectionError, RuntimeError) as error:  # no token, another version, auto and nobody there
            raise ClusterError(
                f"this Ray cannot be joined ({' '.join(str(error).split())[:300]})",
                where=target,
                remedy="Check that it runs and is of the same version, and that its token is where Ray looks for it "
                "(RAY_AUTH_TOKEN, ~/.ray/auth_token; with RAY_AUTH_MODE=token).",
            ) from error
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # On a cluster whoever starts a node declares what its cards may do; here that is us.
    own = declared(settings.lane.profile) if settings.lane.backend != "cpu" else Declared({}, {})
    ray.init(
        address="local",
        resources=own.resources,
        labels=own.labels,
        num_cpus=max(cores(), settings.lane.cores * max(1, settings.lane.count)),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=logs,
        logging_level="ERROR",
    )


def _check_listener(address: str) -> None:
    """Ray itself tries for minutes before it says that nobody is there."""
    place = re.fullmatch(r"(?:ray://)?(\[[^\]]+\]|[^:/]+):(\d{1,5})", address)
    if place is None:
        return  # auto, local: Ray knows where
    try:
        socket.create_connection((place[1].strip("[]"), int(place[2])), CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray answers there ({error})",
            where=address,
            remedy="Check the address (ray status on the head shows it), or leave --address out for a private Ray.",
        ) from error
