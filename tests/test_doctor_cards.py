"""The doctor's rules: made-up facts for every finding, hostile ones too; and the command over pretend libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_nvidia import ROOT, fake_environment
from made_up_cards import MIB, card

from dualface_ray.cli.doctor import shm_finding
from dualface_ray.cli.doctor_cards import engine_cache_finding
from dualface_ray.errors import ModelError
from dualface_ray.hardware import (
    CardFacts,
    CardProbe,
    CodecLimits,
    DriverFacts,
    EngineFacts,
    Finding,
    FolderFacts,
    LibraryFacts,
    Process,
    Space,
    Surroundings,
    Unknown,
    age_findings,
    capability_finding,
    card_findings,
    compare,
    cupy_findings,
    descriptors_finding,
    driver_finding,
    engine_finding,
    folder_facts,
    folder_finding,
    health_findings,
    instances_finding,
    ipc_finding,
    library_findings,
    load_profile,
    module_findings,
    mps_finding,
    order_finding,
    profile_findings,
    surroundings,
    visible_finding,
)
from dualface_ray.hardware.floors import cuda_major, floors
from dualface_ray.settings import Settings

GIB = 1 << 30
OPEN = {"libcuda.so.1": "", "libnvcuvid.so.1": "", "libnvidia-encode.so.1": "", "libnvidia-ml.so.1": ""}
VERSIONS = {"cuda_runtime": "13.0", "cupy": "14.2.0", "tensorrt": "10.13", "PyNvVideoCodec": "2.2.4"}


def around(**changes: object) -> Surroundings:
    values: dict[str, object] = {
        "nodes": ("nvidia0",),
        "kernel_driver": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06",
        "pci_cards": 1,
        "container": False,
        "wsl": False,
        "tegra": False,
        "capabilities": None,
        "visible": None,
        "order": "FASTEST_FIRST",
        "mps": False,
        "ptrace_scope": 1,
        "descriptors": 65536,
        "most_descriptors": 65536,
        **changes,
    }
    return Surroundings(**values)  # type: ignore[arg-type]


BARE = {"nodes": (), "kernel_driver": "", "pci_cards": 0}


def driver(*cards: CardFacts, version: object = "580.65.06", cuda: object = "13.0", error: str = "", code: int = 0):
    return DriverFacts(version, cuda, cards, error, code)  # type: ignore[arg-type]


def libraries(opened: dict[str, str] | None = None, **changes: object) -> LibraryFacts:
    versions = {**VERSIONS, **changes.pop("versions", {})}  # type: ignore[dict-item]
    distributions = changes.pop("distributions", {"cupy-cuda13x": "14.2.0", "pynvvideocodec": "2.2.4"})
    return LibraryFacts(versions, {**OPEN, **(opened or {})}, distributions)  # type: ignore[arg-type]


def check(found: Finding | None, state: str, *words: str) -> None:
    assert found is not None
    assert found.state == state, found
    for word in words:
        assert word in f"{found.text} → {found.remedy}", found
    assert bool(found.remedy) or state in ("ok", "note"), "whatever is wrong has a remedy"


# --- the driver ----------------------------------------------------------------------------------------------------
def test_cards_that_answer():
    check(driver_finding(driver(card(), card(index=1)), around()), "ok", "2 x NVIDIA L4", "580.65.06", "13.0")


def test_without_a_card_one_line_says_so():
    missing = driver(error="NVML: NVML Shared Library Not Found", code=12)
    found = driver_finding(missing, around(**BARE))
    check(found, "note", "no NVIDIA card", "left out")
    assert not found.remedy
    check(driver_finding(missing, around(**BARE), wanted=True), "fail", "lane.backend=cpu")
    check(driver_finding(missing, around(**{**BARE, "pci_cards": Unknown("gVisor hides it")})), "note")


def test_a_card_without_its_driver():
    missing = driver(error="NVML: NVML Shared Library Not Found", code=12)
    bus = around(**{**BARE, "pci_cards": 1})
    check(driver_finding(missing, bus), "warn", "cannot be used", "Install NVIDIA's driver")
    check(driver_finding(missing, bus, wanted=True), "fail")
    check(driver_finding(missing, around(nodes=())), "warn", "nvidia-modprobe")
    boxed = around(**{**BARE, "pci_cards": 1, "container": True})
    check(driver_finding(missing, boxed), "warn", "--gpus all", "compute,utility,video")


@pytest.mark.parametrize("code", [-1, *range(1, 31), 999, 0])
@pytest.mark.parametrize("container", [True, False])
def test_every_error_of_nvml_has_a_remedy(code, container):
    found = driver_finding(driver(error=f"NVML: error {code}", code=code), around(container=container))
    check(found, "fail", f"error {code}")


def test_the_telling_errors_of_nvml():
    def found(code: int) -> Finding:
        return driver_finding(driver(error="NVML: x", code=code), around())

    check(found(18), "fail", "reboot")
    check(found(9), "fail", "modprobe nvidia")
    check(found(4), "fail", "/dev/nvidia*")
    check(found(15), "fail", "fallen off the bus")
    check(found(-1), "fail", "nvidia-ml-py")
    lost = driver(card(), error="card 1: NVML: GPU is lost", code=15)
    check(driver_finding(lost, around()), "fail", "card 1", "Xid")
    check(driver_finding(driver(), around()), "fail", "lists no card", "nvidia-smi -L")
    check(driver_finding(driver(), around(container=True)), "fail", "--gpus all")


def test_mps():
    one = driver(card()).cards
    check(mps_finding(one, around()), "note", "take turns", "nvidia-cuda-mps-control -d")
    check(mps_finding(one, around(mps=True)), "ok", "share the card")
    assert mps_finding((), around()) is None
    assert mps_finding(one, around(wsl=True)) is None


def test_hidden_cards():
    two = driver(card(), card(index=1))
    assert visible_finding(two, two.cards, around()) is None
    assert visible_finding(two, two.cards, around(visible="0,1")) is None
    check(visible_finding(two, two.cards[:1], around(visible="0")), "note", "leaves 1 of 2")
    check(visible_finding(two, (), around(visible="")), "fail", "Unset it")
    check(visible_finding(two, (), around(visible="0, 0")), "fail", "twice", "once")


def test_numbers_that_may_mean_another_card():
    mixed = driver(card(), card("NVIDIA GeForce RTX 4090", 1))
    check(order_finding(mixed, around(visible="1")), "warn", "FASTEST_FIRST", "CUDA_DEVICE_ORDER=PCI_BUS_ID")
    assert order_finding(mixed, around(visible="1", order="PCI_BUS_ID")) is None
    assert order_finding(mixed, around(visible="GPU-1abc")) is None
    assert order_finding(mixed, around()) is None, "then every card is seen, whatever its number"
    assert order_finding(driver(card(), card(index=1)), around(visible="1")) is None, "cards that are alike"


def test_a_jetson_is_told_apart_from_a_card():
    missing = driver(error="NVML: NVML Shared Library Not Found", code=12)
    check(driver_finding(missing, around(**BARE, tegra=True)), "note", "Jetson", "lane.backend=cpu")
    check(driver_finding(missing, around(**BARE, tegra=True), wanted=True), "fail", "Jetson")
    closed = libraries({"libnvcuvid.so.1": "cannot open"})
    check(next(library_findings(closed, around(tegra=True))), "fail", "NVDEC", "Jetson", "lane.backend=cpu")


@pytest.mark.parametrize(
    ("version", "wheels", "says"),
    [
        ("580.65.06", {"cupy-cuda13x": "14.2", "tensorrt-cu13": "10.13", "pynvvideocodec": "2.2.4"}, ""),
        ("575.51", {"cupy-cuda13x": "14.2"}, "580"),
        ("525.60.13", {"cupy-cuda12x": "13.6"}, ""),
        ("520.1", {"cupy-cuda12x": "13.6"}, "525"),
        ("525.60.13", {"pynvvideocodec": "2.2.4"}, "530.41.03"),
        ("530.41.03", {"pynvvideocodec": "2.2.4"}, ""),
        ("440.33", {"tensorrt": "8.5.3.1"}, "450"),
        ("470.1", {"tensorrt": "8.5.3.1"}, ""),
        ("570.1", {"tensorrt-cu13": "10.14", "tensorrt-cu13-libs": "10.14"}, "580"),
        ("not a version", {"cupy-cuda13x": "14.2"}, ""),
        ("580", {}, ""),
    ],
)
def test_old_drivers(version, wheels, says):
    found = list(age_findings(driver(card(), version=version), libraries(distributions=wheels)))
    assert [one.state for one in found] == (["fail"] if says else ["ok"])
    if says:
        check(found[0], "fail", f"Install driver {says}")


def test_an_unknown_driver_version_is_not_judged():
    assert list(age_findings(driver(card(), version=Unknown("NVML: no")), libraries())) == []


@pytest.mark.parametrize(
    ("name", "version", "major"),
    [
        ("cupy-cuda13x", "14.2", 13),
        ("cupy-cuda12x", "13", 12),
        ("cupy-cuda118", "13", 11),
        ("tensorrt-cu12", "10", 12),
        ("tensorrt-cu13-libs", "10", 13),
        ("tensorrt", "8.5.3.1", 11),
        ("tensorrt", "10.13", 0),
        ("cupy", "14", 0),
        ("nvidia-cuda-runtime-cu12", "12.8", 12),
    ],
)
def test_the_cuda_of_a_wheel(name, version, major):
    assert cuda_major(name, version) == major


def test_parts_of_a_wheel_are_not_judged_twice():
    assert [
        one.wheel for one in floors({"tensorrt-cu13": "10", "tensorrt-cu13-libs": "10", "nvidia-cuda-nvrtc": "13"})
    ] == ["tensorrt-cu13 10"]


# --- libraries -----------------------------------------------------------------------------------------------------
def test_capabilities_of_a_container():
    assert capability_finding(around(), libraries({"libnvcuvid.so.1": "no"})) is None, "no container, other remedies"
    box = around(container=True, capabilities="compute,utility")
    check(capability_finding(box, libraries()), "ok")
    video = libraries({"libnvcuvid.so.1": "cannot open", "libnvidia-encode.so.1": "cannot open"})
    check(capability_finding(box, video), "fail", "is compute,utility", "without video", "compute,utility,video")
    check(capability_finding(around(container=True), video), "fail", "is not set")
    check(capability_finding(around(container=True, capabilities=""), video), "fail", "is empty")
    check(capability_finding(around(container=True, capabilities="all"), video), "fail", "container toolkit")
    check(capability_finding(around(container=True, capabilities=" compute, utility,video"), video), "fail", "toolkit")


@pytest.mark.parametrize("name", list(OPEN))
def test_each_library_that_does_not_open(name):
    found = list(library_findings(libraries({name: f"{name}: cannot open shared object file"}), around()))
    assert [one.name for one in found] == [name]
    check(found[0], "fail", "cannot open", "Install the driver's part")
    (boxed,) = library_findings(libraries({name: "the process crashed: signal 11"}), around(container=True))
    check(boxed, "fail", "signal 11", "NVIDIA_DRIVER_CAPABILITIES")
    (fine,) = library_findings(libraries(), around())
    check(fine, "ok", "libnvcuvid.so.1")


def test_cupy_for_the_wrong_cuda():
    def states(found: LibraryFacts, cuda: object = "13.0") -> list[Finding]:
        return list(cupy_findings(found, driver(card(), cuda=cuda)))

    assert [one.state for one in states(libraries())] == ["ok"]
    both = libraries(distributions={"cupy-cuda12x": "13.6", "cupy-cuda13x": "14.2"})
    check(states(both)[0], "fail", "overwrite", "pip uninstall cupy-cuda12x cupy-cuda13x")
    old = states(libraries(), cuda="12.4")
    check(old[0], "fail", "built for CUDA 13", "12.4", "cupy-cuda12x")
    lost = libraries(versions={"cupy": Unknown("cupy crashed: signal 6 (SIGABRT)")}, distributions={})
    check(states(lost)[0], "fail", "SIGABRT", "dualface-ray[gpu]")
    assert [one.state for one in states(libraries(), cuda=Unknown("NVML: no"))] == ["ok"]


def test_modules_that_cannot_be_imported():
    assert [one.state for one in module_findings(libraries())] == ["ok", "ok"]
    lost = libraries(
        versions={
            "tensorrt": Unknown("libnvinfer.so.10: cannot open"),
            "PyNvVideoCodec": Unknown("libnvcuvid.so.1: no"),
        }
    )
    found = list(module_findings(lost))
    check(found[0], "fail", "libnvinfer", "LD_LIBRARY_PATH")
    check(found[1], "fail", "libnvcuvid", "above")
    (none, _) = module_findings(libraries(versions={"tensorrt": Unknown("No module named 'tensorrt'")}))
    check(none, "fail", "pip install")


# --- a card --------------------------------------------------------------------------------------------------------
def test_a_quiet_card_has_nothing_to_say():
    assert list(card_findings(card())) == list(health_findings(card())) == []
    told = ("mig", "compute_mode", "persistence", "slowed", "temperature_c", "ecc_errors", "retired", "retiring")
    unsure = card(**dict.fromkeys((*told, "processes", "used_bytes"), Unknown("x")))
    found = [*card_findings(unsure), *health_findings(unsure)]
    assert found == [], "what is not known is no complaint"


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"mig": True}, "fail", ("MIG", "no instance", "-cgi PROFILE -C", "-mig 0")),
        ({"mig": True, "uuid": "MIG-1", "decoders": 0}, "fail", ("has no NVDEC", "-lgip", "lane.allow_cpu_decode")),
        ({"compute_mode": "exclusive"}, "fail", ("one process at a time", "-i 0 -c DEFAULT", "MPS")),
        ({"compute_mode": "prohibited"}, "fail", ("no program", "-c DEFAULT")),
        (
            {"processes": (Process(7, 1, "compute"), Process(8, Unknown("x"), "graphics"))},
            "warn",
            ("pid 7, 8", "End them"),
        ),
        ({"used_bytes": 12000 * MIB}, "warn", ("52%", "65%", "lane.vram_share")),
        ({"vram_bytes": Unknown("NVML: no")}, "warn", ("memory", "nvidia-smi")),
        ({"uuid": Unknown("NVML: no")}, "warn", ("uuid",)),
    ],
)
def test_what_a_card_has_to_say(changes, state, words):
    (found,) = card_findings(card(**changes))
    check(found, state, *words)


def test_an_exclusive_card_is_shared_by_mps_and_an_instance_is_a_card():
    assert list(card_findings(card(compute_mode="exclusive"), mps=True)) == []
    check(next(card_findings(card(compute_mode="prohibited"), mps=True)), "fail", "no program")
    assert list(card_findings(card(mig=True, uuid="MIG-00000001-2", decoders=2))) == []


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"ecc_errors": 3}, "warn", ("3 uncorrected", "replace")),
        ({"retiring": "pending", "retired": 2}, "warn", ("2 so far", "Reset")),
        ({"retiring": "failed", "retired": 512}, "warn", ("512 so far", "used up", "replaced")),
        ({"retiring": "failed", "retired": Unknown("x")}, "warn", ("used up",)),
        ({"slowed": "heat", "temperature_c": 91}, "warn", ("held down", "heat, at 91 °C", "cooling")),
        ({"slowed": "power brake", "temperature_c": Unknown("x")}, "warn", ("(power brake)",)),
        ({"persistence": False}, "note", ("persistence mode is off", "-pm 1")),
    ],
)
def test_what_a_cards_health_is_worth_saying(changes, state, words):
    (found,) = health_findings(card(**changes))
    check(found, state, *words)
    assert list(health_findings(card(retired=3))) == [], "bad memory that is out of use harms nobody"


def test_instances_that_ray_would_leave_idle():
    parts = [card(index=index // 2, uuid=f"MIG-{index}", mig=True) for index in range(4)]
    check(instances_finding(parts), "note", "4 instances of 2 cards", "--num-gpus=4")
    assert instances_finding(parts[:1]) is None
    assert instances_finding([card(), card(index=1)]) is None


def probe(codecs: tuple[str, ...] = ("h264", "hevc", "vp9", "av1"), engines: object = 4) -> CardProbe:
    limits = tuple(CodecLimits(codec, 8, True, 4096, 4096) for codec in codecs)
    why = Unknown("not asked")
    return CardProbe(card(), EngineFacts(engines, limits), EngineFacts(why), why)  # type: ignore[arg-type]


def test_the_decoder():
    check(engine_finding(probe()), "ok", "4 engines: h264, hevc")
    crash = EngineFacts(Unknown("the decoder library crashed: signal 11"))
    check(engine_finding(CardProbe(card(), crash, crash, Unknown("x"))), "fail", "signal 11")
    check(engine_finding(probe(("hevc",))), "fail", "H.264", "lane.backend=cpu")


def test_the_profile_and_the_card():
    l4, found = load_profile("l4"), probe()
    states = [one.state for one in profile_findings(l4, compare(l4, found, driver(card())), found.card)]
    assert states == ["ok", "note"], "it fits, and nobody has verified it"
    few = probe(engines=2)
    wrong = list(profile_findings(l4, compare(l4, few, driver(card())), few.card))
    check(wrong[0], "fail", "decode.engines", "says 4", "2", "dualface probe --output")
    t4 = load_profile("t4")
    wrong = list(profile_findings(t4, compare(t4, found, driver(card())), found.card))
    check(wrong[0], "fail", "card", "NVIDIA L4", "Choose the profile of this card")
    (none,) = profile_findings(None, (), card(name="NVIDIA B300"))
    check(none, "note", "there is none for NVIDIA B300")


def test_ipc():
    check(ipc_finding("ok", around()), "ok")
    no = Unknown("cuIpcOpenMemHandle_v2 returned CUDA_ERROR_INVALID_DEVICE (101)")
    check(ipc_finding(no, around()), "fail", "CUDA_ERROR_INVALID_DEVICE", "one container")
    check(ipc_finding(no, around(wsl=True)), "fail", "WSL")
    check(ipc_finding(no, around(ptrace_scope=3)), "fail", "ptrace_scope=1")
    assert "ptrace" not in ipc_finding(no, around(ptrace_scope=Unknown("no Yama"))).remedy


def test_the_engine_cache():
    def cache(*devices: str):
        return lambda: [{"key": {"device": name}} for name in devices]

    check(engine_cache_finding([card()], cache("NVIDIA L4")), "ok", "1 engines")
    check(engine_cache_finding([card()], cache("NVIDIA H200")), "note", "no engine for NVIDIA L4", "models build")
    check(engine_cache_finding([card()], lambda: [{"key": {}}, {}]), "note")

    def broken():
        raise ModelError("a damaged stamp", where="/cache")

    check(engine_cache_finding([card()], broken), "warn", "damaged stamp", "DUALFACE_CACHE")


# --- the machine ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("soft", "hard", "state", "word"),
    [
        (65536, 65536, "ok", "65536"),
        (-1, -1, "ok", "no limit"),
        (1024, 4096, "warn", "ulimit -n"),
        (256, 65536, "fail", "ulimit -n"),
        (256, 512, "fail", "--ulimit nofile"),
        (1024, -1, "warn", "ulimit -n"),
    ],
)
def test_open_files(soft, hard, state, word):
    check(descriptors_finding(around(descriptors=soft, most_descriptors=hard)), state, word)


@pytest.mark.parametrize(
    ("facts", "state", "word"),
    [
        (FolderFacts("/out", "", 5 * GIB, 10**6), "ok", "5.0 GiB"),
        (FolderFacts("/out", "", 5 * GIB, -1), "ok", "5.0 GiB"),
        (FolderFacts("/out", "Read-only file system", 5 * GIB, 10**6), "fail", "Read-only"),
        (FolderFacts("/out", "Permission denied", Unknown("x"), Unknown("x")), "fail", "Permission"),
        (FolderFacts("/out", "", 100 * MIB, 10**6), "fail", "Free at least 256 MiB"),
        (FolderFacts("/out", "", 5 * GIB, 3), "warn", "3 files only"),
        (FolderFacts("/out", "", Unknown("statvfs says no"), Unknown("x")), "warn", "statvfs"),
    ],
)
def test_folders(facts, state, word):
    check(folder_finding("disk", facts, 256 * MIB), state, word)


def test_a_folder_is_really_written_to(tmp_path):
    found = folder_facts(tmp_path)
    assert found.trouble == ""
    assert isinstance(found.free_bytes, int)
    assert list(tmp_path.iterdir()) == []
    assert folder_facts(tmp_path / "missing").trouble == "No such file or directory"
    (tmp_path / "file").write_text("x")
    assert folder_facts(tmp_path / "file").trouble == "Not a directory"
    assert folder_facts(Path("/proc")).trouble, "a file system that takes no files"


@pytest.mark.parametrize(
    ("free", "cards", "sets", "state"),
    [
        (None, False, {}, "fail"),
        (64 * MIB, False, {}, "fail"),
        (600 * MIB, False, {}, "warn"),
        (20 * GIB, False, {}, "ok"),
        (600 * MIB, False, {"lane": {"streams": 1}}, "ok"),
        (64 * MIB, True, {}, "warn"),
        (2 * GIB, True, {}, "ok"),
        (64 * MIB, True, {"lane": {"backend": "cpu"}}, "fail"),
    ],
)
def test_shared_memory(free, cards, sets, state):
    space = None if free is None else Space(free, free)
    found = shm_finding(space, Settings(**sets), 16, cards=cards)
    check(found, state, *(["--shm-size="] if state in ("warn", "fail") and free else []))


def test_looking_around_a_made_up_machine(tmp_path):
    for path, text in {
        "dev/nvidia0": "",
        "dev/nvidia1": "",
        "dev/nvidiactl": "",
        "proc/driver/nvidia/version": "NVRM version: x  580.65.06\nGCC\n",
        "proc/version": "Linux version 5.15-Microsoft-standard-WSL2",
        "proc/sys/kernel/yama/ptrace_scope": "2\n",
        "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
        "sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:01:00.1/class": "0x040300\n",
        "sys/bus/pci/devices/0000:02:00.0/vendor": "0x8086\n",
        "sys/bus/pci/devices/0000:02:00.0/class": "0x030000\n",
        "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0",
        "run/.containerenv": "",
        "tmp/nvidia-mps/control": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = surroundings(tmp_path, {"NVIDIA_DRIVER_CAPABILITIES": "all"})
    assert (found.nodes, found.pci_cards, found.container, found.wsl) == (("nvidia0", "nvidia1"), 1, True, True)
    assert found.kernel_driver.endswith("580.65.06")
    assert (found.ptrace_scope, found.capabilities, found.visible, found.mps) == (2, "all", None, True)
    assert (found.tegra, found.order) == (True, "FASTEST_FIRST")
    assert not surroundings(tmp_path, {"CUDA_MPS_PIPE_DIRECTORY": "/elsewhere"}).mps
    bare = surroundings(tmp_path / "empty", {})
    assert (bare.nodes, bare.kernel_driver, bare.container, bare.has_hardware, bare.tegra) == (
        (),
        "",
        False,
        False,
        False,
    )
    assert isinstance(bare.pci_cards, Unknown)
    assert isinstance(bare.ptrace_scope, Unknown)
    assert surroundings(tmp_path / "empty", {"NVIDIA_VISIBLE_DEVICES": "all"}).container


# --- the command ---------------------------------------------------------------------------------------------------
def doctor(*words: str, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAKE_", "CUDA_", "NVIDIA_"))}
    done = subprocess.run(
        [sys.executable, "-m", "dualface_ray", "doctor", "--json", *words],
        env={**kept, **environment},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=150,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {one["name"]: one for one in found if "name" in one}


def test_a_machine_without_a_card_is_fine(tmp_path):
    code, found = doctor(
        "--output", str(tmp_path / "new" / "folder"), "--scratch", str(tmp_path), CUDA_VISIBLE_DEVICES=""
    )
    assert "disk output" in found
    assert found["disk output"]["state"] == found["disk scratch"]["state"] == "ok"
    assert "cuda ipc" not in found or found["gpu"]["state"] != "note"
    if found["gpu"]["state"] == "note":
        assert code == 0


def test_a_card_with_everything_but_the_drivers_libraries(tmp_path):
    """The pretend modules answer, the driver's own libraries are missing: each is named, and so is IPC."""
    fakes = fake_environment(tmp_path / "fakes", card="l4")
    code, found = doctor("--profile", "l4", **fakes)
    assert found["gpu"]["text"].startswith("NVIDIA L4; driver 580.65.06")
    assert found["cupy"]["state"] == found["tensorrt"]["state"] == "ok"
    assert found["decoding 0"]["text"].startswith("4 engines: h264")
    assert found["profile l4"]["state"] == "note", "it fits; the last line says that nobody has verified it"
    assert found["engine cache"]["remedy"] == "dualface models build"
    if "libcuda.so.1" in found:
        assert code == 1
        assert "libcuda.so.1" in found["cuda ipc"]["text"]


