"""Probing: parts that crash, hang and lie; what was found becomes facts, a comparison and a profile."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
import time
import types
from inspect import Parameter, signature
from pathlib import Path

import pytest
import yaml
from fake_nvidia import ROOT, fake_environment, fake_pynvml
from made_up_cards import MIB, card

from dualface_ray.cli.machine import ProbeRequest, chosen_cards
from dualface_ray.errors import ProfileError, RequestError
from dualface_ray.hardware import (
    CardFacts,
    CardProbe,
    CodecLimits,
    DriverFacts,
    EngineFacts,
    GpuMeter,
    SessionFacts,
    Unknown,
    check_verified,
    compare,
    confirmed,
    gpus,
    load_profile,
    measured_profile,
    plain,
    probe_card,
    probe_disk,
    profile_text,
    read_profile,
    visible,
)
from dualface_ray.hardware.child import Outcome, run_part
from dualface_ray.hardware.codecs import ask_decoder, ask_encoder, lacks_encoder
from dualface_ray.hardware.disk import filesystem, largest
from dualface_ray.hardware.driver import read_driver
from dualface_ray.hardware.facts import driver_facts, known
from dualface_ray.hardware.ipc import exchange
from dualface_ray.hardware.probing import card_slug, engine_facts, session_facts
from dualface_ray.hardware.sessions import exhausted, open_sessions

REST = "-0000-5000-8000-000000000000"
"""Of the UUIDs of pretend instances."""
TODAY = datetime.date(2026, 11, 23)


# --- the child -----------------------------------------------------------------------------------------------------
def script(text: str) -> list[str]:
    head = "import json, os, signal, sys, time\nname, given, fd, limit = sys.argv[1:5]\n"
    tell = "def tell(**e): os.write(int(fd), json.dumps(e).encode() + b'\\n')\n"
    return [sys.executable, "-c", head + tell + text]


def outcome(text: str, limit_s: float = 20.0) -> Outcome:
    return run_part("x", {"a": 1}, title="the decoder library", limit_s=limit_s, command=script(text))


def test_a_part_answers():
    found = outcome("tell(progress=1); tell(progress=2); tell(value={'x': [1, name, given]})")
    assert found == Outcome({"x": [1, "x", '{"a": 1}']}, progress=(1, 2))


def test_a_part_that_says_no():
    found = outcome("tell(failure='no such card'); sys.exit(1)")
    assert (found.value, found.why, found.ended) == (None, "no such card", "failed")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the decoder library crashed: signal 11 (SIGSEGV)"),
        ("os.abort()", "the decoder library crashed: signal 6 (SIGABRT)"),
        ("os._exit(3)", "the decoder library ended its process with code 3"),
        ("print('cannot find libx'); sys.exit('sorry')", "ended its process with code 1: sorry"),
        ("os.write(int(fd), b'\\xff{{{ not json\\n[1]\\n17\\n' + b'[' * 9000)", "ended its process with code 0"),
        ("os.close(int(fd))", "ended its process with code 0"),
    ],
)
def test_an_end_without_an_answer_is_a_finding(text, says):
    found = outcome("tell(progress=5);" + text)
    assert found.value is None
    assert says in found.why
    assert found.progress == (5,)
    assert found.ended == "crashed"


def test_a_part_that_hangs_is_killed_with_its_children(tmp_path):
    mark = tmp_path / "alive"
    child = f"import pathlib,time; time.sleep(4); pathlib.Path({str(mark)!r}).write_text('x')"
    text = f"import subprocess; subprocess.Popen([sys.executable, '-c', {child!r}]); tell(progress=7); time.sleep(600)"
    started = time.monotonic()
    found = outcome(text, limit_s=1.5)
    assert time.monotonic() - started < 4
    assert (found.why, found.progress, found.ended) == ("the decoder library gave no answer in 1.5 s", (7,), "time")
    time.sleep(4)
    assert not mark.exists()


def test_a_part_that_floods_its_output_does_not_stop_anything():
    found = outcome("sys.stdout.write('x' * 20_000_000); sys.stdout.flush(); tell(value=1)")
    assert found.value == 1


def test_a_program_that_cannot_start_is_a_finding():
    found = run_part("x", {}, title="it", limit_s=5, command=["/nonexistent/program"])
    assert found.value is None
    assert "No such file" in found.why


def test_real_parts_tighten_their_process_and_name_what_they_lack():
    found = run_part("versions", {"module": "no_such_module_here"}, title="it", limit_s=30)
    assert "no_such_module_here" in found.why
    found = run_part("no such part", {}, title="it", limit_s=30)
    assert "no such part" in found.why
    found = run_part("libraries", {"names": ["libc.so.6", "libnonsense.so.9"]}, title="it", limit_s=30)
    assert found.progress[0] == ["libc.so.6", ""]
    assert "libnonsense" in found.progress[1][1]


def test_the_current_folder_is_no_place_for_libraries(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("__version__ = 'evil'")
    monkeypatch.chdir(tmp_path)
    found = run_part("versions", {"module": "planted"}, title="it", limit_s=60)
    assert "planted" in found.why


# --- NVML ----------------------------------------------------------------------------------------------------------
class NvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


CALLS = {
    "nvmlInit": None,
    "nvmlShutdown": None,
    "nvmlSystemGetDriverVersion": b"580.1",
    "nvmlSystemGetCudaDriverVersion_v2": 12080,
    "nvmlDeviceGetCount": 2,
    "nvmlDeviceGetHandleByIndex": 0,
    "nvmlDeviceGetName": "Card",
    "nvmlDeviceGetUUID": b"GPU-1",
    "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=1 << 34, used=1 << 30),
    "nvmlDeviceGetCudaComputeCapability": (8, 9),
    "nvmlDeviceGetMigMode": [0, 0],
    "nvmlDeviceGetComputeMode": 0,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetTemperature": 40,
    "nvmlDeviceGetCurrentClocksEventReasons": 0,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0,
    "nvmlDeviceGetRemappedRows": (0, 0, 0, 0),
    "nvmlDeviceGetRetiredPages": [],
    "nvmlDeviceGetRetiredPagesPendingStatus": 0,
    "nvmlDeviceGetEccMode": (1, 1),
    "nvmlDeviceGetTotalEccErrors": 0,
    "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=12),
    "nvmlDeviceGetDecoderUtilization": (5, 100),
    "nvmlDeviceGetEncoderUtilization": (0, 100),
    "nvmlDeviceGetEncoderStats": (1, 30, 900),
    "nvmlDeviceGetComputeRunningProcesses": [types.SimpleNamespace(pid=7, usedGpuMemory=None)],
    "nvmlDeviceGetGraphicsRunningProcesses": [types.SimpleNamespace(pid=8, usedGpuMemory=100)],
}


def nvml(failing: str = "", code: int = 999, only_card: int | None = None) -> types.SimpleNamespace:
    def call(name, value):
        def answer(*given):
            if name == failing and (only_card is None or given[:1] == (only_card,)):
                raise NvmlError(code)
            return value

        return answer

    library = types.SimpleNamespace(NVMLError=NvmlError, **{name: call(name, value) for name, value in CALLS.items()})
    if failing != "nvmlDeviceGetHandleByIndex":
        library.nvmlDeviceGetHandleByIndex = lambda index: index
    return library


def read(library: object) -> DriverFacts:
    """Through JSON and back, as it comes out of its process."""
    return driver_facts(json.loads(json.dumps(plain(read_driver(lambda _: None, library)))))


def test_a_card_as_nvml_sees_it():
    facts = read(nvml())
    assert (facts.driver, facts.cuda, facts.error, len(facts.cards)) == ("580.1", "12.8", "", 2)
    card = facts.cards[1]
    assert (card.index, card.name, card.uuid, card.vram_bytes, card.open_sessions) == (1, "Card", "GPU-1", 1 << 34, 1)
    assert (card.mig, card.ecc, card.compute_capability, card.gpu_share) == (False, True, "8.9", 0.12)
    assert isinstance(card.processes, tuple)
    assert [(one.pid, one.kind) for one in card.processes] == [(7, "compute"), (8, "graphics")]
    assert isinstance(card.processes[0].memory_bytes, Unknown)


@pytest.mark.parametrize("code", [*range(1, 31), 999])
def test_every_error_of_nvml_is_told_not_raised(code):
    for failing in ("nvmlInit", "nvmlDeviceGetCount"):
        facts = read(nvml(failing, code))
        assert facts.cards == ()
        assert facts.error_code == code
        assert f"error {code}" in facts.error
    for failing in ("nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName"):
        assert read(nvml(failing, code)).error_code == code


ELSEWHERE = {
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetRetiredPages",
    "nvmlDeviceGetRetiredPagesPendingStatus",
}
"""What another call tells as well, or is asked only where another one is refused."""


@pytest.mark.parametrize("failing", [name for name in CALLS if name.startswith("nvmlDeviceGet")][3:])
def test_one_question_refused_leaves_the_others(failing):
    facts = read(nvml(failing, 3))
    assert [card.name for card in facts.cards] == ["Card", "Card"]
    unknown = [value for value in vars_of(facts.cards[0]).values() if isinstance(value, Unknown)]
    unknown.remove(Unknown("its decoder knows"))
    if failing not in ELSEWHERE:
        assert unknown
        assert all("error 3" in one.why for one in unknown)


def vars_of(card: CardFacts) -> dict[str, object]:
    return {name: getattr(card, name) for name in card.__dataclass_fields__}


def test_a_lost_card_does_not_hide_the_other():
    facts = read(nvml("nvmlDeviceGetName", 15, only_card=0))
    assert [card.index for card in facts.cards] == [1]
    assert facts.error == "card 0: NVML: error 15"
    assert facts.error_code == 15


def test_an_old_library_lacks_calls():
    library = nvml()
    del library.nvmlDeviceGetEncoderStats
    facts = read(library)
    assert isinstance(facts.cards[0].open_sessions, Unknown)
    assert "nvmlDeviceGetEncoderStats" in facts.cards[0].open_sessions.why


# --- instances of a card in MIG mode -------------------------------------------------------------------------------
def needed(call) -> int:
    return sum(one.default is Parameter.empty for one in signature(call).parameters.values())


def test_the_pretend_nvml_is_called_as_the_real_one():
    real, fake = pytest.importorskip("pynvml"), fake_pynvml()
    names = [name for name in vars(fake) if name.startswith("nvml")]
    assert len(names) > 25
    for name in names:
        assert needed(getattr(fake, name)) == needed(getattr(real, name)), name
    assert "sharedDecoderCount" in dict(real.c_nvmlDeviceAttributes._fields_)


def test_instances_stand_for_their_card_with_their_own_memory_and_decoders():
    facts = read(fake_pynvml(card="a100", mig="1g.5gb:0,3g.20gb:2"))
    assert facts.error == ""
    assert [(one.index, one.name, one.uuid, one.decoders, one.mig, one.instance) for one in facts.cards] == [
        (0, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", f"MIG-00000001{REST}", 0, True, True),
        (0, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", f"MIG-00000002{REST}", 2, True, True),
    ]
    assert [one.vram_bytes for one in facts.cards] == [4864 * MIB, 20224 * MIB]
    assert all(isinstance(one.gpu_share, Unknown) for one in facts.cards), "NVML does not tell it of instances"
    assert [one.label for one in facts.cards] == ["0 MIG-00000001", "0 MIG-00000002"]


def test_a_card_in_mig_mode_without_an_instance_is_seen_as_such():
    (one,) = read(fake_pynvml(card="a100", mig="none")).cards
    assert (one.mig, one.instance, one.uuid, one.label) == (True, False, "GPU-0123", "0")
    assert isinstance(one.vram_bytes, Unknown)


def test_what_cuda_could_use_of_a_card_in_mig_mode():
    found = gpus(fake_pynvml(card="a100", mig="1g.5gb:0,3g.20gb:2"))
    assert [(one.index, one.uuid, one.memory_bytes) for one in found] == [
        (0, f"MIG-00000001{REST}", 4864 * MIB),
        (0, f"MIG-00000002{REST}", 20224 * MIB),
    ]
    assert gpus(fake_pynvml(card="a100", mig="none")) == ()
    assert [one.uuid for one in gpus(fake_pynvml(card="a100"))] == ["GPU-0123"]
    assert [one.name for one in gpus(fake_pynvml(card="rtx4090"))] == ["NVIDIA GeForce RTX 4090"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (f"MIG-00000002{REST}", [1]),
        (f"MIG-00000002{REST},MIG-00000001{REST}", [1, 0]),
        ("MIG-00000002", []),
        (f"MIG-00000009{REST}", []),
        ("0", [0]),
        ("GPU-0123", []),
        (None, [0, 1]),
    ],
)
def test_instances_are_named_by_their_uuids(given, left):
    found = gpus(fake_pynvml(card="a100", mig="1g.5gb:0,3g.20gb:2"))
    environment = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
    assert [found.index(one) for one in visible(found, environment)] == left


def test_the_meter_of_an_instance_reads_nothing_and_one_of_no_card_does_not_open(monkeypatch):
    library = fake_pynvml(card="a100", mig="3g.20gb:2")
    library.nvmlDeviceGetHandleByUUID = lambda uuid: {f"MIG-00000001{REST}".encode(): 1}[uuid]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"MIG-00000001{REST}")
    meter = GpuMeter.open("", library)
    assert meter is not None
    assert meter.read() is None
    meter.close()
    for nothing in ("", "-1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert GpuMeter.open("", library) is None


def test_one_instance_is_chosen_for_a_profile_by_its_name():
    parts = [card(f"NVIDIA A100 MIG {name}", 0, uuid=f"MIG-{name}") for name in ("1g.5gb", "1g.5gb", "3g.20gb")]
    assert [one.uuid for one in chosen_cards(parts, ProbeRequest(card=0))] == ["MIG-1g.5gb", "MIG-3g.20gb"]
    with pytest.raises(RequestError, match="CUDA_VISIBLE_DEVICES=MIG-"):
        chosen_cards(parts, ProbeRequest(card=0, verify=True))
    assert [one.uuid for one in chosen_cards(parts[:2], ProbeRequest(card=0, verify=True))] == ["MIG-1g.5gb"]


# --- what is wrong with a card ---------------------------------------------------------------------------------------
def test_bad_memory_is_told_in_rows_or_in_pages():
    library = nvml()
    library.nvmlDeviceGetRemappedRows = lambda device: (2, 1, 1, 0)
    assert (read(library).cards[0].retired, read(library).cards[0].retiring) == (3, "pending")
    library.nvmlDeviceGetRemappedRows = lambda device: (512, 0, 1, 1)
    assert read(library).cards[0].retiring == "failed"
    library = nvml("nvmlDeviceGetRemappedRows", 3)
    library.nvmlDeviceGetRetiredPages = lambda device, cause: [4096, 8192] if cause == 1 else [1 << 20]
    library.nvmlDeviceGetRetiredPagesPendingStatus = lambda device: 1
    assert (read(library).cards[0].retired, read(library).cards[0].retiring) == (3, "pending")


@pytest.mark.parametrize(
    ("bits", "says"), [(0x1, ""), (0x4, ""), (0x28, "heat"), (0x60, "heat"), (0x48 | 0x80, "heat, power brake")]
)
def test_clocks_are_held_down_for_a_reason(bits, says):
    library = nvml()
    library.nvmlDeviceGetCurrentClocksEventReasons = lambda handle: bits
    assert read(library).cards[0].slowed == says
    library = nvml("nvmlDeviceGetCurrentClocksEventReasons", 13)  # a driver that does not know the new name
    library.nvmlDeviceGetCurrentClocksThrottleReasons = lambda handle: bits
    assert read(library).cards[0].slowed == says


@pytest.mark.parametrize(("mode", "says"), [(0, "default"), (2, "prohibited"), (3, "exclusive"), (7, "mode 7")])
def test_compute_modes(mode, says):
    library = nvml()
    library.nvmlDeviceGetComputeMode = lambda handle: mode
    assert read(library).cards[0].compute_mode == says


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("GPU-1", [1]),
        ("0,7,1", [0]),
        ("-1", []),
        ("GPU-", []),
        ("1,1", []),
        ("GPU-1,0,1", []),
        ("GPU-1abc,GPU-0abc", [1, 0]),
        ("GPU-9,0", []),
        (" 2 , 1", [2, 1]),
        ("MIG-xyz", []),
        ("NoDevFiles", []),
    ],
)
def test_cuda_visible_devices(given, left):
    cards = [card(index=index) for index in range(3)]
    environment = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
    assert [one.index for one in visible(cards, environment)] == left


# --- engines and sessions ------------------------------------------------------------------------------------------
class Names:
    def __getattr__(self, name: str) -> str:
        return name


class Codec:
    """A double of PyNvVideoCodec's queries."""

    cudaVideoCodec = Names()  # noqa: N815
    cudaVideoChromaFormat = Names()  # noqa: N815

    def __init__(self, encodes: object = ("h264",), sessions: int = 5, error: str = "returned error 21") -> None:
        self.encodes, self.sessions, self.error, self.open = encodes, sessions, error, 0

    def GetDecoderCaps(self, gpuid, codec, chromaformat, bitdepth):  # noqa: N802
        if codec == "VP9":
            raise RuntimeError("cuvidGetDecoderCaps returned error 100\n\n=== advice ===\nmore")
        return {"supported": int(codec != "AV1"), "num_decoder_engines": 7, "width_max": 4096, "height_max": 2304}

    def GetEncoderCaps(self, gpuid, codec):  # noqa: N802
        if isinstance(self.encodes, str):
            raise RuntimeError(self.encodes)
        return {"num_encoder_engines": 2} if codec in self.encodes else {}

    def CreateEncoder(self, *given, **options):  # noqa: N802
        if self.open >= self.sessions:
            raise RuntimeError(f"PyNvEncoder constructor failed: {self.error}")
        self.open += 1
        return object()


