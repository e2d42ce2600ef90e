"""Units: all that a job has to do, and which of it may begin now. Pure; ``Pieces`` knows what is on disk.

short videos ─► ready at once ──────────────┐
long ones ─► held ─► Course, most work first ─► waiting ─► taken ─► done ─► what follows is waiting
                                               └─ returned ─┘  (its lane has died)

Nothing here knows lanes: the job hands units out, says what is done, and gives back what a dead lane had begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from actors.backlog.course import Course
from actors.backlog.cutting import pieces_for
from actors.backlog.ports import Pieces
from actors.backlog.unit import Step, Unit
from actors.cluster.memory import Orientation, orientations_of
from actors.messages import Work
from dualface_ray.errors import Cancelled, DiskFullError, DualfaceError
from dualface_ray.report import VideoTask
from dualface_ray.settings import Settings


class Units:
    """All units of a job.

    Args:
        tasks: videos still to do.
        settings: of the job.
        pieces: what is on disk.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings, pieces: Pieces) -> None:
        self._settings = settings
        self._videos = {task.stream_id: Course(task, settings, pieces) for task in tasks}
        self._units: dict[str, Unit] = {}
        """Ready or running."""
        self._waiting: set[str] = set()
        self._from_long: set[str] = set()
        """Those that wait and may be parts."""
        self._short = [name for name, video in self._videos.items() if not video.may_be_long]
        held = set(self._videos) - set(self._short)
        self._held = sorted(held, key=lambda name: self._videos[name].cost)
        """Long videos that nobody has looked at yet, the one with most work last."""
        self.held = sum(self._videos[name].cost for name in held)
        """Cost of these."""

    def __getitem__(self, unit_id: str) -> Unit:
        return self._units[unit_id]

    def __contains__(self, unit_id: str) -> bool:
        return unit_id in self._units

    @property
    def waiting(self) -> int:
        """Units and videos that nobody has begun."""
        return len(self._waiting) + len(self._held) + len(self._short)

    def rings(self) -> list[Any]:
        """What the frames of units take in a pool: as many as wait, the largest of all that are not done.

        A long video may become as many units as it can. A new lane has to hold what a dead one gives back, too.
        """
        count, found = len(self._waiting) + len(self._short), [u.video for u in self._units.values()] + self._short
        for name in self._held:
            most = max(1, int(self._videos[name].seconds // self._settings.job.segment_min_s))
            count += most
            found += [name] * most
        needs = [self._videos[name].task.ring_bytes for name in found]
        return sorted(needs, key=_bytes, reverse=True)[:count]

    def orientations(self) -> tuple[Orientation, ...]:
        """Those of all videos that are not done, whether they wait or run: a new lane has to be ready for each.

        The largest frames are no measure here: while large landscape video runs, it may be portrait that waits.
        """
        names = {unit.video for unit in self._units.values()}.union(self._short, self._held)
        return orientations_of(self._videos[name].task.ring_bytes for name in names)

    def release(self, slots: int, *, may_cut: bool = True) -> list[Unit]:
        """Units that may begin now.

        Short videos are ready from the start. Long ones follow, most work first, as long as too few of their parts
        wait for ``slots`` lanes' places: each is cut as the work left then suggests, and few are half done at a time.
        Without ``may_cut`` only those are cut that an earlier run has surveyed.
        """
        ready = self._enter(Step(ready=[self._videos[name].whole() for name in self._short])).ready
        self._short = []
        while self._held and slots and len(self._from_long) < slots:
            video = self._videos[self._held.pop()]
            self.held = self.held - video.cost if self._held else 0.0
            ready += self._enter(video.begin(partial(self._count, video, slots), may_cut=may_cut)).ready
        return ready

    def taken(self, unit_id: str) -> None:
        """A lane has it."""
        self._waiting.discard(unit_id)
        self._from_long.discard(unit_id)

    def returned(self, unit_id: str) -> None:
        """Its lane has died: it waits again."""
        self._waiting.add(unit_id)
        if self._course(unit_id).may_be_long:
            self._from_long.add(unit_id)

    def is_complete(self, unit_id: str) -> bool:
        """Whether a unit has left all that it should, though its lane died before it could say so."""
        return self._course(unit_id).is_complete(self._units[unit_id])

    def progress(self, unit_id: str, frames_done: int, frames_total: int) -> tuple[int, int]:
        """Frames done and to do of the whole video, when a unit of it has come so far."""
        return self._course(unit_id).progress(self._units[unit_id], frames_done, frames_total)

    def done(self, unit_id: str, slots: int) -> Step:
        """A unit is finished."""
        unit = self._leave(unit_id)
        video = self._videos[unit.video]
        return self._enter(video.ended(unit, partial(self._count, video, slots)))

    def open(self, name: str) -> list[str]:
        """Ids of a video's units that are ready or running."""
        return self._videos[name].open

    def instead(self, unit_id: str, error: DualfaceError) -> Step | None:
        """A part of a cut video has failed by itself: the video is done whole, unless that would fail as well."""
        if self._units[unit_id].work is Work.WHOLE or isinstance(error, (DiskFullError, Cancelled)):
            return None
        return self._enter(self._course(unit_id).whole_after_all(str(error)))

    def give_up(self, name: str) -> list[str]:
        """A video has failed or was cancelled; returns the ids of its units that may still be somewhere."""
        ids = self._videos[name].give_up()
        for unit_id in ids:
            self._leave(unit_id)
        return ids

    # --- inside ---------------------------------------------------------------------------------------------------
    def _course(self, unit_id: str) -> Course:
        return self._videos[self._units[unit_id].video]

    def _enter(self, step: Step) -> Step:
        """What is ready waits from now on, and what is not wanted any more is forgotten."""
        for unit_id in step.dropped:
            if unit_id in self._units:  # a bridge may be dropped in the very step that began it
                self._leave(unit_id)
        for unit in step.ready:
            self._units[unit.unit_id] = unit
            self._waiting.add(unit.unit_id)
            if self._videos[unit.video].may_be_long:
                self._from_long.add(unit.unit_id)
        return step

    def _leave(self, unit_id: str) -> Unit:
        self.taken(unit_id)
        return self._units.pop(unit_id)

    def _count(self, video: Course, slots: int) -> int:
        """Into how many parts a video would be cut now."""
        others = sum(self._units[unit_id].cost for unit_id in self._waiting)
        others += sum(self._videos[name].cost for name in (*self._held, *self._short))
        return pieces_for(video.seconds, video.cost / (video.cost + others), slots, self._settings)


def _bytes(need: Any) -> int:
    """A need is a number, or one for either kind of lane."""
    return need if isinstance(need, int) else max(need.host_bytes, need.device_bytes)
