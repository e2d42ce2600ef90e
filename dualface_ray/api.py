"""The notebook's and the command line's way in: ``run(...)`` returns a Job that lives with its process."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dualface_ray.backends import video_needs
from dualface_ray.backends.pyav import probe
from dualface_ray.errors import ActorError, DualfaceError, OutputBusyError, OutputExistsError, RequestError
from dualface_ray.hardware import cores
from dualface_ray.media import OutputLock, OutputPlan, check_input, plan_outputs, remove_partials
from dualface_ray.models import ensure
from dualface_ray.report import JobSnapshot, VideoState, VideoTask, fingerprint, read_report, write_failure
from dualface_ray.settings import Settings, resolve

Inputs = str | Path | Sequence[str | Path]
POLL_S = 0.25
CANCEL_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 60.0
OBJECT_STORE_BYTES = 100 * 1024 * 1024


def run(
    inputs: Inputs,
    output: str | Path | None = None,
    *,
    settings: Settings | None = None,
    address: str | None = None,
    say: Callable[[str], None] = lambda _line: None,
    **overrides: Any,
) -> Job:
    """Start a job on these videos and return at once.

    Args:
        inputs: a path or several.
        output: folder of the results; by default the folder of the (first) input.
        settings: complete settings; by default the packaged defaults.
        address: which Ray: this argument, else ``RAY_ADDRESS``, else a private local one.
        say: gets a line per step while a model is fetched, which takes a while the first time.
        overrides: single settings by short or dotted name, such as ``layout="stacked"``.

    Raises:
        RequestError: the request itself is wrong; nothing was started or written.
        ModelError: a model is neither cached nor to be had.
    """
    if settings is not None and overrides:
        raise RequestError("complete settings and single ones were given", remedy="Put the single ones into resolve().")
    resolved = settings or resolve(**overrides)
    tasks = prepare(inputs, output, resolved, say)
    return Job(tasks, resolved, address)


def prepare(
    inputs: Inputs, output: str | Path | None, settings: Settings, say: Callable[[str], None] = lambda _line: None
) -> list[VideoTask]:
    """Check a request completely and name its outputs, before Ray starts and before anything is written.

    Inputs that cannot be opened are no reason to refuse the others: their tasks come back as FAILED.

    Raises:
        RequestError: no inputs, two of them share an output name, or an output was made with other settings.
        ModelError: a model that the settings need is neither cached nor to be had.
    """
    paths = [Path(inputs)] if isinstance(inputs, (str, Path)) else [Path(item) for item in inputs]
    if not paths:
        raise RequestError("no input was given", remedy="Name at least one video file.")
    folder = Path(output) if output is not None else paths[0].parent
    if folder.exists() and not folder.is_dir():
        raise RequestError("the output folder is a file", where=str(folder), remedy="Name a folder with -o.")
    planned = plan_outputs(paths, folder, layout=settings.framing.layout, container=settings.encode.container)
    tasks = [
        _task(index, path, outputs, settings) for index, (path, outputs) in enumerate(zip(paths, planned, strict=True))
    ]
    if any(task.state is VideoState.WAITING for task in tasks):
        ensure(settings.detect.model, settings.detect.model_path, say)
        if settings.identity.reid != "off":
            ensure(settings.identity.embedding_model, settings.identity.embedding_path, say)
    return tasks


def _task(index: int, source: Path, outputs: OutputPlan, settings: Settings) -> VideoTask:
    """Decide one input's state before the run: to do, done already, or not to be opened at all."""
    try:
        check_input(source, allow_symlinks=settings.input.allow_symlinks)
        found = probe(source, settings)
        mark = fingerprint(source, settings)
    except DualfaceError as error:
        return VideoTask(index, source, outputs, state=VideoState.FAILED, error=error)
    if not settings.job.overwrite:
        earlier = read_report(outputs.report) if outputs.report.exists() else None
        complete = all(path.exists() for path in (*outputs.videos, outputs.tracks))
        if earlier is not None and earlier.state is VideoState.DONE and complete:
            if earlier.fingerprint == mark:
                return VideoTask(index, source, outputs, mark, state=VideoState.SKIPPED)
            raise OutputExistsError(
                "was made from another input or with other settings",
                where=str(outputs.videos[0]),
                remedy="Use --overwrite to replace it, or another output folder.",
            )
        foreign = [path for path in outputs.videos if path.exists()]
        if foreign and earlier is None:
            raise OutputExistsError(
                "exists and has no report beside it, so nothing says that it may be replaced",
                where=str(foreign[0]),
                remedy="Use --overwrite to replace it, or another output folder.",
            )
    video, ring_bytes = found.video, video_needs(found, settings)
    frames = video.frame_count_estimate
    duration_s = float(frames / video.average_rate) if video.average_rate else 0.0
    return VideoTask(index, source, outputs, mark, frames_estimate=frames, duration_s=duration_s, ring_bytes=ring_bytes)


