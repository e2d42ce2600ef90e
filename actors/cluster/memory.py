"""Memory: what a card's lane may take of it, from the needs of the videos to the limits of each process. Pure.

VideoNeeds, settings, Card ─► first_memory ─► Memory ─ device_plan ─► limits of decoder, inference, encoder
                                                └─ smaller ─► what to start again with after running out
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

from actors.cluster.snapshot import NodeSnapshot
from dualface_ray.backends import (
    DevicePlan,
    LaneShape,
    StreamShape,
    VramPlan,
    choose_plan,
    compositors,
    next_smaller,
)
from dualface_ray.errors import VramBudgetError
from dualface_ray.framing import layout_shape
from dualface_ray.hardware import Gpu, Profile, gpus, profile_for, unsure_order, visible
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import Settings

Orientation = Literal["landscape", "portrait"]
Need = VideoNeeds | int
"""A plain number counts for every backend: bytes of a video's frames in a pool."""

UNKNOWN_CARD_BYTES = 8 * 1024**3
"""What a card is taken to have when neither profile nor label nor NVML tells: the least that cards with NVDEC and
TensorRT's present versions commonly have. Most lanes of one or a few streams fit; nothing is refused for want of a
figure, and nothing larger is risked on a guess."""
_USUAL_BATCH = 64
_COMPOSE_FRAMES = 16


@dataclass(frozen=True, slots=True)
class Card:
    """Memory of a node's cards."""

    bytes: int
    known: bool = True


CardOf = Callable[[NodeSnapshot, Profile | None], Card]


def card_of(node: NodeSnapshot, profile: Profile | None) -> Card:
    """The memory of a node's smallest card: its label, its profile, NVML when it is this machine, or a guess.

    Where this machine has no card that the profile is about (but an instance of one, say), NVML is believed.
    """
    if node.card_bytes:
        return Card(node.card_bytes)
    here = _local_cards() if node.host in ("", socket.gethostname()) else ()
    if profile is not None and (not here or any(profile_for(card.name, (profile,)) for card in here)):
        return Card(profile.vram_bytes.value)
    if here:
        return Card(min(card.memory_bytes for card in here))
    return Card(UNKNOWN_CARD_BYTES, known=False)


@lru_cache(maxsize=1)
def _local_cards() -> tuple[Gpu, ...]:
    """What this process may use, for Ray deals out the same; all where that is unsure, or nothing (a job's driver)."""
    found = gpus()
    return found if unsure_order(found) else visible(found) or found


def needs_of(given: Sequence[Need]) -> list[VideoNeeds]:
    """Plain numbers as needs, the largest on a GPU first."""
    needs = [VideoNeeds(one, one) if isinstance(one, int) else one for one in given]
    return sorted(needs, key=lambda need: -need.device_bytes)


@dataclass(frozen=True, slots=True)
class Memory:
    """A lane's share of a card, and what its settings become there."""

    plan: VramPlan
    card: Card
    batch: int
    """The settings' own, or what they stand for."""
    orientations: tuple[Orientation, ...]
    again: bool = False
    """It is what to start again with: whatever engine is at hand is better than one more that has to be built."""

    @property
    def text(self) -> str:
        """One line of numbers."""
        guess = "" if self.card.known else " (memory of the card unknown, planned as 8 GiB)"
        return f"{self.plan.describe()}{guess}"

    @property
    def short(self) -> str:
        """The sum, for a lane's line."""
        planned, budget = self.plan.total_bytes / (1 << 30), self.plan.budget_bytes / (1 << 30)
        guess = "" if self.card.known else ", memory of the card unknown"
        return f"{planned:.1f} of {budget:.1f} GiB planned{guess}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What results differ by: only the look-ahead changes them."""
        kept = self.plan.shape.lookahead
        return () if kept == 1 else (f"look-ahead shortened to {kept:.0%} to fit the card's memory",)

    def device_plan(self, role: str, encoder: str, sessions: int) -> DevicePlan:
        """Limits and choices of one process; see ``LanePlan.device_plan``."""
        if role == "inference":
            to_come = self.plan.total_bytes - self.plan.contexts_bytes
            return DevicePlan(
                pool_bytes=self.plan.inference_pool_bytes,
                lane_bytes=to_come,
                engines_at_hand=self.again,
                orientations=self.orientations,
            )
        if role == "encoder":
            chosen: Literal["", "nvenc", "cpu"] = "nvenc" if encoder == "nvenc" else "cpu" if encoder == "cpu" else ""
            return DevicePlan(self.plan.compositor_pool_bytes, encoder=chosen, encoder_sessions=sessions)
        return DevicePlan(self.plan.decoder_pool_bytes)

    def adapted(self, settings: Settings) -> Settings:
        """The job's settings with this plan's batch and look-ahead."""
        shape = self.plan.shape
        found = settings
        if shape.batch != self.batch:
            found = found.model_copy(update={"detect": found.detect.model_copy(update={"batch_max": shape.batch})})
        if shape.lookahead < 1:
            framing = {"lookahead_s": found.framing.lookahead_s * shape.lookahead}
            found = found.model_copy(
                update={
                    "framing": found.framing.model_copy(update=framing),
                    "lane": found.lane.model_copy(update={"slots_per_stream": 0}),
                }
            )
        return found

    def smaller(self) -> Memory | None:
        """The next plan to try after this one ran out of memory; None = there is none."""
        plan = next_smaller(self.plan)
        return None if plan is None else replace(self, plan=plan, again=True)


