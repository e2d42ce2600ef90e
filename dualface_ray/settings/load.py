"""resolve: from defaults, a file, ``--set`` and keywords to one frozen Settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dualface_ray.errors import SettingsError
from dualface_ray.settings.base import Group
from dualface_ray.settings.document import Entry, read_document
from dualface_ray.settings.keys import group_of, leaf_keys, matches
from dualface_ray.settings.problems import ambiguous_key, at, translate, unknown_key
from dualface_ray.settings.root import Settings

_PACKAGE = Path(__file__).resolve().parent.parent


def config_dir() -> Path:
    """The folder with ``default.yaml``, ``profiles/`` and ``models/``.

    Inside an installed wheel it lies in the package; in a checkout it is the ``configs`` folder beside it.

    Raises:
        SettingsError: neither is there: the installation is broken.
    """
    for folder in (_PACKAGE / "_configs", _PACKAGE.parent / "configs"):
        if (folder / "default.yaml").is_file():
            return folder
    raise SettingsError("configs are missing from the installation", where=str(_PACKAGE), remedy="Install it again.")


def resolve(file: Path | str | None = None, sets: Sequence[str] = (), **overrides: object) -> Settings:
    """Complete, checked settings: ``default.yaml`` < ``file`` < ``sets`` < ``overrides``.

    Args:
        file: a YAML file of the same form as ``default.yaml``; it names only what differs.
        sets: ``key=value`` texts. The key may be short where it is unique: ``layout=stacked``.
        overrides: the same as keywords; a whole group may be given as a mapping: ``framing={"layout": "stacked"}``.

    Raises:
        SettingsError: one line naming the key, the value and what is allowed.
    """
    values = {key: value for key, (value, _) in _from_file(config_dir() / "default.yaml").items()}
    layers = []
    if file is not None:
        layers.append(_from_file(Path(file)))
    layers += [_from_sets(sets), _from_keywords(overrides)]
    origins: dict[str, str] = {}
    for layer in layers:
        for key, (value, origin) in layer.items():
            values[key] = value
            origins[key] = origin
    try:
        return Settings.model_validate(_nested(values))
    except ValidationError as error:
        raise translate(error, origins) from None  # the line says it all; pydantic's page would bury it


_Layer = dict[str, tuple[Any, str]]
"""Dotted key -> value and where it came from."""


def _from_file(path: Path) -> _Layer:
    keys, groups = leaf_keys(Settings), _group_names()
    layer: _Layer = {}
    for entry in read_document(path):
        origin = f"{path.name} line {entry.line}"
        if entry.key in groups:
            _check_empty_group(entry, origin)
        elif entry.key not in keys:
            raise _lost(entry.key, origin)
        elif entry.group:
            raise SettingsError("a group stands where one value belongs", where=at(entry.key, origin))
        else:
            layer[entry.key] = (entry.value, origin)
    return layer


def _lost(key: str, origin: str) -> SettingsError:
    """A key of a file that does not exist; keys below an existing single value get their own sentence."""
    parent = key.rpartition(".")[0]
    if parent in leaf_keys(Settings):
        return SettingsError("a group stands where one value belongs", where=at(parent, origin))
    return unknown_key(key, origin)


def _check_empty_group(entry: Entry, origin: str) -> None:
    """``framing:`` with nothing below it changes nothing; ``framing: stacked`` is a slip."""
    if entry.value is not None:
        raise SettingsError(
            f"{entry.value!r} stands where a group of keys belongs",
            where=at(entry.key, origin),
            remedy=f"Write the keys of {entry.key} below it, each on its own line.",
        )


def _from_sets(sets: Sequence[str]) -> _Layer:
    layer: _Layer = {}
    for text in sets:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise SettingsError("not of the form key=value", where=f"--set {text!r}", remedy="Write --set key=value.")
        _add(layer, name, value.strip(), "--set")
    return layer


def _from_keywords(overrides: Mapping[str, object]) -> _Layer:
    layer: _Layer = {}
    for name, value in overrides.items():
        if name in _group_names():
            for key, below in _group_items(name, value):
                _add(layer, f"{name}.{key}", below, "")
        else:
            _add(layer, name, value, "")
    return layer


def _group_items(name: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, Group):
        return [(key, getattr(value, key)) for key in type(value).model_fields]
    if isinstance(value, Mapping):
        return [(str(key), below) for key, below in value.items()]
    raise SettingsError("a group needs a mapping of its keys", where=name, remedy=f"Write {name}={{'key': value}}.")


def _add(layer: _Layer, name: str, value: object, origin: str) -> None:
    key = full_key(name, origin)
    if key in layer:
        raise SettingsError("given twice", where=at(key, origin), remedy="Remove one of them.")
    layer[key] = (value, origin)


def full_key(name: str, origin: str = "", keys: Callable[[], Sequence[str]] | None = None) -> str:
    """The dotted key meant by a full or short name.

    Args:
        name: ``framing.layout`` or ``layout``.
        origin: where the name was given, for the message.
        keys: the keys to choose from; all settings when missing.

    Raises:
        SettingsError: no setting has that name, or several have.
    """
    found = matches(name, keys() if keys else leaf_keys(Settings))
    if not found:
        raise unknown_key(name, origin)
    if len(found) > 1:
        raise ambiguous_key(name, found, origin)
    return found[0]


def _group_names() -> set[str]:
    return {name for name, field in Settings.model_fields.items() if group_of(field) is not None}


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *groups, last = key.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[last] = value
    return tree