class Job:
    """A running job; it ends with its process. Usable as a context manager: leaving it cancels what still runs."""

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, address: str | None = None) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from actors.job import JobActor

        self.tasks = tuple(tasks)
        self.settings = settings
        self._last: JobSnapshot | None = None
        self._closed = self._abandoned = False
        self._job_id = secrets.token_hex(4)
        self._lock = OutputLock({task.outputs.folder for task in self.tasks if task.state is not VideoState.SKIPPED})
        self._lock.take()
        try:
            for task in self.tasks:
                if task.error is not None:
                    write_failure(task, task.error, settings)
            connect(settings, address)
            here = ray.get_runtime_context().get_node_id()
            place = NodeAffinitySchedulingStrategy(here, soft=False)  # its manifest lies on the driver's disk
            job = ray.remote(JobActor).options(num_cpus=0, max_restarts=0, scheduling_strategy=place)
            self._actor = job.remote(self.tasks, settings, self._job_id)
        except BaseException:
            self._lock.release()
            raise

    def snapshot(self) -> JobSnapshot:
        """The job as it stands now.

        Raises:
            ActorError: the job's own process died.
            OutputBusyError: another job has taken the output folder over, as it may when this machine was cut off.
        """
        import ray
        import ray.exceptions

        from actors.lane import remove_groups

        if self._last is not None and (self._last.final or self._closed):
            return self._last
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
        self._actor.cancel.remote()
        try:
            self.wait(CANCEL_TIMEOUT_S)
        except ActorError:
            return  # dead already: snapshot() has swept

    def close(self) -> None:
        """End the job; cancels it when it still runs. Harmless when called twice."""
        import ray

        if self._closed:
            return
        try:
            if not self.snapshot().final:
                self.cancel()
        except (ActorError, OutputBusyError):
            pass  # it is dead already, which is what close wants
        self._closed = True
        ray.kill(self._actor, no_restart=True)
        if not self._abandoned and (self._last is None or not self._last.final):
            self._sweep()
        self._lock.release()

    def _abandon(self) -> None:
        """The folder is another job's now: stop at once, and leave everything in it alone."""
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


def connect(settings: Settings, address: str | None = None) -> None:
    """Use the Ray that is connected already, the one at ``address`` or ``RAY_ADDRESS``, else start a private one.

    A private Ray has no dashboard and a small object store, since pixels never enter it, and it never joins a cluster
    that happens to run on this machine.
    """
    import ray

    if ray.is_initialized():
        return
    target = address or os.environ.get("RAY_ADDRESS")
    logs = bool(os.environ.get("DUALFACE_DEBUG"))
    if target:
        ray.init(address=target, log_to_driver=logs, logging_level="ERROR")
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=settings.lane.cores * max(1, settings.lane.count) or cores(),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=logs,
        logging_level="ERROR",
    )