def told(part, *given) -> Outcome:
    progress: list[object] = []
    value = part(lambda found: progress.append(json.loads(json.dumps(plain(found)))), *given)
    return Outcome(value, progress=tuple(progress))


def test_decoder_capabilities_become_facts():
    facts = engine_facts(told(ask_decoder, Codec()))
    assert facts.engines == 7
    vp9 = next(one for one in facts.limits if one.codec == "vp9")
    assert vp9.supported == Unknown("cuvidGetDecoderCaps returned error 100")
    assert facts.codecs() == Unknown("vp9: cuvidGetDecoderCaps returned error 100")
    assert facts.limits[0] == CodecLimits("h264", 8, True, 4096, 2304)


def test_a_codec_that_the_driver_does_not_support_is_no_riddle():
    library = Codec()
    library.GetDecoderCaps = lambda **given: exec("raise RuntimeError('CUDA_ERROR_NOT_SUPPORTED (801)')")
    facts = engine_facts(told(ask_decoder, library))
    assert (facts.engines, facts.codecs()) == (0, ())


def test_encoder_capabilities_become_facts():
    facts = engine_facts(told(ask_encoder, Codec(("h264", "hevc"))))
    assert (facts.engines, facts.codecs()) == (2, ("h264", "hevc"))
    none = engine_facts(told(ask_encoder, Codec("nvEncOpenEncodeSessionEx(...) returned error 2 at NvEncoder.cpp:82")))
    assert (none.engines, none.codecs()) == (0, ())
    empty = engine_facts(told(ask_encoder, Codec(())))
    assert (empty.engines, empty.codecs()) == (0, ()), "a library that answers with nothing"
    busy = engine_facts(told(ask_encoder, Codec("nvEncOpenEncodeSessionEx(...) returned error 21")))
    assert isinstance(busy.engines, Unknown)
    assert isinstance(busy.codecs(), Unknown)


