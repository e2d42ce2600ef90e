"""Lane: a bundle of actors that work together; the unit of scheduling and of failure.

PLACING ─► STARTING ─► READY: assign ─► segments ─► status of each, asked a few times a second ─► finished ─► CLOSED
   └───────────┴─────────┴─► DEAD: no room, no answer, an error, an actor's death, or nothing moves
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

import ray
import ray.exceptions
from ray.util.placement_group import get_placement_group, placement_group_table, remove_placement_group

from actors.bundle import Bundle, is_done
from actors.messages import ActorStatus, SegmentJob, StreamKey, StreamStatus
from actors.metrics import LaneFacts
from actors.outbox import Outbox
from actors.placement import LanePlan
from actors.watch import Watch
from dualface_ray.errors import ActorError, DualfaceError, PlacementError
from dualface_ray.settings import Settings


class LaneState(str, Enum):
    """The life of a lane."""

    PLACING = "placing"
    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"
    CLOSED = "closed"


class Lane:
    """Starts, feeds, watches and ends the actors of one lane; no method blocks but ``close``.

    A lane is advanced by its owner a few times a second. It becomes DEAD (``failure`` says why) when an actor dies,
    a call between two actors fails, an actor does not get ready within ``job.start_timeout_s``, or its streams, or one
    of them, stand still for ``job.watchdog_s`` (``Watch``): what holds a thread in a driver ends only with its process.
    """

    def __init__(self, plan: LanePlan, settings: Settings, job_id: str = "") -> None:
        self.plan = plan
        self.state = LaneState.PLACING
        self.failure: DualfaceError | None = None
        self.draining = False
        """Its node is about to leave: it finishes what it has and takes nothing more."""
        self.lost = False
        """Its node is gone: it cannot be started again there."""
        self.guilty: frozenset[StreamKey] = frozenset()
        """Streams that stood still while others went on, where it died of that."""
        self.jobs: dict[StreamKey, SegmentJob] = {}
        self.streams: dict[StreamKey, StreamStatus] = {}
        self._settings = settings
        self._bundle = Bundle(plan, settings, f"{_group_prefix(job_id)}{plan.lane_id}-{secrets.token_hex(4)}")
        self._deadline_s = time.monotonic() + settings.job.placement_timeout_s
        self._pings: dict[str, Any] = {}
        self._delays: list[Any] = []
        self._delay = (0.0, 0.0)
        self._outbox = Outbox(plan.lane_id)
        self._facts: dict[str, Mapping[str, float | int | str]] = {}
        self._watch = Watch(settings.job.watchdog_s, settings.job.start_timeout_s)

    # --- what the job asks ----------------------------------------------------------------------------------------
    @property
    def free(self) -> int:
        """How many further segments it can take now."""
        return self.plan.streams - len(self.jobs) if self.state is LaneState.READY and not self.draining else 0

    @property
    def text(self) -> str:
        """One readable line."""
        state = "draining" if self.draining and self.state is LaneState.READY else self.state.value
        said = self._bundle.step if self.state is LaneState.STARTING else ""
        if self.state is LaneState.READY:  # an engine that nobody could foresee is built in mid-run
            said = self._watch.building
        step = f": {said}" if said else ""
        return f"{self.plan.text}, {state}{step}"

    def assign(self, job: SegmentJob) -> None:
        """Start a segment: the encoder hears of it before the decoder can send its first frame.

        It goes to the decoder and the encoder actor with the fewest segments.
        """
        running = self.jobs.values()
        job = replace(
            job,
            notes=tuple(dict.fromkeys((*job.notes, *self.plan.notes))),
            decoder=_least_used(self.plan.decoders, [other.decoder for other in running]),
            encoder=_least_used(self.plan.encoders, [other.encoder for other in running]),
        )
        self.jobs[job.key] = job
        self._watch.given(job.key)
        encoder, decoder = self._bundle.actors[f"encoder-{job.encoder}"], self._bundle.actors[f"decoder-{job.decoder}"]
        self._outbox.sent(decoder.open.remote(job, encoder.open.remote(job)))

    def finished(self, key: StreamKey) -> None:
        """The job has taken note of a segment's end."""
        job = self.jobs.pop(key, None)
        self.streams.pop(key, None)
        self._watch.gone(key)
        if job is not None:
            for name in (f"encoder-{job.encoder}", "inference"):
                self._outbox.sent(self._bundle.actors[name].forget.remote(key))

    def prefetch(self, job: SegmentJob) -> None:
        """This segment will probably come next: its source can be fetched to the lane's node meanwhile."""
        decoder = _least_used(self.plan.decoders, [other.decoder for other in self.jobs.values()])
        self._outbox.sent(self._bundle.actors[f"decoder-{decoder}"].prefetch.remote(job))

    def fail(self, error: DualfaceError) -> None:
        """Count it as dead: what ended one of its segments lies with the lane."""
        self._die(error)

    def lose(self, what: str) -> None:
        """Count it as dead for good, with everything it has."""
        self.lost = True
        self._die(ActorError(what, where=self.plan.lane_id))

    def facts(self) -> dict[str, float | int | str]:
        """What its actors last said of themselves, each under the actor's name."""
        return {f"{name}.{fact}": value for name, found in self._facts.items() for fact, value in found.items()}

    def latency(self) -> list[Any]:
        """References to what its encoder actors measured of the segments they still know; see EncodeService."""
        return [actor.latency.remote() for name, actor in self._bundle.actors.items() if name.startswith("encoder")]

    def delay(self) -> tuple[float, float]:
        """Frames that its encoders still know of, and the sum of their latencies in seconds, as last heard."""
        if self._delays and len(ray.wait(self._delays, num_returns=len(self._delays), timeout=0)[1]) == 0:
            try:
                found = [stages.get("total", {}) for stages in ray.get(self._delays, timeout=0)]
                self._delay = (
                    sum(total.get("count", 0.0) for total in found),
                    sum(total.get("count", 0.0) * total.get("mean", 0.0) for total in found),
                )
            except ray.exceptions.RayError:
                pass  # the ping notices that, too
            self._delays = []
        if not self._delays and self.state is LaneState.READY:
            self._delays = self.latency()
        return self._delay

    def advance(self) -> None:
        """Move on as far as possible without waiting."""
        try:
            if self.state is LaneState.PLACING:
                self._advance_placing()
            elif self.state is LaneState.STARTING:
                self._advance_starting()
            elif self.state is LaneState.READY:
                self._advance_ready()
        except ray.exceptions.RayTaskError as error:
            cause = error.cause  # first: what an actor raised is of its own class, too, and its text is Ray's traceback
            self._die(cause if isinstance(cause, DualfaceError) else ActorError(repr(cause), where=self.plan.lane_id))
        except DualfaceError as error:
            self._die(error)
        except ray.exceptions.RayError as error:
            self._die(ActorError(f"lost ({type(error).__name__})", where=self.plan.lane_id))

    def close(self) -> None:
        """End the lane: each actor's own ``close`` first, consumers before the pool's owner, then the processes.

        A lane that works takes some seconds at most, any other one none: nothing that hangs is waited for.
        """
        graceful = self.state is LaneState.READY
        self.state = LaneState.CLOSED if self.state is not LaneState.DEAD else self.state
        self._bundle.close(graceful=graceful)

    # --- states ---------------------------------------------------------------------------------------------------
    def _advance_placing(self) -> None:
        if not self._bundle.placed():
            if time.monotonic() > self._deadline_s:
                raise PlacementError(
                    f"no room for {self.plan.bundle} after {self._settings.job.placement_timeout_s:g} s; "
                    f"free now: {self._bundle.free()}",
                    where=self.plan.lane_id,
                    remedy="Wait for other work to end or ask for less (lane.cores, lane.count).",
                )
            return
        self._bundle.start()
        self._deadline_s = time.monotonic() + self._settings.job.start_timeout_s
        self.state = LaneState.STARTING

    def _advance_starting(self) -> None:
        awaited = self._bundle.awaited()
        if not awaited:
            self.state = LaneState.READY
        elif time.monotonic() > self._deadline_s:
            raise ActorError(
                f"no answer from {' and '.join(sorted(awaited))} within "
                f"{self._settings.job.start_timeout_s:g} s of the start",
                where=self.plan.lane_id,
                remedy="job.start_timeout_s sets how long building an engine may take.",
            )

    def _advance_ready(self) -> None:
        self._watch.look(time.monotonic())
        for role, actor in self._bundle.actors.items():
            reference = self._pings.get(role)
            if reference is None:
                self._pings[role] = actor.status.remote()
            elif is_done(reference):
                self._take(role, self._result(role, reference))
                self._pings[role] = actor.status.remote()
        failure = self._outbox.check()
        if failure is not None:
            raise ActorError(str(failure), where=self.plan.lane_id)
        stall = self._watch.stall()
        if stall is not None:
            self.guilty = stall.keys
            first, *more = sorted(self.jobs[key].shown for key in stall.keys) or ["anything"]
            others = f" and {len(more)} more" if more else ""
            raise ActorError(
                f"no progress with {first}{others} for {stall.for_s:.0f} s",
                where=self.plan.lane_id,
                remedy="job.watchdog_s sets how long that may last.",
            )

    def _result(self, role: str, reference: Any) -> ActorStatus:
        try:
            status: ActorStatus = ray.get(reference, timeout=0)
        except ray.exceptions.RayActorError as error:
            raise ActorError("the actor died", where=f"{self.plan.lane_id} {role}") from error
        return status

    def _take(self, role: str, status: ActorStatus) -> None:
        if status.failure is not None:
            raise ActorError(str(status.failure), where=f"{self.plan.lane_id} {role}")
        self._facts[role] = status.facts
        self._watch.heard(role, status)
        for stream in status.streams:
            if stream.key in self.jobs:
                self.streams[stream.key] = stream

    def _die(self, error: DualfaceError) -> None:
        self.state = LaneState.DEAD
        self.failure = error


