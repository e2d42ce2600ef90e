"""The GPU lane end to end on a stand-in for the device: every class as it is, kernels through the host shim.

NVDEC is libav, TensorRT is ONNX Runtime, CuPy is ``host_cupy``; arenas, copies, launches, records, downloads and the
order of things are the backend's own. What remains for a real card is in ``gpu_check``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import host_cupy
import numpy as np
import pytest
from detect_pictures import frame, pair
from gpu_check import encoding
from gpu_check.material import clip as make_clip
from media_lane import decode_all
from media_maker import Clip
from test_cuda_decode import SoftwareDecoder

from dualface_ray.backends import DevicePlan, load_backend
from dualface_ray.backends.cuda import decode as decode_room
from dualface_ray.backends.cuda import detector as detector_room
from dualface_ray.backends.cuda import embedder as embedder_room
from dualface_ray.backends.cuda import engines as engines_room
from dualface_ray.backends.cuda import returning as returning_room
from dualface_ray.backends.cuda.arena import CudaArena
from dualface_ray.backends.cuda.returning import WAIT_S
from dualface_ray.compose import compose_reference
from dualface_ray.detect import FramePixels
from dualface_ray.errors import DeviceError, SharedMemoryError, VramBudgetError
from dualface_ray.frames import Colour, FaceCrop, FramePool, PixelLayout, PoolReader, StreamInfo
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.media import EncodeSpec
from dualface_ray.models import quantise as quantise_room
from dualface_ray.settings import Settings


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield host_cupy.install(monkeypatch)
    host_cupy.remove()


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, Callable[[], None]]] = []

    def at(self, when_s: float, event: Callable[[], None]) -> None:
        self._events.append((when_s, event))

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for entry in [entry for entry in self._events if entry[0] <= self.now_s]:
            self._events.remove(entry)
            entry[1]()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(returning_room, "time", made)
    monkeypatch.setattr(engines_room, "build_engines", lambda settings, say, orientations: say("built") or {})
    monkeypatch.setattr(embedder_room, "build_engine", lambda settings, say: Path("x"))
    return made


INFO = StreamInfo("s", 96, 64, Fraction(1, 25), Fraction(25))


# --- the arena -----------------------------------------------------------------------------------------------------
def test_an_arena_gives_views_and_its_memory_back(cupy: Any) -> None:
    runtime = cupy.cuda.runtime
    free = runtime.memGetInfo()[0]
    arena = CudaArena.create(1 << 20, 8)
    wide = StreamInfo("w", 96, 64, Fraction(1, 25), Fraction(25), layout=PixelLayout.P010)
    view = arena.view(512, wide)
    assert (view.shape, view.dtype) == ((96, 96), np.uint16)
    view[:] = 700
    arena.generations[3] = 6
    other = CudaArena.attach(arena.handle)
    assert (other.view(512, wide) == 700).all()
    assert int(other.generations[3]) == 6
    with pytest.raises(ValueError, match="read-only"):
        other.generations[3] = 8
    other.close()
    assert (arena.view(512, wide) == 700).all()  # closing an importer takes nothing from the owner
    for offset in (-1, (1 << 20) - 10):
        with pytest.raises(DeviceError, match="leave"):
            arena.view(offset, INFO)
    arena.close()
    arena.close()
    with pytest.raises(DeviceError, match="closed"):
        arena.view(0, INFO)
    assert runtime.memGetInfo()[0] == free
    with pytest.raises(SharedMemoryError, match="owner is gone"):
        CudaArena.attach(arena.handle)


def test_an_arena_beyond_the_card_is_refused_with_numbers(cupy: Any, clock: Clock) -> None:
    with pytest.raises(VramBudgetError, match="70%"):
        CudaArena.create(6 << 30, 8)
    cupy.cuda.runtime.total = 2 << 20
    taken = cupy.cuda.runtime.malloc(1 << 20)
    assert clock.now_s == 0, "what can never be is refused at once"
    with pytest.raises(VramBudgetError, match="MiB are needed"):
        CudaArena.create(5 << 18, 8)
    assert WAIT_S <= clock.now_s <= WAIT_S + 1
    cupy.cuda.runtime.free(taken)
    with pytest.raises(VramBudgetError):
        CudaArena.create(0, 8)


def test_memory_that_a_dead_process_has_not_given_back_yet_is_waited_for(cupy: Any, clock: Clock) -> None:
    """Else the lane would go on with a smaller plan for the rest of the job."""
    runtime = cupy.cuda.runtime
    runtime.total = 4 << 20
    clock.at(3.0, partial(runtime.free, runtime.malloc(3 << 20)))
    CudaArena.create(2 << 20, 8).close()
    assert 3 <= clock.now_s < 4
    clock.at(6.0, partial(runtime.free, runtime.malloc(3 << 20)))
    lines: list[str] = []
    load_backend("cuda", DevicePlan(lane_bytes=2 << 20)).prepare(Settings(), lines.append)
    assert 6 <= clock.now_s < 7
    assert lines == ["waiting for memory: 1 of 2 MiB are free on the card", "built"]
    lines.clear()
    load_backend("cuda", DevicePlan(lane_bytes=9 << 20)).prepare(Settings(), lines.append)
    assert lines[-1] == "built", "planned on paper: whether it is enough is for the allocations to say"


def test_an_arena_of_another_card_or_kind_is_refused(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from dualface_ray.backends.cuda import vendor

    arena = CudaArena.create(1 << 20, 8)
    with pytest.raises(DeviceError, match="cpu memory"):
        CudaArena.attach(replace(arena.handle, kind="cpu"))
    with pytest.raises(DeviceError, match="it lives on"):
        CudaArena.attach(replace(arena.handle, node="elsewhere"))
    properties = {**cupy.cuda.runtime.getDeviceProperties(0), "uuid": b"v" * 16}
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda number: properties, raising=False)
    vendor.device.cache_clear()
    with pytest.raises(DeviceError, match="another card"):
        CudaArena.attach(arena.handle)
    arena.close()


# --- decode, compose, encode through a pool --------------------------------------------------------------------------
@pytest.fixture
def nvdec(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(decode_room, "Decoder", SoftwareDecoder)
    monkeypatch.setattr(decode_room, "require_support", lambda *arguments: None)
    return cupy


@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
def test_a_video_goes_through_pool_compositor_and_encoder(nvdec: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    from dualface_ray.backends.cuda import encode as encode_room

    encode_room.has_nvenc.cache_clear()
    if size[0] % 2:
        path = make_clip(tmp_path, "odd.mkv", frames=21, width=size[0], height=size[1], codec="libvpx-vp9")
    else:
        path = Clip(frames=21, width_px=size[0], height_px=size[1], b_frames=2).write(tmp_path / "clip.mkv")
    expected = decode_all(path)
    backend, settings = load_backend("cuda"), Settings()
    pool = FramePool(backend.create_arena(4 << 20, 64))
    reader = PoolReader(backend.attach_arena(pool.arena.handle))
    session = backend.open_decoder(path, "s", settings, 1)
    info = session.info
    ring = pool.open_stream("s", 0, info, 24)
    compositor = backend.open_compositor(settings)
    encoder = backend.open_encoder(EncodeSpec(64, 48, info.time_base, info.average_rate))
    assert type(encoder).__name__ == "HostEncodeSession"
    tiles = (TilePlan((3.5, 2.0, 50.0, 60.0), 0, 0, 32, 48), TilePlan((40.0, 8.0, 90.0, 58.0), 32, 0, 32, 40))
    packets, position, end = [], 0, False
    while not end:
        batch = session.decode(pool.begin_many(ring, position, 8))
        tickets = pool.commit_many(ring, position, batch.frames)
        pool.abandon(ring)
        assert np.array_equal(batch.signatures, expected.signatures[position : position + len(batch.frames)])
        with reader.read_many([(ticket, ring, info) for ticket in tickets]) as slots:
            for ticket, slot in zip(tickets, slots, strict=True):
                assert np.array_equal(slot, expected.slots[ticket.frame_index])
            plans = [FramePlan(t.frame_index, t.pts_ticks, (CanvasPlan(64, 48, tiles),)) for t in tickets]
            drawn = compositor.compose(info, slots, plans)
            for (canvas,), plan, slot in zip(drawn, plans, slots, strict=True):
                (wanted,) = compose_reference(info, np.asarray(slot), plan)
                assert np.abs(np.asarray(canvas).astype(int) - wanted).max() <= 1
                packets += encoder.encode(canvas, plan.pts_ticks)
        position, end = position + len(batch.frames), batch.end
    packets += encoder.finish()
    assert [p.pts_ticks for p in packets] == expected.pts
    for part in (encoder, compositor, session, reader, pool):
        part.close()
        part.close()
    with pytest.raises(DeviceError, match="closed"):
        compositor.compose(info, [], [])


def test_ten_bits_stay_ten_bits(nvdec: Any, tmp_path: Path) -> None:
    path = make_clip(tmp_path, "deep.mp4", frames=9, width=96, height=64, codec="libx265", pixels="yuv420p10le")
    session = load_backend("cuda").open_decoder(path, "s", Settings(), 1)
    assert session.info.layout is PixelLayout.P010
    slots = [nvdec.zeros((96, 96), np.uint16) for _ in range(16)]
    batch = session.decode(slots)
    expected = decode_all(path)
    assert [f.pts_ticks for f in batch.frames] == expected.pts
    for mine, other in zip(slots[:9], expected.slots, strict=True):
        assert np.abs(np.asarray(mine >> 8).astype(int) - other).max() <= 1
    session.close()


def test_tiles_over_each_other_and_bare_canvases(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dualface_ray.backends.cuda import drawing

    rng = np.random.default_rng(0)
    slot = rng.integers(16, 236, (96, 96), np.uint8)
    compositor = load_backend("cuda").open_compositor(Settings())
    under, over = TilePlan((0, 0, 96, 64), 0, 0, 64, 48), TilePlan((10, 10, 50, 40), 8, 8, 40, 30)
    plans = [
        FramePlan(0, 0, (CanvasPlan(64, 48, (under, over)), CanvasPlan(32, 32, ()))),
        FramePlan(1, 1, (CanvasPlan(64, 48, (over,)), CanvasPlan(48, 32, ()))),
    ]
    found = compositor.compose(INFO, [cupy.asarray(slot)] * 2, plans)
    for mine, plan in zip(found, plans, strict=True):
        for canvas, wanted in zip(mine, compose_reference(INFO, slot, plan), strict=True):
            assert np.abs(np.asarray(canvas).astype(int) - wanted).max() <= 1
    monkeypatch.setattr(drawing, "ROWS_BYTES", 1)  # a scratch too small for a chunk: a launch for each tile
    apart = load_backend("cuda").open_compositor(Settings())
    again = apart.compose(INFO, [cupy.asarray(slot)] * 2, plans)
    assert all(
        np.array_equal(a, b) for one, two in zip(found, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    with pytest.raises(ValueError, match="1 slots for 2 plans"):
        compositor.compose(INFO, [slot], plans)


def test_a_change_of_size_in_mid_stream_is_scaled_into_the_slot(cupy: Any) -> None:
    import cv2

    from dualface_ray.backends.cuda.nvdec import Surface
    from dualface_ray.backends.cuda.surfaces import SlotCopier

    for layout, kind, unit in ((PixelLayout.NV12, np.uint8, 1), (PixelLayout.P010, np.uint16, 256)):
        info = StreamInfo("s", 96, 64, Fraction(1, 25), Fraction(25), layout=layout)
        y, x = np.mgrid[0:96, 0:128]
        big = ((120 + 60 * np.sin(x / 20) * np.cos(y / 15)) * unit).astype(kind)
        big[64:] = 100 * unit
        pitch = big.strides[0]
        surface = Surface(big.ctypes.data, big.ctypes.data + 64 * pitch, pitch, 128, 64, 0)
        copier = SlotCopier(info, cupy.cuda.Stream(non_blocking=True))
        slots = [cupy.zeros((96, 96), kind) for _ in range(2)]
        assert [copier.copy(surface, slot) for slot in slots] == [True, True]
        copier.finish(slots)
        wanted = cv2.resize(big[:64].astype(np.float32), (96, 64), interpolation=cv2.INTER_CUBIC)
        for slot in slots:
            assert np.abs(np.asarray(slot)[4:60, 4:92] - wanted[4:60, 4:92]).max() < 2 * unit
            assert np.abs(np.asarray(slot)[64:].astype(int) - 100 * unit).max() <= unit


def test_cpu_decoding_is_a_choice_and_counted(nvdec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dualface_ray.errors import UnsupportedMediaError

    path = Clip(frames=9, pixel_format="yuv444p").write(tmp_path / "444.mp4")
    backend = load_backend("cuda")
    with pytest.raises(UnsupportedMediaError):
        backend.open_decoder(path, "s", Settings(), 1)
    allowed = Settings.model_validate({"lane": {"allow_cpu_decode": True}})
    session = backend.open_decoder(path, "s", allowed, 1)
    slots = [nvdec.zeros((96, 96), np.uint8) for _ in range(16)]
    batch = session.decode(slots)
    expected = decode_all(path)
    assert batch.end
    assert [f.pts_ticks for f in batch.frames] == expected.pts
    assert all(np.array_equal(a, b) for a, b in zip(slots, expected.slots, strict=False))
    assert session.counters()["frames_decoded_on_cpu"] == 9
    session.close()


# --- inference -----------------------------------------------------------------------------------------------------
class OrtEngine:
    """In place of ``models.Engine``: the same buffers, ONNX Runtime behind them."""

    def __init__(self, path: Path, profile: Any, stream: Any, *, graphs: bool = True) -> None:
        import cupy

        self._model = path.read_bytes()
        self.input = cupy.zeros((profile.max_batch, 3, profile.height_px, profile.width_px), np.float32)
        probe = quantise_room.run_model(self._model, [np.asarray(self.input[:1])])[0]
        self.outputs = {n: cupy.zeros((profile.max_batch, *v.shape[1:]), np.float32) for n, v in probe.items()}

    def run(self, batch: int) -> dict[str, Any]:
        for name, value in quantise_room.run_model(self._model, [np.array(self.input[:batch])])[0].items():
            self.outputs[name][:batch] = value
        return self.outputs

    def close(self) -> None:
        """Nothing to free."""


def use_ort_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detector and embedder run on ``OrtEngine``, and nothing is built."""
    for room in (engines_room, embedder_room):
        monkeypatch.setattr(room, "built_engine", lambda model, key, progress, what: model)
        monkeypatch.setattr(room, "engine_key", lambda *arguments: None)
    for room in (detector_room, embedder_room):
        monkeypatch.setattr(room, "Engine", OrtEngine)


