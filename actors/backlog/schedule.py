"""Schedule: which video a lane takes next, so that all lanes end at about the same time. Pure.

    add(video, cost) ─► shelf (waiting, by cost) ──next_for(lane, now)──► running ──moved, finished──► speeds
                              └──prefetch_for(lane, now)──► set aside for that lane; taken back when it dies, is idle or
                                                            would be done sooner elsewhere

A lane takes only what it would finish before everything else is expected to be finished. A slow lane so takes shorter
videos near the end, and none at all when the others will be done sooner without it. What a lane has begun stays there:
a wrong first guess of its speed costs most where there are few videos, so lanes of several kinds show their speed
first. Who takes what is decided in ``Choice``, from what ``Crew`` and ``Speeds`` know of lanes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from actors.backlog.choice import Choice
from actors.backlog.crew import Crew
from actors.backlog.runner import Runner
from actors.backlog.shelf import Shelf
from actors.backlog.speeds import LOOK_WEIGHT


class Schedule:
    """The queue of a job.

    Costs are the caller's estimates in any one unit, such as seconds of a reference video; speeds are in that unit a
    second, and a long video is one that costs much. All moments come from one monotonic clock, in seconds. Calls come
    from one thread.

    Args:
        ahead_s: how long before a slot is expected to be free the lane's next video is named for prefetching.
    """

    def __init__(self, ahead_s: float = 60.0) -> None:
        self._ahead_s = ahead_s
        self._waiting, self._aside = Shelf(), Shelf()
        self._costs: dict[str, float] = {}
        self._owners: dict[str, str] = {}
        self._aside_of: dict[str, str] = {}
        self._crew = Crew()
        self._choice = Choice(self._crew, self._waiting, self._aside, self._give_back)

    # --- videos ---------------------------------------------------------------------------------------------------
    def add(self, video: str, cost: float) -> None:
        """Put a video into the queue.

        Raises:
            ValueError: it is known already, or its cost is not a positive number.
        """
        if video in self._costs:
            raise ValueError(f"{video} is scheduled already")
        if not 0 < cost < math.inf:
            raise ValueError(f"a cost is a positive number, not {cost}")
        self._costs[video] = cost
        self._waiting.put(video, cost)
        self._choice.changed()

    def expect(self, cost: float) -> None:
        """Videos of so much cost, 0 or more, will be added later: lanes are not to end with what waits now."""
        if cost != self._choice.more:
            self._choice.more = cost
            self._choice.changed()

    def drop(self, video: str) -> None:
        """Forget a video, wherever it is: cancelled, or given up."""
        cost = self._costs.pop(video, None)
        if cost is None:
            return
        self._waiting.remove(video, cost)
        if self._aside.remove(video, cost):
            self._crew[self._aside_of.pop(video)].aside = None
        owner = self._owners.pop(video, None)
        if owner is not None:
            self._crew[owner].stop(video)
        self._choice.changed()

    @property
    def waiting(self) -> int:
        """Videos that no lane has begun."""
        return self._waiting.size + self._aside.size

    @property
    def running(self) -> int:
        """Videos that lanes have begun."""
        return len(self._owners)

    def waiting_videos(self) -> Iterator[str]:
        """Those that no lane has begun, in no particular order."""
        yield from self._waiting
        yield from self._aside

    # --- lanes ----------------------------------------------------------------------------------------------------
    def join(self, lane: str, *, kind: str, slots: int, speed: float, comes: float | None = None) -> None:
        """A lane is there, or will be.

        Args:
            lane: its id.
            kind: lanes of one kind are about equally fast: a new one begins with what the others have shown. There
                should be few kinds.
            slots: videos at once.
            speed: first guess for all its slots together; counts until lanes of the kind have shown something.
            comes: the moment at which it will probably be there; None = it is. Others leave it its share of what waits
                until it is a minute late, and again once it is there.

        Raises:
            ValueError: the lane is here already, or the numbers are not positive.
        """
        if lane in self._crew:
            raise ValueError(f"{lane} has joined already")
        if slots < 1 or not 0 < speed < math.inf:
            raise ValueError(f"slots={slots} and speed={speed} must be positive")
        self._crew.join(lane, kind, slots, speed, comes)
        self._choice.changed()

    def hear(self, lane: str, now: float) -> None:
        """A lane that was to come is there; a lane that asks is, too."""
        if self._crew.hear(self._crew[lane], now):
            self._choice.changed()

    def doubt(self, lane: str, seconds: float) -> None:
        """The last starts of a lane have taken so long without result: what waits does not wait long for it.

        Args:
            lane: its id.
            seconds: 0 or more; 0 = it has proved itself, or is new.
        """
        if self._crew.doubt(self._crew[lane], seconds):
            self._choice.changed()

    def lane_died(self, lane: str, left: Mapping[str, float] | None = None) -> tuple[str, ...]:
        """A lane is gone; its videos wait again, before others of their length.

        Args:
            lane: its id; unknown ones are no matter.
            left: what is still to do of a video whose finished segments are kept; the whole video when missing.

        Returns:
            the videos it had begun.
        """
        gone = self._crew.remove(lane)
        if gone is None:
            return ()
        orphans = tuple(gone.running)
        for video in orphans:
            gone.stop(video)
            del self._owners[video]
            remains = (left or {}).get(video, math.inf)
            if 0 < remains < self._costs[video]:
                self._costs[video] = remains
            self._waiting.put(video, self._costs[video], first=True)
        self._give_back(gone)
        return orphans

    def retire(self, lane: str) -> None:
        """A lane finishes what it has and takes nothing more: what waits is left to the others."""
        if lane in self._crew:
            self._crew.leave(self._crew[lane])
            self._give_back(self._crew[lane])

    def speed_of(self, lane: str) -> float:
        """What is known of a lane's speed, all its slots together, in cost a second."""
        known = self._crew[lane]
        return known.slots * known.speed

    # --- decisions ------------------------------------------------------------------------------------------------
    def next_for(self, lane: str, now: float) -> str | None:
        """The video that this lane begins now.

        None when it has no free slot, when the others finish sooner without it, or when speeds are not known yet and
        will be in some seconds. It asks again a few times a second: its answer changes when speeds become known, and
        when other lanes die or prove slower. While anything waits, nothing runs and no lane is to come, none gets None.
        """
        asking = self._crew[lane]
        self.hear(lane, now)
        if asking.retired or asking.full or not self.waiting:
            return None
        self._crew.speeds.ask(asking.kind, now)
        found = self._choice.next(asking, now)
        if found is None and not self._owners and not self._crew.expects:  # somebody has to
            self._choice.changed()
            found = self._waiting.shortest() or self._aside.shortest()
        if found is None:
            return None
        video, cost = found
        if not self._waiting.remove(video, cost):
            self._aside.remove(video, cost)
            self._crew[self._aside_of.pop(video)].aside = None
        asking.begin(video, cost, now)
        self._owners[video] = lane
        if not self._waiting.size:
            self._choice.changed()
        return video

    def prefetch_for(self, lane: str, now: float) -> str | None:
        """The video that this lane will probably begin next, set aside for it, so that its input can be fetched.

        Nothing is set aside until a slot of the lane is expected to be free soon (``ahead_s``), or a long video would
        wait beside idle lanes; nor when fewer videos wait than there are lanes: then any of them may be free first.
        Other lanes take what is set aside only when nothing else waits, or when this lane dies.
        """
        asking = self._crew[lane]
        self.hear(lane, now)
        if asking.retired:
            return None
        if asking.aside is None and self._waiting.size >= len(self._crew) and asking.free_in(now) <= self._ahead_s:
            found = self._choice.ahead(asking, now, now + self._ahead_s)
            if found is not None:
                self._waiting.remove(*found)
                self._aside.put(*found)
                self._aside_of[found[0]] = lane
                asking.aside = found
                if not self._waiting.size:
                    self._choice.changed()
        return asking.aside[0] if asking.aside is not None else None

    def moved(self, lane: str, video: str, share: float, now: float) -> None:
        """A running video has come so far: a lane shows how fast it is long before it has finished anything.

        It may be told as often as one likes. A message from a lane that does not have this video (any more) changes
        nothing.

        Args:
            lane: where.
            video: which.
            share: of it that is done, from 0 to 1.
            now: the moment.
        """
        if self._owners.get(video) != lane:
            return
        runner = self._crew[lane]
        speed = runner.look(video, share, now)
        if speed is not None:
            self._crew.speeds.learn(runner, speed, LOOK_WEIGHT)
            self._choice.changed()

    def finished(self, lane: str, video: str, seconds: float, *, cost: float | None = None) -> None:
        """A video is done, or has failed for good, after so many seconds on this lane.

        A message from a lane that does not have this video (any more) changes nothing.

        Args:
            lane: where.
            video: which.
            seconds: it took; 0 or less when that says nothing about the lane's speed.
            cost: what it turned out to be, where that is known better now.
        """
        if self._owners.get(video) != lane:
            return
        done = self._crew[lane]
        del self._owners[video]
        estimate = self._costs.pop(video)
        done.stop(video)
        if seconds > 0:
            self._crew.speeds.learn(done, (cost or estimate) / seconds)
        self._choice.changed()

    def expected_end(self, now: float) -> float:
        """When everything would be done if all lanes shared what is left; infinite without lanes."""
        return self._choice.expected_end(now)

    # --- inside ---------------------------------------------------------------------------------------------------
    def _give_back(self, lane: Runner) -> None:
        """What was set aside for it waits for anybody."""
        if lane.aside is not None:
            del self._aside_of[lane.aside[0]]
            self._aside.remove(*lane.aside)
            self._waiting.put(*lane.aside, first=True)
            lane.aside = None
        self._choice.changed()
