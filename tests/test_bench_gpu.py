"""The GPU benchmarks without a GPU: what is pure as it is, the rest over the stand-in for the device."""

from __future__ import annotations

import json
import threading
import types
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import host_cupy
import numpy as np
import pytest
from typer.testing import CliRunner

from dualface_ray.backends.cuda import recorded as recorded_room
from dualface_ray.backends.cuda import workbench as workbench_room
from dualface_ray.backends.cuda.facts import BatchFacts, KnownStreams
from dualface_ray.backends.cuda.records import face_items, letterbox_items, letterbox_of, patch_items
from dualface_ray.bench import batching, compose
from dualface_ray.bench import contexts as contexts_room
from dualface_ray.bench.batching import run_batching_bench
from dualface_ray.bench.closedloop import LoopResult, run_loop
from dualface_ray.bench.contexts import Arrangement, Measured, arrangements
from dualface_ray.bench.nvml import GpuSampler, summary
from dualface_ray.cli.app import app
from dualface_ray.errors import DeviceError, RequestError, VramBudgetError
from dualface_ray.frames import Colour, PixelLayout, StreamInfo
from dualface_ray.hardware import GpuMeter, GpuReading
from dualface_ray.settings import Settings

NO_DEVICE = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a device")


# --- records of a whole batch --------------------------------------------------------------------------------------
def stream(number: int) -> StreamInfo:
    kinds: list[tuple[Any, ...]] = [
        (1920, 1080, 0, Fraction(1), PixelLayout.NV12, Colour(matrix=1)),
        (1279, 719, 90, Fraction(4, 3), PixelLayout.P010, Colour(matrix=9, full_range=True)),
        (640, 360, 180, Fraction(16, 15), PixelLayout.NV12, Colour(matrix=5)),
        (720, 577, 270, Fraction(64, 45), PixelLayout.NV12, Colour()),
    ]
    width, height, turn, aspect, layout, colour = kinds[number]
    base = StreamInfo(str(number), width, height, Fraction(1, 30000), Fraction(30))
    return replace(base, rotation_deg=turn, sample_aspect=aspect, layout=layout, colour=colour)


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal fields; what lies between fields of records is nobody's."""
    assert first.dtype == second.dtype
    return all(np.array_equal(first[n], second[n]) for n in first.dtype.names or [...])


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_gets_the_records_that_its_frames_get_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    infos = [stream(n) for n in range(4)]
    frames = [infos[n] for n in rng.integers(0, 4, 40)]
    addresses = [int(n) for n in rng.integers(1, 1 << 47, 40)]
    counts = rng.integers(0, 4, 40)
    owners = np.repeat(np.arange(40), counts)
    known = KnownStreams(640, 384)
    batch = BatchFacts(addresses, [known(info) for info in frames])
    boxes = [letterbox_of(info, 640, 384) for info in frames]
    wanted = letterbox_items(list(zip(addresses, frames, boxes, strict=True)))
    assert same(batch.letterbox_records(), wanted)

    points = rng.uniform(-100, 900, (len(owners), 7, 2)).astype(np.float32)
    shown = batch.to_display(points, owners)
    assert shown.dtype == np.float32
    for row, owner in enumerate(owners):
        assert np.array_equal(shown[row], boxes[owner].points_to_display(points[row]))
    found = shown[:, :2].reshape(-1, 4)
    parts = [patch_items(addresses[n], frames[n], found[owners == n]) for n in range(40)]
    assert same(batch.patch_records(found, owners), np.concatenate(parts))
    assert same(batch.face_records(owners), face_items([frames[n] for n in owners]))


def test_streams_are_known_by_what_they_are_not_by_where_they_lie() -> None:
    known = KnownStreams(640, 384)
    for number in range(3000):  # new objects all the time, many at addresses of earlier ones
        info = replace(stream(number % 4), stream_id=f"{number}", width_px=64 + 2 * (number % 50))
        assert known(info).letterbox["width"][0] == info.width_px


# --- the closed loop -----------------------------------------------------------------------------------------------
class Counted:
    """A pass that writes down what it was given; two batches at once, or two threads, are errors."""

    def __init__(self, log: list[int], fail_at: int = -1) -> None:
        self.log, self.fail_at, self.running, self.thread = log, fail_at, -1, 0

    def launch(self, first: int) -> None:
        assert self.running < 0
        assert self.thread in (0, threading.get_ident())
        self.thread = threading.get_ident()
        if first == self.fail_at:
            raise DeviceError("broken", where="test")
        self.running = first

    def collect(self) -> int:
        assert self.running >= 0
        self.log.append(self.running)
        self.running = -1
        return 3


