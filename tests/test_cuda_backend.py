"""The GPU backend's edges without a GPU: imports, plans, tokens, encoder sessions and their gate."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dualface_ray.backends import LaneShape, StreamShape, choose_plan, load_backend, next_smaller
from dualface_ray.backends.cpu.backend import CpuBackend
from dualface_ray.backends.cpu.encode import CpuEncodeSession
from dualface_ray.backends.cuda import vendor
from dualface_ray.backends.cuda.arena import pack_token, unpack_token
from dualface_ray.backends.cuda.backend import CudaBackend
from dualface_ray.backends.cuda.gate import SessionGate, gate_folder, known_machine_cap, lacks_encoder, machine_folder
from dualface_ray.backends.cuda.hostenc import HostEncodeSession
from dualface_ray.backends.cuda.nvenc import NvencSession, parameters
from dualface_ray.backends.cuda.plan import MIB, add_up
from dualface_ray.errors import (
    DeviceError,
    EncodeError,
    EncoderSessionsExhausted,
    VramBudgetError,
)
from dualface_ray.media import EncodeSpec
from dualface_ray.settings import Settings, resolve

GIB = 1024 * MIB
PICTURE = 1920 * 1080 * 3 // 2
HD = LaneShape(videos=(StreamShape(PICTURE, 56, 30),) * 40, streams=16, batch=64, inputs=2, decoders=2)


def test_importing_the_backend_imports_no_vendor_library() -> None:
    code = (
        "import sys; from dualface_ray.backends import load_backend; load_backend('cuda'); "
        "bad = {'cupy', 'tensorrt', 'PyNvVideoCodec', 'pynvml'} & {m.split('.')[0] for m in sys.modules}; "
        "sys.exit(repr(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("models")
def test_reports_name_models_and_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CudaBackend()
    monkeypatch.setattr(
        backend, "build_detector", lambda settings, say: [Path("a-64x640x384.engine"), Path("b.engine")]
    )
    monkeypatch.setattr(vendor, "device", lambda: types.SimpleNamespace(name="NVIDIA H200"))
    monkeypatch.setattr(vendor, "gpus", lambda: (types.SimpleNamespace(driver="580.159.04"),))
    monkeypatch.setattr(backend, "build_embedder", lambda settings, say: [Path("c-16x150x150.engine")])
    found = backend.provenance(resolve())
    assert found.models == CpuBackend().provenance(resolve()).models
    assert found.engines == {"detector": "a-64x640x384, b", "embedding": "c-16x150x150"}
    assert found.lane("cuda") == "cuda on NVIDIA H200, driver 580.159.04"
    assert CpuBackend().provenance(resolve()).lane("cpu") == "cpu"
    without = backend.provenance(resolve(reid="off"))
    assert without.models == {"detector": found.models["detector"]}
    assert without.engines == {"detector": "a-64x640x384, b"}


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a device")
def test_without_a_device_every_factory_says_so(tmp_path: Path) -> None:
    backend = load_backend("cuda")
    spec = EncodeSpec(64, 64, Fraction(1, 30), Fraction(30))
    for call in (
        lambda: backend.create_arena(1 << 20, 4),
        lambda: backend.open_compositor(Settings()),
        lambda: backend.open_encoder(spec),
        lambda: backend.load_detector(Settings(), 1),
    ):
        with pytest.raises(DeviceError) as caught:
            call()
        assert "lane.backend=cpu" in caught.value.remedy


# --- the plan ------------------------------------------------------------------------------------------------------
def chain(card_bytes: int, shape: LaneShape = HD) -> list:
    plan, found = choose_plan(card_bytes, 0.65, shape), []
    while plan is not None:
        found.append(plan)
        plan = next_smaller(plan)
    return found


def test_a_full_lane_fits_a_large_card_and_a_smaller_one_a_small_card() -> None:
    plan = choose_plan(80 * GIB, 0.65, HD)
    assert plan.shape == HD
    assert plan.arenas_bytes >= 16 * 86 * PICTURE
    assert plan.total_bytes <= plan.budget_bytes == int(80 * GIB * 0.65)
    small = choose_plan(8 * GIB, 0.65, HD)
    assert small.shape.batch == 16, "the batch gives way first"
    assert 1 < small.shape.streams < 16
    assert small.shape.lookahead == 1, "and the look-ahead, which changes results, last"


@pytest.mark.parametrize("share", [0.0, 0.71, 1.0, -1.0])
def test_more_than_seventy_percent_is_refused(share: float) -> None:
    with pytest.raises(VramBudgetError, match=r"0\.70"):
        choose_plan(80 * GIB, share, HD)


def test_an_encoder_process_may_have_more_than_its_even_share() -> None:
    shape = replace(HD, streams=3, decoders=2, encoders=2)
    needed = add_up(1 << 40, 0.5, shape).total_bytes
    plan = add_up(2 * needed, 0.5, shape)
    assert plan.fits
    assert plan.budget_bytes == needed, "nothing is to spare"
    assert plan.compositor_pool_bytes >= 2 * shape.canvas_bytes * shape.canvases_held


@pytest.mark.parametrize("card_gib", [4, 6, 8, 12, 16, 24, 48, 141])
def test_plans_are_the_largest_that_fit_and_shrink_strictly(card_gib: int) -> None:
    plans = chain(card_gib * GIB)
    sizes = [plan.total_bytes for plan in plans]
    assert sizes == sorted(set(sizes), reverse=True)
    assert plans[-1].shape.streams == plans[-1].shape.batch == 1
    for plan in plans:
        assert plan.fits
        assert plan.budget_bytes <= int(card_gib * GIB * 0.65)
        pools = plan.inference_pool_bytes + plan.shape.encoders * plan.compositor_pool_bytes
        outside = plan.contexts_bytes + plan.engines_bytes + plan.decoders_bytes + plan.arenas_bytes
        assert pools + outside <= plan.budget_bytes, "the limits themselves keep the share"
        assert plan.inference_pool_bytes >= plan.inference_bytes
        assert plan.compositor_pool_bytes * plan.shape.encoders >= plan.compositors_bytes - plan.shape.encoders
    if plans[0].shape.streams < HD.streams:
        more = replace(plans[0].shape, streams=plans[0].shape.streams + 1)
        assert not add_up(card_gib * GIB, 0.65, more).fits


def test_a_lane_that_ran_out_halves_its_streams_then_its_batch_then_the_look_ahead() -> None:
    steps = [(p.shape.streams, p.shape.batch, p.shape.lookahead) for p in chain(141 * GIB)]
    assert steps[:5] == [(16, 64, 1), (8, 64, 1), (4, 64, 1), (2, 64, 1), (1, 64, 1)]
    assert steps[5:] == [(1, 16, 1), (1, 4, 1), (1, 1, 1), (1, 1, 0.5), (1, 1, 0.25)]


def test_a_large_video_among_small_ones_counts_once_in_each_pool() -> None:
    large, small = StreamShape(4 * PICTURE, 86), StreamShape(PICTURE, 86)
    shape = LaneShape(videos=(small, large, *(small,) * 20), streams=8, batch=64, decoders=2)
    assert shape.arena_bytes == (4 + 3) * 86 * PICTURE
    assert replace(shape, arena_limit_bytes=100).arena_bytes == 50


def test_nothing_fits_is_an_error_with_numbers() -> None:
    with pytest.raises(VramBudgetError, match=r"not even one stream.*frames .* MiB of 666 MiB") as caught:
        choose_plan(GIB, 0.65, HD)
    assert "lane.backend=cpu" in caught.value.remedy


# --- tokens --------------------------------------------------------------------------------------------------------
def test_tokens_survive_the_journey_and_damage_is_noticed() -> None:
    token = pack_token(b"h" * 64, b"u" * 16, 123, b"page")
    assert unpack_token(token) == (b"h" * 64, b"u" * 16, 123, b"page")
    for broken in (b"", b"{}", b"[1]", token[:-4], pack_token(b"h" * 63, b"u" * 16, 1, b"p"), b"\xff\x00"):
        with pytest.raises(DeviceError):
            unpack_token(broken)


# --- the gate ------------------------------------------------------------------------------------------------------
def test_the_gate_counts_across_processes_and_forgets_the_dead(tmp_path: Path) -> None:
    gate = SessionGate(2, tmp_path)
    first, second = gate.enter("a"), gate.enter("b")
    code = (
        "import sys; from pathlib import Path; from dualface_ray.backends.cuda.gate import SessionGate\n"
        f"place = SessionGate(2, Path({str(tmp_path)!r})).enter('c'); print('in', flush=True); sys.stdin.read()"
    )
    refused = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True)
    assert "EncoderSessionsExhausted" in refused.stderr
    second.leave()
    second.leave()
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        with pytest.raises(EncoderSessionsExhausted, match="2 encoder sessions"):
            gate.enter("d")
        child.kill()
    gate.enter("d").leave()
    first.leave()
    SessionGate(0, tmp_path).enter("unlimited").leave()


def test_the_machines_sessions_are_counted_over_all_its_cards(tmp_path: Path) -> None:
    """Two runs, each with a card and a plan of its own; the driver's cap is one for both."""

    def gate(card: str, limit: int) -> SessionGate:
        return SessionGate(limit, tmp_path / card, wider=SessionGate(3, tmp_path / "machine", of="machine"))

    first = [gate("a", 2).enter("x") for _ in range(2)]
    with pytest.raises(EncoderSessionsExhausted, match="2 encoder sessions of this lane"):
        gate("a", 2).enter("x")
    third = gate("b", 2).enter("y")
    for _ in range(3):  # a place of the card that stayed taken would be what is refused next
        with pytest.raises(EncoderSessionsExhausted, match="3 encoder sessions of this machine"):
            gate("b", 2).enter("y")
    first[0].leave()
    first[0].leave()
    fourth = gate("b", 2).enter("y")
    with pytest.raises(EncoderSessionsExhausted, match="of this machine"):
        gate("c", 0).enter("z")
    for slot in (first[1], third, fourth):
        slot.leave()
    assert len([gate("c", 0).enter("z") for _ in range(3)]) == 3