@pytest.mark.parametrize("number", [8, 12])
def test_an_encoder_that_does_not_know_a_codec_lacks_it(number):
    """As of cards before Ada, asked about AV1."""
    error = f"GetCapabilityValue : nvEncGetEncodeCaps(hEncoder, guid, &p, &v) returned error {number} at x.cpp:8"

    class Turing(Codec):
        def GetEncoderCaps(self, gpuid, codec):  # noqa: N802
            return super().GetEncoderCaps(gpuid, codec) or exec("raise RuntimeError(error)", {"error": error})

    facts = engine_facts(told(ask_encoder, Turing(("h264", "hevc"))))
    assert (facts.engines, facts.codecs()) == (2, ("h264", "hevc"))
    assert isinstance(engine_facts(told(ask_encoder, Codec(error))).codecs(), Unknown), "of every codec it is a riddle"


@pytest.mark.parametrize(
    ("text", "absent", "full"),
    [
        ("nvEncOpenEncodeSessionEx( … ) returned error 2 at /project/x.cpp:82", True, False),
        ("error code: 1", True, False),
        ("NV_ENC_ERR_UNSUPPORTED_DEVICE", True, False),
        ("returned error 21", False, True),
        ("returned error 10", False, True),
        ("NV_ENC_ERR_OUT_OF_MEMORY", False, True),
        ("returned error 12", False, False),
        ("returned error 8\n=== STEPS ===\nerror 2 means no device, error 10 no memory", False, False),
        ("returned error 100", False, False),
        ("Format NV12 is not supported by current encoder", False, False),
    ],
)
def test_the_words_of_the_driver(text, absent, full):
    assert lacks_encoder(text) == absent
    assert exhausted(text) == full