@pytest.mark.parametrize(("passes", "threads"), [(1, 1), (4, 1), (4, 4), (5, 2)])
def test_every_frame_is_seen_once(passes: int, threads: int) -> None:
    log: list[int] = []
    result = run_loop([Counted(log) for _ in range(passes)], batch=8, frames=400, threads=threads)
    assert sorted(log) == sorted([0] * passes + list(range(0, 400, 8)))  # and one each that does not count
    assert (result.frames, result.found, len(result.latencies_s)) == (400, 150, 50)
    assert result.rate_hz > 0
    assert result.quantile_s(0.5) <= result.quantile_s(0.99) <= max(result.latencies_s)


@pytest.mark.parametrize("fail_at", [0, 80])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_pass_that_fails_ends_the_run_and_leaves_nothing_running(fail_at: int, threads: int) -> None:
    log: list[int] = []
    passes = [Counted(log, fail_at) for _ in range(3)]
    with pytest.raises(DeviceError, match="broken"):
        run_loop(passes, batch=8, frames=4000, threads=threads)
    assert all(one.running < 0 for one in passes)
    assert len(log) < 500


def test_a_loop_needs_a_pass_for_each_thread() -> None:
    with pytest.raises(ValueError, match="2 threads"):
        run_loop([Counted([])], batch=1, frames=8, threads=2)


def test_quantiles_are_those_of_the_batches() -> None:
    result = LoopResult(100, 1.0, 0, tuple(n / 1000 for n in range(100, 0, -1)))
    assert (result.quantile_s(0.5), result.quantile_s(0.99), result.quantile_s(1.0)) == (0.05, 0.099, 0.1)
    assert LoopResult(1, 1.0, 0, (0.2,)).quantile_s(0.01) == 0.2


# --- which arrangements, and which is best ---------------------------------------------------------------------------
def test_per_stream_means_at_least_a_context_for_each_stream() -> None:
    rates = {one: 1000.0 + index for index, one in enumerate(arrangements())}
    for one in rates:  # whole chunks are fastest, many single contexts next
        rates[one] += {"chunk": 5000, "single": 100 * one.contexts, "central": 0}[one.engine]
    measured = [Measured(one, rate, rate, 0.001, 0.002, 1, 0, 3) for one, rate in rates.items()]
    found = {(one.streams, one.waiting): one for one in contexts_room.compare(measured)}
    assert sorted(found) == [(n, w) for n in (1, 4, 8, 16) for w in (1, 16)]
    for (streams, waiting), one in found.items():
        assert one.central.arrangement == Arrangement("central", 1, min(64, streams * waiting))
        assert one.per_stream.arrangement.contexts == streams
        assert one.per_stream.arrangement.engine == ("single" if waiting == 1 else "chunk")
        assert one.ratio == one.central.rate_hz / one.per_stream.rate_hz
    slow = [replace(m, rate_hz=1.0) if m.arrangement.engine == "chunk" else m for m in measured]
    one = next(c for c in contexts_room.compare(slow) if (c.streams, c.waiting) == (1, 16))
    assert one.per_stream.arrangement.contexts == 16  # a chunk of one stream can keep many contexts busy
    assert len(set(rates)) == len(arrangements())


# --- utilisation -----------------------------------------------------------------------------------------------------
class FakeError(Exception):
    """The library's."""


class Nvml:
    NVMLError = FakeError

    def __init__(self, *, decoder: bool = True) -> None:
        self.inits, self.decoder = 0, decoder

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        self.inits += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.inits -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:  # noqa: N802
        if uuid != b"GPU-1":
            raise self.NVMLError
        return "one"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return "one"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:  # noqa: N802
        return types.SimpleNamespace(gpu=60, memory=5)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return types.SimpleNamespace(used=5 << 20, total=9 << 20)

    def nvmlDeviceGetDecoderUtilization(self, handle: str) -> list[int]:  # noqa: N802
        if not self.decoder:
            raise self.NVMLError
        return [25, 167000]

    def nvmlDeviceGetEncoderUtilization(self, handle: str) -> list[int]:  # noqa: N802
        raise self.NVMLError


