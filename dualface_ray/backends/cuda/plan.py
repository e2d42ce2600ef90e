"""The VRAM plan: what a lane will need, added up on paper before anything is allocated. Pure; needs no device.

    card ──► share ──► contexts + engines + tensors + decoder surfaces + canvases + the pools' arenas ──► VramPlan
                                     too much ─► smaller batch ─► fewer streams ─► shorter look-ahead ─► an error

Figures, where no other source is named, from one H200 (docs/performance.md): a context with CuPy and TensorRT loaded
took 0.5 GiB; one NVDEC session 30 to 60 MiB at 1080p, which (surfaces + queued frames) x picture size and a fixed part
for the parser cover; the detector's engine for 64 pictures of 640x384 in half precision 1.3 GiB with its tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
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
DECODER_POOL_BYTES = 32 * MIB
"""CuPy's pool in a decoder process: signatures and records of a few chunks."""
ROWS_BYTES = 6 * MIB
"""A compositor's weights for one launch: a chunk of 16 pictures of two 960x1080 tiles needs 3 MB, from 4K 5.5 MB."""
COMPOSITORS = 2
"""Of one stream; they take turns."""
ALIGN_BYTES = 2 * MIB
"""``cudaMalloc`` hands out memory in pages of this size."""
SCRATCH_BYTES_PER_SAMPLE = 44
"""TensorRT's scratch for a pixel of the detector's input and a byte of its samples: 20 MiB a picture in fp16."""
WEIGHTS_BYTES = 32 * MIB
"""Of one detector engine."""
EMBEDDER_BYTES = 256 * MIB
"""Weights, scratch and tensors of the face embedding: 16 faces in single precision."""
USUAL_BATCHES = (64, 16, 4, 1)
"""Batches that plans choose from: each step down saves memory and costs little while it is not full."""
LOOKAHEADS = (1.0, 0.5, 0.25)
"""Parts of the look-ahead that plans choose from; less than all of it changes the camera's path."""