def test_engines_of_a_library_that_dies_are_unknown():
    whole = told(ask_decoder, Codec())
    part = Outcome(None, "the decoder library crashed: signal 11", whole.progress[:3], "crashed")
    facts = engine_facts(part)
    assert facts.engines == 7, "what was told before stands"
    assert facts.codecs() == Unknown("the decoder library crashed: signal 11")
    nothing = engine_facts(Outcome(None, "No module named 'PyNvVideoCodec'", ended="failed"))
    assert nothing.engines == nothing.codecs() == Unknown("No module named 'PyNvVideoCodec'")


@pytest.mark.parametrize(
    ("library", "bound", "opened", "ended"),
    [
        (Codec(sessions=5), 16, 5, "refused"),
        (Codec(sessions=99), 16, 16, "bound"),
        (Codec(sessions=0), 16, 0, "refused"),
        (Codec(sessions=3, error="returned error 8"), 16, 3, "failed"),
    ],
)
def test_sessions_are_counted(library, bound, opened, ended):
    outcome = told(open_sessions, bound, "h264", library)
    assert outcome.progress == tuple(range(1, opened + 1))
    facts = session_facts(outcome, bound, card())
    assert isinstance(facts, SessionFacts)
    assert (facts.opened, facts.ended, facts.disturbed) == (opened, ended, False)


