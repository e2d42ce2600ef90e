"""Fleet: the lanes of a job by id, and how they follow the cluster while it runs.

    every LOOK_S: nodes ─► ClusterSnapshot ─► changes() ─► start, drain, take off
    every turn:   lane.advance() ─► DEAD ─► the job takes its units back ─► bury() ─► LaneBook: when it starts again

A lane that rests between two starts keeps its place on paper, so that nothing else is planned there. Knows Ray only
through what it is given (``look``, ``make``); ``actors.job`` gives it the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from actors.backlog.workqueue import Standing
from actors.cluster.changes import changes
from actors.cluster.memory import Orientation
from actors.cluster.snapshot import ClusterSnapshot
from actors.lane import Lane, LaneState
from actors.placement import LanePlan, plan_lanes
from actors.recovery import LaneBook, Restart
from dualface_ray.errors import ActorError, DualfaceError, PlacementError
from dualface_ray.hardware import Profile, load_profile
from dualface_ray.settings import Settings

LOOK_S = 2.0
"""Between two looks at the nodes: it costs two calls to Ray's head, and a node comes or goes rarely."""
SETTLE_S = 5.0
"""Until Ray's nodes count a lane that has just been placed as theirs; until then it is counted on paper."""
CLOSERS = 8
"""Lanes that are closed at once; each may take some seconds."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the fleet needs of the world."""

    look: Callable[[], ClusterSnapshot]
    make: Callable[[LanePlan], Lane]
    may_grow: Callable[[], bool] = lambda: False
    """Whether somebody adds nodes to this cluster by himself (an autoscaler)."""
    profiles: Callable[[str], Profile] = load_profile
    no_room: Callable[[LanePlan, PlacementError], PlacementError] = lambda _plan, error: error
    """Says who has taken what a lane has waited for in vain."""


