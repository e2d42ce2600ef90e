"""JobRunner: the videos of a job and the lanes that pull their units; JobActor: its Ray shell.

Units (what of each video is ready) ─► Schedule (which unit a lane takes) ─► Gate ─► Lane ─► status ─► Units, Board
Fleet (lanes follow the nodes) ─► deaths ─► AttemptBook (again or given up) ─► Schedule
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from actors.backlog.pieces import DiskPieces
from actors.backlog.unit import Step, Unit
from actors.backlog.units import Units
from actors.backlog.workqueue import WorkQueue
from actors.books import Books
from actors.cluster.holders import groups, no_room
from actors.cluster.nodes import dashboard, grows, here, look
from actors.cluster.witness import Witness
from actors.fleet import Fleet, Ports
from actors.gate import Gate
from actors.lane import Lane, facts_of
from actors.messages import SegmentJob, StreamStatus
from actors.metrics import Exporter, JobMetrics
from actors.recovery import AttemptBook, blames_the_lane
from dualface_ray.errors import ActorError, Cancelled, DualfaceError
from dualface_ray.report import JobSnapshot, VideoState, VideoTask
from dualface_ray.settings import Settings

POLL_S = 0.2


class JobRunner:
    """Runs a job in one thread: follows the cluster, hands out units, takes note of ends and deaths.

    Args:
        tasks: what to do; those already done or refused come with a final state and are only reported.
        settings: of the job.
        job_id: marks what the job reserves in the cluster.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, job_id: str = "") -> None:
        self._books = Books(tasks, settings)
        self._board = self._books.board
        self._units = Units(self._books.todo, settings, DiskPieces(overwrite=settings.job.overwrite))
        self._queue = WorkQueue()
        self._attempts = AttemptBook(settings.job.max_attempts)
        patience_s = settings.job.placement_timeout_s
        ports = Ports(
            look=look,
            make=lambda plan: Lane(plan, settings, job_id),
            may_grow=grows,
            no_room=lambda plan, _error: no_room(plan, patience_s, look(), groups(), job_id),
        )
        self._fleet = Fleet(settings, ports)
        self._gate = Gate(Witness(self._books.todo, here()), self._fleet)
        self._metrics = JobMetrics(Exporter({"run": job_id}) if dashboard() else None)
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop everything that is not finished; whatever is unfinished is removed."""
        self._cancelled.set()

    def snapshot(self) -> JobSnapshot:
        """The job as it stands now."""
        return self._board.snapshot(self._fleet.texts, self._units.waiting, self._queue.running)

    # --- the thread -----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            self._books.begin()
            while self._board.unfinished and not self._cancelled.is_set():
                self._turn(time.monotonic())
                self._cancelled.wait(POLL_S)
            if self._cancelled.is_set():
                self._end_rest(Cancelled("cancelled"), VideoState.CANCELLED)
        except DualfaceError as error:
            self._end_rest(error, VideoState.FAILED)
        except Exception as error:  # a fault of ours must end the job, not leave its driver waiting
            self._end_rest(ActorError(f"the job failed: {error!r}", where="job"), VideoState.FAILED)
        finally:
            with ExitStack() as stack:  # in reverse, each whatever became of the others
                stack.callback(self._books.close)
                stack.callback(self._gate.close)
                stack.callback(self._fleet.close)

    def _turn(self, now_s: float) -> None:
        for lane in self._fleet.turn(now_s, self._units.rings, self._units.orientations):
            self._bury(lane, now_s)
        self._queue.follow(self._fleet.standings, now_s)
        self._queue.add(self._units.release(self._fleet.slots, may_cut=not self._fleet.mixed))
        self._queue.expect(self._units.held)
        ready = self._fleet.ready if self._gate.is_open() else []
        for lane in ready:
            for status in list(lane.streams.values()):
                self._take(lane, status, now_s)
        for lane in ready:
            if self._gate.admits(lane.plan):
                self._feed(lane, now_s)
        self._books.turn()
        self._board.note(*self._fleet.news())
        self._metrics.turn(now_s, self._board.counts(), facts_of(self._fleet.lanes.values()), self._queue.left_s(now_s))

    def _feed(self, lane: Lane, now_s: float) -> None:
        while lane.free > 0:
            unit_id = self._queue.next_for(lane.plan, now_s)
            if unit_id is None:
                break
            self._hand_out(lane, self._units[unit_id], now_s)
        ahead = None if lane.draining else self._queue.ahead_for(lane.plan, now_s)
        if ahead is not None:
            job = self._segment(self._units[ahead], 0)
            if job.origin:
                lane.prefetch(job)

    def _hand_out(self, lane: Lane, unit: Unit, now_s: float) -> None:
        earlier, shown = self._books.earlier(unit.unit_id), self._board.task(unit.video).shown
        hopeless = self._books.gone(unit.video) or self._attempts.worn_out(unit.unit_id, shown, earlier)
        if hopeless is not None:
            self._queue.finished(lane.plan.lane_id, unit.unit_id, now_s)
            self._give_up(unit.video, hopeless, keep=True)  # the next run tries once more: with what is done
            return
        epoch = self._attempts.begin(unit.unit_id, earlier)
        self._units.taken(unit.unit_id)
        self._board.begun(unit.video, epoch + 1)
        self._note(unit, VideoState.RUNNING, lane)
        self._metrics.began(lane.plan.lane_id)
        lane.assign(self._segment(unit, epoch))

    def _segment(self, unit: Unit, epoch: int) -> SegmentJob:
        task = self._board.task(unit.video)
        return SegmentJob(
            unit.unit_id,
            epoch,
            task.source,
            task.outputs,
            task.fingerprint,
            work=unit.work,
            spans=unit.spans,
            origin=task.origin,
            identity=task.identity,
            publish=task.publish,
            replaced=task.replaced,
            notes=unit.notes,
        )

    # --- what comes back ------------------------------------------------------------------------------------------
    def _take(self, lane: Lane, status: StreamStatus, now_s: float) -> None:
        """A lane says how far a unit has come, or that it has ended."""
        if status.stream_id not in self._units:
            lane.finished(status.key)  # it was dropped meanwhile
            return
        unit = self._units[status.stream_id]
        self._metrics.frames(lane.plan.lane_id, status.key, status.frames_done, final=status.state.final)
        if not status.state.final:
            frames = self._units.progress(unit.unit_id, status.frames_done, status.frames_total)
            self._board.moved(unit.video, status.state if unit.last else VideoState.RUNNING, *frames)
            if status.frames_total:
                share = status.frames_done / status.frames_total
                self._queue.moved(lane.plan.lane_id, unit.unit_id, share, now_s)
            return
        error = status.error
        if status.state is VideoState.DONE:
            lane.finished(status.key)
            self._fleet.finished_one(lane)
            self._finished(lane, unit, status, now_s)
        elif isinstance(error, DualfaceError) and blames_the_lane(error):
            lane.fail(error)  # the next turn buries it, and this unit waits again
        else:
            lane.finished(status.key)
            self._fleet.finished_one(lane)  # it did what there was to do
            self._failed(lane, unit, error if isinstance(error, DualfaceError) else ActorError(repr(error)))

    def _finished(self, lane: Lane, unit: Unit, status: StreamStatus, now_s: float) -> None:
        self._queue.finished(lane.plan.lane_id, unit.unit_id, now_s)
        self._complete(lane, unit, status.frames_done)

    def _complete(self, lane: Lane, unit: Unit, frames: int) -> None:
        self._note(unit, VideoState.DONE, lane)
        step = self._units.done(unit.unit_id, self._fleet.slots)
        if step.complete:
            self._books.done(unit.video, step.frames or frames)
        self._go_on(step)

    def _failed(self, lane: Lane, unit: Unit, error: DualfaceError) -> None:
        self._note(unit, VideoState.FAILED, lane)
        step = self._units.instead(unit.unit_id, error)
        if step is None:
            self._give_up(unit.video, error)
        else:
            self._go_on(step)

    def _go_on(self, step: Step) -> None:
        self._drop(step.dropped)
        self._queue.add(step.ready)

    def _bury(self, lane: Lane, now_s: float) -> None:
        """A lane died: its units wait again or are given up; the fleet decides when it starts again."""
        cause = lane.failure or ActorError("died", where=lane.plan.lane_id)
        orphans = [job for job in lane.jobs.values() if job.stream_id in self._units]
        self._queue.lane_died(lane.plan.lane_id, [self._units[job.stream_id] for job in orphans])
        self._metrics.died(lane.plan.lane_id)
        self._fleet.bury(lane, now_s)
        for job in lane.jobs.values():
            self._books.abandoned(job)
        for job in orphans:
            if job.stream_id not in self._units:
                continue  # given up with another part of its video
            unit = self._units[job.stream_id]
            if self._units.is_complete(unit.unit_id):  # it died before it could say so
                self._queue.drop([unit.unit_id])
                self._complete(lane, unit, unit.frames)
                continue
            guilty = not lane.guilty or job.key in lane.guilty
            verdict = self._attempts.verdict(unit.unit_id, job.shown, cause, guilty=guilty)
            if verdict is not None:
                self._give_up(unit.video, verdict)
                continue
            self._units.returned(unit.unit_id)
            frames, _ = self._units.progress(unit.unit_id, 0, 0)
            self._board.waits(unit.video, frames)

    def _give_up(self, name: str, error: DualfaceError, *, keep: bool = False) -> None:
        attempts = max((self._attempts.attempts(unit_id) for unit_id in self._units.open(name)), default=1)
        self._drop(self._units.give_up(name))
        self._books.failed(name, error, attempts, keep=keep)

    def _drop(self, unit_ids: Sequence[str]) -> None:
        """These units are not wanted any more, wherever they are."""
        self._queue.drop(unit_ids)
        gone = set(unit_ids)
        for lane in self._fleet.ready:
            for key in [key for key in lane.jobs if key[0] in gone]:
                lane.finished(key)

    def _end_rest(self, error: DualfaceError, state: VideoState) -> None:
        self._fleet.close()
        self._books.end_rest(error, state)

    def _note(self, unit: Unit, state: VideoState, lane: Lane) -> None:
        self._books.unit(unit, state, self._attempts.attempts(unit.unit_id), lane.plan)


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