def test_a_crash_on_the_one_too_many_is_a_count():
    died = Outcome(None, "the encoder library crashed: signal 11", (1, 2, 3), "crashed")
    facts = session_facts(died, 16, card(open_sessions=2), [card(open_sessions=2), card(open_sessions=1)])
    assert isinstance(facts, SessionFacts)
    assert (facts.opened, facts.ended, facts.beside, facts.disturbed) == (3, "crashed", 3, True)
    slow = session_facts(Outcome(None, "no answer", (1,), "time"), 16, card(processes=()))
    assert isinstance(slow, SessionFacts)
    assert slow.ended == "time"
    assert session_facts(Outcome(None, "crashed at once"), 16, card()) == Unknown("crashed at once")


def test_no_encoder_is_opened_where_the_profile_has_none():
    asked: list[str] = []

    def run(name, given, **rest):
        asked.append(name)
        return told(ask_decoder, Codec()) if name == "decoding" else told(ask_encoder, Codec("returned error 2"))

    h200 = card("NVIDIA H200")
    found = probe_card(h200, load_profile("h200"), verify=False, count_sessions=True, run=run)
    assert asked == ["decoding"]
    assert "--verify" in str(found.sessions)
    found = probe_card(h200, load_profile("h200"), verify=True, count_sessions=True, run=run)
    assert asked == ["decoding", "decoding", "encoding"], "no session where the encoder says there is none"
    assert found.encoding.codecs() == ()


# --- comparing and writing -----------------------------------------------------------------------------------------
DRIVER = DriverFacts("580.65.06", "13.0", ())


def engines(count: object, *codecs: str) -> EngineFacts:
    return EngineFacts(count, tuple(CodecLimits(codec, 8, True, 4096, 4096) for codec in codecs))  # type: ignore[arg-type]


GEFORCE = "NVIDIA GeForce RTX 4090"
ALL, THREE = ("h264", "hevc", "vp9", "av1"), ("h264", "hevc", "av1")
NONE = EngineFacts(0, (CodecLimits("h264", 8, False, 0, 0),))


def geforce(opened: int = 8, ended: str = "refused", beside: int = 0, **changes: object) -> CardProbe:
    sessions = SessionFacts(opened, 16, ended, "returned error 21", beside, bool(beside))
    vram = {"vram_bytes": 24564 * MIB, **changes}
    return CardProbe(card(GEFORCE, **vram), engines(1, *ALL), engines(2, *THREE), sessions)


def hopper(**changes: object) -> CardProbe:
    facts = card("NVIDIA H200", vram_bytes=143771 * MIB, **changes)
    return CardProbe(facts, engines(7, "h264", "hevc", "vp9"), NONE, Unknown("there is no NVENC"))


def verdicts(profile: str, probe: CardProbe, driver: DriverFacts = DRIVER) -> dict[str, str]:
    rows = compare(load_profile(profile), probe, driver)
    return {row.figure.split(",")[0]: row.verdict for row in rows}


def test_every_figure_of_the_real_card_is_confirmed():
    for profile, probe in (("rtx4090", geforce()), ("h200", hopper())):
        assert set(verdicts(profile, probe).values()) == {"ok"}
        assert confirmed(compare(load_profile(profile), probe, DRIVER))


@pytest.mark.parametrize(
    ("profile", "probe", "wrong"),
    [
        ("l4", geforce(), {"card", "decode.engines", "encode sessions"}),
        ("rtx4090", geforce(5), {"encode sessions"}),
        ("rtx4090", geforce(16, "bound"), {"encode sessions"}),
        ("rtx4090", geforce(vram_bytes=16380 * MIB), {"vram_bytes"}),
        ("h200", geforce(), {"card", "vram_bytes", "decode.engines", "decode.codecs", "encode.engines"}
         | {"encode.codecs", "encode sessions"}),
        ("rtx4090", hopper(), {"card", "decode.engines", "decode.codecs", "encode.engines", "encode.codecs"}
         | {"encode sessions"}),
    ],
)  # fmt: skip
def test_what_differs_is_named(profile, probe, wrong):
    found = verdicts(profile, probe)
    assert {figure for figure, verdict in found.items() if verdict == "differs"} == wrong
    assert not confirmed(compare(load_profile(profile), probe, DRIVER))