@pytest.fixture
def engines(cupy: Any, models: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    use_ort_engines(monkeypatch)
    return cupy


def test_faces_are_those_of_the_cpu_lane(engines: Any) -> None:
    from dualface_ray.backends.cpu.detector import load_detector

    settings = Settings.model_validate({"detect": {"batch_max": 2, "input_width_px": 320, "input_height_px": 192}})
    rgb = pair(640, 360, 0.45, 0.3)
    portrait = np.ascontiguousarray(pair(640, 360, 0.45, 0.3)[:, 20:300])
    frames = [frame(rgb), frame(rgb, layout=PixelLayout.P010), frame(portrait), frame(np.full_like(rgb, 90))]
    on_device = [FramePixels(engines.asarray(f.slot), f.info) for f in frames]
    gpu = load_backend("cuda").load_detector(settings, 1)
    assert gpu.max_batch == 2
    found, expected = gpu.detect(on_device), load_detector(settings, 2).detect(frames)
    assert [len(f) for f in found] == [len(f) for f in expected]
    assert len(found[0]) == 2
    assert len(found[3]) == 0
    for mine, other in zip(found, expected, strict=True):
        if not len(mine):
            continue
        assert np.abs(mine.boxes_px - other.boxes_px).max() < 1.0
        assert np.abs(mine.landmarks_px - other.landmarks_px).max() < 1.5
        assert np.abs(mine.scores - other.scores).max() < 0.05
        assert np.linalg.norm(mine.descriptors - other.descriptors, axis=1).max() < 0.12
        assert np.all(np.diff(mine.scores) <= 0)
    gpu.close()
    gpu.close()
    with pytest.raises(DeviceError, match="closed"):
        gpu.detect(on_device)


def test_batches_that_overlap_find_what_they_find_alone(engines: Any) -> None:
    settings = Settings.model_validate({"detect": {"batch_max": 2, "input_width_px": 320, "input_height_px": 192}})
    rgb = pair(640, 360, 0.45, 0.3)
    shown = [frame(rgb), frame(np.full_like(rgb, 90)), frame(np.ascontiguousarray(rgb[:, 20:300])), frame(rgb[:, ::-1])]
    on_device = [FramePixels(engines.asarray(f.slot), f.info) for f in shown]
    gpu = load_backend("cuda").load_detector(settings, 1)
    assert gpu.ahead == 1
    batches = [on_device[:2], on_device[1:2], on_device[3:], on_device]
    alone = [list(gpu.detect(batch)) for batch in batches]
    finish: list[Any] = []
    together: list[Any] = []
    for batch in batches:
        finish.append(gpu.begin(batch))
        if len(finish) > 1:
            together.append(finish.pop(0)())
    together.append(finish.pop(0)())
    assert list(gpu.begin([])()) == []
    for found, expected in zip(together, alone, strict=True):
        assert len(found) == len(expected)
        for mine, other in zip(found, expected, strict=True):
            for name in ("boxes_px", "landmarks_px", "scores", "descriptors"):
                assert np.array_equal(getattr(mine, name), getattr(other, name))
    assert len(gpu._free) <= 6, "the memory of ended batches is used again"
    assert gpu._open == 0
    gpu.close()


def test_a_batch_that_fails_leaves_nothing_open(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"detect": {"batch_max": 2, "input_width_px": 320, "input_height_px": 192}})
    gpu = load_backend("cuda").load_detector(settings, 1)
    shown = frame(pair(640, 360, 0.45, 0.3))
    picture = FramePixels(engines.asarray(shown.slot), shown.info)
    run, calls = OrtEngine.run, []

    def failing(self: Any, batch: int) -> Any:
        calls.append(batch)
        if len(calls) == 2:
            raise RuntimeError("launch failed")
        return run(self, batch)

    monkeypatch.setattr(OrtEngine, "run", failing)
    with pytest.raises(DeviceError, match="launch failed"):
        gpu.detect([picture] * 3)
    assert gpu._open == 0
    finish = gpu.begin([picture])
    monkeypatch.setattr(gpu, "_describe", lambda *_: (_ for _ in ()).throw(DeviceError("no descriptors", where="test")))
    with pytest.raises(DeviceError, match="no descriptors"):
        finish()
    assert gpu._open == 0
    monkeypatch.undo()
    gpu.close()


