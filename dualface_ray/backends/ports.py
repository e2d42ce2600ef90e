"""The Backend port and the one place that picks an implementation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from dualface_ray.backends.device import DevicePlan
from dualface_ray.compose import Compositor
from dualface_ray.detect import Detector, Embedder
from dualface_ray.errors import SettingsError
from dualface_ray.frames import Arena, ArenaHandle
from dualface_ray.media import DecodeSession, EncodeSession, EncodeSpec, FrameRange
from dualface_ray.models import Provenance
from dualface_ray.settings import Settings


class Backend(Protocol):
    """Factories of one kind of hardware; cheap to create, nothing is opened before a factory is called."""

    name: str
    compose_frames: int
    """Frames worth composing in one call: 1 where a canvas should stay in the CPU's cache, a chunk on a GPU."""

    def planned(self, plan: DevicePlan) -> Backend:
        """The same backend with a plan's limits and choices for this process, in force from here on.

        Raises:
            DeviceError: the device is missing.
        """

    def prepare(self, settings: Settings, progress: Callable[[str], None]) -> None:
        """Make what takes minutes and is kept on disk, such as engines, for this process's plan; nothing on a CPU.

        Args:
            settings: what is needed.
            progress: gets one readable line per step.

        Raises:
            ModelError, DeviceError: it cannot be made.
        """

    def provenance(self, settings: Settings) -> Provenance:
        """The networks that the settings name as this process would load them, for reports; after ``prepare``.

        Raises:
            ModelError: one of them is missing or damaged.
        """

    def create_arena(self, size_bytes: int, slots: int) -> Arena:
        """Allocate the memory of a pool with a generation page of ``slots`` entries; the caller owns it.

        Raises:
            SharedMemoryError, VramBudgetError: it does not fit.
        """

    def attach_arena(self, handle: ArenaHandle) -> Arena:
        """Map an arena of another process; it must be closed before the owner closes it."""

    def open_decoder(
        self, path: Path, stream_id: str, settings: Settings, threads: int, only: FrameRange | None = None
    ) -> DecodeSession:
        """Probe, check the limits and open a video, or one range of it: exactly these frames of the whole.

        Raises:
            InputError: with what, where and a remedy.
            SeamError: the range cannot be decoded by itself.
        """

    def open_key_frames(
        self, path: Path, stream_id: str, settings: Settings, threads: int, keys_pts_ticks: Sequence[int]
    ) -> DecodeSession:
        """Open a video for a look at these key frames alone (all of one size; anything else is counted).

        Raises:
            InputError: with what, where and a remedy.
        """

    def load_detector(
        self, settings: Settings, threads: int, progress: Callable[[str], None] = lambda line: None
    ) -> Detector:
        """Load the face detector that the settings name.

        Args:
            settings: names it.
            threads: of one call.
            progress: gets one readable line per step of what takes minutes, such as building an engine; that may even
                happen with the first frames of a kind.

        Raises:
            ModelError: it is missing or damaged.
        """

    def load_embedder(self, settings: Settings, threads: int) -> Embedder:
        """Load the face embedding that the settings name.

        Raises:
            ModelError: it is missing or damaged.
        """

    def open_compositor(self, settings: Settings) -> Compositor:
        """A compositor for any number of streams, used by one thread at a time."""

    def open_encoder(self, spec: EncodeSpec) -> EncodeSession:
        """Open one encoder session.

        Raises:
            EncodeError, EncoderSessionsExhausted: it cannot be opened.
        """


_MODULES = {"cpu": "dualface_ray.backends.cpu", "cuda": "dualface_ray.backends.cuda"}


def load_backend(name: str, plan: DevicePlan | None = None) -> Backend:
    """The backend called ``cpu`` or ``cuda``.

    Args:
        name: of the backend.
        plan: limits and choices of this process; None = none.

    Raises:
        SettingsError: there is no backend of that name.
        DeviceError: its libraries or its device are missing (only once a factory needs them).
    """
    if name not in _MODULES:
        raise SettingsError(f"unknown backend {name!r}", where="lane.backend", remedy=f"Use one of {sorted(_MODULES)}.")
    backend: Backend = importlib.import_module(_MODULES[name]).BACKEND
    return backend if plan is None else backend.planned(plan)
