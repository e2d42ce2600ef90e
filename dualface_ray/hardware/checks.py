"""The doctor's rules about driver and libraries: facts in, findings out. Pure; tests make the facts up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dualface_ray.hardware.facts import CardFacts, DriverFacts, LibraryFacts, Unknown
from dualface_ray.hardware.floors import cuda_major, floors
from dualface_ray.hardware.surroundings import Surroundings
from dualface_ray.hardware.visible import unsure_order

State = Literal["ok", "note", "warn", "fail"]
_CAPABILITIES = "Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video."
_NVML_REMEDIES = {
    4: "Give this user access to /dev/nvidia* (the group video, or the container's device list).",
    9: "Load the driver: modprobe nvidia; after an update of the kernel, install the driver again.",
    13: "Update the driver: it is older than nvidia-ml-py expects.",
    14: "The card's own memory of facts is damaged: see nvidia-smi -q, and have the card looked at.",
    15: "The card has fallen off the bus: see dmesg for Xid messages, reboot, check power and seating.",
    16: "Reset the card: nvidia-smi -r, or reboot.",
    18: "Driver and library are of different versions, as after an update: reboot (or reload the kernel modules).",
    20: "The machine is out of memory.",
    28: "Check that the card is seated and powered: nvidia-smi, dmesg.",
}
_LIBRARY_MISSING = 12
_JETSON = "whose video engines are not those of a card (Video Codec SDK), and the GPU lane needs them"
_LIBRARY_USES = {
    "libcuda.so.1": ("compute", "every GPU lane"),
    "libnvcuvid.so.1": ("video", "NVDEC"),
    "libnvidia-encode.so.1": ("video", "PyNvVideoCodec, also on cards without NVENC"),
    "libnvidia-ml.so.1": ("utility", "NVML"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check; ``remedy`` is empty when there is nothing to do."""

    name: str
    state: State
    text: str
    remedy: str = ""


def driver_finding(driver: DriverFacts, around: Surroundings, *, wanted: bool = False) -> Finding:
    """Whether the driver is there and answers; a note, standing for all card checks, where there is no card.

    Args:
        driver: what NVML said.
        around: the machine.
        wanted: the settings insist on a card.
    """
    name = "gpu"
    if driver.cards and not driver.error:
        kinds: dict[str, int] = {}
        for card in driver.cards:
            kinds[card.name] = kinds.get(card.name, 0) + 1
        what = ", ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in kinds.items())
        return Finding(name, "ok", f"{what}; driver {driver.driver}, CUDA up to {driver.cuda}")
    if not driver.cards and not around.nodes:
        return _without_nodes(driver, around, wanted)
    if driver.error_code == -1:
        return Finding(name, "fail", driver.error, "pip install 'dualface-ray[gpu]' (nvidia-ml-py).")
    if driver.error:
        remedy = _NVML_REMEDIES.get(driver.error_code, "See nvidia-smi and dmesg; a reboot often helps.")
        if driver.error_code == _LIBRARY_MISSING:
            remedy = _CAPABILITIES if around.container else "Install NVIDIA's driver with its libraries again."
        return Finding(name, "fail", driver.error, remedy)
    text = "the driver answers, but lists no card"
    remedy = "Start the container with --gpus all." if around.container else "See nvidia-smi -L and dmesg."
    return Finding(name, "fail", text, remedy)


def _without_nodes(driver: DriverFacts, around: Surroundings, wanted: bool) -> Finding:
    """No device node: a machine without a card, without its driver, or a container that was given none."""
    name = "gpu"
    if around.tegra:
        return Finding(name, "fail" if wanted else "note", f"a Jetson, {_JETSON}", "Set lane.backend=cpu.")
    if not around.has_hardware:
        text = "no NVIDIA card in this machine; checks of cards are left out, the CPU lane needs none"
        return Finding(name, "fail" if wanted else "note", text, "Set lane.backend=cpu." if wanted else "")
    text = f"a card is in this machine, but cannot be used ({driver.error or 'no /dev/nvidia0'})"
    remedy = "Install NVIDIA's driver (nouveau does not do), or stay with the CPU lane."
    if around.container:
        remedy = f"Start the container with --gpus all. {_CAPABILITIES}"
    elif around.kernel_driver:
        remedy = "Run nvidia-smi or nvidia-modprobe once as root: it makes the nodes in /dev."
    return Finding(name, "fail" if wanted else "warn", text, remedy)


def visible_finding(driver: DriverFacts, left: Sequence[CardFacts], around: Surroundings) -> Finding | None:
    """Whether ``CUDA_VISIBLE_DEVICES`` hides cards."""
    if around.visible is None or len(left) == len(driver.cards):
        return None
    words = [word.strip() for word in around.visible.split(",")]
    if not left and len(set(words)) < len(words):
        text = f"CUDA_VISIBLE_DEVICES={around.visible} names a card twice, for which CUDA shows none at all"
        return Finding("visible cards", "fail", text, "Name each card once.")
    text = f"CUDA_VISIBLE_DEVICES={around.visible} leaves {len(left)} of {len(driver.cards)} cards"
    state: State = "note" if left else "fail"
    return Finding("visible cards", state, text, "" if left else "Unset it, or name a card that there is.")


def order_finding(driver: DriverFacts, around: Surroundings) -> Finding | None:
    """Whether the numbers of ``CUDA_VISIBLE_DEVICES`` may mean other cards to CUDA than to us and nvidia-smi."""
    if not unsure_order(
        driver.cards, {"CUDA_VISIBLE_DEVICES": around.visible or "", "CUDA_DEVICE_ORDER": around.order}
    ):
        return None
    text = f"cards of several kinds, and CUDA_DEVICE_ORDER={around.order}: CUDA counts the fastest card as 0"
    remedy = "export CUDA_DEVICE_ORDER=PCI_BUS_ID to count as nvidia-smi does, or name cards by their UUIDs."
    return Finding("card numbers", "warn", text, remedy)