def test_embeddings_are_those_of_the_cpu_lane(engines: Any) -> None:
    from dualface_ray.backends.cpu.detector import load_detector
    from dualface_ray.backends.cpu.embedder import load_embedder

    settings = Settings()
    shown = frame(pair(960, 540, 0.8, 0.5))
    (faces,) = load_detector(settings, 2).detect([shown])
    crops = [FaceCrop(0, tuple(map(float, b)), p) for b, p in zip(faces.boxes_px, faces.landmarks_px, strict=True)]
    assert len(crops) == 2
    gpu = load_backend("cuda").load_embedder(settings, 1)
    found = gpu.embed([FramePixels(engines.asarray(shown.slot), shown.info)] * 2, crops)
    expected = load_embedder(settings, 2).embed([shown] * 2, crops)
    assert gpu.size == found.shape[1] == 128
    assert np.linalg.norm(found - expected, axis=1).max() < 0.1
    assert np.linalg.norm(found[0] - found[1]) > 0.4  # two people
    gpu.close()


# --- the whole lane ------------------------------------------------------------------------------------------------
def test_the_services_of_a_lane_give_what_the_cpu_lane_gives(
    nvdec: Any, engines: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same decoder, inference and encoder services over both backends: same states, boxes within a pixel."""
    import json

    import in_process

    from dualface_ray.demo import make_demo

    source = tmp_path / "talk.mp4"
    make_demo(source, seconds=2, width_px=320, height_px=180, rate=Fraction(15))
    settings = Settings.model_validate(
        {
            "detect": {"input_width_px": 320, "input_height_px": 192, "batch_max": 4},
            "framing": {"width_px": 256, "height_px": 144},
        }
    )
    tracks = {}
    for name in ("cpu", "cuda"):
        backend = load_backend(name)
        monkeypatch.setattr(in_process, "load_backend", lambda _, chosen=backend: chosen)
        out = tmp_path / name
        out.mkdir()
        with in_process.InProcessLane(settings, streams=1, pool_bytes=64 << 20) as lane:
            status = lane.run(in_process.job_for(source, out, settings), 120)
        assert status.error is None
        lines = (out / "talk.tracks.jsonl").read_text().splitlines()
        tracks[name] = [json.loads(line)["faces"] for line in lines[1:]]
        assert len(decode_all(out / "talk.dualface.mp4").frames) == 30
    assert len(tracks["cpu"]) == len(tracks["cuda"]) == 30
    for first, second in zip(tracks["cpu"], tracks["cuda"], strict=True):
        for person in ("A", "B"):
            assert first[person]["state"] == second[person]["state"]
            if first[person]["box"] is not None:
                assert np.abs(np.subtract(first[person]["box"], second[person]["box"])).max() <= 1.0


@pytest.fixture
def gpu_services(nvdec: Any, engines: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """``InProcessLane`` is a GPU lane; settings that cost little."""
    import in_process

    backend = load_backend("cuda")
    monkeypatch.setattr(in_process, "load_backend", lambda _: backend)
    return Settings.model_validate(
        {
            "detect": {"input_width_px": 320, "input_height_px": 192, "batch_max": 4},
            "framing": {"width_px": 256, "height_px": 144},
        }
    )


def test_a_long_video_is_cut_and_joined_on_a_gpu_lane(gpu_services: Settings, tmp_path: Path) -> None:
    """Survey, spans, bridge and join: every frame once, the tracks those of the same lane doing it whole."""
    from dataclasses import replace
    from itertools import pairwise

    from in_process import InProcessLane, job_for

    from actors.messages import SegmentJob, StreamStatus, Work
    from dualface_ray.demo import make_demo
    from dualface_ray.media import Span, plan_spans
    from dualface_ray.report import load_survey, read_report, read_tracks

    source, settings = tmp_path / "talk.mp4", gpu_services
    make_demo(source, seconds=12, width_px=320, height_px=180, rate=Fraction(15))
    folders = [tmp_path / name for name in ("whole", "cut")]
    for folder in folders:
        folder.mkdir()
    whole, job = (job_for(source, folder, settings) for folder in folders)
    with InProcessLane(settings, streams=1, pool_bytes=96 << 20) as lane:

        def done(job: SegmentJob) -> StreamStatus:
            status = lane.run(job, 120)
            assert status.error is None
            return status

        def part(work: Work, *spans: Span) -> SegmentJob:
            number = f"{spans[0].number:03d}" if spans else ""
            return replace(job, stream_id=f"v0-{work.value[0]}{number}", work=work, spans=spans)

        done(replace(whole, stream_id="whole"))
        done(part(Work.SURVEY))
        survey = load_survey(job.outputs, job.fingerprint)
        assert survey is not None
        assert survey.refusal == ""
        assert survey.frames == 180
        spans = plan_spans(survey, 2, 1.5)
        assert len(spans) == 2
        for span in spans:
            assert done(part(Work.SPAN, span)).frames_done == span.frames
        for before, after in pairwise(spans):
            done(part(Work.BRIDGE, before, after))
        done(part(Work.JOIN, *spans))
    report = read_report(job.outputs.report)
    assert (report.spans, report.frames.frames_in, report.frames.frames_out) == (2, 180, 180)
    assert "frames_decoded_on_cpu" not in report.frames.repairs
    assert report.lane.startswith("cuda")
    wanted, found = (decode_all(one.outputs.videos[0]) for one in (whole, job))
    assert found.pts == wanted.pts
    tracks = [read_tracks(one.outputs.tracks) for one in (whole, job)]
    assert np.array_equal(tracks[0].pts_ticks, tracks[1].pts_ticks)
    assert np.array_equal(tracks[0].states, tracks[1].states)
    assert np.nanmax(np.abs(tracks[0].boxes_px - tracks[1].boxes_px), initial=0) <= 1.0


def test_hdr_is_kept_as_on_the_cpu_lane(
    nvdec: Any, engines: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Composed in ten bits on the device, through pinned memory, by x265: the same pictures and tags."""
    import av
    import in_process

    source = tmp_path / "talk.mp4"
    Clip(frames=12, width_px=320, height_px=180, codec="libx265", pixel_format="yuv420p10le", colour=(9, 9, 18)).write(
        source
    )
    settings = Settings.model_validate(
        {
            "encode": {"hdr": "keep", "codec": "hevc", "preset": "ultrafast", "quality": 4},
            "detect": {"input_width_px": 320, "input_height_px": 192, "batch_max": 4},
            "framing": {"width_px": 256, "height_px": 144},
        }
    )
    made = {}
    for name in ("cpu", "cuda"):
        backend = load_backend(name)
        monkeypatch.setattr(in_process, "load_backend", lambda _, chosen=backend: chosen)
        out = tmp_path / name
        out.mkdir()
        with in_process.InProcessLane(settings, streams=1, pool_bytes=64 << 20) as lane:
            status = lane.run(in_process.job_for(source, out, settings), 120)
        assert status.error is None
        with av.open(str(out / "talk.dualface.mp4")) as container:
            told = container.streams.video[0].codec_context
            assert (told.profile, told.pix_fmt) == ("Main 10", "yuv420p10le")
            assert (told.colorspace, told.color_primaries, told.color_trc, told.color_range) == (9, 9, 18, 1)
        made[name] = decode_all(out / "talk.dualface.mp4", settings).slots
    assert len(made["cpu"]) == len(made["cuda"]) == 12
    for first, second in zip(made["cpu"], made["cuda"], strict=True):
        apart = np.abs((first >> 6).astype(int) - (second >> 6))
        assert apart.mean() < 1, "of 1023: 8 bits would be coarser, another matrix or range far off"


@pytest.mark.parametrize("layout", [PixelLayout.P010, PixelLayout.NV12])
def test_only_hdr_is_composed_in_ten_bits(cupy: Any, layout: PixelLayout) -> None:
    """As the CPU lane: one compositor serves streams of either kind, and SDR is 8 bits whatever its slots hold."""
    from dataclasses import replace

    keep = Settings.model_validate({"encode": {"hdr": "keep", "codec": "hevc"}})
    sample = np.uint8 if layout is PixelLayout.NV12 else np.uint16
    sdr = replace(INFO, layout=layout, colour=Colour(matrix=1))
    pq = replace(sdr, colour=Colour(matrix=9, primaries=9, transfer=16))
    slot = cupy.full((96, 96), 100 if sample is np.uint8 else 100 << 8, sample)
    half = FramePlan(0, 0, (CanvasPlan(64, 48, (TilePlan((0, 0, 96, 64), 0, 0, 32, 48),)),))
    found = []
    for settings in (keep, Settings()):
        compositor = load_backend("cuda").open_compositor(settings)
        for info in (sdr, pq, sdr):
            ((canvas,),) = compositor.compose(info, [slot], [half])
            found.append(canvas.dtype)
            scale = 256 if canvas.dtype == np.uint16 else 1
            assert (np.asarray(canvas)[:48, :32] == 100 * scale).all()
            assert (np.asarray(canvas)[:48, 32:] == 16 * scale).all(), "bare parts are black in either depth"
        compositor.close()
    assert found == [np.uint8, np.uint16, np.uint8, np.uint8, np.uint8, np.uint8]


def test_the_ring_of_pinned_memory_holds_ten_bits(cupy: Any) -> None:
    from dualface_ray.backends.cpu.encode import CpuEncodeSession
    from dualface_ray.errors import EncodeError

    spec = EncodeSpec(64, 48, Fraction(1, 30), Fraction(30), codec="hevc", bits=10, preset="ultrafast", gop_frames=10)
    rng = np.random.default_rng(3)
    pictures = [(rng.integers(200, 800, (72, 64)) << 6).astype(np.uint16) for _ in range(12)]
    alone, through = CpuEncodeSession(spec), load_backend("cuda").open_encoder(spec)
    wanted = [p for n, one in enumerate(pictures) for p in alone.encode(one, n)] + alone.finish()
    with pytest.raises(EncodeError, match=r"must be uint16 \(72, 64\), not uint8"):
        through.encode(cupy.zeros((72, 64), np.uint8), 0)
    found = [p for n, one in enumerate(pictures) for p in through.encode(cupy.asarray(one), n)] + through.finish()
    assert found == wanted
    through.close()
    alone.close()


def test_the_steps_for_cards_run_on_the_stand_in(nvdec: Any, tmp_path: Path) -> None:
    encoding.encode(tmp_path)
    encoding.encode_ten_bits(tmp_path)