class TwoCards(Nvml):
    """Cards GPU-0 and GPU-1, of which the second is the busier."""

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.0"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"GPU-{index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:  # noqa: N802
        return uuid.decode()

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return "card"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return types.SimpleNamespace(used=(handle == "GPU-1") * 7, total=9)


@pytest.mark.parametrize(("given", "used"), [(None, 0), ("1", 7), ("0,1", 0), ("GPU-1", 7)])
def test_the_meter_reads_the_card_that_this_process_may_use(
    given: str | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    library = TwoCards()
    meter = GpuMeter.open("", library)
    assert meter is not None
    reading = meter.read()
    assert reading is not None
    assert reading.memory_bytes == used
    meter.close()
    assert library.inits == 0


def test_the_sampler_sums_up_and_lets_go() -> None:
    library = Nvml()
    with GpuSampler("GPU-1", 0.001, lambda uuid: GpuMeter.open(uuid, library)) as sampler:
        assert sampler.load is None
        threading.Event().wait(0.02)
    assert library.inits == 0
    load = sampler.load
    assert load is not None
    assert load.samples >= 1
    assert (load.gpu_mean, load.gpu_peak, load.nvdec_mean, load.nvenc_mean) == (pytest.approx(0.6), 0.6, 0.25, None)
    assert load.text() == "GPU 60% (peak 60%), NVDEC 25%, memory 5 MiB"


def test_without_nvml_there_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    library = Nvml(decoder=False)
    assert GpuMeter.open("GPU-2", library) is None
    assert library.inits == 0
    with GpuSampler("GPU-2", 0.001, lambda uuid: GpuMeter.open(uuid, library)) as sampler:
        pass
    assert sampler.load is None
    meter = GpuMeter.open("", library)
    assert meter is not None
    reading = meter.read()
    assert reading == GpuReading(0.6, None, None, 5 << 20)
    meter.close()
    meter.close()
    assert meter.read() is None
    assert summary([]) is None


# --- the benchmarks themselves ---------------------------------------------------------------------------------------
@NO_DEVICE
@pytest.mark.parametrize("what", ["batching", "compose"])
def test_without_a_device_it_is_one_line(what: str) -> None:
    done = CliRunner().invoke(app, ["bench", what, "--json"])
    assert done.exit_code != 0
    assert done.stderr.count("\n") == 1
    assert "lane.backend=cpu" in done.stderr


@pytest.mark.parametrize("wrong", [{"streams": []}, {"streams": [17]}, {"streams": [0]}, {"frames": 8}, {"rounds": 0}])
def test_numbers_that_measure_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="measure nothing"):
        run_batching_bench(**wrong)
    if "streams" not in wrong:
        with pytest.raises(RequestError, match="measure nothing"):
            compose.run_compose_bench(**wrong)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = host_cupy.install(monkeypatch)
    monkeypatch.setattr(host_cupy.Pool, "free_all_blocks", lambda self: None, raising=False)
    yield module
    host_cupy.remove()


class OneFace:
    """In place of the engine: maps with one face where the input's brightest pixel lies, whatever the batch."""

    def __init__(self, path: Path, profile: Any, stream: Any, *, graphs: bool) -> None:
        import cupy

        assert not graphs
        cells = (profile.height_px // 4, profile.width_px // 4)
        self.input = cupy.zeros((profile.max_batch, 3, profile.height_px, profile.width_px), np.float32)
        names = {"heatmap": 1, "log_size": 2, "offset": 2, "landmarks": 10}
        self.outputs = {
            name: cupy.zeros((profile.max_batch, depth, *cells), np.float32) for name, depth in names.items()
        }
        self.runs = 0
        self.batch = 0

    def run(self, batch: int) -> None:
        self.batch = batch
        self.again()

    def again(self) -> None:
        self.runs += 1
        for row in range(self.batch):
            assert self.input[row].max() > 0, "the letterbox has written every picture"
            self.outputs["heatmap"][row] = 0
            self.outputs["heatmap"][row, 0, 3, 4 + row % 2] = 0.9

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def engines(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    asked: list[tuple[int, bool]] = []

    def engine(settings: Settings, profile: Any, progress: Any, *, build: bool) -> Path:
        asked.append((profile.max_batch, build))
        return Path(f"{profile.max_batch}.engine")

    one_kernel = threading.Lock()  # the shim keeps blockIdx and its like in globals

    def record(self: Any, batch: int, *, whole: bool) -> Any:
        self._queue(batch, whole=whole, first=True)

        def launch(_: Any) -> None:
            with one_kernel:
                self._queue(batch, whole=whole, first=False)

        return types.SimpleNamespace(launch=launch)

    monkeypatch.setattr(recorded_room, "_Repeatable", OneFace)
    monkeypatch.setattr(recorded_room.RecordedPass, "_record", record)
    monkeypatch.setattr(workbench_room, "detector_engine", engine)
    return asked


def test_batching_runs_through_every_arrangement(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"detect": {"input_width_px": 96, "input_height_px": 64}})
    monkeypatch.setattr(batching, "_pictures", small_pictures)
    said: list[str] = []
    result = run_batching_bench(said.append, streams=(1, 4), frames=64, rounds=1, settings=settings, build=False)
    assert engines == [(64, False), (1, False)]
    assert {one.arrangement for one in result.measured} == set(arrangements((1, 4)))
    warm = {one.arrangement: one.found for one in result.measured}
    for one, found in warm.items():
        batches = max(one.contexts, 64 // one.batch)
        assert found == batches * one.batch, one  # one face a picture, no picture twice or left out
    assert len(result.comparisons) == 4
    text = "\n".join(f"{name} {value}" for name, value in result.rows())
    assert "4 streams x 16" in text
    assert result.rounds == 1
    monkeypatch.setattr(batching, "LIMIT_S", 0.0)
    result = run_batching_bench(streams=(1,), frames=64, rounds=3, settings=settings)
    assert result.rounds == 1  # a slow card still gives figures, and says of how many rounds
    assert json.loads(result.to_json())["comparisons"][0]["ratio"] > 0


def small_pictures(backend: Any, bench: Any, clip: Path | None, settings: Settings) -> tuple[Any, ...]:
    info = StreamInfo("small", 96, 64, Fraction(1, 30), Fraction(30))
    pictures = [np.full((96, 96), 40 + n, np.uint8) for n in range(64)]
    return info, bench.slots(info, pictures), "small"


def test_compose_compares_the_same_pictures(cupy: Any) -> None:
    result = compose.run_compose_bench(sizes=((96, 64), (128, 80)), frames=16, rounds=1, canvas_px=(96, 48))
    assert [(case.width_px, case.height_px) for case in result.cases] == [(96, 64), (128, 80)]
    for case in result.cases:
        assert case.psnr_db >= 45
        assert set(case.rates_hz) == set(compose.WAYS)
        assert all(rate > 0 for rate in case.rates_hz.values())
    assert any("dB apart" in value for _, value in result.rows())
    assert len(json.loads(result.to_json())["cases"]) == 2


def test_pictures_come_from_a_clip_however_short(cupy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from media_maker import Clip
    from test_cuda_decode import SoftwareDecoder

    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda import decode as decode_room

    monkeypatch.setattr(decode_room, "Decoder", SoftwareDecoder)
    monkeypatch.setattr(decode_room, "require_support", lambda *arguments: None)
    settings = Settings()
    backend: Any = load_backend("cuda")
    bench = backend.workbench(settings)
    for frames in (5, 90):
        path = Clip(frames=frames).write(tmp_path / f"{frames}.mp4")
        info, slots, source = batching._pictures(backend, bench, path, settings)
        assert source == f"{frames}.mp4, {info.width_px}x{info.height_px}"
        assert len(slots) == 64
        assert len({slot.data.ptr for slot in slots}) == min(64, frames)
        assert not np.array_equal(np.asarray(slots[0]), np.asarray(slots[4]))
        assert len(bench.records(info, slots)) == 64


def test_a_small_card_is_measured_as_far_as_it_goes(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Any] = []

    class Small(OneFace):
        def __init__(self, path: Path, profile: Any, stream: Any, *, graphs: bool) -> None:
            if len(held) == 4:
                raise VramBudgetError("no device memory", where="test")
            super().__init__(path, profile, stream, graphs=graphs)
            held.append(self)

        def close(self) -> None:
            if self in held:
                held.remove(self)

    settings = Settings.model_validate({"detect": {"input_width_px": 96, "input_height_px": 64}})
    monkeypatch.setattr(batching, "_pictures", small_pictures)
    monkeypatch.setattr(recorded_room, "_Repeatable", Small)
    with pytest.raises(VramBudgetError):  # not even one context of each kind
        run_batching_bench(streams=(1, 4), frames=64, rounds=1, settings=settings)
    assert held == []
    monkeypatch.setattr(contexts_room, "MOST_CONTEXTS", 2)
    said: list[str] = []
    result = run_batching_bench(said.append, streams=(1, 2), frames=64, rounds=1, settings=settings)
    assert "the card holds no more" in said
    assert held == []
    assert max(one.arrangement.contexts for one in result.measured) == 2
    assert result.rows()
