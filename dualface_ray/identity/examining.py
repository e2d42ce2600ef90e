"""Examining: which frame the tracker sees next, and where it is worth looking again first.

    take (one frame) ─► cut candidates wait for a little future ─► next: examine (closer first?) ─► frontier moves

It works frame by frame whatever the messages look like, so a decision never depends on a message's border.
"""

from __future__ import annotations

import math
from enum import Enum

from dualface_ray.frames import Ask, Faces, FrameFlag
from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment, assign
from dualface_ray.identity.following import follow
from dualface_ray.identity.knots import Frame
from dualface_ray.identity.naming import decide
from dualface_ray.identity.refine import between, spacing_wanted
from dualface_ray.identity.sights import Sight, Track, sights_of
from dualface_ray.identity.state import IdentityState
from dualface_ray.identity.swaps import find_swap
from dualface_ray.identity.tracks import FrameFact
from dualface_ray.settings import Settings


class Look(Enum):
    """What became of one attempt to go on."""

    SEEN = "seen"
    """A frame's faces are in the tracker."""
    MOVED = "moved"
    """The frontier has moved over frames nobody will look at."""
    WAITING = "waiting"
    """Nothing can be done before more frames are taken, or the end is known."""


class Examiner:
    """Moves a session's frontier, one examined frame at a time.

    Args:
        state: of the session; the same object.
        settings: of the run.
        tick_s: seconds per tick.
    """

    def __init__(self, state: IdentityState, settings: Settings, tick_s: float) -> None:
        self.state = state
        self.settings = settings
        self.tick_s = tick_s
        self._trial: tuple[int, list[Track], list[Sight], Assignment] | None = None
        """Frame, live tracks, faces and assignment that have just been tried: what the frame itself needs next."""

    def take(self, fact: FrameFact) -> None:
        """Take the next frame in, not yet examined."""
        s = self.state
        s.taken = fact.frame_index
        t_s = (fact.pts_ticks - s.first_ticks) * self.tick_s
        s.frames.append(Frame(fact.frame_index, fact.pts_ticks, t_s, -1))
        first = not s.cutter.signatures
        s.cutter.add(fact.frame_index, fact.signature)
        if fact.flags & FrameFlag.CUT_CANDIDATE and not first:
            s.candidates.append(fact.frame_index)
        faded = s.fades.see(fact.frame_index, fact.pts_ticks * self.tick_s, fact.signature, s.candidates)
        if faded is not None:
            s.cuts[max(faded[0], s.frontier + 1)] = faded[1]

    def next(self) -> Ask | Look:
        """Examine the next frame whose faces are known, if nothing must be asked first."""
        s = self.state
        ended = s.finished and not s.queue
        while s.candidates and (ended or s.taken >= s.candidates[0] + s.cutter.wait_frames):
            frame = s.candidates.pop(0)
            is_cut, why = s.cutter.is_cut(frame)
            if is_cut:
                s.cuts[frame] = why
                s.fades.cut(frame)
        limit = s.candidates[0] - 1 if s.candidates else s.taken
        if s.fades.before is not None:  # what comes after one colour may be another shot
            limit = min(limit, s.fades.flat - 1)
        target = min((f for f in s.waiting if f <= limit), default=-1)
        if target < 0:
            if s.taken - s.frontier >= s.gap or (ended and s.taken > s.frontier):
                return self._force(limit if limit > s.frontier else s.taken)
            return Look.WAITING
        self._try(target)
        cut = min((f for f in s.cuts if f <= target), default=-1)
        if cut < 0 and self._trial is not None:
            found = find_swap(
                s, self.settings, target, self._trial[1:], limit, lambda count: self._affordable(count, target)
            )
            if found.looks:
                return self._ask_faces(list(found.looks))
            if found.probes:
                return s.ask_embeddings(list(found.probes))
            if found.cut >= 0:
                cut = found.cut
                s.cuts[cut] = {"reason": "other faces"}
        # The last frame of a shot ends its tracks exactly, its first one begins those of the next (at a cut that the
        # decoder saw, it has been looked at already); within a shot, content decides.
        wanted = [cut - 1, cut] if cut >= 0 else self._closer(target)
        wanted = [f for f in wanted if s.frontier < f < target and f not in s.asked and f not in s.waiting]
        while wanted and not self._affordable(len(wanted), target):
            wanted = wanted[1::2]
        if wanted and s.frontier > s.shown - 1 and s.examined:
            return self._ask_faces(wanted)
        self._examine(target, s.waiting.pop(target))
        return Look.SEEN

    def _force(self, frame: int) -> Ask | Look:
        """The longest gap is reached: look at this frame, or go on blind when that was tried or is too dear."""
        s = self.state
        near_end = s.finished and frame - s.frontier <= 2 and s.examined > 0
        if frame not in s.asked and not near_end and (not s.examined or self._affordable(1, frame)):
            return self._ask_faces([frame])
        self._close_shots(frame)
        self._reach(frame)
        return Look.MOVED

    def _examine(self, frame: int, faces: Faces) -> None:
        s = self.state
        self._close_shots(frame)
        t_s = s.time_of(frame)
        trial, self._trial = self._trial, None
        if trial is not None and trial[0] == frame and s.tracker.shot_start <= s.tracker.frame:
            follow(s.tracker, frame, t_s, trial[2], self.settings, trial[3])
        else:
            follow(s.tracker, frame, t_s, sights_of(frame, t_s, faces), self.settings)
        s.examined += 1
        self._reach(frame)

    def _close_shots(self, upto: int) -> None:
        """Begin every shot that a confirmed cut at or before this frame begins."""
        s = self.state
        for cut in sorted(f for f in s.cuts if f <= upto):
            for frame in s.frames:
                if frame.shot < 0 and frame.index < cut:
                    frame.shot = s.tracker.shot
            decide(s.tracker, self.settings, cut, may_probe=False, ending=True)
            s.tracker.cut(cut, s.cuts.pop(cut))

    def _reach(self, frame: int) -> None:
        s = self.state
        for f in s.frames:
            if f.shot < 0 and f.index <= frame:
                f.shot = s.tracker.shot
        s.frontier, s.frontier_s = frame, s.time_of(frame)
        s.asked = [f for f in s.asked if f > frame]
        s.waiting = {f: faces for f, faces in s.waiting.items() if f > frame}
        s.cutter.forget(min([frame, *s.candidates]))

    def _try(self, target: int) -> None:
        """Which of the followed faces the target's would be."""
        s = self.state
        self._trial = None
        if not s.tracker.tracks and not len(s.waiting[target]):
            return
        faces = sights_of(target, s.time_of(target), s.waiting[target])
        tracks = s.tracker.live()
        self._trial = target, tracks, faces, assign(tracks, faces, self.settings.identity.descriptor_scale)

    def _closer(self, target: int) -> list[int]:
        """Frames between the frontier and the target that content makes worth looking at."""
        s = self.state
        if target - s.frontier < 2 or self.settings.detect.every_frame or self._trial is None:
            return []
        t_s = s.time_of(target)
        _, tracks, faces, trial = self._trial
        spacing, _ = spacing_wanted(tracks, faces, t_s, trial)
        if spacing == math.inf:
            return []
        steady = c.STEADY_SHARE / self.settings.identity.max_detect_hz
        if spacing < steady and (t_s - s.frontier_s > 1.5 * steady or not self._affordable(c.RESERVE, target)):
            spacing = steady  # coarse looks first; then, out of what calm times saved, finer ones where they matter
        return between(s.frontier, target, s.frontier_s, t_s, spacing)

    def _affordable(self, count: int, frame: int) -> bool:
        """Whether so many more detections keep the average from the first frame on within the budget.

        Only frames up to ``frame`` count: what a message brought beyond it must not matter.
        """
        s = self.state
        known = s.examined + sum(1 for f in s.waiting if f <= frame)
        return known + count <= self.settings.identity.max_detect_hz * s.time_of(frame)

    def _ask_faces(self, frames: list[int]) -> Ask:
        s = self.state
        s.asked = sorted({*s.asked, *frames})
        s.open_detect = s.next_ask
        s.next_ask += 1
        return Ask(s.open_detect, detect=tuple(frames))