def facts_of(lanes: Iterable[Lane]) -> Iterator[LaneFacts]:
    """What the metrics show of each lane."""
    for lane in lanes:
        facts, (frames, delay_s) = lane.facts(), lane.delay()
        ready = lane.state is LaneState.READY
        yield LaneFacts(
            lane_id=lane.plan.lane_id,
            state="draining" if lane.draining and ready else lane.state.value,
            streams=int(_sum(facts, "streams")),
            encoder_sessions=len(lane.jobs) * lane.plan.nvenc_sessions // max(1, lane.plan.streams),
            pool_bytes=_sum(facts, "pool_bytes"),
            items=_sum(facts, "frames_examined") + _sum(facts, "faces_embedded"),
            batches=_sum(facts, "batches"),
            frames=frames,
            delay_s=delay_s,
        )


def _sum(facts: Mapping[str, float | int | str], name: str) -> float:
    return sum(float(value) for key, value in facts.items() if key.endswith(f".{name}"))


def remove_groups(job_id: str) -> None:
    """Give back what a job's lanes had reserved, when the job itself died and could not.

    Ray ends the actors of a dead owner, but keeps its placement groups until the whole driver is gone.
    """
    prefix = _group_prefix(job_id)
    for group in placement_group_table().values():
        if group["name"].startswith(prefix) and group["state"] != "REMOVED":
            remove_placement_group(get_placement_group(group["name"]))


def _group_prefix(job_id: str) -> str:
    return f"dualface-{job_id}-"


def _least_used(count: int, used: Sequence[int]) -> int:
    return min(range(count), key=lambda number: (used.count(number), number))