def test_the_cap_follows_the_driver_and_others_sessions_count():
    assert verdicts("rtx4090", geforce(12), DriverFacts("591.59", "13.1", ()))["encode sessions"] == "ok"
    assert verdicts("rtx4090", geforce(5, beside=3))["encode sessions"] == "ok", "three of other programs are open"
    assert verdicts("rtx4090", geforce(4, beside=3))["encode sessions"] == "unknown", "somebody may have opened one"
    assert verdicts("rtx4090", geforce(8, "crashed"))["encode sessions"] == "ok"
    assert verdicts("rtx4090", geforce(3, "failed"))["encode sessions"] == "unknown"
    assert verdicts("rtx4090", geforce(7, "time"))["encode sessions"] == "unknown"


def test_a_card_without_a_cap():
    l4 = CardProbe(card(), engines(4, *ALL), engines(2, *THREE), SessionFacts(16, 16, "bound"))
    assert set(verdicts("l4", l4).values()) == {"ok"}
    few = CardProbe(card(), engines(4, *ALL), engines(2, *THREE), SessionFacts(3, 16, "refused", "error 21"))
    assert verdicts("l4", few)["encode sessions"] == "differs"


def test_what_was_not_found_is_not_confirmed():
    lost = CardProbe(
        card("NVIDIA H200", vram_bytes=Unknown("NVML: no")), EngineFacts(Unknown("crashed")), NONE, Unknown("x")
    )
    found = verdicts("h200", lost)
    assert (found["vram_bytes"], found["decode.engines"], found["decode.codecs"]) == ("unknown",) * 3
    assert not confirmed(compare(load_profile("h200"), lost, DRIVER))


def written(tmp_path: Path, base: str | None, probe: CardProbe, driver: DriverFacts = DRIVER, verified: bool = False):
    profile = measured_profile(load_profile(base) if base else None, probe, driver, TODAY, verified=verified)
    path = tmp_path / "mine.yaml"
    path.write_text(profile_text(profile, "A heading\nof two lines"), encoding="utf-8")
    assert read_profile(path) == profile, "YAML and back"
    return profile


def test_a_written_profile_says_what_was_measured(tmp_path):
    profile = written(tmp_path, "h200", hopper(), verified=True)
    check_verified(profile)
    assert profile.verified is not None
    assert (profile.verified.date, profile.verified.driver) == (TODAY, "580.65.06")
    assert profile.decode.engines.measured
    assert profile.decode.engines.source == "dualface probe, 2026-11-23, driver 580.65.06"
    assert profile.lane.streams.source.startswith("Taken over from profile h200: Measured")
    base = load_profile("h200")
    assert {n: getattr(profile.lane, n).value for n in type(base.lane).model_fields} == {
        n: getattr(base.lane, n).value for n in type(base.lane).model_fields
    }
    again = measured_profile(profile, hopper(), DRIVER, TODAY, verified=True)
    assert again.lane.streams.source.count("Taken over") == 1


def test_an_unverified_profile_is_still_refused(tmp_path):
    profile = written(tmp_path, "rtx4090", geforce(5))
    assert profile.verified is None
    with pytest.raises(ProfileError, match="nobody has verified"):
        check_verified(profile)
    assert profile.session_cap("580.65.06") == 5, "what this driver was seen to allow"
    assert profile.session_cap("591.59") == 12
    assert profile.session_cap("575.1") == 8, "an older driver keeps its own figure"
    assert "5 opened; the next was refused" in str(profile.encode.caps[1].source)


def test_a_card_nobody_knows_gets_estimates(tmp_path):
    probe = geforce(3)
    other = CardProbe(
        card("NVIDIA GeForce RTX 4060", vram_bytes=8188 * MIB), probe.decoding, probe.encoding, probe.sessions
    )
    profile = written(tmp_path, None, other)
    assert (profile.name, profile.card) == ("geforce-rtx-4060", "NVIDIA GeForce RTX 4060")
    assert profile.encode.cap_scope == "machine"
    assert profile.session_cap("580.65.06") == 3
    assert all("Estimate" in getattr(profile.lane, name).source for name in type(profile.lane).model_fields)
    assert not profile.lane.speed.measured
    cpu = written(tmp_path, None, CardProbe(card("NVIDIA B300"), engines(7, *ALL), NONE, Unknown("none")))
    assert not cpu.has_nvenc
    assert cpu.lane.cores.value >= cpu.lane.encoders.value


def test_figures_that_were_not_found_are_taken_over_or_refused(tmp_path):
    lost = CardProbe(card("NVIDIA L4"), EngineFacts(Unknown("it crashed")), engines(2, *THREE), Unknown("busy"))
    profile = written(tmp_path, "l4", lost)
    assert profile.decode.engines.value == 4
    assert "Not found by the probe (it crashed)" in profile.decode.engines.source
    assert not profile.decode.engines.measured
    with pytest.raises(ProfileError, match=r"decode.engines was not found \(it crashed\)"):
        measured_profile(None, lost, DRIVER, TODAY, verified=False)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("NVIDIA GeForce RTX 4060", "geforce-rtx-4060"), ("Tesla T4", "t4"), ("NVIDIA", "card"), ("\x1b[0m Ä!", "0m")],
)
def test_names_of_new_profiles(name, slug):
    assert card_slug(name) == slug


# --- disks ---------------------------------------------------------------------------------------------------------
def test_a_scratch_folder_is_measured_and_left_as_it_was(tmp_path):
    found = probe_disk(tmp_path, scratch=True, seconds=0.3)
    assert isinstance(found.bytes_per_s, float)
    assert found.bytes_per_s > 0
    assert found.read_bytes >= 8 << 20
    assert found.method
    assert list(tmp_path.iterdir()) == []