@dataclass(slots=True, eq=False)
class _Resting:
    restart: Restart
    until_s: float


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What lanes are for."""

    rings: Sequence[Any]
    orientations: Collection[Orientation]


@dataclass(slots=True, eq=False)
class Fleet:
    """Lanes by id: those that live, and those that rest until they are started again."""

    settings: Settings
    ports: Ports
    lanes: dict[str, Lane] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _resting: dict[str, _Resting] = field(default_factory=dict)
    _placed_s: dict[str, float] = field(default_factory=dict)
    _book: LaneBook = field(init=False)
    _banned: set[str] = field(default_factory=set)
    """Nodes that are not to be used."""
    _next_number: int = 0
    _told: int = 0
    """Notes handed over."""
    _look_s: float = 0.0
    _alone_since_s: float | None = None
    """Since when there is no lane that could do anything."""
    _ever_ready: bool = False
    _last_error: DualfaceError | None = None
    _closers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(CLOSERS, thread_name_prefix="closing")
    )

    def __post_init__(self) -> None:
        self._book = LaneBook(self.settings.job.cooldown_s)

    # --- what the job asks ----------------------------------------------------------------------------------------
    @property
    def ready(self) -> list[Lane]:
        """Lanes that work."""
        return [lane for lane in self.lanes.values() if lane.state is LaneState.READY]

    @property
    def slots(self) -> int:
        """Units at once when all lanes that live work."""
        return sum(lane.plan.streams for lane in self.lanes.values() if not lane.draining)

    @property
    def mixed(self) -> bool:
        """Whether its lanes encode differently (NVENC here, x264 there): such parts of a video could not be joined."""
        plans = [lane.plan for lane in self.lanes.values()]
        return len({plan.encoder or plan.backend for plan in plans}) > 1

    @property
    def texts(self) -> tuple[str, ...]:
        """One readable line a lane."""
        living = [lane.text for lane in list(self.lanes.values())]
        resting = [
            f"{entry.restart.plan.text}, {'out for a while' if entry.restart.cooling else 'starting again'}"
            for entry in list(self._resting.values())
        ]
        return (*living, *resting)

    @property
    def standings(self) -> list[Standing]:
        """Every lane that lives, as the queue has to know it."""
        return [
            Standing(lane.plan, lane.state is LaneState.READY, lane.draining, self._book.wasted_s(lane_id))
            for lane_id, lane in self.lanes.items()
        ]

    def turn(
        self,
        now_s: float,
        rings: Callable[[], Sequence[Any]],
        orientations: Callable[[], Collection[Orientation]],
    ) -> list[Lane]:
        """Move every lane on; look at the nodes when it is time.

        Args:
            now_s: monotonic clock.
            rings: gives, for each unit that waits, what its frames take in a pool.
            orientations: gives those of all units, running ones too.

        Returns:
            lanes that are dead or lost: the job takes their units back and then calls ``bury``.

        Raises:
            DualfaceError: there is no lane, and none will come.
        """
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._follow(now_s, _Wanted(rings(), orientations()))
        for lane_id in [name for name, entry in self._resting.items() if now_s >= entry.until_s]:
            self._start(self._resting.pop(lane_id).restart.plan, now_s)
        for lane_id, lane in self.lanes.items():
            lane.advance()
            if lane.state is not LaneState.PLACING:
                self._placed_s.setdefault(lane_id, now_s)
            self._ever_ready = self._ever_ready or lane.state is LaneState.READY
        for lane in [lane for lane in self.lanes.values() if lane.draining and not lane.jobs]:
            self.notes.append(f"{lane.plan.lane_id} has ended: its node leaves")
            self._book.forget(lane.plan.lane_id)
            self._take_off(lane)
        return [lane for lane in self.lanes.values() if lane.state is LaneState.DEAD]

    def bury(self, lane: Lane, now_s: float) -> None:
        """End a dead lane and decide when it starts again.

        Raises:
            DualfaceError: it was the last one, and no lane has ever worked or none will.
        """
        cause = lane.failure or ActorError("died", where=lane.plan.lane_id)
        if isinstance(cause, PlacementError):
            cause = self.ports.no_room(lane.plan, cause)
        self._last_error = cause
        self._take_off(lane)
        if lane.lost or lane.draining or isinstance(cause, PlacementError):
            self._book.forget(lane.plan.lane_id)
            self.notes.append(f"{cause}; it is not started again")
        else:
            restart = self._book.died(lane.plan, cause)
            self.notes.append(f"{cause}; {restart.text}")
            self._resting[lane.plan.lane_id] = _Resting(restart, now_s + restart.pause_s)
        self._look_s = now_s  # the cluster has probably changed
        hopeless = isinstance(cause, PlacementError) or not self._ever_ready
        if hopeless and not self.lanes and all(entry.restart.cooling for entry in self._resting.values()):
            raise cause

    def finished_one(self, lane: Lane) -> None:
        """A unit was finished there."""
        self._book.finished_one(lane.plan.lane_id)

    def ban(self, node_id: str, why: str) -> None:
        """Use this node no more."""
        self._banned.add(node_id)
        self._say(why)
        self._look_s = 0.0

    def news(self) -> list[str]:
        """What the user should know and has not heard yet."""
        news = self.notes[self._told :]
        self._told = len(self.notes)
        return news

    def close(self) -> None:
        """End every lane; returns when all are ended."""
        for lane in list(self.lanes.values()):
            self._take_off(lane)
        self._closers.shutdown(wait=True)

    # --- inside ---------------------------------------------------------------------------------------------------
    def _follow(self, now_s: float, wanted: _Wanted) -> None:
        """Compare the lanes with the nodes as they are now."""
        snapshot = self.ports.look()
        snapshot = replace(snapshot, nodes=tuple(n for n in snapshot.nodes if n.node_id not in self._banned))
        plans = [lane.plan for lane in self.lanes.values()]
        plans += [entry.restart.plan for entry in self._resting.values()]
        try:
            if plans:
                self._apply(snapshot, plans, wanted, now_s)
            elif wanted.rings and not self.lanes:
                self._open(snapshot, wanted, now_s)
        except PlacementError as error:
            self._last_error = error
        self._check_alone(now_s, bool(wanted.rings))

    def _open(self, snapshot: ClusterSnapshot, wanted: _Wanted, now_s: float) -> None:
        """There is no lane: plan as if nothing were taken, and wait for it."""
        profiles, kinds = self.ports.profiles, wanted.orientations
        for plan in plan_lanes(self.settings, snapshot, wanted.rings, profiles, orientations=kinds):
            self._start(replace(plan, lane_id=f"lane-{self._next_number}"), now_s)
            self._next_number += 1

    def _apply(self, snapshot: ClusterSnapshot, plans: list[LanePlan], wanted: _Wanted, now_s: float) -> None:
        settled = {name for name, since_s in self._placed_s.items() if now_s - since_s > SETTLE_S}
        found = changes(
            self.settings,
            snapshot,
            plans,
            settled,
            wanted.rings,
            next_number=self._next_number,
            profiles=self.ports.profiles,
            orientations=wanted.orientations,
        )
        for lane_id in found.lost:
            if lane_id in self._resting:
                del self._resting[lane_id]
                self._book.forget(lane_id)
            else:
                banned = self.lanes[lane_id].plan.node_id in self._banned
                self.lanes[lane_id].lose("its node is not used" if banned else "its node is gone")
        for lane_id in found.drain:
            if lane_id in self._resting:
                del self._resting[lane_id]
                self._book.forget(lane_id)
            elif not self.lanes[lane_id].draining:
                self.lanes[lane_id].draining = True
                self.notes.append(f"{lane_id} takes nothing more: its node leaves")
        for plan in found.start:
            self._next_number += 1
            self.notes.append(f"joins: {plan.text}")
            self._start(plan, now_s)
        if found.missing is not None:
            self._last_error = found.missing
            self._say(str(found.missing))

    def _check_alone(self, now_s: float, work: bool) -> None:
        """Without lanes the job waits for nodes that may come and for lanes that cool down, but not for ever."""
        if self.lanes or not work or any(not entry.restart.cooling for entry in self._resting.values()):
            self._alone_since_s = None
            return
        if self._alone_since_s is None:
            self._alone_since_s = now_s
        may_come = bool(self._resting) or self.ports.may_grow()
        patience_s = self.settings.job.placement_timeout_s if may_come else 0.0
        if now_s - self._alone_since_s >= patience_s:
            raise self._last_error or PlacementError("there is no lane left", where="job")

    def _start(self, plan: LanePlan, now_s: float) -> None:
        self.lanes[plan.lane_id] = self.ports.make(plan)
        self._book.started(plan.lane_id, now_s)

    def _take_off(self, lane: Lane) -> None:
        del self.lanes[lane.plan.lane_id]
        self._placed_s.pop(lane.plan.lane_id, None)
        if lane.state is LaneState.DEAD:
            lane.close()  # kills and returns: nobody writes any more when the job clears away
        else:
            self._closers.submit(lane.close)

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
