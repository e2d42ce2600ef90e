"""Memory that runs out is one error, whichever library says so: the lane starts again with a smaller plan for it."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import host_cupy
import numpy as np
import pytest

from dualface_ray.backends import DevicePlan, load_backend
from dualface_ray.backends.cuda import nvdec as nvdec_room
from dualface_ray.backends.cuda import vendor
from dualface_ray.backends.cuda.compositor import CudaCompositor
from dualface_ray.backends.cuda.gate import SessionGate
from dualface_ray.backends.cuda.launch import Staging, new_stream
from dualface_ray.backends.cuda.nvenc import NvencSession
from dualface_ray.errors import DeviceError, EncodeError, ModelError, VramBudgetError, is_out_of_memory
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.media import EncodeSpec
from dualface_ray.models import Engine, Profile
from dualface_ray.models import trt as trt_room
from dualface_ray.settings import Settings


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


WORDS = (
    "cudaErrorMemoryAllocation: out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    "Out of memory allocating 1,048,576 bytes (allocated so far: 0 bytes, limit set to: 1,024 bytes).",
    "[virtualMemoryBuffer.cpp::resizePhysical::154] Error Code 2: OutOfMemory (no further information)",
    "cuvidCreateDecoder(&m_hDecoder, &videoDecodeCreateInfo) returned error 2 CUDA_ERROR_OUT_OF_MEMORY",
)


@pytest.mark.parametrize("text", WORDS)
def test_the_libraries_words_are_known(text: str) -> None:
    assert is_out_of_memory(text)
    assert not is_out_of_memory("cudaErrorIllegalAddress: an illegal memory access was encountered")
    assert not is_out_of_memory("NV_ENC_ERR_INVALID_PARAM")


@pytest.mark.parametrize(
    "error", [OutOfMemoryError(WORDS[2]), RuntimeError(WORDS[0]), RuntimeError(WORDS[1]), MemoryError()]
)
def test_cuda_and_cupy(error: Exception) -> None:
    with pytest.raises(VramBudgetError, match="device memory is used up"), vendor.translated("composing"):
        raise error
    with pytest.raises(DeviceError, match="illegal"), vendor.translated("composing"):
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access")


# --- NVDEC ---------------------------------------------------------------------------------------------------------
class Codec:
    """PyNvVideoCodec with a card that is full."""

    PyNvVCExceptionUnsupported = KeyError
    cudaVideoCodec = types.SimpleNamespace(H264=4)  # noqa: N815 - the library's names
    cudaVideoChromaFormat = types.SimpleNamespace(**{"420": 1})  # noqa: N815
    PacketData = types.SimpleNamespace

    def __init__(self, *, opens: bool) -> None:
        self.opens = opens

    def GetDecoderCaps(self, **_: object) -> None:  # noqa: N802
        raise RuntimeError(WORDS[1])

    def CreateDecoder(self, **_: object) -> Any:  # noqa: N802
        if not self.opens:
            raise RuntimeError(WORDS[4])
        return self

    def Decode(self, packet: object) -> list[object]:  # noqa: N802
        raise RuntimeError(WORDS[4])


def test_nvdec_when_asked_opened_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec_room, "context_handle", lambda: 1)
    monkeypatch.setattr(nvdec_room, "_caps", {})
    monkeypatch.setattr(nvdec_room, "video_codec", lambda: Codec(opens=False))
    with pytest.raises(VramBudgetError, match="NVDEC found no memory"):
        nvdec_room.capabilities("h264", 8)
    with pytest.raises(VramBudgetError, match="NVDEC found no memory"):
        nvdec_room.Decoder("x.mp4", "h264", 0)
    monkeypatch.setattr(nvdec_room, "video_codec", lambda: Codec(opens=True))
    decoder = nvdec_room.Decoder("x.mp4", "h264", 0)
    with pytest.raises(VramBudgetError, match=r"x\.mp4"):
        decoder.decode(b"\0\0\0\1", 0, key=True)


# --- NVENC ---------------------------------------------------------------------------------------------------------
class Encoders:
    """NVENC that opens and then finds no memory."""

    NV_ENC_PIC_PARAMS = types.SimpleNamespace

    def CreateEncoder(self, *_: object, **__: object) -> Any:  # noqa: N802
        return self

    def GetSequenceParams(self) -> bytes:  # noqa: N802
        return b"sps"

    def Encode(self, *_: object) -> list[Any]:  # noqa: N802
        raise RuntimeError(WORDS[0])


def test_nvenc_in_the_middle_of_a_video(tmp_path: Path) -> None:
    class Stream:
        ptr = 1

    picture = np.zeros((96, 64), np.uint8).view(host_cupy.ndarray)
    spec = EncodeSpec(64, 64, Fraction(1, 30), Fraction(30))
    session = NvencSession(spec, SessionGate(0, tmp_path), Encoders(), Stream(), 0)
    with pytest.raises(VramBudgetError, match="NVENC found no memory"):
        session.encode(picture, 0)
    with pytest.raises(EncodeError):
        session.encode(picture, 0)  # time stamps must increase: the session itself is still in order


# --- TensorRT ------------------------------------------------------------------------------------------------------
@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield host_cupy.install(monkeypatch)
    host_cupy.remove()


class Api:
    """TensorRT whose runtime gives nothing and says why in its log."""

    contexts_share_profiles = False
    logger = None

    def __init__(self, said: str) -> None:
        self.complaints = deque([said])
        self.trt = self

    def Runtime(self, logger: None) -> Any:  # noqa: N802
        return self

    def deserialize_cuda_engine(self, data: bytes) -> None:
        return None

    failure = trt_room.Api.failure


def test_an_engine_that_does_not_load_says_why(cupy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dualface_ray.models import engine as engine_room

    path = tmp_path / "x.engine"
    path.write_bytes(b"plan")
    monkeypatch.setattr(engine_room, "tensorrt", lambda: Api(WORDS[3]))
    with pytest.raises(VramBudgetError, match="device memory is used up"):
        Engine(path, Profile(4, 64, 64), None)
    monkeypatch.setattr(engine_room, "tensorrt", lambda: Api("Serialization assertion failed: version mismatch"))
    with pytest.raises(ModelError, match="version mismatch") as caught:
        Engine(path, Profile(4, 64, 64), None)
    assert "Delete it" in caught.value.remedy


# --- limits --------------------------------------------------------------------------------------------------------
def test_a_buffer_that_could_not_grow_is_not_taken_for_a_larger_one(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After memory has run out once, parts of the batch are tried again: that must be the same error, or fit."""
    staging, stream = Staging(), cupy.cuda.Stream(non_blocking=True)
    small = np.arange(64, dtype=np.uint8)
    large = np.arange(10_000, dtype=np.uint16)
    staging.upload(small, stream)
    real = cupy.empty

    def full(*_: object) -> None:
        raise OutOfMemoryError(WORDS[2])

    for _ in range(2):
        monkeypatch.setattr(cupy, "empty", full)
        with pytest.raises(VramBudgetError):
            staging.upload(large, stream)
    monkeypatch.setattr(cupy, "empty", real)
    assert len(staging.upload(large, stream)) == large.nbytes