def test_an_input_folder_is_only_read(tmp_path):
    found = probe_disk(tmp_path, scratch=False, seconds=0.3)
    assert found.bytes_per_s == Unknown("no file of at least 8 MiB is there to read")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "video.mp4").write_bytes(os.urandom(9 << 20))
    (tmp_path / "small.mp4").write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to("/dev/zero")
    assert largest(tmp_path) == tmp_path / "sub" / "video.mp4"
    before = sorted(tmp_path.rglob("*"))
    found = probe_disk(tmp_path, scratch=False, seconds=0.3)
    assert found.read_bytes == 9 << 20
    assert sorted(tmp_path.rglob("*")) == before


def test_folders_that_cannot_be_read_are_said_so(tmp_path):
    found = probe_disk(tmp_path / "missing", scratch=True)
    assert found.bytes_per_s == Unknown("No such file or directory")
    (tmp_path / "file").write_bytes(b"x")
    assert isinstance(probe_disk(tmp_path / "file", scratch=True).bytes_per_s, Unknown)


def test_memory_is_not_called_a_disk():
    found = probe_disk(Path("/dev/shm"), scratch=True, seconds=0.2)
    if found.filesystem == "tmpfs":
        assert "memory" in found.method


def test_the_innermost_mount_counts(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nnonsense\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert filesystem(tmp_path / "deeper", mounts) == "nfs4"
    assert filesystem(Path("/etc"), mounts) == "ext4"
    assert isinstance(filesystem(tmp_path, tmp_path / "none"), Unknown)


# --- IPC -----------------------------------------------------------------------------------------------------------
class Cuda:
    """A driver that exports; the other process finds no driver on a machine without one."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def __getattr__(self, name):
        def call(*given):
            if name == "cuGetErrorName":
                given[1]._obj.value = b"CUDA_ERROR_NOT_PERMITTED"
                return 0
            return 800 if name == self.failing else 0

        return call


@pytest.mark.parametrize("step", ["cuMemAlloc_v2", "cuIpcGetMemHandle"])
def test_an_export_that_is_refused_names_its_step(step):
    with pytest.raises(RuntimeError, match=rf"{step} returned CUDA_ERROR_NOT_PERMITTED \(800\)"):
        exchange(lambda _: None, Cuda(step))


def test_a_reader_that_fails_is_named():
    told_: list[object] = []
    with pytest.raises(RuntimeError, match="the other process: "):
        exchange(told_.append, Cuda())
    assert told_ == ["exported"]


# --- the command ---------------------------------------------------------------------------------------------------
def cli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("FAKE_", "CUDA_VISIBLE", "NVIDIA_"))
    }
    command = [sys.executable, "-m", "dualface_ray", *words]
    return subprocess.run(
        command, env={**kept, **environment}, cwd=ROOT, text=True, capture_output=True, timeout=150, check=False
    )


def test_verify_confirms_a_card_and_writes_what_production_accepts(tmp_path):
    path, log = tmp_path / "out" / "mine.yaml", tmp_path / "log"
    fakes = fake_environment(tmp_path / "fakes", card="h200", log=str(log))
    done = cli("probe", "--verify", "--output", str(path), "--scratch", str(tmp_path), **fakes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"decode.engines +7 +7 +ok", done.stdout)
    assert "sessions    unknown: there is no NVENC" in done.stdout
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("node ")]
    assert """ray start … --num-gpus=1 --resources='{"nvdec_session": 16}' --labels=dualface-profile=h200,""" in told
    assert "cupy 14.2.0" in done.stdout
    profile = load_profile(str(path))
    check_verified(profile)
    assert profile.verified is not None
    assert profile.verified.driver == "580.65.06"
    assert path.read_text().startswith("# Written by `dualface probe` on ")
    assert "caps h264 GPU-0123" in log.read_text(), "the card is device 0 of the probing process"
    assert "open" not in log.read_text()


def test_a_card_whose_encoder_lacks_a_codec_is_confirmed(tmp_path):
    path = tmp_path / "mine.yaml"
    done = cli("probe", "--verify", "-o", str(path), **fake_environment(tmp_path / "fakes", card="t4"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"encode.codecs +h264, hevc +h264, hevc +ok", done.stdout)
    check_verified(read_profile(path))


def test_without_verify_a_card_without_nvenc_is_left_alone(tmp_path):
    log = tmp_path / "log"
    fakes = fake_environment(tmp_path / "fakes", card="h200", log=str(log))
    facts = json.loads(cli("probe", "--json", **fakes).stdout)
    assert not log.exists()
    assert facts["cards"][0]["profile"] == "h200"
    assert facts["cards"][0]["decoding"]["engines"] == 7
    assert "no NVENC" in facts["cards"][0]["sessions"]["unknown"]
    assert facts["libraries"]["versions"]["cuda_runtime"] == "13.0"


def test_a_mismatch_is_exit_code_one_and_not_verified(tmp_path):
    path = tmp_path / "mine.yml"
    fakes = fake_environment(tmp_path / "fakes", card="rtx4090", cap="5")
    done = cli("probe", "rtx4090", "--verify", "-o", str(path), **fakes)
    assert done.returncode == 1
    assert re.search(
        r"encode sessions, driver 580.65.06 +8 a machine +5 opened; the next was refused +differs", done.stdout
    )
    profile = read_profile(path)
    assert profile.verified is None
    assert profile.session_cap("580.65.06") == 5


def test_a_decoder_that_crashes_is_a_finding(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", card="h200", crash="decoder")
    done = cli("probe", "--verify", "--json", **fakes)
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    rows = {row["figure"]: row for row in facts["verify"]["rows"]}
    assert rows["decode.codecs"]["found"] == "unknown: the decoder library crashed: signal 11 (SIGSEGV)"
    assert rows["decode.codecs"]["verdict"] == "unknown"
    assert rows["decode.engines"]["verdict"] == "ok"


def test_an_encoder_that_crashes_on_the_one_too_many_was_counted(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", card="rtx4090", cap="8", crash="session")
    facts = json.loads(cli("probe", "--json", **fakes).stdout)
    sessions = facts["cards"][0]["sessions"]
    assert (sessions["opened"], sessions["ended"]) == (8, "crashed")
    assert "signal 11" in sessions["text"]


def test_other_programs_are_noted(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", card="rtx4090", cap="8", busy="1")
    done = cli("probe", "--verify", **fakes)
    assert "5 opened beside 3 of other programs; the next was refused" in done.stdout
    assert "pid 4242 (compute, memory unknown)" in done.stdout
    assert "other programs used the card" in done.stdout
    assert done.returncode == 0


def test_nvml_that_crashes_is_a_finding(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", crash="nvml")
    done = cli("probe", **fakes)
    assert done.returncode == 0
    assert "none that NVML sees (NVML crashed: signal 11 (SIGSEGV))" in done.stdout
    done = cli("probe", "--verify", **fakes)
    assert done.returncode == 2
    assert "no card can be probed" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["probe", "nope"], "is no profile"),
        (["probe", "-o", "mine.txt"], "ends with .yaml"),
        (["probe", "-o", "/x/site-packages/dualface_ray/_configs/profiles/l4.yaml"], "are not changed"),
        (["probe", "-o", "configs/default.yaml"], "not a valid profile"),
        (["probe", "--card", "3"], "there is no card 3"),
        (["probe", "--verify"], "there is no profile for this card"),
    ],
)
def test_requests_that_cannot_be_carried_out(tmp_path, words, says):
    done = cli(*words, **fake_environment(tmp_path / "fakes", card="other"))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_card_without_a_profile_gets_one(tmp_path):
    path = tmp_path / "mine.yaml"
    done = cli("probe", "-o", str(path), **fake_environment(tmp_path / "fakes", card="other", cap="8"))
    assert done.returncode == 0, done.stderr
    document = yaml.safe_load(path.read_text())
    assert document["name"] == "geforce-rtx-4060"
    assert read_profile(path).session_cap("580.65.06") == 8


def test_a_card_that_nobody_knows_is_confirmed_by_what_is_found(tmp_path):
    path, fakes = tmp_path / "mine.yaml", fake_environment(tmp_path / "fakes", card="other", cap="8")
    done = cli("probe", "--verify", "-o", str(path), **fakes)
    assert done.returncode == 0, done.stdout + done.stderr
    check_verified(read_profile(path))
    options = dict(re.findall(r"--(labels|num-gpus|resources)=(\S+|'[^']*')", done.stdout.splitlines()[-1]))
    assert "dualface-lane=streams-4_decoders-1_encoders-4_cores-4_speed-17.8" in options["labels"]
    assert cli("probe", str(path), "--verify", **fakes).returncode == 0
    fakes = fake_environment(tmp_path / "fakes", card="other", crash="session")
    path.unlink()
    done = cli("probe", "--verify", "-o", str(path), **fakes, FAKE_CAP="0")
    assert done.returncode == 1, "what cannot be found out is not confirmed"
    assert read_profile(path).verified is None


def test_several_kinds_of_card():
    cards = [card("NVIDIA L4"), card("NVIDIA L4", 1), card("Tesla T4", 2)]
    assert [one.index for one in chosen_cards(cards, ProbeRequest())] == [0, 2], "one of each kind"
    assert [one.index for one in chosen_cards(cards, ProbeRequest(verify=True, card=2))] == [2]
    with pytest.raises(RequestError, match=r"several kinds of card: NVIDIA L4, Tesla T4.*--card N"):
        chosen_cards(cards, ProbeRequest(verify=True))
    assert chosen_cards([], ProbeRequest(verify=True)) == []
    with pytest.raises(RequestError, match="Visible are: 0, 1, 2"):
        chosen_cards(cards, ProbeRequest(card=7))


def test_the_cpu_has_a_profile_too(tmp_path):
    path = tmp_path / "mine.yaml"
    done = cli("probe", "cpu", "--verify", "-o", str(path), CUDA_VISIBLE_DEVICES="")
    cores = len(os.sched_getaffinity(0))
    assert done.returncode == (0 if cores >= 2 else 1)
    assert read_profile(path).lane.cores.value >= 1


def test_nothing_but_probe_and_doctor_probes():
    """A job plans from static profiles: no other module may ask for a probing function."""
    asks = re.compile(r"\bprobe_(card|disk|driver|ipc|libraries)\b|\brun_part\b")
    allowed = {"dualface_ray/cli/machine.py", "dualface_ray/cli/doctor.py", "dualface_ray/cli/doctor_cards.py"}
    for folder in ("dualface_ray", "actors"):
        for path in (ROOT / folder).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if not name.startswith("dualface_ray/hardware/") and name not in allowed:
                assert not asks.search(path.read_text(encoding="utf-8")), name


def test_facts_survive_json():
    probe = geforce()
    assert plain(probe)["sessions"]["opened"] == 8
    assert plain({"a": (Unknown("x"), [1])}) == {"a": [{"unknown": "x"}, [1]]}
    assert known({"unknown": "x"}) == Unknown("x")
    assert known({"unknown": "x", "more": 1}) == {"unknown": "x", "more": 1}
    assert str(Unknown("no")) == "unknown: no"
