"""Portraits: which people play in which split, and where the additional ones come from."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dualface_ray.demo import FaceImage, load_faces
from dualface_ray.errors import ModelDamagedError, ModelMissingError, SettingsError
from dualface_ray.models import cache_dir

SPLITS = ("train", "test")

SEEDS = {"train": (0, 4, 11), "test": (1003, 1004, 1011)}
"""Seeds of the scenes' variants; every seed that leaves 4 when divided by 5 dresses both people alike."""

# Official portraits of the US government (public domain), inside the source archive of face_recognition (MIT).
_PACKAGE = "face_recognition==1.3.0"
_ARCHIVE_SHA256 = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
_MEMBERS = {
    "biden.jpg": "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    "obama.jpg": "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
}


def cast(split: str) -> list[FaceImage]:
    """The faces of a split: first the two who talk, then those who may pass by.

    The two of the test split are nobody's first two in the training split, and the other way round.

    Raises:
        SettingsError: there is no such split.
        ModelMissingError: the additional portraits are not cached and cannot be fetched.
        DeviceError: the demo extra is not installed.
    """
    if split not in SPLITS:
        raise SettingsError(f"unknown split {split!r}", where="--split", remedy=f"Use one of: {', '.join(SPLITS)}.")
    packaged, fetched = load_faces(), load_faces(fetch_portraits())
    return [*packaged, *fetched] if split == "train" else [*fetched, *packaged]


def fetch_portraits() -> Path:
    """The folder with the additional portraits; fetched once through pip, checked by SHA-256, cached.

    Raises:
        ModelMissingError: not cached, and pip could not fetch them.
        ModelDamagedError: what came is not what is registered.
    """
    folder = cache_dir() / "portraits"
    if all(_sha256(folder / name) == digest for name, digest in _MEMBERS.items()):
        return folder
    with tempfile.TemporaryDirectory(prefix="dualface-portraits-") as scratch:
        archive = _download(Path(scratch))
        with tarfile.open(archive) as bundle:
            for info in bundle:
                name = Path(info.name).name
                stream = bundle.extractfile(info) if name in _MEMBERS and "/tests/test_images/" in info.name else None
                if stream is not None:
                    _keep(folder / name, stream.read(), _MEMBERS[name])
    missing = [name for name in _MEMBERS if not (folder / name).is_file()]
    if missing:
        raise ModelDamagedError(f"the archive holds no {', '.join(missing)}", where=_PACKAGE)
    return folder


def _download(scratch: Path) -> Path:
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{_PACKAGE} --hash=sha256:{_ARCHIVE_SHA256}\n", encoding="utf-8")
    got = scratch / "got"
    command: Sequence[str] = (
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", "--no-binary", ":all:", "--dest", str(got), "--requirement", str(requirements),
    )  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600, check=False)
        reason = (done.stderr.strip() or "pip gave no reason").splitlines()[-1]
    except subprocess.TimeoutExpired:
        reason = "pip did not finish within 600 s"
    archives = sorted(got.glob("*.tar.gz")) if got.is_dir() else []
    if not archives:
        raise ModelMissingError(
            f"the additional portraits cannot be fetched ({reason[:200]})", where=_PACKAGE,
            remedy="Go online once, or measure the split train with your own clips.",
        )  # fmt: skip
    return archives[0]


def _keep(path: Path, data: bytes, digest: str) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise ModelDamagedError(f"{path.name} is not the registered portrait", where=_PACKAGE)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
