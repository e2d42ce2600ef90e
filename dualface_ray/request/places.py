"""Places: where a request's inputs and its output folder are, and whether other machines find them there, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dualface_ray.backends.storage import StoreFault, again, open_store, request_fault
from dualface_ray.errors import RequestError
from dualface_ray.media import (
    expand_inputs,
    is_address,
    local_path,
    read_list,
    require_short,
    shown_address,
    shown_input,
)
from dualface_ray.request.waiting import alone
from dualface_ray.settings import Settings

_BELOW_BYTES = 512
"""A result's name and, below its work folder, the longest one of a part of it."""
Inputs = str | Path | Sequence[str | Path]


def sources_of(
    inputs: Inputs, list_file: str | Path | None, settings: Settings, looking: Callable[[str], None]
) -> list[Path | str]:
    """Every input that was named, or found where it was named: local paths and addresses.

    Raises:
        RequestError: there is none, a path is too long, or a place cannot be looked at.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    if list_file is not None:
        given += read_list(Path(list_file))
    if not given:
        raise RequestError("no input was given", remedy="Name at least one video file.")
    sources = expand_inputs(given, partial(_find, settings, looking))
    for source in sources:
        if isinstance(source, Path):
            require_short(source)
    return sources


def output_folder(output: str | Path | None, sources: Sequence[Path | str], settings: Settings) -> Path | str:
    """Where the results go: a folder, or the address of one; by default the folder of the first input.

    Raises:
        RequestError: there is no default, a file is in its place, or the path is too long for what will lie in it.
    """
    if output is None:
        if isinstance(sources[0], str):
            raise RequestError(
                "an output folder is needed", where=shown_address(sources[0]), remedy="Name one with -o."
            )
        output = sources[0].parent
    if isinstance(output, str) and is_address(output):
        path = local_path(output)
        if path is None:
            open_store(output, settings)  # an unknown protocol or a missing package is known at once
            return output.rstrip("/")
        output = path
    folder = Path(output)
    require_short(folder.absolute(), _BELOW_BYTES)
    if folder.exists() and not folder.is_dir():
        raise RequestError("the output folder is a file", where=str(folder), remedy="Name a folder with -o.")
    return folder


def check_absolute(sources: Sequence[Path | str], folder: Path | str) -> None:
    """Paths mean the same on every machine.

    Raises:
        RequestError: one is relative.
    """
    for source in sources:
        _one_absolute("input", source)
    _one_absolute("output folder", folder)


def _one_absolute(what: str, place: Path | str) -> None:
    if isinstance(place, Path) and not place.is_absolute():
        raise RequestError(
            f"a relative path as {what}: other nodes of the cluster have another current folder",
            where=str(place),
            remedy=f"Write it in full ({place.absolute()}) if every node sees that folder, or use an address (s3://...).",
        )


def _find(settings: Settings, looking: Callable[[str], None], pattern: str) -> list[str]:
    def find() -> list[str]:
        return again(partial(open_store(pattern, settings).find, pattern), settings.storage.attempts)

    try:
        return alone(find, looking, f"looking for inputs at {shown_input(pattern)}")
    except StoreFault as fault:
        raise request_fault(fault, pattern) from None
