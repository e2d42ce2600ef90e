"""The VRAM plan: what a lane will need, added up on paper before anything is allocated. Pure; needs no device.

    card ──► share ──► contexts + engines + decoder surfaces + compositor + the pool's arena ──► VramPlan or an error

Figures: a context with CuPy and TensorRT loaded took 0.5 GiB on the measured host, one NVDEC session 30 to 60 MiB at
1080p (its surfaces), which matches (surfaces + queued frames) x picture size below plus a fixed part for the parser.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dualface_ray.errors import VramBudgetError

MIB = 1024 * 1024
MAX_SHARE = 0.70
"""No plan may ask for more of a card than this: what other processes and fragmentation take is not ours to spend."""

CONTEXT_BYTES = 512 * MIB
"""One process with a CUDA context, CuPy kernels and, where used, TensorRT's."""
DECODE_SURFACES = 20
"""H.264 and HEVC need at most 16 reference pictures; NVDEC adds up to 4 for display."""
DECODER_QUEUE = 4
"""Frames one ``Decode`` call may hand out, in the decoder's own buffers."""
DECODER_FIXED_BYTES = 16 * MIB
ALIGN_BYTES = 2 * MIB
"""``cudaMalloc`` hands out memory in pages of this size."""


@dataclass(frozen=True, slots=True)
class LaneShape:
    """Everything that decides how much memory a lane takes.

    ``picture_bytes`` is the size of the largest slot (luma and chroma); ``quota_frames`` the slots of one stream.
    """

    streams: int
    quota_frames: int
    picture_bytes: int
    batch: int
    input_width_px: int = 640
    input_height_px: int = 384
    input_bytes_per_sample: int = 2
    engine_bytes: int = 64 * MIB
    """Weights and scratch of all engines at this batch, from the cache's own record when there is one."""
    canvas_bytes: int = 1920 * 1080 * 3 // 2
    canvases_per_chunk: int = 32
    decoder_processes: int = 1
    encoder_processes: int = 1


