"""Reading a settings file: plain nested keys, each with the line it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dualface_ray.errors import SettingsError

_MAX_BYTES = 1 << 20
"""A settings file is a page or two; anything larger is another file named by mistake."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a file: dotted key, value (text as written, None when empty), and the line it stands on."""

    key: str
    value: str | None
    line: int
    group: bool = False
    """The key opens a group that is empty."""


def read_document(path: Path) -> list[Entry]:
    """All keys of a YAML file, flattened, in order.

    Values stay as written: YAML's own guesses (``off`` is false, ``010`` is eight) never change a setting, its type
    decides.

    Raises:
        SettingsError: the file cannot be read, is no YAML, names a key twice or holds lists.
    """
    where = str(path)
    try:
        if path.is_dir():
            raise SettingsError("this is a folder", where=where, remedy="Name a YAML file.")
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise SettingsError(
            f"the settings file cannot be read: {problem}", where=where, remedy="Check the path."
        ) from error
    if len(raw) > _MAX_BYTES:
        raise SettingsError("larger than 1 MiB", where=where, remedy="Name a settings file.")
    try:
        node = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise SettingsError("this is not UTF-8 text", where=where, remedy="Name a YAML file.") from error
    except RecursionError as error:
        raise SettingsError("nested too deeply", where=where, remedy="Name a settings file.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(
            f"no valid YAML: {error.problem or error.context or 'unreadable'}",
            where=f"{where} line {line}",
            remedy="Correct that line.",
        ) from error
    except yaml.YAMLError as error:
        problem = str(getattr(error, "reason", "") or "unreadable")
        raise SettingsError(f"no valid YAML: {problem}", where=where, remedy="Name a YAML file.") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError("no keys at the top", where=where, remedy="Write for example `framing: {layout: stacked}`.")
    return list(_entries(node, "", where, frozenset()))


def _entries(node: yaml.MappingNode, prefix: str, where: str, above: frozenset[int]) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    above |= {id(node)}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        here = f"{where} line {line}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise SettingsError("a key must be a word", where=here, remedy="Write group: {key: value}.")
        key = f"{prefix}{key_node.value}"
        if key in seen:
            raise SettingsError(
                f"given twice, on line {seen[key]} and on line {line}",
                where=f"{key} ({where})",
                remedy="Remove one of them.",
            )
        seen[key] = line
        yield from _values(key, value_node, line, where, above)


def _values(key: str, node: Any, line: int, where: str, above: frozenset[int]) -> Iterator[Entry]:
    here = f"{key} ({where} line {line})"
    if isinstance(node, yaml.ScalarNode):
        empty = node.style is None and node.value in ("", "~", "null")
        yield Entry(key, None if empty else node.value, line)
    elif not isinstance(node, yaml.MappingNode):
        raise SettingsError("a list stands where one value belongs", where=here, remedy="Write a single value.")
    elif id(node) in above or len(above) > 8:
        raise SettingsError("nested too deeply", where=here, remedy="Settings are group: {key: value}.")
    elif not node.value:
        yield Entry(key, None, line, group=True)
    else:
        yield from _entries(node, key + ".", where, above)
