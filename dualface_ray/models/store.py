"""The model cache: finding, checking, fetching and atomically storing converted models."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dualface_ray.errors import ModelDamagedError, ModelError, ModelMissingError
from dualface_ray.models.centerface import clean_centerface
from dualface_ray.models.dlib_resnet import convert_dlib_resnet
from dualface_ray.models.fetch import Progress, fetch_member, pull_command
from dualface_ray.models.locks import one_at_a_time
from dualface_ray.models.registry import ModelSpec, model_spec
from dualface_ray.models.writing import write_complete

_RECIPE = 1
"""Part of every file name; raise it when a converter's result changes."""
_CONVERTERS = {"centerface": clean_centerface, "dlib-resnet": convert_dlib_resnet}

_seen: dict[Path, tuple[int, int]] = {}
"""Size and mtime in ns of the files this process has hashed and found good."""


def cache_dir() -> Path:
    """Where models are kept: ``DUALFACE_CACHE``, else ``XDG_CACHE_HOME``/dualface_ray, else ``~/.cache/dualface_ray``.

    The folder need not exist yet.
    """
    own = os.environ.get("DUALFACE_CACHE", "")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "dualface_ray"


def cached_path(name: str) -> Path:
    """Where the converted model lies once it has been pulled; the name changes with source and conversion.

    Raises:
        ModelError: there is no model of that name.
    """
    return _path(model_spec(name))


def is_cached(name: str) -> bool:
    """Whether the model is in the cache and whole; False for a damaged file."""
    return _whole(_path(model_spec(name)))


def own_file(explicit_path: str) -> Path:
    """The file that an explicit path means: ``~`` is the home folder of whoever runs this, here as in a shell."""
    path = Path(explicit_path)
    try:
        return path.expanduser()
    except RuntimeError:  # nobody is called that
        return path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def resolve(name: str, explicit_path: str = "") -> Path:
    """The file of a model; never touches the network.

    An explicit path always wins. A cached file is hashed on its first use in a process and whenever its size or
    modification time has changed since.

    Raises:
        ModelMissingError: the explicit path is no file, or the model is not in the cache.
        ModelDamagedError: the cached file is not what was stored.
        ModelError: there is no model of that name.
    """
    if explicit_path:
        path = own_file(explicit_path)
        if not _is_file(path):
            raise ModelMissingError("no such model file", where=explicit_path, remedy="Check the path.")
        return path
    path = _path(model_spec(name))
    if not path.is_file():
        raise ModelMissingError("not in the cache", where=f"model {name}", remedy=f"Run: {pull_command(name)}.")
    if not _whole(path):
        raise ModelDamagedError(
            "the cached file is not what was stored", where=str(path), remedy=f"Run: {pull_command(name)}."
        )
    return path


def ensure(name: str, explicit_path: str = "", progress: Progress = lambda line: None) -> Path:
    """Like ``resolve``, but fetch the model when it is missing or damaged; for use before a job starts.

    Raises:
        ModelMissingError: it cannot be fetched, or the explicit path is no file.
        ModelDamagedError: what was fetched is not the registered file.
    """
    if explicit_path or is_cached(name):
        return resolve(name, explicit_path)
    return pull(name, progress)


def pull(name: str, progress: Progress = lambda line: None) -> Path:
    """Fetch, check, convert and store a model; do nothing when a whole one is there already.

    Processes that pull the same model at the same time wait for the first one.

    Args:
        name: a name from ``list_models``.
        progress: called with one readable line per step.

    Raises:
        ModelMissingError: it cannot be fetched.
        ModelDamagedError: what was fetched is not the registered file.
        ModelError: unknown name, or the cache folder cannot be written.
    """
    spec = model_spec(name)
    path = _path(spec)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path.with_suffix(".lock"), "fetches the same model", progress):
            if _whole(path):
                progress(f"{name} is in the cache: {path}")
                return path
            if path.exists():
                progress(f"{path.name} is damaged; fetching it again")
            data = fetch_member(spec, progress)
            progress(f"converting {name}")
            _store(path, _CONVERTERS[spec.converter](data), spec)
    except OSError as error:
        raise ModelError(
            f"the model cache cannot be written ({error.strerror or error})",
            where=str(path.parent),
            remedy="Free some space or point DUALFACE_CACHE to a folder you may write.",
        ) from error
    progress(f"stored {path}")
    return path


def model_sha256(path: Path) -> str:
    """SHA-256 of a model file in hex, for reports and engine keys."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _path(spec: ModelSpec) -> Path:
    return cache_dir() / "models" / f"{spec.name}-{spec.member_sha256[:12]}-r{_RECIPE}.onnx"


def _stamp_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _whole(path: Path) -> bool:
    """Whether the file is the one that ``_store`` wrote."""
    try:
        status = path.stat()
        state = (status.st_size, status.st_mtime_ns)
        if _seen.get(path) == state:
            return True
        stamp: Any = json.loads(_stamp_path(path).read_text(encoding="utf-8"))
        good = isinstance(stamp, dict) and stamp.get("sha256") == model_sha256(path)
    except (OSError, ValueError):
        return False
    if good:
        _seen[path] = state
    return good


def _store(path: Path, data: bytes, spec: ModelSpec) -> None:
    """The stamp first, then the model: a model without its stamp never counts as whole."""
    stamp = {
        "model": spec.name,
        "licence": spec.licence,
        "source": f"{spec.package} {spec.version} {spec.member}",
        "source_sha256": spec.member_sha256,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    _seen.pop(path, None)
    write_complete(_stamp_path(path), json.dumps(stamp, indent=1).encode())
    write_complete(path, data)