@pytest.mark.parametrize(
    ("card", "driver", "cap"),
    [
        ("NVIDIA GeForce RTX 4090", "550.54.14", 8),
        ("NVIDIA GeForce RTX 4090", "591.59", 12),
        ("NVIDIA GeForce RTX 4090", "", 12),
        ("NVIDIA GeForce GTX 1650", "535.104.05", 5),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "550.54", 8),
        ("NVIDIA L4", "550.54.14", 0),
        ("NVIDIA H200", "580.65.06", 0),
        ("NVIDIA RTX A6000", "550.54.14", 0),
    ],
)
def test_what_is_known_of_the_cap_of_a_machine(card: str, driver: str, cap: int) -> None:
    assert known_machine_cap(card, driver) == cap


@pytest.mark.parametrize("trouble", ["another's", "open", "link", "file", "unwritable", "no locks"])
def test_a_folder_that_cannot_hold_the_locks_is_one_clear_error(tmp_path, monkeypatch, trouble: str) -> None:
    folder = tmp_path / "gate"
    if trouble == "file":
        folder.touch()
    elif trouble == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir(mode=0o700)
    if trouble == "open":
        folder.chmod(0o777)
    elif trouble == "another's":
        monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    elif trouble == "unwritable":
        (folder / "session-0.lock").mkdir()  # refused to root as well, which a mode would not be
    elif trouble == "no locks":
        monkeypatch.setattr("fcntl.flock", lambda *_given: (_ for _ in ()).throw(OSError(37, "No locks available")))
    with pytest.raises(
        DeviceError, match=r"gate: encoder sessions cannot be counted here: .*\. Remove it, or set TMPDIR"
    ):
        SessionGate(1, folder).enter("x")
    SessionGate(0, folder).enter("unlimited").leave()