def orientations_of(needs: Iterable[Need]) -> tuple[Orientation, ...]:
    """How these videos lie, landscape first; a plain number does not say, and counts as landscape."""
    kinds = {isinstance(need, VideoNeeds) and need.portrait for need in needs}
    return tuple(name for name in get_args(Orientation) if (name == "portrait") in kinds)


def first_memory(
    settings: Settings,
    needs: Sequence[VideoNeeds],
    card: Card,
    *,
    streams: int,
    decoders: int,
    orientations: Collection[Orientation] = (),
) -> Memory | VramBudgetError:
    """The largest plan for these videos on this card, at most ``lane.vram_share`` of it.

    A video too large for the card is left out when others fit: it fails by itself when its turn comes.

    Args:
        settings: of the job.
        needs: of the videos that wait, the largest first.
        card: what there is.
        streams: videos at once, if they fit.
        decoders: decoder processes, if there are as many streams; there are as many encoder processes, since what held
            the measured card back was Python's lock in either.
        orientations: of videos besides these, that may come as well.

    Returns:
        The plan, or why not one of the videos fits, with every item of the sum.
    """
    batch = settings.detect.batch_max or _USUAL_BATCH
    known = {*orientations_of(needs), *orientations} or {"landscape"}
    inputs = tuple(name for name in get_args(Orientation) if name in known)
    detect = settings.detect
    shape = LaneShape(
        videos=(),
        streams=streams,
        batch=batch,
        input_pixels=detect.input_width_px * detect.input_height_px,
        inputs=1 if detect.input_width_px == detect.input_height_px else len(inputs),
        sample_bytes=4 if detect.precision == "fp32" else 2,
        embedding=settings.identity.reid != "off",
        canvas_bytes=_canvas_bytes(settings),
        canvases_held=_COMPOSE_FRAMES * compositors(_COMPOSE_FRAMES, settings),
        decoders=min(decoders, streams),
        encoders=min(decoders, streams),
        arena_limit_bytes=settings.lane.pool_budget_bytes,
    )
    videos = [_stream_shape(need, settings) for need in needs]
    share = settings.lane.vram_share
    try:
        plan = choose_plan(card.bytes, share, replace(shape, videos=_largest(videos, streams)))
    except VramBudgetError as error:
        fitting = [one for one in videos if _fits(card, share, replace(shape, videos=(one,), streams=1))]
        if not fitting:
            return error
        plan = choose_plan(card.bytes, share, replace(shape, videos=_largest(fitting, streams)))
    return Memory(plan, card, batch, inputs)


def _fits(card: Card, share: float, shape: LaneShape) -> bool:
    try:
        choose_plan(card.bytes, share, shape)
    except VramBudgetError:
        return False
    return True


def _largest(videos: Sequence[StreamShape], streams: int) -> tuple[StreamShape, ...]:
    """Those that may decide a plan: the largest rings with or without look-ahead, and the largest picture."""
    rings = sorted(videos, key=lambda one: -one.ring_bytes())[:streams]
    bare = sorted(videos, key=lambda one: -one.ring_bytes(0))[:streams]
    pictures = sorted(videos, key=lambda one: -one.picture_bytes)[:1]
    return tuple(rings + [one for one in (*bare, *pictures) if one not in rings])


def _stream_shape(need: VideoNeeds, settings: Settings) -> StreamShape:
    """Shortening the look-ahead may take its frames and those that ``slots_per_stream`` adds, never the rest."""
    rest = min(need.frames, 3 * settings.lane.chunk_frames + settings.lane.encoder_depth_frames)
    return StreamShape(need.picture_bytes, rest, need.frames - rest)


def _canvas_bytes(settings: Settings) -> int:
    """All canvases of one frame: 8 bits, or 16-bit samples where streams in HLG or PQ may be composed in ten."""
    sample_bytes = 2 if settings.encode.hdr == "keep" else 1
    return sum(width * height * 3 // 2 for width, height in layout_shape(settings).canvases) * sample_bytes
