"""Networks: whether the models that the settings name exist, and files of the user's are what they are to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dualface_ray.backends.ports import load_backend
from dualface_ray.errors import DeviceError, ModelError, SettingsError
from dualface_ray.models import list_models, resolve
from dualface_ray.settings import Settings


class _Closable(Protocol):
    def close(self) -> None: ...


def check_networks(settings: Settings) -> None:
    """Refuse models that no lane could load, before anything starts; nothing is fetched.

    Names are looked up in the registry. A file given by path is loaded for a moment, on a CPU whatever the lanes are:
    most videos would find out late that their embedding is none, or never.

    Raises:
        SettingsError: a name is unknown or of a model of the other kind; a file is missing or no such network.
    """
    detect, identity, cpu = settings.detect, settings.identity, load_backend("cpu")
    if detect.model_path:
        _check_file("detect.model_path", detect.model_path, lambda: cpu.load_detector(settings, 1))
    else:
        _check_name("detect.model", detect.model, "detector")
    if identity.embedding_path:
        _check_file("identity.embedding_path", identity.embedding_path, lambda: cpu.load_embedder(settings, 1))
    else:
        _check_name("identity.embedding_model", identity.embedding_model, "embedding")


def _check_name(key: str, name: str, kind: str) -> None:
    kinds: dict[str, str] = {spec.name: spec.kind for spec in list_models()}
    if kinds.get(name) == kind:
        return
    what = f"{name!r} is a model of kind {kinds[name]}, not {kind}" if name in kinds else f"unknown model {name!r}"
    fitting = ", ".join(known for known, its in kinds.items() if its == kind)
    path = "detect.model_path" if kind == "detector" else "identity.embedding_path"
    raise SettingsError(what, where=key, remedy=f"Known are: {fitting}; or name a file with {path}.")


def _check_file(key: str, path: str, load: Callable[[], _Closable]) -> None:
    try:
        resolve("", path)
        load().close()
    except (ModelError, DeviceError) as error:
        where = error.where if isinstance(error, ModelError) and error.where else path
        remedy = error.remedy or "Name an ONNX file that docs/models.md describes, or leave it empty."
        raise SettingsError(f"{where}: {error.what}", where=key, remedy=remedy) from error