def test_the_lock_folder_of_a_card_lies_right_below_the_temporary_one() -> None:
    """In a sticky folder a name of ours is ours; below a folder of somebody else's it would be theirs to swap."""
    first, second = gate_folder(b"1" * 16), gate_folder(b"2" * 16)
    assert first != second
    assert first.parent == second.parent == Path(tempfile.gettempdir())
    assert str(os.getuid()) in first.name
    assert machine_folder().parent == first.parent
    assert str(os.getuid()) in machine_folder().name


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("NVIDIA H200", True),
        ("NVIDIA A100-SXM4-80GB", True),
        ("NVIDIA H100 80GB HBM3", True),
        ("NVIDIA L4", False),
        ("NVIDIA A10", False),
        ("NVIDIA GeForce RTX 4090", False),
        ("NVIDIA RTX A1000 Laptop GPU", False),
        ("NVIDIA RTX A3000", False),
    ],
)
def test_cards_without_an_encoder_are_known_by_name(name: str, lacks: bool) -> None:
    assert lacks_encoder(name) is lacks


# --- NVENC, with a double that enforces its rules --------------------------------------------------------------------
class FakeArray:
    """A canvas as CuPy would show it."""

    def __init__(self, width: int, height: int, sample: type = np.uint8) -> None:
        self.pixels = np.zeros((height * 3 // 2, width), sample)
        self.shape, self.dtype = self.pixels.shape, self.pixels.dtype
        self.data = self
        self.ptr = self.pixels.ctypes.data


class Stream:
    ptr = 1

    def __init__(self) -> None:
        self.waits = 0

    def synchronize(self) -> None:
        self.waits += 1


class Encoder:
    open = 0

    def __init__(self, library: Library, width: int, height: int, kind: str) -> None:
        self.nvidia, self.width, self.height = library, width, height
        self.bytes = 2 if kind == "P010" else 1
        self.held: list[int] = []

    def GetSequenceParams(self) -> bytes:  # noqa: N802 - the library's name
        return b"\0\0\0\1sps"

    def Encode(self, frame: object, picture: Picture) -> list[dict[str, object]]:  # noqa: N802
        luma, chroma = frame.cuda()
        first, second = luma.__cuda_array_interface__, chroma.__cuda_array_interface__
        assert first["shape"] == (self.height, self.width, 1)
        assert second["shape"] == (self.height // 2, self.width // 2, 2)
        assert second["data"][0] == first["data"][0] + self.width * self.height * self.bytes
        for plane in (first, second):  # as 2.2.4 checks them; strides of None are not looked at
            assert plane["typestr"] == f"|u{self.bytes}"
            if plane["strides"] is not None:
                pair = 1 if plane is first or self.bytes == 2 else 2
                assert plane["strides"] == (self.width * self.bytes, pair * self.bytes, 1)
        self.held.append(picture.inputTimeStamp)
        return self._give(3)

    def EndEncode(self) -> list[dict[str, object]]:  # noqa: N802
        return self._give(0)

    def _give(self, keep: int) -> list[dict[str, object]]:
        out = []
        while len(self.held) > keep:
            number = self.held.pop(0)
            out.append({"data": b"x", "timestamp": number, "picture_type": 3 if number % 4 == 0 else 0})
        return out

    def __del__(self) -> None:
        self.nvidia.sessions -= 1


class Picture:
    inputTimeStamp = 0  # noqa: N815 - the library's name


class Library:
    """As many sessions as a driver allows; options as strings."""

    NV_ENC_PIC_PARAMS = Picture

    def __init__(self, limit: int, code: int = 10) -> None:
        self.limit, self.code, self.sessions = limit, code, 0
        self.options: dict[str, object] = {}

    def CreateEncoder(self, width: int, height: int, kind: str, cpu: bool, **options: object) -> Encoder:  # noqa: N802
        assert kind in ("NV12", "P010")
        assert cpu is False
        self.kind = kind
        self.options = options
        if self.sessions >= self.limit:
            raise RuntimeError(f"m_nvenc.nvEncOpenEncodeSessionEx(&params, &hEncoder) returned error {self.code}\n at")
        self.sessions += 1
        return Encoder(self, width, height, kind)


SPEC = EncodeSpec(64, 48, Fraction(1, 30000), Fraction(30000, 1001), gop_frames=4)


def test_nvenc_gives_every_picture_its_time_and_waits_for_its_copy(tmp_path: Path) -> None:
    library, stream, back = Library(1), Stream(), []
    session = NvencSession(SPEC, SessionGate(0, tmp_path), library, stream, 5, back.append)
    assert session.name == "nvenc h264, P2"
    assert library.options["cudacontext"] == 5
    assert library.options["cudastream"] == 1
    assert session.extradata
    packets = []
    for number in range(10):
        packets += session.encode(FakeArray(64, 48), 1001 * number)
        assert stream.waits == number + 1
    packets += session.finish()
    assert [p.pts_ticks for p in packets] == [1001 * n for n in range(10)]
    assert [p.key for p in packets] == [n % 4 == 0 for n in range(10)]
    session.close()
    session.close()
    assert library.sessions == 0
    assert back == [stream]
    with pytest.raises(EncodeError, match="closed"):
        session.encode(FakeArray(64, 48), 99999)


@pytest.mark.parametrize("code", [10, 21])
def test_a_driver_without_sessions_is_a_typed_error_and_frees_its_place(tmp_path: Path, code: int) -> None:
    library, gate = Library(1, code), SessionGate(2, tmp_path)
    first = NvencSession(SPEC, gate, library, Stream(), 0)
    for _ in range(3):  # a place that stayed taken would make the gate refuse instead of the driver
        with pytest.raises(EncoderSessionsExhausted, match="driver"):
            NvencSession(SPEC, gate, library, Stream(), 0)
    first.close()
    NvencSession(SPEC, gate, library, Stream(), 0).close()
    with pytest.raises(EncodeError, match="returned error 2"):
        NvencSession(SPEC, gate, Library(0, 2), Stream(), 0)


def test_nvenc_refuses_wrong_pictures_and_times(tmp_path: Path) -> None:
    session = NvencSession(SPEC, SessionGate(0, tmp_path), Library(1), Stream(), 0)
    session.encode(FakeArray(64, 48), 5)
    with pytest.raises(EncodeError, match="increase"):
        session.encode(FakeArray(64, 48), 5)
    for wrong in (FakeArray(64, 64), FakeArray(64, 48, np.uint16)):
        with pytest.raises(EncodeError, match="a canvas must be uint8"):
            session.encode(wrong, 6)
    session.close()


def test_nvenc_takes_ten_bits_for_hevc_alone(tmp_path: Path) -> None:
    library, deep = Library(1), replace(SPEC, codec="hevc", bits=10)
    session = NvencSession(deep, SessionGate(0, tmp_path), library, Stream(), 0)
    assert library.kind == "P010"
    packets = [p for n in range(5) for p in session.encode(FakeArray(64, 48, np.uint16), n)] + session.finish()
    assert len(packets) == 5
    session.close()
    with pytest.raises(EncodeError, match="a canvas must be uint16"):
        NvencSession(deep, SessionGate(0, tmp_path), library, Stream(), 0).encode(FakeArray(64, 48), 0)
    for codec in ("h264", "av1"):
        with pytest.raises(EncodeError, match=f"{codec} is not written with 10 bits"):
            NvencSession(replace(deep, codec=codec), SessionGate(0, tmp_path), library, Stream(), 0)


def test_parameters_are_strings_and_fixed() -> None:
    options = parameters(SPEC)
    assert all(isinstance(value, str) for value in options.values())
    assert (options["bf"], options["lookahead"], options["gop"], options["idrperiod"]) == ("0", "0", "4", "4")
    assert options["fps"] == "30"
    assert options["preset"] == "P2"
    steps = {"placebo": "P7", "p3": "P3", "13": "P1", "10": "P2", "8": "P3", "6": "P4", "5": "P5", "4": "P6", "0": "P7"}
    assert {name: parameters(replace(SPEC, preset=name))["preset"] for name in steps} == steps
    for codec in ("h264", "hevc", "av1"):
        assert "colorspace" not in parameters(replace(SPEC, codec=codec)), "it marks AV1 as full range"
    assert parameters(EncodeSpec(64, 48, Fraction(1, 30), Fraction(30), codec="av1"))["use_ivf_container"] == "0"


# --- CPU encoders behind a ring ------------------------------------------------------------------------------------
class HostDownloader:
    """Canvases that lie in host memory already."""

    closed = False

    def slots(self, count: int, shape: tuple[int, int], sample: np.dtype) -> list[np.ndarray]:
        return [np.zeros(shape, sample) for _ in range(count)]

    def fetch(self, canvas: np.ndarray, slot: np.ndarray) -> None:
        slot[:] = canvas

    def close(self) -> None:
        self.closed = True


def canvases(count: int) -> list[np.ndarray]:
    y, x = np.mgrid[0:96, 0:64]
    return [((x * 3 + y * 2 + 5 * n) % 200 + 20).astype(np.uint8) for n in range(count)]


def test_packets_through_the_ring_are_those_of_the_encoder_alone() -> None:
    spec = EncodeSpec(64, 64, Fraction(1, 30), Fraction(30), gop_frames=10)
    pictures = canvases(40)
    alone = CpuEncodeSession(spec)
    expected = [packet for n, p in enumerate(pictures) for packet in alone.encode(p, n)] + alone.finish()
    with ThreadPoolExecutor(2) as pool:
        downloaders = [HostDownloader() for _ in range(3)]
        sessions = [HostEncodeSession(spec, CpuEncodeSession(spec), pool, one) for one in downloaders]
        found: list[list] = [[] for _ in sessions]
        scratch = np.empty_like(pictures[0])
        for number, picture in enumerate(pictures):
            for index, session in enumerate(sessions):
                scratch[:] = picture
                found[index] += session.encode(scratch, number)
                scratch[:] = 0  # it has been read completely on return
        for index, session in enumerate(sessions):
            assert session.extradata == alone.extradata
            assert session.name == "libx264, 1 thread, at most 1 at once in its process"
            found[index] += session.finish()
            assert not downloaders[index].closed
            session.close()
            session.close()
            assert downloaders[index].closed, "its stream is another video's now"
    for packets in found:
        assert packets == expected


class Failing:
    """An encoder that breaks at its third picture, or stands still until told."""

    extradata = b""

    def __init__(self, spec: EncodeSpec, gate: threading.Event | None = None) -> None:
        self.spec, self.seen, self.gate = spec, 0, gate

    def encode(self, canvas: np.ndarray, pts_ticks: int) -> list:
        if self.gate is not None:
            self.gate.wait(20)
        self.seen += 1
        if self.seen == 3:
            raise EncodeError("disk on fire")
        return []

    def finish(self) -> list:
        return []

    def close(self) -> None:
        """Nothing to free."""


def test_an_error_in_a_worker_reaches_the_caller_and_nothing_hangs() -> None:
    spec = EncodeSpec(64, 64, Fraction(1, 30), Fraction(30))
    with ThreadPoolExecutor(1) as pool:
        session = HostEncodeSession(spec, Failing(spec), pool, HostDownloader(), ring_slots=2)
        pictures = canvases(20)

        def feed() -> None:
            for number, picture in enumerate(pictures):
                session.encode(picture, number)

        with pytest.raises(EncodeError, match="fire"):
            feed()
        with pytest.raises(EncodeError, match="fire"):
            session.finish()
        session.close()


def test_a_full_ring_is_back_pressure_and_close_does_not_wait_for_the_queue() -> None:
    spec = EncodeSpec(64, 64, Fraction(1, 30), Fraction(30))
    gate = threading.Event()
    inner = Failing(spec, gate)
    inner.seen = 100
    with ThreadPoolExecutor(1) as pool:
        session = HostEncodeSession(spec, inner, pool, HostDownloader(), ring_slots=3)
        pictures = canvases(4)
        for number in range(3):
            session.encode(pictures[number], number)
        blocked = threading.Thread(target=session.encode, args=(pictures[3], 3))
        blocked.start()
        blocked.join(0.2)
        assert blocked.is_alive()  # no slot is free while the worker stands still
        gate.set()
        blocked.join(10)
        assert not blocked.is_alive()
        session.close()
        assert inner.seen <= 104


def test_the_folder_of_the_gate_is_private(tmp_path: Path) -> None:
    SessionGate(1, tmp_path / "gate").enter("x").leave()
    assert (tmp_path / "gate").stat().st_mode & 0o077 == 0