def mps_finding(left: Sequence[CardFacts], around: Surroundings) -> Finding | None:
    """Whether the processes of a lane share their card; without MPS they take turns."""
    if not left or around.wsl:  # there is none for WSL
        return None
    if around.mps:
        return Finding("mps", "ok", "it runs: the processes of a lane share the card")
    text = "it does not run: the processes of a lane take turns on the card, a few per cent slower"
    return Finding(
        "mps", "note", text, "Start nvidia-cuda-mps-control -d before Ray (DUALFACE_MPS=1 for start-node.sh)."
    )


def age_findings(driver: DriverFacts, libraries: LibraryFacts) -> Iterator[Finding]:
    """Whether the driver is new enough for what is installed."""
    version = driver.driver if isinstance(driver.driver, str) else ""
    if not version:
        return
    old = [floor for floor in floors(libraries.distributions) if not floor.allows(version)]
    for floor in old:
        text = f"driver {version} is too old for {floor.wheel} ({floor.source}: {floor.driver} or newer)"
        yield Finding("driver version", "fail", text, f"Install driver {floor.driver} or newer.")
    if not old:
        yield Finding("driver version", "ok", f"{version} is new enough for the installed wheels")


def capability_finding(around: Surroundings, libraries: LibraryFacts) -> Finding | None:
    """Whether the container was given the driver's parts; without the variable it gets compute and utility alone."""
    if not around.container:
        return None
    words = {word.strip() for word in (around.capabilities or "").split(",") if word.strip()}
    missing = {use for name, (use, _) in _LIBRARY_USES.items() if libraries.opened.get(name)}
    if not missing:
        return Finding("capabilities", "ok", "the container has the driver's compute, utility and video parts")
    lacks = sorted(missing if "all" in words else missing | ({"compute", "utility", "video"} - words))
    said = "is not set" if around.capabilities is None else f"is {around.capabilities or 'empty'}"
    text = f"NVIDIA_DRIVER_CAPABILITIES {said}; without {', '.join(lacks)} there"
    if "all" in words or words >= {"compute", "utility", "video"}:
        text = f"NVIDIA_DRIVER_CAPABILITIES {said}, but the runtime did not bring {', '.join(lacks)}"
        return Finding(
            "capabilities", "fail", text, "Install the NVIDIA container toolkit on the host, and use --gpus."
        )
    return Finding("capabilities", "fail", text, _CAPABILITIES)


def library_findings(libraries: LibraryFacts, around: Surroundings) -> Iterator[Finding]:
    """Whether the driver's libraries open."""
    closed = {name: trouble for name, trouble in libraries.opened.items() if trouble}
    for name, trouble in closed.items():
        use, who = _LIBRARY_USES.get(name, ("compute", "a GPU lane"))
        package = {"video": "libnvidia-decode and libnvidia-encode", "utility": "nvidia-utils"}.get(
            use, "libnvidia-compute"
        )
        remedy = _CAPABILITIES if around.container else f"Install the driver's part that holds it ({package})."
        if around.tegra:
            remedy = f"Set lane.backend=cpu: this is a Jetson, {_JETSON}."
        yield Finding(name, "fail", f"{trouble.rstrip('.')}; {who} needs it", remedy)
    if libraries.opened and not closed:
        yield Finding("driver libraries", "ok", ", ".join(libraries.opened))


def cupy_findings(libraries: LibraryFacts, driver: DriverFacts) -> Iterator[Finding]:
    """Whether there is one CuPy, for a CUDA that the driver speaks."""
    wheels = [name for name in libraries.distributions if name == "cupy" or name.startswith("cupy-cuda")]
    install = "pip install 'dualface-ray[gpu]' (it brings cupy-cuda13x)."
    if len(wheels) > 1:
        remedy = f"pip uninstall {' '.join(wheels)}; then {install}"
        yield Finding("cupy", "fail", f"several CuPy wheels overwrite one another: {', '.join(wheels)}", remedy)
    speaks = int(driver.cuda.split(".")[0]) if isinstance(driver.cuda, str) and driver.cuda[:1].isdecimal() else 0
    for name in wheels:
        major = cuda_major(name, libraries.distributions[name])
        if speaks and major > speaks:
            text = f"{name} is built for CUDA {major}, the driver speaks up to {driver.cuda}"
            yield Finding("cupy", "fail", text, f"Update the driver, or pip install cupy-cuda{speaks}x in its place.")
    version = libraries.versions.get("cupy")
    if isinstance(version, str):
        yield Finding("cupy", "ok", f"{version}, CUDA runtime {libraries.versions.get('cuda_runtime')}")
    elif isinstance(version, Unknown):
        yield Finding("cupy", "fail", f"cannot be used: {version.why}", install)


def module_findings(libraries: LibraryFacts) -> Iterator[Finding]:
    """Whether TensorRT and PyNvVideoCodec can be imported."""
    for name in ("tensorrt", "PyNvVideoCodec"):
        version = libraries.versions.get(name)
        if isinstance(version, str):
            yield Finding(name, "ok", version)
        elif isinstance(version, Unknown):
            remedy = "pip install 'dualface-ray[gpu]'."
            if "libnvinfer" in version.why:
                remedy = "Install TensorRT's libraries again, or put their folder into LD_LIBRARY_PATH."
            elif "libnv" in version.why:
                remedy = "See the driver's libraries above."
            yield Finding(name, "fail", f"cannot be imported: {version.why}", remedy)