@dataclass(frozen=True, slots=True)
class VramPlan:
    """A lane's budget, item by item; ``total_bytes`` never exceeds ``budget_bytes``."""

    shape: LaneShape
    budget_bytes: int
    contexts_bytes: int
    engine_bytes: int
    tensors_bytes: int
    decoders_bytes: int
    compositor_bytes: int
    arena_bytes: int

    @property
    def total_bytes(self) -> int:
        """Sum of all items."""
        return (
            self.contexts_bytes
            + self.engine_bytes
            + self.tensors_bytes
            + self.decoders_bytes
            + self.compositor_bytes
            + self.arena_bytes
        )

    @property
    def inference_pool_bytes(self) -> int:
        """Limit for CuPy's own pool in the inference actor: the tensors, with a quarter for alignment."""
        return _page(self.tensors_bytes * 5 // 4 + 32 * MIB)

    @property
    def compositor_pool_bytes(self) -> int:
        """Limit for CuPy's own pool in each encoder actor."""
        return _page(self.compositor_bytes // max(1, self.shape.encoder_processes) * 5 // 4 + 32 * MIB)

    def describe(self) -> str:
        """One line of numbers for reports and errors."""
        items = [
            ("contexts", self.contexts_bytes),
            ("engines", self.engine_bytes),
            ("tensors", self.tensors_bytes),
            ("decoders", self.decoders_bytes),
            ("compositor", self.compositor_bytes),
            ("pool", self.arena_bytes),
        ]
        parts = " + ".join(f"{name} {value / MIB:.0f}" for name, value in items)
        return f"{parts} = {self.total_bytes / MIB:.0f} MiB of {self.budget_bytes / MIB:.0f} MiB"


def _page(size: int) -> int:
    return -(-size // ALIGN_BYTES) * ALIGN_BYTES


def add_up(card_bytes: int, share: float, shape: LaneShape) -> VramPlan:
    """The bill for a shape, whether it fits or not.

    Raises:
        VramBudgetError: the share itself is not allowed.
    """
    if not 0 < share <= MAX_SHARE:
        raise VramBudgetError(
            f"a share of {share:.2f} of the card was asked for, at most {MAX_SHARE:.2f} is allowed",
            where="lane.vram_share",
            remedy="Set lane.vram_share to 0.70 or less.",
        )
    processes = shape.decoder_processes + shape.encoder_processes + 1
    plane = shape.input_width_px * shape.input_height_px
    # Input RGB; output 15 channels of float32 at a quarter of the size in each direction.
    per_image = plane * 3 * shape.input_bytes_per_sample + plane // 16 * 15 * 4
    return VramPlan(
        shape=shape,
        budget_bytes=int(card_bytes * share),
        contexts_bytes=processes * CONTEXT_BYTES,
        engine_bytes=_page(shape.engine_bytes),
        tensors_bytes=_page(per_image * shape.batch),
        decoders_bytes=shape.streams
        * _page((DECODE_SURFACES + DECODER_QUEUE) * shape.picture_bytes + DECODER_FIXED_BYTES),
        compositor_bytes=shape.encoder_processes * shape.streams * _page(shape.canvas_bytes * shape.canvases_per_chunk),
        arena_bytes=_page(shape.streams * shape.quota_frames * shape.picture_bytes),
    )


def plan_lane(card_bytes: int, share: float, shape: LaneShape) -> VramPlan:
    """The plan of a shape that must fit as it is.

    Raises:
        VramBudgetError: it does not fit; the message holds every item.
    """
    plan = add_up(card_bytes, share, shape)
    if plan.total_bytes > plan.budget_bytes:
        raise VramBudgetError(
            f"the lane needs more than its share of the card: {plan.describe()}",
            where="lane",
            remedy="Lower lane.streams, framing.lookahead_s, detect.batch_max, or the input size.",
        )
    return plan


def fallbacks(
    card_bytes: int,
    share: float,
    shape: LaneShape,
    *,
    least_quota_frames: int,
    batches: tuple[int, ...] = (64, 32, 16, 8, 4, 1),
) -> list[VramPlan]:
    """Plans to try in turn, each strictly smaller than the one before; the first is the largest that fits.

    What gives way, in this order: the batch (costs least), the look-ahead down to ``least_quota_frames`` (the camera
    becomes less smooth), the number of streams by halves. Empty when nothing fits, not even one stream.
    """
    shapes = [shape]
    shapes += [replace(shape, batch=batch) for batch in batches if batch < shape.batch][:1]
    smallest = shapes[-1]
    if least_quota_frames < smallest.quota_frames:
        smallest = replace(smallest, quota_frames=least_quota_frames)
        shapes.append(smallest)
    while smallest.streams > 1:
        smallest = replace(smallest, streams=smallest.streams // 2)
        shapes.append(smallest)
    for batch in batches:
        if batch < smallest.batch:
            smallest = replace(smallest, batch=batch)
            shapes.append(smallest)
    plans = [add_up(card_bytes, share, candidate) for candidate in shapes]
    fitting = [plan for plan in plans if plan.total_bytes <= plan.budget_bytes]
    result: list[VramPlan] = []
    for plan in fitting:
        if not result or plan.total_bytes < result[-1].total_bytes:
            result.append(plan)
    return result


def choose_plan(card_bytes: int, share: float, shape: LaneShape, *, least_quota_frames: int) -> list[VramPlan]:
    """As ``fallbacks``, with an error instead of an empty list.

    Raises:
        VramBudgetError: not even one stream at the smallest batch fits.
    """
    plans = fallbacks(card_bytes, share, shape, least_quota_frames=least_quota_frames)
    if not plans:
        smallest = replace(shape, streams=1, batch=1, quota_frames=min(shape.quota_frames, least_quota_frames))
        bill = add_up(card_bytes, share, smallest)
        raise VramBudgetError(
            f"not even one stream fits: {bill.describe()}",
            where="lane",
            remedy="Use a card with more memory, smaller input video, or --set lane.backend=cpu.",
        )
    return plans