def test_instances_of_a_card_are_examined_one_of_each_kind(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", card="a100", mig="1g.5gb:0,3g.20gb:2,3g.20gb:2", mode="3")
    code, found = doctor(**fakes)
    assert code == 1
    name = "NVIDIA A100-SXM4-40GB MIG"
    assert found["gpu"]["text"].startswith(f"{name} 1g.5gb, 2 x {name} 3g.20gb; driver")
    assert "3 instances of 1 card in MIG mode" in found["mig"]["text"]
    assert "takes one process at a time" in found["gpu 0 MIG-00000002"]["text"]
    assert found["decoding 0 MIG-00000002"]["text"].startswith("2 engines: h264"), "not the whole card's"
    assert "decoding 0 MIG-00000003" not in found
    code, found = doctor(**fakes, CUDA_VISIBLE_DEVICES="MIG-00000002-0000-5000-8000-000000000000")
    assert "leaves 1 of 3" in found["visible cards"]["text"]
    assert "mig" not in found
    assert f"there is none for {name} 3g.20gb" in found["profile"]["text"]


def test_the_wrong_profile_and_a_broken_library(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", card="l4", crash="cupy")
    code, found = doctor("--profile", "t4", **fakes)
    assert code == 1
    assert "cupy crashed: signal 11" in found["cupy"]["text"]
    assert found["profile t4"]["state"] in ("fail", "note")


def test_settings_decide_what_is_checked(tmp_path):
    fakes = fake_environment(tmp_path / "fakes", card="l4")
    code, found = doctor("--set", "lane.backend=cpu", **fakes)
    assert found["gpu"] == {
        "name": "gpu",
        "state": "note",
        "text": "lane.backend=cpu: checks of cards are left out",
        "remedy": "",
    }
    assert code == 0
    assert doctor("--set", "lane.nonsense=1")[0] == 2
    assert doctor("--profile", "nope")[0] == 2
    code, found = doctor("--profile", "l4", CUDA_VISIBLE_DEVICES="")
    if found["gpu"]["state"] == "note":
        assert code == 1
        assert "none answers here" in found["profile l4"]["text"]
