"""``dualface doctor``: is everything here that a run needs? One line and a remedy for each check."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

from dualface_ray.cli.text import shown, size
from dualface_ray.errors import DualfaceError
from dualface_ray.hardware import (
    Finding,
    Space,
    cores,
    descriptors_finding,
    folder_facts,
    folder_finding,
    probe_driver,
    profile_named,
    shared_memory,
    surroundings,
)
from dualface_ray.settings import Settings, config_dir, resolve

_LOWEST_PYTHON = (3, 10)
_PACKAGES_OF_CARDS = 512 << 20
"""With cards, /dev/shm holds pages of generations and Ray's small object store; below this Ray moves it to a disk."""


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """What the command line asked for."""

    profile: str = ""
    """Profile to hold the cards against; empty = each card's own."""
    output: Path | None = None
    """Where results would go; None = here."""
    scratch: Path | None = None
    config: Path | None = None
    sets: tuple[str, ...] = field(default_factory=tuple)


def examine(request: DoctorRequest, *, as_json: bool = False) -> int:
    """Print every finding; returns 1 when one of them is a failure, else 0."""
    failed = False
    for found in findings(request):
        failed |= found.state == "fail"
        if as_json:
            sys.stdout.write(json.dumps(asdict(found)) + "\n")
        else:
            remedy = f" → {found.remedy}" if found.remedy else ""
            sys.stdout.write(f"{found.state:<6}{found.name:<24}{shown(found.text + remedy)}\n")
        sys.stdout.flush()
    return 1 if failed else 0


def findings(request: DoctorRequest) -> Iterator[Finding]:
    """All checks, one after the other.

    Raises:
        RequestError: profile or settings cannot be read; before anything is looked at.
    """
    profile = profile_named(request.profile)
    settings = _settings(request)
    profile = profile or profile_named(settings.lane.profile)
    yield python_finding(sys.version_info[:3])
    yield from _packages()
    yield _configs()
    yield from _models()
    around = surroundings()
    driver = probe_driver()
    yield shm_finding(shared_memory(), settings, cores(), cards=bool(driver.cards))
    yield from _folders(request, settings)
    yield Finding("cores", "ok", f"{cores()} usable by this process")
    yield descriptors_finding(around)
    yield _ray_address()
    from dualface_ray.cli.doctor_cards import card_checks

    yield from card_checks(driver, around, profile, settings)


def _settings(request: DoctorRequest) -> Settings:
    """The settings of a run; where the defaults themselves are broken, a check says so."""
    try:
        return resolve(request.config, request.sets)
    except DualfaceError:
        if request.config is not None or request.sets:
            raise
        return Settings()


def _configs() -> Finding:
    try:
        resolve()
        return Finding("configs", "ok", str(config_dir()))
    except DualfaceError as error:
        return Finding("configs", "fail", str(error), "Install dualface-ray again.")


def python_finding(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    text = ".".join(str(part) for part in version)
    if version < _LOWEST_PYTHON:
        return Finding("python", "fail", text, "Install Python 3.10 or newer.")
    return Finding("python", "ok", text)


def _packages() -> Iterator[Finding]:
    """Every distribution that the installed metadata asks for, with its version held against the range."""
    try:
        wanted = importlib.metadata.requires("dualface-ray") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("dualface-ray", "note", "runs from a checkout that is not installed", "Run `make setup`.")
        return
    for requirement in wanted:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)", requirement)
        if match and "extra ==" not in requirement:
            yield package_finding(match.group(1), match.group(2).strip())


def package_finding(name: str, wanted: str) -> Finding:
    """Whether a distribution is installed in a version of the range."""
    from packaging.specifiers import SpecifierSet

    remedy = f"pip install '{name}{wanted}'"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "fail", "not installed", remedy)
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding(name, "fail", f"{version} is outside {wanted}", remedy)
    return Finding(name, "ok", version)


def _models() -> Iterator[Finding]:
    try:
        from dualface_ray.models import cached_path, is_cached, list_models

        for spec in list_models():
            if is_cached(spec.name):
                yield Finding(f"model {spec.name}", "ok", str(cached_path(spec.name)))
            else:
                yield Finding(
                    f"model {spec.name}",
                    "note",
                    "not in the cache, or damaged",
                    f"dualface models pull {spec.name}",
                )
    except (DualfaceError, ImportError) as error:
        yield Finding("models", "fail", str(error), "Install dualface-ray again.")


_SHM = "shared memory"


def shm_finding(space: Space | None, settings: Settings, count: int, *, cards: bool = False) -> Finding:
    """Whether /dev/shm holds the pools that these settings want, for 1080p at 30 frames per second.

    Args:
        space: of /dev/shm; None = there is none.
        settings: of the run.
        count: cores of this machine.
        cards: there are cards, whose pools lie in their own memory.
    """
    if space is None:
        return Finding(_SHM, "fail", "no /dev/shm", "Mount a tmpfs there, or use the host's (docker run --ipc=host).")
    if cards and settings.lane.backend != "cpu":
        text = f"{size(space.free_bytes)} free; pools lie on the cards"
        if space.free_bytes >= _PACKAGES_OF_CARDS:
            return Finding(_SHM, "ok", text)
        return Finding(_SHM, "warn", f"{text}, Ray's object store does not", "docker run --shm-size=2g")
    one = settings.quota_frames(Fraction(30)) * 1920 * 1080 * 3 // 2
    streams = settings.lane.streams or max(1, count // 2)
    double = 1 if settings.lane.pool_budget_bytes else 2  # without a budget a pool takes at most half of what is free
    text = f"{size(space.free_bytes)} free; one 1080p stream wants {size(one * double)}"
    if space.free_bytes < one * double:
        need = -(-one * double // 2**20)
        return Finding(_SHM, "fail", text, f"docker run --shm-size={need}m, or lower framing.lookahead_s")
    if space.free_bytes < one * double * streams:
        need = -(-one * double * streams // 2**20)
        text = f"{text}, {streams} at once {size(one * double * streams)}"
        return Finding(_SHM, "warn", text, f"docker run --shm-size={need}m, or fewer videos at once run")
    return Finding(_SHM, "ok", text)


def _folders(request: DoctorRequest, settings: Settings) -> Iterator[Finding]:
    """Where results would go, where scratch lies, and where temporary files are made."""
    need = settings.job.min_free_disk_bytes
    named = [("disk here" if request.output is None else "disk output", request.output or Path.cwd())]
    if request.scratch is not None:
        named.append(("disk scratch", request.scratch))
    named.append(("disk temporary", Path(tempfile.gettempdir())))
    for name, folder in named:
        # an output folder that a run would make: the folder above it decides
        there = next((place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()), folder)
        yield folder_finding(name, folder_facts(there), need)


def _ray_address() -> Finding:
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        return Finding("ray address", "note", f"RAY_ADDRESS={address}", "Unset it to use a private Ray here.")
    return Finding("ray address", "ok", "none set: each run starts a private Ray")
