"""The settings explained: ``configs/default.yaml`` and ``docs/settings.md`` are written from the models by this module.

python -m dualface_ray.settings.describe   # rewrites both; a test compares them with the models
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

from dualface_ray.settings.base import Group
from dualface_ray.settings.keys import allowed, group_of
from dualface_ray.settings.root import Settings

_WIDTH = 116

_YAML_HEAD = """\
# The default of every setting, with its meaning, unit and range; docs/settings.md says how to override one.
# Written from the models by `make docs`: change the models in dualface_ray/settings, not this file.
"""

_PAGE_HEAD = """\
# Settings

Every run is described by one frozen set of settings. Later sources win over earlier ones:

1. `configs/default.yaml` (the defaults below),
2. a YAML file of your own: `dualface run … --config my.yaml`,
3. `--set key=value`, any number of times,
4. keywords in Python: `run("talk.mp4", layout="stacked")`, and the options of the command line that have a name of
   their own (`--layout`, `--overwrite`).

A key may be given in full (`framing.layout`) or, on the command line and as a keyword, by its last part where only one
group has it (`layout`). In a file the keys stand below their group:

```yaml
framing:
  layout: stacked
encode:
  quality: 18
```

The unit of a number is the end of its name: `_px` pixels, `_s` seconds, `_hz` per second, `_bps` bits per second,
`_bytes`, `_fps`, `_frames`; of a `_share`, 1 is the whole. Values in a file mean what is written (`off` is the word
off). An unknown key, a value that does not fit or a combination that cannot work is one line on standard error that
names the key, the value and what is allowed. The exit code is then 2 and nothing has been started or written.

This page is written from the models by `make docs`, and a test compares the two.
"""


def default_yaml() -> str:
    """The text of ``configs/default.yaml``: every key with its default, below a comment that explains it."""
    parts = [_YAML_HEAD]
    for name, field in Settings.model_fields.items():
        group = group_of(field)
        if group is None:
            raise TypeError(f"{name} is no group: settings have two levels")
        parts.append(f"\n# {_summary(group.__doc__)}\n{name}:\n")
        texts = field_texts(group)
        for key, below in group.model_fields.items():
            text = f"{_sentence(texts[key])} [{allowed(key, below)}]"
            parts.append(textwrap.fill(text, _WIDTH, initial_indent="  # ", subsequent_indent="  # ") + "\n")
            parts.append(f"  {key}: {_scalar(below.default)}\n")
    return "".join(parts)


def settings_page() -> str:
    """The text of ``docs/settings.md``: one table per group."""
    parts = [_PAGE_HEAD]
    for name, field in Settings.model_fields.items():
        group = group_of(field)
        if group is None:
            raise TypeError(f"{name} is no group: settings have two levels")
        parts.append(
            f"\n## {name}\n\n{_summary(group.__doc__)}\n\n| key | default | takes | meaning |\n|---|---|---|---|\n"
        )
        texts = field_texts(group)
        for key, below in group.model_fields.items():
            cells = (f"`{name}.{key}`", f"`{_scalar(below.default)}`", allowed(key, below), _sentence(texts[key]))
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def field_texts(group: type[Group]) -> dict[str, str]:
    """What is written below each field of a group in its source; a field without a text is missing here."""
    body = ast.parse(textwrap.dedent(inspect.getsource(group))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - a class was given
    found = {}
    for field, text in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def _summary(doc: str | None) -> str:
    return (doc or "").strip().splitlines()[0]


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'


def write(root: Path) -> list[Path]:
    """Write both files below a checkout's root and return their paths."""
    texts = {root / "configs" / "default.yaml": default_yaml(), root / "docs" / "settings.md": settings_page()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[2])
