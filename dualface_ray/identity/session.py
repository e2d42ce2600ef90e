"""The identity session of one video: frames and faces in, named boxes out, questions in between.

    push ─► queue ─► take (one frame) ─► examine (closer first?) ─► tracker ─► decide ─► frontier moves
                         ▲ cut candidates wait for a little future       └─ questions stop the session until answered

It works frame by frame whatever the messages look like, so a decision never depends on a message's border; it stops
at a question and goes on, exactly where it stopped, with the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from dualface_ray.errors import ProtocolError
from dualface_ray.frames import Answer, Ask, Detections, Faces, FrameFlag, StreamInfo
from dualface_ray.identity import constants as c
from dualface_ray.identity.assign import Assignment, assign
from dualface_ray.identity.cast import Cast
from dualface_ray.identity.knots import Frame, Knot
from dualface_ray.identity.naming import decide, replace_owners
from dualface_ray.identity.probing import Probe, probes_wanted, take_embedding
from dualface_ray.identity.refine import between, spacing_wanted
from dualface_ray.identity.resolve import resolve
from dualface_ray.identity.shots import ShotCutter
from dualface_ray.identity.sights import Sight, sights_of
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import PERSONS, FrameFact, IdentityEvent, TrackedFrame
from dualface_ray.settings import Settings


class Progress(Enum):
    """What became of one step of the session."""

    DUE = "due"
    """Frames must be shown now: ``window`` holds them, ``show`` lets the session go on."""
    STARVED = "starved"
    """Nothing can be done before more frames, an answer or the end arrives."""


@dataclass(slots=True)
class IdentityState:
    """Everything a session remembers, as plain data."""

    lookahead: int
    gap: int
    """Longest run of frames without an examined one."""
    tracker: Tracker
    cutter: ShotCutter
    queue: list[FrameFact] = field(default_factory=list)
    """Pushed, not yet taken."""
    waiting: dict[int, Faces] = field(default_factory=dict)
    """Faces the tracker has not seen yet, also of frames not yet taken."""
    frames: list[Frame] = field(default_factory=list)
    """Taken, not yet shown; ``shot`` is -1 after the frontier."""
    first_ticks: int = 0
    next_push: int = -1
    taken: int = -1
    """Last frame taken."""
    frontier: int = -1
    """Last frame the tracker is done with."""
    frontier_s: float = 0.0
    shown: int = -1
    """Last frame given out."""
    candidates: list[int] = field(default_factory=list)
    """Cut candidates not yet judged."""
    cuts: dict[int, dict[str, float | str]] = field(default_factory=dict)
    """Confirmed cuts after the frontier and what they were judged by."""
    asked: list[int] = field(default_factory=list)
    """Frames after the frontier that have been asked for."""
    examined: int = 0
    """Frames examined so far, for the budget."""
    open_detect: int = -1
    """Id of the open question for faces, or -1."""
    open_embed: int = -1
    probes: list[Probe] = field(default_factory=list)
    """What the open question for embeddings is about."""
    deciding: bool = False
    """Names wait for the answer to that question."""
    settled: bool = False
    """What is due has been decided as well as it can be."""
    next_ask: int = 0
    asked_faces: int = 0
    """Embeddings asked for so far."""
    finished: bool = False
    last_knots: dict[str, Knot | None] = field(default_factory=lambda: dict.fromkeys(PERSONS))


class IdentitySession:
    """Drives a Tracker over one video.

    Args:
        settings: of the run.
        info: of the stream.
        lookahead_frames: frame i is due at the latest when frame i + lookahead_frames has been taken.
        state: to go on from (``state`` of an earlier session of the same video).
        cast: who A and B are, when this is a part of a video; None = the session decides.
    """

    def __init__(
        self,
        settings: Settings,
        info: StreamInfo,
        lookahead_frames: int,
        state: IdentityState | None = None,
        *,
        cast: Cast | None = None,
    ) -> None:
        self.settings = settings
        self.tick_s = float(info.time_base)
        if state is None:
            look = max(1, lookahead_frames)
            rate = float(info.average_rate) if info.average_rate > 0 else 30.0
            gap = max(1, min(math.ceil(rate / settings.detect.grid_hz) + 1, look - look // 3))
            wait = max(0, min(gap - 1, math.ceil(c.CUT_WAIT_S * rate)))
            tracker = Tracker(
                float(info.display_width_px),
                float(info.display_height_px),
                same_face=settings.identity.embed_same_distance,
            )
            if cast is not None:
                tracker.persons = {role.name: role.person() for role in (cast.a, cast.b)}
                tracker.strangers_seen = cast.strangers
            state = IdentityState(look, gap, tracker, ShotCutter(wait))
        self.state = state
        self._paths: dict[str, list[Knot]] = {}
        self._trial: tuple[int, list[Sight], Assignment] | None = None
        """Frame, faces and assignment that ``_closer`` has just tried: what the frame itself needs next."""

    @property
    def horizon(self) -> int:
        """Frames after a frame that are examined before it is shown."""
        return self.state.lookahead - self.state.gap

    @property
    def asking(self) -> bool:
        """Whether a question is open."""
        return self.state.open_detect >= 0 or self.state.open_embed >= 0

    @property
    def done(self) -> bool:
        """Whether every frame has been shown and none will follow."""
        s = self.state
        return s.finished and not s.queue and s.shown == s.taken and not self.asking

    # --- in ---------------------------------------------------------------------------------------------------------
    def push(self, facts: Sequence[FrameFact], detections: Detections) -> None:
        """Take consecutive frames and the faces of those that were examined.

        Raises:
            ProtocolError: a frame is out of order, or comes after the end.
        """
        s = self.state
        if s.finished and facts:
            raise ProtocolError("a frame came after the end", where=f"frame {facts[0].frame_index}")
        for fact in facts:
            if s.next_push < 0:
                s.first_ticks = fact.pts_ticks
                s.taken = s.frontier = s.shown = fact.frame_index - 1
            elif fact.frame_index != s.next_push:
                raise ProtocolError(f"expected frame {s.next_push}", where=f"frame {fact.frame_index}")
            s.queue.append(fact)
            s.next_push = fact.frame_index + 1
        s.waiting.update((frame, faces) for frame, faces in detections.by_frame.items() if frame > s.frontier)

    def answer(self, answers: Sequence[Answer]) -> None:
        """Take the answers to open questions, in any order.

        Raises:
            ProtocolError: nobody asked, or the answer has the wrong form.
        """
        s = self.state
        for answer in answers:
            where = f"ask {answer.ask_id}"
            if answer.ask_id < 0 or answer.ask_id not in (s.open_detect, s.open_embed):
                raise ProtocolError("an answer to no open question", where=where)
            if answer.ask_id == s.open_detect:
                s.open_detect = -1
                s.waiting.update((f, faces) for f, faces in answer.detections.by_frame.items() if f > s.frontier)
                continue
            if len(answer.embeddings) != len(s.probes):
                raise ProtocolError(f"{len(answer.embeddings)} embeddings for {len(s.probes)} faces", where=where)
            s.open_embed = -1
            for probe, embedding in zip(s.probes, answer.embeddings, strict=True):
                take_embedding(s.tracker, probe, embedding)
            s.probes = []

    def finish(self) -> None:
        """No frame follows."""
        self.state.finished = True

    # --- one step --------------------------------------------------------------------------------------------
    def advance(self) -> Ask | Progress:
        """Do the next thing; must not be called while ``asking``."""
        s = self.state
        if s.deciding:
            s.deciding = False
            self._decide(may_probe=False)
        while True:
            step = self._examine_next()
            if isinstance(step, Ask):
                return step
            if step:
                continue
            ended = s.finished and not s.queue
            if s.taken - s.shown > s.lookahead or (ended and s.taken > s.shown):
                if not s.settled:
                    s.settled = True
                    ask = self._decide(may_probe=True)
                    if ask is not None:
                        return ask
                return Progress.DUE
            if not s.queue:
                return Progress.STARVED
            self._take(s.queue.pop(0))

    def _take(self, fact: FrameFact) -> None:
        s = self.state
        s.taken = fact.frame_index
        t_s = (fact.pts_ticks - s.first_ticks) * self.tick_s
        s.frames.append(Frame(fact.frame_index, fact.pts_ticks, t_s, -1))
        first = not s.cutter.signatures
        s.cutter.add(fact.frame_index, fact.signature)
        if fact.flags & FrameFlag.CUT_CANDIDATE and not first:
            s.candidates.append(fact.frame_index)

    def _examine_next(self) -> Ask | bool:
        """Examine the next frame whose faces are known (True); False = wait for more frames."""
        s = self.state
        ended = s.finished and not s.queue
        while s.candidates and (ended or s.taken >= s.candidates[0] + s.cutter.wait_frames):
            frame = s.candidates.pop(0)
            is_cut, why = s.cutter.is_cut(frame)
            if is_cut:
                s.cuts[frame] = why
        limit = s.candidates[0] - 1 if s.candidates else s.taken
        target = min((f for f in s.waiting if f <= limit), default=-1)
        if target < 0:
            if s.taken - s.frontier >= s.gap or (ended and s.taken > s.frontier):
                return self._force(limit if limit > s.frontier else s.taken)
            return False
        self._trial = None
        cut = min((f for f in s.cuts if f <= target), default=-1)
        # The last frame of a shot ends its tracks exactly; within a shot, content decides.
        wanted = [cut - 1] if cut >= 0 else self._closer(target)
        wanted = [f for f in wanted if s.frontier < f < target and f not in s.asked and f not in s.waiting]
        while wanted and not self._affordable(len(wanted), target):
            wanted = wanted[1::2]
        if wanted and s.frontier > s.shown - 1 and s.examined:
            return self._ask_faces(wanted)
        return self._examine(target, s.waiting.pop(target)) or True

    def _force(self, frame: int) -> Ask | bool:
        """The longest gap is reached: look at this frame, or go on blind when that was tried or is too dear."""
        s = self.state
        near_end = s.finished and frame - s.frontier <= 2 and s.examined > 0
        if frame not in s.asked and not near_end and (not s.examined or self._affordable(1, frame)):
            return self._ask_faces([frame])
        self._close_shots(frame)
        self._reach(frame)
        return True

    def _examine(self, frame: int, faces: Faces) -> Ask | None:
        s = self.state
        self._close_shots(frame)
        t_s = self._time(frame)
        trial, self._trial = self._trial, None
        if trial is not None and trial[0] == frame and s.tracker.shot_start <= s.tracker.frame:
            s.tracker.step(frame, t_s, trial[1], self.settings, trial[2])
        else:
            s.tracker.step(frame, t_s, sights_of(frame, t_s, faces), self.settings)
        s.examined += 1
        self._reach(frame)
        return self._decide(may_probe=True)

    def _close_shots(self, upto: int) -> None:
        """Begin every shot that a confirmed cut at or before this frame begins."""
        s = self.state
        for cut in sorted(f for f in s.cuts if f <= upto):
            for frame in s.frames:
                if frame.shot < 0 and frame.index < cut:
                    frame.shot = s.tracker.shot
            s.tracker.cut(cut, s.cuts.pop(cut))

    def _reach(self, frame: int) -> None:
        s = self.state
        for f in s.frames:
            if f.shot < 0 and f.index <= frame:
                f.shot = s.tracker.shot
        s.frontier, s.frontier_s = frame, self._time(frame)
        s.asked = [f for f in s.asked if f > frame]
        s.waiting = {f: faces for f, faces in s.waiting.items() if f > frame}
        s.cutter.forget(min([frame, *s.candidates]))

    def _decide(self, may_probe: bool) -> Ask | None:
        """Name tracks; tracks that are about to be shown (``settled``) cannot wait for more evidence."""
        s = self.state
        may_probe = may_probe and self.settings.identity.reid != "off"
        deadline = self.due() if s.settled else s.shown
        asked = decide(s.tracker, self.settings, deadline, may_probe)
        if may_probe:
            s.probes = probes_wanted(s.tracker, asked, s.shown, self.settings)
            if s.probes:
                s.deciding = True
                s.open_embed = s.next_ask
                s.next_ask += 1
                s.asked_faces += len(s.probes)
                return Ask(s.open_embed, embed=tuple(p.crop for p in s.probes))
            if asked:
                decide(s.tracker, self.settings, deadline, may_probe=False)
        replace_owners(s.tracker, self.settings)
        return None

    # --- questions -------------------------------------------------------------------------------------------
    def _closer(self, target: int) -> list[int]:
        """Frames between the frontier and the target that content makes worth looking at."""
        s = self.state
        if target - s.frontier < 2 or self.settings.detect.every_frame:
            return []
        if not s.tracker.tracks and not len(s.waiting[target]):
            return []
        t_s = self._time(target)
        faces = sights_of(target, t_s, s.waiting[target])
        tracks = s.tracker.live()
        trial = assign(tracks, faces, self.settings.identity.descriptor_scale)
        self._trial = target, faces, trial
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
        return known + count <= self.settings.identity.max_detect_hz * self._time(frame)

    def _ask_faces(self, frames: list[int]) -> Ask:
        s = self.state
        s.asked = sorted({*s.asked, *frames})
        s.open_detect = s.next_ask
        s.next_ask += 1
        return Ask(s.open_detect, detect=tuple(frames))

    def _time(self, frame: int) -> float:
        frames = self.state.frames
        return frames[frame - frames[0].index].t_s

    # --- out -------------------------------------------------------------------------------------------------
    def due(self) -> int:
        """The last frame that may be shown now."""
        s = self.state
        if s.finished and not s.queue and s.frontier == s.taken:
            return s.frontier
        return s.frontier - self.horizon

    def window(self) -> tuple[list[TrackedFrame], list[float]]:
        """All frames from the first one not shown to the frontier, as known now, and their times in seconds."""
        s = self.state
        frames = s.frames[: s.frontier - s.shown]
        limit_s = self.settings.identity.max_predict_s
        tracked, self._paths = resolve(s.tracker, frames, s.last_knots, self.due(), limit_s)
        return tracked, [f.t_s for f in frames]

    def show(self, upto: int) -> None:
        """Frames up to this one, as ``window`` told them last, have been given out."""
        s = self.state
        for name, path in self._paths.items():
            last = [k for k in path if k.frame <= upto]
            if last:
                s.last_knots[name] = last[-1]
        del s.frames[: upto - s.shown]
        s.shown = upto
        s.settled = False
        s.tracker.forget(upto)

    def take_events(self) -> tuple[IdentityEvent, ...]:
        """Events since the last call."""
        return self.state.tracker.take_events()
