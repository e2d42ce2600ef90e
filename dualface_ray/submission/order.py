"""What is sent: the command line of ``run`` as a cluster's node will read it. Pure."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from dualface_ray.errors import RequestError
from dualface_ray.hardware import load_profile
from dualface_ray.media import require_text
from dualface_ray.settings import Settings

MODULE = ("python", "-m", "dualface_ray")
MAX_COMMAND_BYTES = 100_000
"""Ray hands the command to ``sh -c`` as one argument, and Linux takes none above 131,072 bytes."""
LIST_NAME = "dualface-inputs.txt"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PATHS = ("detect.model_path", "identity.embedding_path")
"""Settings that name files: those of the cluster's nodes."""


@dataclass(frozen=True, slots=True)
class Order:
    """One job: inputs and output as the cluster's nodes know them, and settings resolved here.

    Raises:
        RequestError: a path is relative or not UTF-8, there are no inputs, or there is no profile of that name.
    """

    inputs: tuple[str, ...]
    output: str
    settings: Settings = field(default_factory=Settings)
    as_json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if not self.inputs:
            raise RequestError("no input was given", remedy="Name at least one video file, folder or pattern.")
        for text in (*self.inputs, self.output):
            require_text(text)
            check_path(text)
        leaves = flat(self.settings.model_dump())
        for key in _PATHS:
            if leaves[key]:
                check_path(str(leaves[key]), where=f"{key}={leaves[key]}")
        profile = self.settings.lane.profile
        if profile.endswith((".yaml", ".yml")):
            check_path(profile, where=f"lane.profile={profile}")
        elif profile:
            load_profile(profile)

    def entrypoint(self) -> str:
        """The command as one line for a shell; settings travel as one ``--set`` for each that is not the default."""
        line = shlex.join(self._command(self.inputs))
        return shlex.join(self._command(("--list", LIST_NAME))) if len(os.fsencode(line)) > MAX_COMMAND_BYTES else line

    def files(self) -> dict[str, bytes]:
        """Files that the command reads where it runs: the inputs, when they are too many for a command."""
        if "--list" not in shlex.split(self.entrypoint()):
            return {}
        broken = next((text for text in self.inputs if len(text.splitlines()) != 1 or text != text.strip()), None)
        if broken is not None:
            raise RequestError("so many inputs travel as a list, and this name cannot stand in one", where=repr(broken))
        return {LIST_NAME: "".join(f"{text}\n" for text in self.inputs).encode(errors="surrogateescape")}

    def _command(self, inputs: tuple[str, ...]) -> tuple[str, ...]:
        sets = [word for text in changed(self.settings) for word in ("--set", text)]
        shown = [*(["--json"] if self.as_json else []), *(["--quiet"] if self.quiet else [])]
        return (*MODULE, "run", *inputs, "-o", self.output, *sets, *shown)


def check_path(text: str, where: str = "") -> None:
    """A node of the cluster does not know the folder that a relative path starts from.

    Raises:
        RequestError: the path is neither absolute nor a URL.
    """
    if PurePosixPath(text).is_absolute() or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return
    raise RequestError(
        "a relative path means nothing to the cluster's machines",
        where=where or text or "an empty path",
        remedy="Give an absolute path on storage that all of them share, or a URL such as s3://bucket/talk.mp4.",
    )


def changed(settings: Settings) -> list[str]:
    """``key=value`` for each setting that differs from the default, such that ``resolve(sets=...)`` gives it back."""
    usual, wanted = flat(Settings().model_dump()), flat(settings.model_dump())
    return [f"{key}={_text(value)}" for key, value in wanted.items() if value != usual[key]]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups as dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return leaves


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def new_id(name: str | None = None) -> str:
    """The job's id on the cluster: the given name, or one made of date, time and chance.

    Raises:
        RequestError: the name has characters that do not go into an address.
    """
    if name is None:
        return f"dualface-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    if not _ID.fullmatch(name):
        raise RequestError(
            "not a name for a job", where=repr(name), remedy="Use up to 100 letters, digits, '.', '_' and '-'."
        )
    return name
