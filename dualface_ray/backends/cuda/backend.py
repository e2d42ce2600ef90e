"""CudaBackend: the factories of a GPU; nothing is imported before one of them is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualface_ray.backends.device import DevicePlan
from dualface_ray.compose import Compositor
from dualface_ray.detect import Detector, Embedder
from dualface_ray.errors import UnsupportedMediaError
from dualface_ray.frames import Arena, ArenaHandle
from dualface_ray.media import DecodeSession, EncodeSession, EncodeSpec, FrameRange
from dualface_ray.models import Provenance, model_hashes
from dualface_ray.settings import Settings

if TYPE_CHECKING:
    from dualface_ray.backends.cuda.workbench import Workbench


class CudaBackend:
    """The ``backends.Backend`` of a GPU; see there for arguments and errors.

    Every factory raises ``DeviceError`` with a remedy when CUDA, its libraries or a device is missing.
    """

    name = "cuda"
    compose_frames = 16

    def __init__(self, plan: DevicePlan | None = None) -> None:
        self._plan = plan or DevicePlan()
        self._at_hand: dict[str, Settings] = {}

    def planned(self, plan: DevicePlan) -> CudaBackend:
        """CuPy's pool is limited, and the way to wait chosen, at once; the rest is kept for the factories."""
        from dualface_ray.backends.cuda.waiting import choose

        choose(sleep=plan.sleeps)
        if plan.pool_bytes:
            from dualface_ray.backends.cuda.launch import limit_pool

            limit_pool(plan.pool_bytes)
        return CudaBackend(plan)

    def prepare(self, settings: Settings, progress: Callable[[str], None] = lambda line: None) -> None:
        """Wait a little for the memory that the plan counts on, and build the engines that are not in the cache yet.

        Building takes a minute or two each.

        Raises:
            ModelError: a model is missing, or TensorRT refuses it.
            DeviceError: TensorRT or the device is missing.
        """
        if self._plan.lane_bytes:
            from dualface_ray.backends.cuda.returning import await_memory

            await_memory(self._plan.lane_bytes, progress)
        self.build_detector(settings, progress)
        if settings.identity.reid != "off":
            self.build_embedder(settings, progress)

    def provenance(self, settings: Settings) -> Provenance:
        """Models, the engines of the plan's orientations (by now they are in the cache), and the card."""
        from dualface_ray.backends.cuda.vendor import card_and_driver

        models = model_hashes(settings)
        files = {"detector": self.build_detector(settings, _quietly)}
        if "embedding" in models:
            files["embedding"] = self.build_embedder(settings, _quietly)
        engines = {role: ", ".join(path.stem for path in paths) for role, paths in files.items()}
        return Provenance(models, engines, card_and_driver())

    def create_arena(self, size_bytes: int, slots: int) -> Arena:
        """Device memory, exported by CUDA IPC."""
        from dualface_ray.backends.cuda.arena import CudaArena

        return CudaArena.create(size_bytes, slots)

    def attach_arena(self, handle: ArenaHandle) -> Arena:
        """The same memory in another process on the same card."""
        from dualface_ray.backends.cuda.arena import CudaArena

        return CudaArena.attach(handle)

    def open_decoder(
        self, path: Path, stream_id: str, settings: Settings, threads: int, only: FrameRange | None = None
    ) -> DecodeSession:
        """NVDEC; the CPU where the card cannot and ``lane.allow_cpu_decode`` says so."""
        from dualface_ray.backends.cpu.decode import open_decoder as open_on_cpu
        from dualface_ray.backends.cuda.decode import open_decoder
        from dualface_ray.backends.cuda.upload import UploadDecodeSession

        try:
            return open_decoder(path, stream_id, settings, only)
        except UnsupportedMediaError:
            if not settings.lane.allow_cpu_decode:
                raise
            return UploadDecodeSession(open_on_cpu(path, stream_id, settings, threads, only), stands_in=True)

    def open_key_frames(
        self, path: Path, stream_id: str, settings: Settings, threads: int, keys_pts_ticks: Sequence[int]
    ) -> DecodeSession:
        """The CPU: a few single pictures are not worth a session of NVDEC each."""
        from dualface_ray.backends.cpu.keyframes import CpuKeyFrameSession
        from dualface_ray.backends.cuda.upload import UploadDecodeSession

        keys = CpuKeyFrameSession(path, stream_id, settings, threads, keys_pts_ticks)
        return UploadDecodeSession(keys, stands_in=False)

    def load_detector(
        self, settings: Settings, threads: int, progress: Callable[[str], None] = lambda line: None
    ) -> Detector:
        """CenterFace on TensorRT; builds missing engines first, which takes minutes."""
        from dualface_ray.backends.cuda.detector import CudaDetector

        return CudaDetector(self._chosen(settings), progress, orientations=self._plan.orientations)

    def load_embedder(self, settings: Settings, threads: int) -> Embedder:
        """The face embedding on TensorRT."""
        from dualface_ray.backends.cuda.embedder import load_embedder

        return load_embedder(settings)

    def open_compositor(self, settings: Settings) -> Compositor:
        """Kernels on pool slots."""
        from dualface_ray.backends.cuda.compositor import CudaCompositor

        return CudaCompositor(keep_hdr=settings.encode.hdr == "keep")

    def open_encoder(self, spec: EncodeSpec) -> EncodeSession:
        """NVENC, or x264, x265 and SVT-AV1 behind pinned memory where the card has none."""
        from dualface_ray.backends.cuda.encode import open_encoder

        return open_encoder(spec, self._plan)

    def _chosen(self, settings: Settings) -> Settings:
        """The settings with the batch that this process uses; it stays what it was when it was first asked for."""
        if not self._plan.engines_at_hand:
            return settings
        from dualface_ray.backends.cuda.engines import at_hand

        known = settings.detect.model_dump_json()
        if known not in self._at_hand:
            self._at_hand[known] = at_hand(settings, self._plan.orientations)
        return self._at_hand[known]

    # --- beyond the port ------------------------------------------------------------------------------------------
    def build_detector(self, settings: Settings, progress: Callable[[str], None]) -> list[Path]:
        """The detector's engines for the plan's orientations; errors as of ``prepare``."""
        from dualface_ray.backends.cuda.engines import build_engines

        return list(build_engines(self._chosen(settings), progress, self._plan.orientations).values())

    def build_embedder(self, settings: Settings, progress: Callable[[str], None]) -> list[Path]:
        """The face embedding's engine; errors as of ``prepare``."""
        from dualface_ray.backends.cuda.embedder import build_engine

        return [build_engine(settings, progress)]

    def workbench(self, settings: Settings) -> Workbench:
        """What benchmarks need of the card beyond this port.

        Raises:
            DeviceError: a library or the device is missing.
        """
        from dualface_ray.backends.cuda.workbench import Workbench

        return Workbench(settings)

    def make_int8(
        self, settings: Settings, clips: Sequence[Path], progress: Callable[[str], None] = lambda line: None
    ) -> Path:
        """Quantise the detector on frames of these clips, if it passes the accuracy gate; needs no GPU.

        Raises:
            InputError: a clip cannot be read.
            ModelError: it loses more than allowed; with the figures.
        """
        from dualface_ray.backends.cuda.int8 import make_int8

        return make_int8(settings, clips, progress=progress)[0]


def _quietly(line: str) -> None:
    """Nothing is built that anybody would wait for."""


BACKEND = CudaBackend()