@dataclass(frozen=True, slots=True)
class StreamShape:
    """What decides the memory of one video: the largest form of its frames, and how many it holds."""

    picture_bytes: int
    """Of one slot: luma and chroma, 16-bit samples beyond 8 bits."""
    rest_frames: int
    """Slots besides the look-ahead."""
    lookahead_frames: int = 0

    def ring_bytes(self, lookahead: float = 1.0) -> int:
        """Its slots in a pool with this part of the look-ahead."""
        return self.picture_bytes * (self.rest_frames + -int(-self.lookahead_frames * lookahead // 1))


@dataclass(frozen=True, slots=True)
class LaneShape:
    """Everything that decides how much memory a lane takes."""

    videos: tuple[StreamShape, ...]
    """All that may come, in any order; a lane works on ``streams`` of them at once."""
    streams: int
    batch: int
    lookahead: float = 1.0
    """Part of the look-ahead that is kept."""
    input_pixels: int = 640 * 384
    inputs: int = 1
    """Shapes of the detector's input: landscape, portrait or both; each has an engine."""
    sample_bytes: int = 2
    embedding: bool = True
    canvas_bytes: int = 1920 * 1080 * 3 // 2
    """Of all canvases of one frame."""
    canvases_held: int = 32
    """Frames whose canvases one video holds: chunks x compositors that take turns."""
    decoders: int = 1
    """Processes, each with an arena for its share of the streams."""
    encoders: int = 1
    """Processes, each with compositors for its share of the streams."""
    arena_limit_bytes: int = 0
    """Of all arenas together; 0 = as large as the streams need."""

    @property
    def arena_bytes(self) -> int:
        """Of one decoder process: any of its streams may be the largest ones."""
        each = -(-self.streams // self.decoders)
        rings = sorted((video.ring_bytes(self.lookahead) for video in self.videos), reverse=True)
        limit = self.arena_limit_bytes // self.decoders
        wanted = sum(rings[:each])
        return max(1, min(wanted, limit) if limit else wanted)


@dataclass(frozen=True, slots=True)
class VramPlan:
    """A lane's budget, item by item."""

    shape: LaneShape
    budget_bytes: int
    contexts_bytes: int
    engines_bytes: int
    """Weights, which TensorRT allocates by itself."""
    inference_bytes: int
    """Scratch, tensors and results: CuPy's pool in the inference process."""
    decoders_bytes: int
    compositors_bytes: int
    arenas_bytes: int

    @property
    def total_bytes(self) -> int:
        """Sum of all items; never above ``budget_bytes`` in a plan that was chosen."""
        return (
            self.contexts_bytes
            + self.engines_bytes
            + self.inference_bytes
            + self.decoders_bytes
            + self.compositors_bytes
            + self.arenas_bytes
        )

    @property
    def fits(self) -> bool:
        """Whether it keeps its budget."""
        return self.total_bytes <= self.budget_bytes

    @property
    def _slack_bytes(self) -> int:
        """Half of what the budget leaves: so that no estimate of ours is a wall while the lane keeps its share."""
        return max(0, self.budget_bytes - self.total_bytes) // 2

    @property
    def inference_pool_bytes(self) -> int:
        """Limit for CuPy's own pool in the inference process."""
        return self.inference_bytes + self._slack_bytes

    @property
    def decoder_pool_bytes(self) -> int:
        """Limit for CuPy's own pool in each decoder process; surfaces and arena lie outside."""
        return DECODER_POOL_BYTES

    @property
    def compositor_pool_bytes(self) -> int:
        """Limit for CuPy's own pool in each encoder process."""
        return (self.compositors_bytes + self._slack_bytes) // self.shape.encoders

    def describe(self) -> str:
        """One line of numbers for reports and errors."""
        items = [
            ("contexts", self.contexts_bytes),
            ("engines", self.engines_bytes),
            ("inference", self.inference_bytes),
            ("decoders", self.decoders_bytes),
            ("canvases", self.compositors_bytes),
            ("frames", self.arenas_bytes),
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
    return _bill(int(card_bytes * share), shape)


def _bill(budget_bytes: int, shape: LaneShape) -> VramPlan:
    # Input RGB; output 15 channels of float32 at a quarter of the size in each direction.
    tensors = shape.input_pixels * 3 * shape.sample_bytes + shape.input_pixels // 16 * 15 * 4
    scratch = shape.input_pixels * shape.sample_bytes * SCRATCH_BYTES_PER_SAMPLE
    embedder = EMBEDDER_BYTES if shape.embedding else 0
    picture = max((video.picture_bytes for video in shape.videos), default=0)
    surfaces = _page((DECODE_SURFACES + DECODER_QUEUE) * picture + DECODER_FIXED_BYTES)
    held = _page(shape.canvas_bytes * shape.canvases_held) + COMPOSITORS * ROWS_BYTES
    canvases = -(-shape.streams // shape.encoders) * held
    return VramPlan(
        shape=shape,
        budget_bytes=budget_bytes,
        contexts_bytes=(shape.decoders + shape.encoders + 1) * CONTEXT_BYTES,
        engines_bytes=shape.inputs * WEIGHTS_BYTES,
        inference_bytes=_page(shape.inputs * shape.batch * (tensors + scratch) + embedder + 32 * MIB),
        decoders_bytes=shape.streams * surfaces + shape.decoders * DECODER_POOL_BYTES,
        compositors_bytes=shape.encoders * (canvases + 32 * MIB),  # each has a limit, for its share rounded up
        arenas_bytes=shape.decoders * _page(shape.arena_bytes),
    )


def _smaller(shape: LaneShape) -> Iterator[LaneShape]:
    """Ever smaller shapes that start with this one: the first that fits is the one to take.

    Results stay the same as long as possible: first the batch goes down to 16, where the measured curve is still at
    four fifths of its height, then decoder and encoder processes become one each (a third slower on the measured card),
    then the streams go one by one, then the batch to 1, and only then the look-ahead.
    """
    batches = [shape.batch, *(batch for batch in USUAL_BATCHES if batch < shape.batch)]
    first = [batch for batch in batches if batch >= min(16, shape.batch)]
    yield from (replace(shape, batch=batch) for batch in first)
    for streams in range(shape.streams, 0, -1):
        yield _narrow(replace(shape, batch=first[-1], decoders=1, encoders=1), streams)
    least = _narrow(replace(shape, decoders=1, encoders=1), 1)
    yield from (replace(least, batch=batch) for batch in batches if batch < first[-1])
    for lookahead in LOOKAHEADS:
        if lookahead < shape.lookahead:
            yield replace(least, batch=batches[-1], lookahead=lookahead)


def _narrow(shape: LaneShape, streams: int) -> LaneShape:
    return replace(shape, streams=streams, decoders=min(shape.decoders, streams), encoders=min(shape.encoders, streams))


def choose_plan(card_bytes: int, share: float, shape: LaneShape) -> VramPlan:
    """The largest plan up to this shape that fits.

    Raises:
        VramBudgetError: not even one stream at the smallest batch and look-ahead fits; the message holds every item.
    """
    bill = add_up(card_bytes, share, shape)
    for candidate in _smaller(shape):
        bill = add_up(card_bytes, share, candidate)
        if bill.fits:
            return bill
    raise VramBudgetError(
        f"not even one stream fits: {bill.describe()}",
        where="lane",
        remedy="Use a card with more memory, or smaller input video, or set lane.backend=cpu.",
    )


def next_smaller(plan: VramPlan) -> VramPlan | None:
    """What to start again with when a plan ran out of memory all the same; None = nothing smaller is worth trying.

    Half the streams, then smaller batches, then half the look-ahead: fewer steps than in planning, because each costs
    a start. Its budget is what the old plan's items came to, so its limits are tighter too.
    """
    shape = plan.shape
    batches = [batch for batch in USUAL_BATCHES if batch < shape.batch]
    lookaheads = [part for part in LOOKAHEADS if part < shape.lookahead]
    if shape.streams > 1:
        smaller = _narrow(shape, shape.streams // 2)
    elif batches:
        smaller = replace(shape, batch=batches[0])
    elif lookaheads:
        smaller = replace(shape, lookahead=lookaheads[0])
    else:
        return None
    return _bill(min(plan.total_bytes, plan.budget_bytes), smaller)
