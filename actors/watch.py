"""Watch: which of a lane's streams, if any, stands still. Pure; the lane brings the time.

ActorStatus: a mark per stream ─► since when each stands still ─┬─► all of them for too long
                                                                └─► one for too long, of its share of the time
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.messages import ActorStatus, StreamKey
from dualface_ray.report import VideoState

LONGEST_TURN_S = 2.0
"""What counts of the time between two looks: a machine that was paused, or a driver that was busy with something else,
has seen nothing of what went on meanwhile."""
PATIENCE = 16
"""No stream may stand still for more than so many times ``watchdog_s``. One that is being finished may from the start:
what its encoders hold back, up to a hundred pictures, comes out in one step."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Something stands still."""

    keys: frozenset[StreamKey]
    """Streams that stand still while others go on; none = all of them alike."""
    for_s: float


@dataclass(frozen=True, slots=True)
class _Moment:
    """A point in the time that is watched."""

    watched_s: float = 0.0
    shared_s: float = 0.0
    """The same time as one of several streams gets it: half as much while there are two."""


class Watch:
    """Follows the marks of all streams of a lane.

    The lane stands still when none of its streams has moved for ``watchdog_s``. A single stream does when it has not
    moved for ``watchdog_s`` of its share of the time: where sixteen share cores or a card, a step may take sixteen
    times as long as alone, and nobody may be ended for being one of many. While an engine is being built, everybody
    waits for it, and no time passes, for as long as a lane's start may take.

    Args:
        watchdog_s: see above.
        build_s: how long building engines may take.
    """

    def __init__(self, watchdog_s: float, build_s: float) -> None:
        self._watchdog_s = watchdog_s
        self._build_s = build_s
        self._now = _Moment()
        self._looked_s: float | None = None
        self._built_s = 0.0
        self._building: dict[str, str] = {}
        self._marks: dict[tuple[str, StreamKey], int] = {}
        self._states: dict[StreamKey, VideoState] = {}
        self._moved: dict[StreamKey, _Moment] = {}
        """When each stream that the lane has moved last."""
        self._last_s = 0.0
        """When any of them did, in watched time."""

    @property
    def building(self) -> str:
        """The last line of what is being built; empty = nothing is."""
        return next(iter(self._building.values()), "")

    def look(self, clock_s: float) -> None:
        """Time passes.

        Args:
            clock_s: monotonic.
        """
        turn_s = 0.0 if self._looked_s is None else min(LONGEST_TURN_S, clock_s - self._looked_s)
        self._looked_s = clock_s
        self._built_s = self._built_s + turn_s if self._building else 0.0
        if not self._building or self._built_s > self._build_s:
            sharing = max(1, len(self._moved))
            self._now = _Moment(self._now.watched_s + turn_s, self._now.shared_s + turn_s / sharing)

    def given(self, key: StreamKey) -> None:
        """The lane has this stream from now on."""
        self._moves(key)

    def gone(self, key: StreamKey) -> None:
        """The stream has ended."""
        self._moved.pop(key, None)
        self._states.pop(key, None)
        self._marks = {entry: mark for entry, mark in self._marks.items() if entry[1] != key}

    def heard(self, role: str, status: ActorStatus) -> None:
        """An actor has said how far it is. One that does not say it stands still with all that it works on."""
        self._building.pop(role, None)
        if status.building:
            self._building[role] = status.building
        for key, mark in status.marks.items():
            if key in self._moved and self._marks.get((role, key)) != mark:
                self._marks[role, key] = mark
                self._moves(key)
        self._states |= {stream.key: stream.state for stream in status.streams if stream.key in self._moved}

    def stall(self) -> Stall | None:
        """What stands still now."""
        under_way = [key for key in self._moved if not self._state(key).final]
        if not under_way:
            return None
        quiet_s = self._now.watched_s - self._last_s
        finishing = any(self._state(key) is VideoState.FINISHING for key in under_way)
        if quiet_s > self._watchdog_s * (PATIENCE if finishing else 1):
            return Stall(frozenset(under_way if len(under_way) == 1 else ()), quiet_s)
        late = frozenset(key for key in under_way if self._is_late(key))
        return Stall(late, max(map(self._still_s, late))) if late else None

    # --- inside ---------------------------------------------------------------------------------------------------
    def _moves(self, key: StreamKey) -> None:
        self._moved[key] = self._now
        self._last_s = self._now.watched_s

    def _state(self, key: StreamKey) -> VideoState:
        return self._states.get(key, VideoState.RUNNING)

    def _still_s(self, key: StreamKey) -> float:
        return self._now.watched_s - self._moved[key].watched_s

    def _is_late(self, key: StreamKey) -> bool:
        share_s = self._now.shared_s - self._moved[key].shared_s
        in_turn = share_s <= self._watchdog_s or self._state(key) is VideoState.FINISHING
        return not in_turn or self._still_s(key) > PATIENCE * self._watchdog_s
