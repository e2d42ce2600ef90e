"""``dualface doctor``: is everything here that a run needs? One line and a remedy for each check."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from dualface_ray.cli.text import shown, size
from dualface_ray.errors import DualfaceError
from dualface_ray.hardware import Space, cores, gpus, shared_memory
from dualface_ray.settings import Settings, config_dir, resolve

_LOWEST_PYTHON = (3, 10)
_OPTIONAL = frozenset({"nvidia-ml-py", "PyNvVideoCodec", "tensorrt", "cupy-cuda13x"})


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check; ``remedy`` is empty when all is well."""

    name: str
    state: Literal["ok", "note", "fail"]
    text: str
    remedy: str = ""


def examine(*, as_json: bool = False) -> int:
    """Print every check; returns 1 when one failed, else 0."""
    failed = False
    for check in checks():
        failed |= check.state == "fail"
        if as_json:
            sys.stdout.write(json.dumps(asdict(check)) + "\n")
        else:
            remedy = f" → {check.remedy}" if check.remedy else ""
            sys.stdout.write(f"{check.state:<6}{check.name:<24}{shown(check.text + remedy)}\n")
        sys.stdout.flush()
    return 1 if failed else 0


def checks() -> Iterator[Check]:
    """All checks, one after the other."""
    yield python_check(sys.version_info[:3])
    yield from _packages()
    try:
        yield Check("configs", "ok", str(config_dir()))
        settings = resolve()
    except DualfaceError as error:
        yield Check("configs", "fail", str(error), "Install dualface-ray again.")
        settings = Settings()
    yield from _models()
    yield shm_check(shared_memory(), settings)
    for name, folder in (("disk here", Path.cwd()), ("disk temporary", Path(tempfile.gettempdir()))):
        yield disk_check(name, folder, settings.job.min_free_disk_bytes)
    yield Check("cores", "ok", f"{cores()} usable by this process")
    yield _ray_address()
    cards = gpus()
    names = ", ".join(card.name for card in cards)
    yield Check("gpu", "ok" if cards else "note", names or "none that NVML sees; the CPU lane needs none")


def python_check(version: tuple[int, ...]) -> Check:
    """Whether this Python is new enough."""
    text = ".".join(str(part) for part in version)
    if version < _LOWEST_PYTHON:
        return Check("python", "fail", text, "Install Python 3.10 or newer.")
    return Check("python", "ok", text)


def _packages() -> Iterator[Check]:
    """Every distribution that the installed metadata asks for, with its version held against the range."""
    try:
        wanted = importlib.metadata.requires("dualface-ray") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("dualface-ray", "note", "runs from a checkout that is not installed", "Run `make setup`.")
        return
    for requirement in wanted:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)", requirement)
        if match and "extra ==" not in requirement:
            yield package_check(match.group(1), match.group(2).strip())


def package_check(name: str, wanted: str) -> Check:
    """Whether a distribution is installed in a version of the range."""
    from packaging.specifiers import SpecifierSet

    remedy = f"pip install '{name}{wanted}'"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", remedy)
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Check(name, "fail", f"{version} is outside {wanted}", remedy)
    return Check(name, "ok", version)


def _models() -> Iterator[Check]:
    try:
        from dualface_ray.models import cached_path, is_cached, list_models

        for spec in list_models():
            if is_cached(spec.name):
                yield Check(f"model {spec.name}", "ok", str(cached_path(spec.name)))
            else:
                yield Check(
                    f"model {spec.name}",
                    "note",
                    "not in the cache, or damaged",
                    f"dualface models pull {spec.name}",
                )
    except (DualfaceError, ImportError) as error:
        yield Check("models", "fail", str(error), "Install dualface-ray again.")


_SHM = "shared memory"


def shm_check(space: Space | None, settings: Settings) -> Check:
    """Whether /dev/shm holds the pool of one 1080p stream at 30 frames per second."""
    need = settings.quota_frames(Fraction(30)) * 1920 * 1080 * 3 // 2
    if not settings.lane.pool_budget_bytes:
        need *= 2  # a pool takes at most half of what is free
    if space is None:
        return Check(_SHM, "fail", "no /dev/shm", "Mount a tmpfs there, or use the host's (docker run --ipc=host).")
    text = f"{size(space.free_bytes)} free; one 1080p stream wants {size(need)}"
    if space.free_bytes < need:
        return Check(_SHM, "fail", text, f"docker run --shm-size={-(-need // 2**20)}m, or lower framing.lookahead_s")
    return Check(_SHM, "ok", text)


def disk_check(name: str, folder: Path, need_bytes: int) -> Check:
    """Whether a folder's disk has more room than a run insists on."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(name, "fail", f"{folder}: {error.strerror}", "Use a folder that can be read.")
    text = f"{size(free)} free in {folder}"
    if free < need_bytes:
        return Check(name, "fail", text, f"Free at least {size(need_bytes)}, or lower job.min_free_disk_bytes.")
    return Check(name, "ok", text)


def _ray_address() -> Check:
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        return Check("ray address", "note", f"RAY_ADDRESS={address}", "Unset it to use a private Ray on this machine.")
    return Check("ray address", "ok", "none set: each run starts a private Ray")
