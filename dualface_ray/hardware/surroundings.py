"""What lies around the cards: device nodes, container, limits, folders. Read from files, without vendor libraries."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.hardware.facts import Maybe, Unknown

_NVIDIA = "0x10de"
_MPS_PIPES = "/tmp/nvidia-mps"  # noqa: S108 - the library's own default
_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything a check needs that is not a card's own."""

    nodes: tuple[str, ...]
    """Device nodes of cards, such as ``nvidia0``."""
    kernel_driver: str
    """First line of ``/proc/driver/nvidia/version``; empty when no driver is loaded."""
    pci_cards: Maybe[int]
    """NVIDIA's display controllers on the PCI bus."""
    container: bool
    wsl: bool
    tegra: bool
    """A Jetson: its GPU and video engines are no card's."""
    capabilities: str | None
    """``NVIDIA_DRIVER_CAPABILITIES``; None when it is not set."""
    visible: str | None
    """``CUDA_VISIBLE_DEVICES``; None when it is not set."""
    order: str
    """``CUDA_DEVICE_ORDER``; CUDA's own default when it is not set."""
    mps: bool
    """NVIDIA's MPS runs where this process would look for it (``CUDA_MPS_PIPE_DIRECTORY``)."""
    ptrace_scope: Maybe[int]
    descriptors: int
    """Files this process may open."""
    most_descriptors: int
    """What it may raise that to; -1 = no limit."""

    @property
    def has_hardware(self) -> bool:
        """Whether anything speaks for an NVIDIA card in this machine."""
        on_bus = isinstance(self.pci_cards, int) and self.pci_cards > 0
        return bool(self.nodes or self.kernel_driver) or on_bus


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder that a run would write to."""

    path: str
    trouble: str = ""
    """Why nothing can be written there, in the system's words; empty when a file could be made."""
    free_bytes: Maybe[int] = 0
    free_inodes: Maybe[int] = -1
    """-1 where the file system does not count them."""


def surroundings(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> Surroundings:
    """Look around.

    Args:
        root: of the file system; a copy in tests.
        environment: of this process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    version = _first_line(root / "proc/version").lower()
    scope = _first_line(root / "proc/sys/kernel/yama/ptrace_scope")
    return Surroundings(
        nodes=tuple(sorted(path.name for path in (root / "dev").glob("nvidia[0-9]*"))),
        kernel_driver=_first_line(root / "proc/driver/nvidia/version"),
        pci_cards=_pci_cards(root / "sys/bus/pci/devices"),
        container=_contained(root, environment),
        wsl="microsoft" in version,
        tegra="nvidia,tegra" in _first_line(root / "proc/device-tree/compatible"),
        capabilities=environment.get("NVIDIA_DRIVER_CAPABILITIES"),
        visible=environment.get("CUDA_VISIBLE_DEVICES"),
        order=environment.get("CUDA_DEVICE_ORDER", "FASTEST_FIRST"),
        mps=(root / environment.get("CUDA_MPS_PIPE_DIRECTORY", _MPS_PIPES).lstrip("/") / "control").exists(),
        ptrace_scope=int(scope) if scope.isdecimal() else Unknown("the kernel has no Yama"),
        descriptors=soft,
        most_descriptors=hard,
    )


def folder_facts(folder: Path) -> FolderFacts:
    """Really make a file there (it has no name, or loses it at once), and see what is free."""
    trouble = ""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"dualface")
            file.flush()
    except OSError as error:
        trouble = error.strerror or str(error)
    try:
        state = os.statvfs(folder)
    except OSError as error:
        why = Unknown(error.strerror or str(error))
        return FolderFacts(str(folder), trouble, why, why)
    inodes = state.f_favail if state.f_files else -1
    return FolderFacts(str(folder), trouble, state.f_frsize * state.f_bavail, inodes)


def _pci_cards(devices: Path) -> Maybe[int]:
    try:
        found = list(devices.iterdir())
    except OSError as error:
        return Unknown(error.strerror or str(error))
    kinds = ("0x0300", "0x0302")  # VGA and 3D controllers
    return sum(
        _first_line(path / "vendor") == _NVIDIA and _first_line(path / "class").startswith(kinds) for path in found
    )


def _contained(root: Path, environment: Mapping[str, str]) -> bool:
    marks = (root / ".dockerenv", root / "run/.containerenv")
    named = any(name in environment for name in ("container", "KUBERNETES_SERVICE_HOST", "NVIDIA_VISIBLE_DEVICES"))
    return named or any(mark.exists() for mark in marks)


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""
