"""Workbench: what measurements need of a card beyond the backend's port: pictures on it, passes, copies, memory.

Nothing of a lane uses it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.engines import detector_engine
from dualface_ray.backends.cuda.facts import Records
from dualface_ray.backends.cuda.hostenc import PinnedDownloader
from dualface_ray.backends.cuda.launch import compile_all
from dualface_ray.backends.cuda.recorded import RecordedPass
from dualface_ray.backends.cuda.records import letterbox_items, letterbox_of
from dualface_ray.backends.cuda.vendor import cupy, device, enter_device, translated
from dualface_ray.frames import StreamInfo
from dualface_ray.media import Slot
from dualface_ray.models import Profile
from dualface_ray.settings import Settings


class Workbench:
    """Device 0 of this process.

    Args:
        settings: model, precision and thresholds are read from ``settings.detect``.

    Raises:
        DeviceError: a library or the device is missing.
    """

    def __init__(self, settings: Settings) -> None:
        enter_device()
        self._settings = settings
        self._shape = (settings.detect.input_height_px, settings.detect.input_width_px)
        compile_all()

    @property
    def card(self) -> str:
        """Its name."""
        return device().name

    @property
    def card_uuid(self) -> str:
        """As NVML writes it: ``GPU-`` and 32 hex digits in groups."""
        return f"GPU-{uuid.UUID(bytes=device().uuid)}"

    def used_bytes(self) -> int:
        """Memory in use on the whole card, after what nobody holds was given back."""
        with translated("memory query"):
            cupy().cuda.runtime.deviceSynchronize()
            cupy().get_default_memory_pool().free_all_blocks()
            free, total = cupy().cuda.runtime.memGetInfo()
        return int(total - free)

    def slots(self, info: StreamInfo, pictures: Sequence[npt.NDArray[Any]]) -> list[Slot]:
        """Copies of these pictures on the card, as slots of the stream."""
        enter_device()
        with translated("uploading pictures"):
            made = [cupy().asarray(np.ascontiguousarray(picture)) for picture in pictures]
            cupy().cuda.runtime.deviceSynchronize()
        return made

    def blank_slots(self, info: StreamInfo, count: int) -> list[Slot]:
        """Empty slots outside any pool."""
        shape = (info.slot_height_px * 3 // 2, info.slot_width_px)
        kind = np.uint8 if info.layout.bytes_per_sample == 1 else np.uint16
        with translated("allocating slots"):
            made = [cupy().zeros(shape, kind) for _ in range(count)]
            cupy().cuda.runtime.deviceSynchronize()
        return made

    def records(self, info: StreamInfo, slots: Sequence[Slot]) -> Records:
        """What the letterbox needs of each slot."""
        box = letterbox_of(info, self._shape[1], self._shape[0])
        return letterbox_items([(address_of(slot), info, box) for slot in slots])

    def engine(
        self, max_batch: int, *, build: bool = True, progress: Callable[[str], None] = lambda line: None
    ) -> Path:
        """The detector's engine for batches up to this size, built if it is missing and may be.

        Raises:
            ModelMissingError: it is not there and may not be built, or the model is missing.
            ModelError: TensorRT refuses the model.
        """
        return detector_engine(self._settings, Profile(max_batch, *self._shape), progress, build=build)

    def open_pass(self, engine: Path, max_batch: int) -> RecordedPass:
        """A context of its own on an engine; buffers for at most ``max_batch`` frames."""
        return RecordedPass(engine, Profile(max_batch, *self._shape), self._settings)

    def downloader(self) -> PinnedDownloader:
        """Copies to pinned host memory, on a stream of its own."""
        return PinnedDownloader()
