"""Director: the session of one video, from facts and detections to frame plans.

    push / answer ─► identity ─► (frontier moved) ─► cameras of A and B ─► layout ─► DirectedFrame
                        └─ Ask ─► answer ...

It depends on content alone: however frames are cut into messages, the result is the same, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from dualface_ray.errors import ProtocolError
from dualface_ray.frames import Answer, Ask, Detections, FaceCrop, Faces, StreamInfo
from dualface_ray.framing import constants as c
from dualface_ray.framing.aims import Aim, CameraShape
from dualface_ray.framing.camera import Camera, CameraState
from dualface_ray.framing.layout import LayoutShape, layout_shape, plan_of
from dualface_ray.framing.plan import FramePlan, Rect
from dualface_ray.identity import (
    STATE_TYPES,
    Box,
    Cast,
    FrameFact,
    IdentityEvent,
    IdentitySession,
    IdentityState,
    Progress,
    TrackedFrame,
    decode,
    encode,
)
from dualface_ray.settings import Settings

STATE_VERSION = 3


@dataclass(frozen=True, slots=True)
class DirectedFrame:
    """One frame with everything that has been decided about it."""

    tracked: TrackedFrame
    plan: FramePlan

    @property
    def frame_index(self) -> int:
        """Position in display order."""
        return self.plan.frame_index


@dataclass(frozen=True, slots=True)
class Step:
    """What one call brought: frames in order (they may be released), questions, events."""

    asks: tuple[Ask, ...] = ()
    frames: tuple[DirectedFrame, ...] = ()
    events: tuple[IdentityEvent, ...] = ()
    done: bool = False
    """Every frame has been given out and none will follow."""


@dataclass(slots=True)
class DirectorState:
    """Everything a Director remembers, as plain data."""

    identity: IdentityState
    cameras: list[CameraState]
    seen: list[bool]
    """Whether A and B have been seen at all."""
    swapped: bool = False
    """With tile_by: position: B is on the left."""
    order_shot: int = -1


_TYPES = {t.__name__: t for t in (*STATE_TYPES, CameraState, DirectorState, Faces, FaceCrop)}


class Director:
    """Chains identity, camera paths and layout for one video.

    Liveness: when no question is open, frame i has been returned once frame i + lookahead_frames was pushed.

    Args:
        settings: of the run.
        info: of the stream.
        lookahead_frames: how many later frames a decision may wait for.
        cast: who A and B are, when the stream is a part of a video; None = the Director decides.
        begin_s: seconds of the video before this part.
    """

    def __init__(
        self,
        settings: Settings,
        info: StreamInfo,
        lookahead_frames: int,
        _state: DirectorState | None = None,
        *,
        cast: Cast | None = None,
        begin_s: float = 0.0,
    ) -> None:
        state = _state
        self._settings = settings
        self._layout: LayoutShape = layout_shape(settings)
        tile = self._layout.tiles[0]
        self._shape = CameraShape.of(
            float(info.display_width_px),
            float(info.display_height_px),
            tile.width_px,
            tile.height_px,
            settings.framing.max_upscale,
        )
        self._identity = IdentitySession(settings, info, lookahead_frames, state.identity if state else None, cast=cast)
        seen = cast.seen_before(begin_s) if cast else [False, False]
        self._state = state or DirectorState(self._identity.state, [CameraState(), CameraState()], seen)
        self._cameras = [Camera(self._shape, settings, camera) for camera in self._state.cameras]

    # --- in ---------------------------------------------------------------------------------------------------------
    def push(self, facts: Sequence[FrameFact], detections: Detections) -> Step:
        """Take the next consecutive frames and what was found in those that were examined.

        Raises:
            ProtocolError: a frame is out of order, or comes after ``finish``.
        """
        self._identity.push(facts, detections)
        return self._run()

    def answer(self, answers: Sequence[Answer]) -> Step:
        """Take answers to open questions, in any order.

        Raises:
            ProtocolError: nobody asked that.
        """
        self._identity.answer(answers)
        return self._run()

    def finish(self) -> Step:
        """No frame follows; questions may still come, then answers follow until ``Step.done``."""
        self._identity.finish()
        return self._run()

    def _run(self) -> Step:
        asks: list[Ask] = []
        frames: list[DirectedFrame] = []
        while not self._identity.asking:
            step = self._identity.advance()
            if isinstance(step, Ask):
                asks.append(step)
            elif step is Progress.DUE:
                frames += self._give_out()
            else:
                break
        return Step(tuple(asks), tuple(frames), self._identity.take_events(), self._identity.done)

    # --- out -------------------------------------------------------------------------------------------------
    def _give_out(self) -> list[DirectedFrame]:
        count = self._identity.due() - self._identity.state.shown
        if count <= 0:
            return []
        tracked, times = self._identity.window()
        crops = []
        for person, camera in enumerate(self._cameras):
            aims = [self._aim(frame, t_s, person) for frame, t_s in zip(tracked, times, strict=True)]
            crops.append(camera.take(aims, count))
        directed = [
            DirectedFrame(frame, self._plan(frame, (crops[0][k], crops[1][k])))
            for k, frame in enumerate(tracked[:count])
        ]
        self._identity.show(tracked[count - 1].frame_index)
        return directed

    def _aim(self, frame: TrackedFrame, t_s: float, person: int) -> Aim:
        """What a person's tile should show: that person, or both while the names are in doubt and both fit in."""
        mine = (frame.b if person else frame.a).box_px
        if frame.certain:
            return Aim(t_s, frame.shot, mine)
        boxes = [track.box_px for track in (frame.a, frame.b) if track.box_px is not None]
        if not boxes:
            return Aim(t_s, frame.shot, None)
        union = _union(boxes)
        high = max(union[3] - union[1], (union[2] - union[0]) / self._shape.aspect)
        if high > self._shape.most and mine is not None:
            return Aim(t_s, frame.shot, mine)
        return Aim(t_s, frame.shot, union, union=True)

    def _plan(self, frame: TrackedFrame, crops: tuple[Rect, Rect]) -> FramePlan:
        s = self._state
        if frame.a.box_px is not None:
            s.seen[0] = True
        if frame.b.box_px is not None:
            s.seen[1] = True
        framing = self._settings.framing
        if framing.empty_tile == "other" and s.seen[0] != s.seen[1]:
            crops = (crops[0], crops[0]) if s.seen[0] else (crops[1], crops[1])
        order = (1, 0) if framing.tile_by == "position" and self._is_swapped(frame) else (0, 1)
        return plan_of(self._layout, frame.frame_index, frame.pts_ticks, crops, order)

    def _is_swapped(self, frame: TrackedFrame) -> bool:
        s = self._state
        a, b = frame.a.box_px, frame.b.box_px
        if a is not None and b is not None and frame.certain:
            width = 0.5 * (a[2] - a[0] + b[2] - b[0])
            ahead = 0.5 * (a[0] + a[2] - b[0] - b[2]) / max(width, 1e-6)
            if abs(ahead) > c.SWAP_WIDTHS or s.order_shot != frame.shot:
                s.swapped = ahead > 0
            s.order_shot = frame.shot
        return s.swapped

    # --- state -----------------------------------------------------------------------------------------------
    def save(self) -> bytes:
        """Everything needed to go on, as JSON."""
        return json.dumps({"version": STATE_VERSION, "state": encode(self._state)}).encode()

    @classmethod
    def restore(cls, data: bytes, settings: Settings, info: StreamInfo) -> Director:
        """A Director that goes on exactly where the saved one stood.

        Raises:
            ProtocolError: the data is damaged or of another version.
        """
        try:
            saved = json.loads(data)
            version = saved["version"]
            state = decode(saved["state"], _TYPES) if version == STATE_VERSION else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(
                "the saved session is damaged", where="session state", remedy="Start it anew."
            ) from error
        if not isinstance(state, DirectorState):
            raise ProtocolError(
                f"the saved session has version {version!r}, not {STATE_VERSION}", where="session state"
            )
        return cls(settings, info, state.identity.lookahead, state)


def _union(boxes: Sequence[Box]) -> Box:
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )
