"""Facts: what the detector's kernels must know of a batch, written for all frames and faces at once.

    StreamInfo ─► StreamFacts, once a stream ─┐
    slots of a batch ─────────────────────────┴─► letterbox records ─► device
    rows of faces ─► displayed pixels of all frames ─► patch and face records ─► device

A batch holds 64 frames of a few streams, so whatever depends on the stream alone is looked up by number; a handful of
NumPy calls a batch replaces dozens a frame, which cost more than the network itself. Pure NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cuda.kernels import PATCH_EDGES
from dualface_ray.backends.cuda.records import face_items, letterbox_items, letterbox_of, patch_items
from dualface_ray.detect import appearance_regions, stored_transform
from dualface_ray.frames import F32, StreamInfo

Records = np.ndarray[tuple[int], np.dtype[np.void]]
Indices = npt.NDArray[np.intp]
_KNOWN_STREAMS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class StreamFacts:
    """Everything a batch needs of one stream; records hold address 0."""

    input_px: tuple[int, int]
    """Height and width of the network's input."""
    letterbox: Records
    patch: Records
    face: Records
    scale: F32
    """Displayed pixels per input pixel in x and y, (2,)."""
    limit_px: F32
    """Displayed width and height, (2,)."""
    turn: npt.NDArray[np.float64]
    """From displayed to stored pixels, (2, 3)."""


@lru_cache(maxsize=256)
def facts_of(info: StreamInfo, long_px: int, short_px: int) -> StreamFacts:
    """The facts of a stream for an input of long x short pixels (short x long for portrait)."""
    box = letterbox_of(info, long_px, short_px)
    return StreamFacts(
        (box.input_height_px, box.input_width_px),
        letterbox_items([(0, info, box)]),
        patch_items(0, info, np.zeros((1, 4), np.float32))[:1],
        face_items([info]),
        box.scale,
        np.array([box.display_width_px, box.display_height_px], np.float32),
        stored_transform(info),
    )


class KnownStreams:
    """``facts_of`` by identity: hashing a ``StreamInfo`` (fractions) for every frame would cost more than its use."""

    def __init__(self, long_px: int, short_px: int) -> None:
        self._size = long_px, short_px
        self._known: dict[int, tuple[StreamInfo, StreamFacts]] = {}

    def __call__(self, info: StreamInfo) -> StreamFacts:
        """The facts of this stream."""
        found = self._known.get(id(info))
        if found is None:
            if len(self._known) >= _KNOWN_STREAMS:
                self._known.clear()
            # The object is kept beside its facts, so nobody else can get its identity.
            found = self._known[id(info)] = info, facts_of(info, *self._size)
        return found[1]


class BatchFacts:
    """The streams of one batch, frame by frame.

    Args:
        addresses: of the slots.
        facts: of each frame's stream.
    """

    def __init__(self, addresses: Sequence[int], facts: Sequence[StreamFacts]) -> None:
        numbers: dict[int, int] = {}
        self._distinct: list[StreamFacts] = []
        for one in facts:
            if id(one) not in numbers:
                numbers[id(one)] = len(self._distinct)
                self._distinct.append(one)
        self._stream = np.array([numbers[id(one)] for one in facts], np.intp)
        self._addresses = np.array(addresses, np.uint64)

    def letterbox_records(self) -> Records:
        """``LETTERBOX_ITEM``, one a frame."""
        records = _table([one.letterbox for one in self._distinct])[self._stream]
        records["slot"] = self._addresses
        return records

    def to_display(self, points_px: F32, owners: Indices) -> F32:
        """Points (n, k, 2) of the input in displayed pixels; ``Letterbox.points_to_display`` of many frames at once.

        Args:
            points_px: float32.
            owners: (n,), the frame of each row.
        """
        stream = self._stream[owners]
        scale = np.stack([one.scale for one in self._distinct])[stream]
        limit = np.stack([one.limit_px for one in self._distinct])[stream]
        shown: F32 = np.clip(points_px * scale[:, None], np.float32(0), limit[:, None])
        return shown

    def patch_records(self, boxes_px: F32, owners: Indices) -> Records:
        """``PATCH_ITEM`` of every face, three each: the same bits as ``patch_items`` frame by frame.

        Args:
            boxes_px: float32 (n, 4), displayed pixels.
            owners: (n,), the frame of each.
        """
        stream = np.repeat(self._stream[owners], 3)
        turn = np.stack([one.turn for one in self._distinct])[stream]
        corners = appearance_regions(boxes_px).astype(np.float64).reshape(-1, 2, 2)
        # Turns swap or mirror axes: one of the two products is zero, so any order of adding gives the same bits.
        x, y = corners[..., 0, None], corners[..., 1, None]
        stored = x * turn[:, None, :, 0] + y * turn[:, None, :, 1] + turn[:, None, :, 2]
        low = np.minimum(stored[:, 0], stored[:, 1])[..., None]
        high = np.maximum(stored[:, 0], stored[:, 1])[..., None]
        steps = np.arange(PATCH_EDGES) / (PATCH_EDGES - 1)
        records = _table([one.patch for one in self._distinct])[stream]
        records["slot"] = np.repeat(self._addresses[owners], 3)
        for name, edges in (
            ("luma", np.round(low + (high - low) * steps)),
            ("chroma", np.round(low / 2 + (high - low) / 2 * steps)),
        ):
            within = np.clip(edges, -(1 << 30), 1 << 30)
            records[f"{name}_x"], records[f"{name}_y"] = within[:, 0], within[:, 1]
        return records

    def face_records(self, owners: Indices) -> Records:
        """``FACE_ITEM`` of every face."""
        records: Records = _table([one.face for one in self._distinct])[self._stream[owners]]
        return records


def _table(parts: Sequence[Records]) -> Records:
    """One record of each stream below the other; NumPy's ``concatenate`` would compare their fields every time."""
    table: Records = np.empty(len(parts), parts[0].dtype)
    for number, one in enumerate(parts):
        table[number] = one[0]
    return table