def test_the_plans_limit_is_cupys_limit(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr(host_cupy.Pool, "set_limit", lambda self, *, size: limits.append(size))
    load_backend("cuda", DevicePlan(pool_bytes=5 << 20))
    load_backend("cuda", DevicePlan())
    assert limits == [5 << 20]
    assert load_backend("cpu", DevicePlan(pool_bytes=1)).name == "cpu"


def test_the_plan_chooses_the_encoder(cupy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dualface_ray.backends.cuda import encode as encode_room

    spec = EncodeSpec(64, 64, Fraction(1, 30), Fraction(30))
    monkeypatch.setattr(encode_room, "has_nvenc", lambda codec, bits: True)
    opened = load_backend("cuda", DevicePlan(encoder="cpu")).open_encoder(spec)
    assert type(opened).__name__ == "HostEncodeSession"
    opened.close()
    opened = load_backend("cuda", DevicePlan(encoder="cpu", encode_at_once=3)).open_encoder(spec)
    assert opened.name == "libx264, 1 thread, at most 3 at once in its process"
    opened.close()
    monkeypatch.setattr(encode_room, "has_nvenc", lambda codec, bits: False)
    monkeypatch.setattr(encode_room, "video_codec", Encoders)
    monkeypatch.setattr(encode_room, "gate_folder", lambda card: tmp_path)
    monkeypatch.setattr(encode_room, "machine_folder", lambda: tmp_path / "machine")
    backend = load_backend("cuda", DevicePlan(encoder="nvenc", encoder_sessions=1))
    first = backend.open_encoder(spec)
    assert type(first).__name__ == "NvencSession"
    with pytest.raises(Exception, match="all 1 encoder sessions of this lane are taken"):
        backend.open_encoder(spec)
    first.close()
    other = DevicePlan(encoder="nvenc", machine_sessions=1)
    first = load_backend("cuda", other).open_encoder(spec)
    with pytest.raises(Exception, match="all 1 encoder sessions of this machine are taken"):
        load_backend("cuda", other).open_encoder(spec)
    first.close()


def test_only_the_plans_orientations_are_built_beforehand(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dualface_ray.backends.cuda import embedder as embedder_room
    from dualface_ray.backends.cuda import engines as engines_room

    built: list[tuple[int, int]] = []

    def build(settings: Settings, profile: Profile, progress: Any) -> Path:
        built.append((profile.height_px, profile.width_px))
        return Path("x")

    monkeypatch.setattr(engines_room, "detector_engine", build)
    monkeypatch.setattr(embedder_room, "build_engine", lambda settings, progress: built.append((0, 0)))
    load_backend("cuda", DevicePlan(orientations=("portrait",))).prepare(Settings(), built.append)
    assert built == [(640, 384), (0, 0)]
    built.clear()
    off = Settings.model_validate({"identity": {"reid": "off"}})
    load_backend("cuda").prepare(off, built.append)
    assert built == [(384, 640), (640, 384)]


def test_a_lane_that_starts_again_takes_an_engine_at_hand(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is an engine of its own and takes a minute or two to build, in the middle of a job."""
    from dualface_ray.backends.cuda import detector as detector_room
    from dualface_ray.backends.cuda import engines as engines_room

    cached = {(64, 384, 640), (4, 384, 640), (4, 640, 384), (1, 384, 640), (1, 640, 384)}
    used: list[int] = []

    def engine(settings: Settings, profile: Profile) -> tuple[Path, Any]:
        return Path("m"), (profile.max_batch, profile.height_px, profile.width_px)

    monkeypatch.setattr(engines_room, "_engine", engine)
    monkeypatch.setattr(engines_room, "is_built", lambda key: key in cached)
    monkeypatch.setattr(engines_room, "built_engine", lambda model, key, **_: used.append(key[0]) or Path("e"))
    monkeypatch.setattr(
        detector_room, "CudaDetector", lambda settings, progress, **_: used.append(settings.detect.batch_max)
    )

    def batches(batch: int, plan: DevicePlan) -> set[int]:
        settings = Settings.model_validate({"detect": {"batch_max": batch}, "identity": {"reid": "off"}})
        used.clear()
        backend = load_backend("cuda", plan)
        backend.prepare(settings)
        backend.load_detector(settings, 1)
        return set(used)

    both, wide = ("landscape", "portrait"), ("landscape",)
    assert batches(16, DevicePlan(orientations=both)) == {16}, "a first plan is as good as its memory allows"
    assert batches(16, DevicePlan(engines_at_hand=True, orientations=both)) == {4}
    assert batches(64, DevicePlan(engines_at_hand=True, orientations=both)) == {4}, "portrait is needed, too"
    assert batches(64, DevicePlan(engines_at_hand=True, orientations=wide)) == {64}
    assert batches(2, DevicePlan(engines_at_hand=True, orientations=wide)) == {1}
    cached.clear()
    assert batches(16, DevicePlan(engines_at_hand=True, orientations=wide)) == {16}, "nothing at hand: it is built"


def test_the_engines_of_a_process_stay_what_they_were(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run may build what was wanted meanwhile: reports name what is in use."""
    from dualface_ray.backends.cuda import engines as engines_room

    cached = {4}
    monkeypatch.setattr(engines_room, "_engine", lambda settings, profile: (Path("m"), profile.max_batch))
    monkeypatch.setattr(engines_room, "is_built", lambda key: key in cached)
    monkeypatch.setattr(engines_room, "built_engine", lambda model, key, **_: Path(f"{key}.engine"))
    backend: Any = load_backend("cuda", DevicePlan(engines_at_hand=True, orientations=("landscape",)))
    settings = Settings.model_validate({"detect": {"batch_max": 16}})
    assert backend.build_detector(settings, str) == [Path("4.engine")]
    cached.add(16)
    assert backend.build_detector(settings, str) == [Path("4.engine")]


def test_streams_of_past_videos_are_used_again(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy keeps freed memory for the stream it was allocated on: each new stream would keep some for ever."""
    made = []

    class Counted(host_cupy.Stream):
        def __init__(self, *, non_blocking: bool = False) -> None:
            super().__init__(non_blocking=non_blocking)
            made.append(self)

    monkeypatch.setattr(cupy.cuda, "Stream", Counted)
    for _ in range(5):
        first, second = CudaCompositor(), CudaCompositor(keep_hdr=True)
        assert first._stream is not second._stream
        first.close()
        first.close()
        second.close()
    assert len(made) == 2


def test_a_stream_that_fails_is_left_alone(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = CudaCompositor()

    def fail() -> None:
        raise RuntimeError("cudaErrorIllegalAddress")

    monkeypatch.setattr(first._stream, "synchronize", fail, raising=False)
    first.close()
    assert new_stream() is not first._stream


def test_canvases_outlive_what_a_failed_call_has_queued(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freed earlier, another video's canvas could lie there while the kernel still writes."""
    compositor = CudaCompositor()
    info = StreamInfo("s", 96, 64, Fraction(1, 25), Fraction(25))
    tile = TilePlan((0, 0, 96, 64), 0, 0, 64, 48)
    plan = FramePlan(0, 0, (CanvasPlan(64, 48, (tile,)),))
    alive: list[int] = []
    real = compositor._drawing.draw

    def draw(records: Any) -> None:
        real(records)
        raise RuntimeError("cudaErrorLaunchFailure")

    monkeypatch.setattr(compositor._drawing, "draw", draw)
    with pytest.raises(DeviceError, match="LaunchFailure"):
        compositor.compose(info, [cupy.zeros((96, 96), np.uint8)], [plan])
    drawing = compositor._drawing
    held = lambda: alive.append(len(compositor._canvases) * len(drawing._records))  # noqa: E731
    monkeypatch.setattr(compositor._stream, "synchronize", held, raising=False)
    compositor.close()
    assert alive == [1], "waited for once, with everything still there"
    assert not compositor._canvases
