"""The identity session of one video: frames and faces in, named boxes out, questions in between.

    push ─► queue ─► examiner (frame by frame: closer first?) ─► tracker ─► decide ─► window, show
                         └─ questions stop the session until answered ─┘

It works frame by frame whatever the messages look like, so a decision never depends on a message's border; it stops
at a question and goes on, exactly where it stopped, with the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

from dualface_ray.errors import ProtocolError
from dualface_ray.frames import Answer, Ask, Detections, StreamInfo
from dualface_ray.identity import constants as c
from dualface_ray.identity.cast import Cast
from dualface_ray.identity.examining import Examiner, Look
from dualface_ray.identity.knots import Knot
from dualface_ray.identity.naming import decide, replace_owners
from dualface_ray.identity.probing import probes_wanted, take_embedding
from dualface_ray.identity.resolve import resolve
from dualface_ray.identity.shots import ShotCutter
from dualface_ray.identity.state import IdentityState
from dualface_ray.identity.tracker import Tracker
from dualface_ray.identity.tracks import FrameFact, IdentityEvent, TrackedFrame
from dualface_ray.settings import Settings


class Progress(Enum):
    """What became of one step of the session."""

    DUE = "due"
    """Frames must be shown now: ``window`` holds them, ``show`` lets the session go on."""
    STARVED = "starved"
    """Nothing can be done before more frames, an answer or the end arrives."""


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
        self._examiner = Examiner(state, settings, float(info.time_base))
        self._paths: dict[str, list[Knot]] = {}

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
            step = self._examiner.next()
            if step is Look.SEEN:
                step = self._decide(may_probe=True) or Look.MOVED
            if isinstance(step, Ask):
                return step
            if step is Look.MOVED:
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
            self._examiner.take(s.queue.pop(0))

    def _decide(self, may_probe: bool) -> Ask | None:
        """Name tracks; those about to be shown (``settled``), or to end with the shot, cannot wait for evidence."""
        s = self.state
        may_probe = may_probe and self.settings.identity.reid != "off"
        ending = s.frontier + 1 in s.cuts
        deadline = s.frontier if ending else self.due() if s.settled else s.shown
        asked = decide(s.tracker, self.settings, deadline, may_probe, ending=ending)
        if may_probe:
            probes = probes_wanted(s.tracker, asked, s.shown, self.settings)
            if probes:
                s.deciding = True
                return s.ask_embeddings(probes)
            if asked:
                decide(s.tracker, self.settings, deadline, may_probe=False, ending=ending)
        replace_owners(s.tracker, self.settings)
        return None

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
