"""CpuBackend: the factories of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dualface_ray.backends.device import DevicePlan
from dualface_ray.compose import Compositor
from dualface_ray.detect import Detector, Embedder
from dualface_ray.frames import Arena, ArenaHandle
from dualface_ray.media import DecodeSession, EncodeSession, EncodeSpec, FrameRange
from dualface_ray.models import Provenance, model_hashes
from dualface_ray.settings import Settings


class CpuBackend:
    """The ``backends.Backend`` of the CPU; see there for arguments and errors."""

    name = "cpu"
    compose_frames = 1

    def planned(self, plan: DevicePlan) -> CpuBackend:
        """Itself: nothing of a device's plan concerns it."""
        return self

    def prepare(self, settings: Settings, progress: Callable[[str], None]) -> None:
        """Nothing takes long here."""

    def provenance(self, settings: Settings) -> Provenance:
        """Models alone: ONNX Runtime builds no engines."""
        return Provenance(model_hashes(settings))

    def create_arena(self, size_bytes: int, slots: int) -> Arena:
        """Shared memory, reserved completely."""
        from dualface_ray.backends.cpu.arena import CpuArena

        return CpuArena.create(size_bytes, slots)

    def attach_arena(self, handle: ArenaHandle) -> Arena:
        """The same memory in another process, read-only."""
        from dualface_ray.backends.cpu.arena import CpuArena

        return CpuArena.attach(handle)

    def open_decoder(
        self, path: Path, stream_id: str, settings: Settings, threads: int, only: FrameRange | None = None
    ) -> DecodeSession:
        """Software decoding."""
        from dualface_ray.backends.cpu.decode import open_decoder

        return open_decoder(path, stream_id, settings, threads, only)

    def open_key_frames(
        self, path: Path, stream_id: str, settings: Settings, threads: int, keys_pts_ticks: Sequence[int]
    ) -> DecodeSession:
        """Software decoding."""
        from dualface_ray.backends.cpu.keyframes import CpuKeyFrameSession

        return CpuKeyFrameSession(path, stream_id, settings, threads, keys_pts_ticks)

    def load_detector(
        self, settings: Settings, threads: int, progress: Callable[[str], None] = lambda line: None
    ) -> Detector:
        """CenterFace on ONNX Runtime."""
        from dualface_ray.backends.cpu.detector import load_detector

        return load_detector(settings, threads)

    def load_embedder(self, settings: Settings, threads: int) -> Embedder:
        """The face embedding on ONNX Runtime."""
        from dualface_ray.backends.cpu.embedder import load_embedder

        return load_embedder(settings, threads)

    def open_compositor(self, settings: Settings) -> Compositor:
        """Resampling on YUV planes."""
        from dualface_ray.backends.cpu.compose import CpuCompositor

        return CpuCompositor(keep_hdr=settings.encode.hdr == "keep")

    def open_encoder(self, spec: EncodeSpec) -> EncodeSession:
        """x264, x265 or SVT-AV1."""
        from dualface_ray.backends.cpu.encode import CpuEncodeSession

        return CpuEncodeSession(spec)


BACKEND = CpuBackend()
