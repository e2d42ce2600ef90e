"""JobRunner: the queue of videos and the lanes that pull from it; JobActor: its Ray shell."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray

from actors.lane import Lane, LaneState
from actors.messages import SegmentJob, StreamStatus
from actors.placement import ClusterSnapshot, plan_lanes
from actors.recovery import AttemptBook, LaneBook
from dualface_ray.errors import ActorError, Cancelled, DualfaceError, OutputError, PlacementError
from dualface_ray.media import remove_partials
from dualface_ray.report import JobSnapshot, RateMeter, VideoProgress, VideoState, VideoTask, write_failure
from dualface_ray.settings import Settings

POLL_S = 0.2


@dataclass(slots=True)
class _Video:
    task: VideoTask
    progress: VideoProgress
    meter: RateMeter


class JobRunner:
    """Runs a job in one thread: polls lanes, hands out videos, takes note of ends and deaths.

    Args:
        tasks: what to do; those already done or refused come with a final state and are only reported.
        settings: of the job.
        job_id: marks what the job reserves in the cluster.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, job_id: str = "") -> None:
        self._settings = settings
        self._job_id = job_id
        self._lock = threading.Lock()
        self._videos = {task.stream_id: _Video(task, task.initial_progress(), RateMeter()) for task in tasks}
        self._waiting = deque(t.stream_id for t in tasks if not t.initial_progress().state.final)
        self._attempts = AttemptBook(settings.job.max_attempts)
        self._lane_book = LaneBook()
        self._lanes: list[Lane] = []
        self._notes: list[str] = []
        self._cancelled = threading.Event()
        self._began_s = time.monotonic()
        self._elapsed_s = 0.0
        self._final = False
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop everything that is not finished; partial files are removed."""
        self._cancelled.set()

    def snapshot(self) -> JobSnapshot:
        """The job as it stands now."""
        with self._lock:
            elapsed = self._elapsed_s if self._final else time.monotonic() - self._began_s
            return JobSnapshot(
                videos=tuple(video.progress for video in self._videos.values()),
                lanes=tuple(f"{lane.plan.text}, {lane.state.value}" for lane in self._lanes),
                elapsed_s=elapsed,
                final=self._final,
                notes=tuple(self._notes),
            )

    # --- the thread -----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            if self._waiting:
                self._open_lanes()
            while self._unfinished() and not self._cancelled.is_set():
                self._turn()
                self._cancelled.wait(POLL_S)
            if self._cancelled.is_set():
                self._end_rest(Cancelled("cancelled"), VideoState.CANCELLED)
        except DualfaceError as error:
            self._end_rest(error, VideoState.FAILED)
        except Exception as error:  # a fault of ours must end the job, not leave its driver waiting
            self._end_rest(ActorError(f"the job failed: {error!r}", where="job"), VideoState.FAILED)
        finally:
            for lane in self._lanes:
                lane.close()
            for video in self._videos.values():
                remove_partials(video.task.outputs)
            with self._lock:
                self._elapsed_s = time.monotonic() - self._began_s
                self._final = True

    def _open_lanes(self) -> None:
        resources = ray.cluster_resources()
        snapshot = ClusterSnapshot(cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0))
        rings = [self._videos[stream_id].task.ring_bytes for stream_id in self._waiting]
        plans = plan_lanes(self._settings, snapshot, rings)
        lanes = [Lane(plan, self._settings, self._job_id) for plan in plans]
        with self._lock:
            self._lanes = lanes

    def _unfinished(self) -> bool:
        return any(not video.progress.state.final for video in self._videos.values())

    def _turn(self) -> None:
        for position, lane in enumerate(self._lanes):
            lane.advance()
            for status in list(lane.streams.values()):
                self._take(lane, status)
            if lane.state is LaneState.DEAD:
                self._bury(position, lane)
        for lane in self._lanes:
            while self._waiting and lane.free > 0:
                self._hand_out(lane, self._waiting.popleft())

    def _hand_out(self, lane: Lane, stream_id: str) -> None:
        task = self._videos[stream_id].task
        epoch = self._attempts.begin(stream_id)
        lane.assign(SegmentJob(stream_id, epoch, task.source, task.outputs, task.fingerprint))
        self._update(stream_id, state=VideoState.RUNNING, attempts=epoch + 1, frames_done=0)

    def _take(self, lane: Lane, status: StreamStatus) -> None:
        video = self._videos[status.stream_id]
        fps = video.meter.push(time.monotonic(), status.frames_done)
        left = status.frames_total - status.frames_done
        eta_s = left / fps if fps > 0 and left > 0 else None
        frames = {"frames_done": status.frames_done, "frames_total": status.frames_total}
        if not status.state.final:
            self._update(status.stream_id, state=status.state, fps=fps, eta_s=eta_s, **frames)
            return
        lane.finished(status.key)
        if status.state is VideoState.DONE:
            self._lane_book.finished_one(lane.plan.lane_id)
            average = status.frames_done / max(1e-9, video.meter.seconds)
            self._update(status.stream_id, state=VideoState.DONE, fps=average, eta_s=None, **frames)
            return
        error = status.error if isinstance(status.error, DualfaceError) else ActorError(repr(status.error))
        self._fail(status.stream_id, error)

    def _bury(self, position: int, lane: Lane) -> None:
        """A lane died: kill what is left of it, give its videos back to the queue or up, start it again or not."""
        cause = lane.failure or ActorError("died", where=lane.plan.lane_id)
        orphans = list(lane.jobs.values())
        lane.close()
        for job in orphans:
            remove_partials(job.outputs)
            verdict = self._attempts.verdict(job.stream_id, str(job.source), cause)
            if verdict is None:
                self._waiting.appendleft(job.stream_id)
                self._update(job.stream_id, state=VideoState.WAITING, fps=0.0, eta_s=None, frames_done=0)
            else:
                self._fail(job.stream_id, verdict)
        again = self._lane_book.died(lane.plan.lane_id) and not isinstance(cause, PlacementError)
        with self._lock:
            self._notes.append(f"{cause}; {'started again' if again else 'stays out'}")
            if again:
                self._lanes[position] = Lane(lane.plan, self._settings, self._job_id)
        if not again and all(other.state in (LaneState.DEAD, LaneState.CLOSED) for other in self._lanes):
            raise cause

    def _fail(self, stream_id: str, error: DualfaceError) -> None:
        task = self._videos[stream_id].task
        try:
            write_failure(task, error, self._settings, max(1, self._attempts.attempts(stream_id)))
        except OutputError as other:
            with self._lock:
                self._notes.append(f"the report of this failure cannot be written: {other}")
        self._update(stream_id, state=VideoState.FAILED, error=str(error), error_code=error.code, fps=0.0, eta_s=None)

    def _end_rest(self, error: DualfaceError, state: VideoState) -> None:
        for lane in self._lanes:
            lane.close()
        for stream_id, video in self._videos.items():
            if video.progress.state.final:
                continue
            if state is VideoState.FAILED:
                self._fail(stream_id, error)
            else:
                self._update(stream_id, state=state, error=str(error), error_code=error.code, fps=0.0, eta_s=None)

    def _update(self, stream_id: str, **changes: object) -> None:
        with self._lock:
            video = self._videos[stream_id]
            video.progress = replace(video.progress, **changes)  # type: ignore[arg-type]


class JobActor:
    """Shell: every method hands over to the runner's thread and returns at once."""

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, job_id: str) -> None:
        self._runner = JobRunner(tasks, settings, job_id)
        self._runner.start()

    def snapshot(self) -> JobSnapshot:
        """See JobRunner."""
        return self._runner.snapshot()

    def cancel(self) -> None:
        """See JobRunner."""
        self._runner.cancel()
