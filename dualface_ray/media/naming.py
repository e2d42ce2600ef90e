"""Naming: which files one input becomes, decided for all inputs before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dualface_ray.errors import NameCollisionError, RequestError
from dualface_ray.media.address import address_parts, is_address, join_address, shown_address

_CONTAINERS = ("mp4", "mkv", "mov")
_MARKS = ("dualface", "A", "B")
_MAX_NAME_BYTES = 255 - 32
"""Linux allows 255 bytes in a name; the rest is for the suffix that a file bears while it is written."""


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The files of one input; all in one folder below the output folder.

    ``videos`` holds one path, or two (person A, person B) for the layout ``separate``.
    """

    source: Path | str = field(repr=False)
    """As named by the user; an address may hold a secret."""
    folder: Path
    """On a local disk; of results for a remote folder, where they lie until they are uploaded."""
    videos: tuple[Path, ...]
    tracks: Path
    report: Path
    publish: str = field(default="", repr=False)
    """Address of the remote folder that the files go to; empty = they stay."""
    publish_root: str = field(default="", repr=False)
    """Address of the whole job's output folder, where that is remote."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of this input, the report last."""
        return (*self.videos, self.tracks, self.report)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the files end up, for people and reports, in the order of ``files``."""
        if not self.publish:
            return tuple(str(path) for path in self.files)
        return tuple(shown_address(join_address(self.publish, path.name)) for path in self.files)


def plan_outputs(
    inputs: Sequence[Path | str],
    out_dir: Path | str,
    layout: str,
    container: str,
    scratch: Callable[[str], Path] = Path,
) -> tuple[OutputPlan, ...]:
    """Name every output; nothing is created, and the file system is only looked at.

    ``talk.mp4`` becomes ``talk.dualface.mp4`` (or ``talk.A.mp4`` and ``talk.B.mp4``), ``talk.tracks.jsonl`` and
    ``talk.report.json``. Folders below the inputs' common parent are kept.

    Args:
        inputs: the videos, at least one: paths, and addresses as texts.
        out_dir: folder of the results; need not exist. A text that is an address is a remote folder.
        layout: a layout of the settings; ``separate`` makes two videos.
        container: ``mp4``, ``mkv`` or ``mov``.
        scratch: the local folder in which results for a remote one lie meanwhile.

    Raises:
        NameCollisionError: two inputs share an output, an input is given twice, or an output is one of the inputs.
        RequestError: no inputs, a name is too long, an unknown container, or a folder that leads out of ``out_dir``.
    """
    if container not in _CONTAINERS:
        raise RequestError(f"unknown container {container!r}", remedy=f"Use one of {', '.join(_CONTAINERS)}.")
    if not inputs:
        raise RequestError("no inputs were given", remedy="Name at least one video.")
    places = [_parts(item) for item in inputs]
    below = _below_common([place[:-1] for place in places])
    remote = str(out_dir) if is_address(str(out_dir)) and isinstance(out_dir, str) else ""
    root = Path(os.path.abspath(out_dir))  # noqa: PTH100 - keeps links, removes ".."
    plans = []
    for item, place, folders in zip(inputs, places, below, strict=True):
        publish = join_address(remote, *folders) if remote else ""
        folder = scratch(publish) if remote else root.joinpath(*folders)
        plan = _plan_one(item, folder, Path(place[-1]).stem, layout, container)
        plans.append(replace(plan, publish=publish, publish_root=remote.rstrip("/")))
    _check_sources_differ(inputs)
    _check_outputs_differ(plans)
    _check_inputs_stay(plans, inputs)
    if not remote:
        _check_inside(plans, root)
    return tuple(plans)


def former_videos(outputs: OutputPlan, names: Iterable[str]) -> tuple[str, ...]:
    """Which of these names an earlier run, with another layout or container, gave to videos of this very input.

    Anything else, whoever wrote it down, is left out: paths, names of other inputs, and the files of the plan itself.
    """
    stem = outputs.report.name.removesuffix(".report.json")
    ours = {f"{stem}.{mark}.{container}" for mark in _MARKS for container in _CONTAINERS}
    return tuple(sorted(ours.intersection(names).difference(path.name for path in outputs.files)))


def shown_input(item: Path | str) -> str:
    """An input for people: addresses without their secrets."""
    return shown_address(item) if isinstance(item, str) else str(item)


def _parts(item: Path | str) -> tuple[str, ...]:
    """Where it lies, component by component, and its name."""
    if isinstance(item, str) and is_address(item):
        return address_parts(item)
    return Path(os.path.abspath(item)).parts  # noqa: PTH100 - keeps links, removes ".."


def _below_common(folders: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each folder from where they part; places that lie nowhere together keep a name of their own."""
    shared = 0
    while all(len(folder) > shared and folder[shared] == folders[0][shared] for folder in folders):
        shared += 1
    return [tuple(_plain(part) for part in folder[shared:] if part != "/") for folder in folders]


def _plain(part: str) -> str:
    """A folder's name; of a place (``https://host:81``) what may be one."""
    return part.partition("://")[2].replace(":", "_") or part


def _plan_one(source: Path | str, folder: Path, stem: str, layout: str, container: str) -> OutputPlan:
    marks = ("A", "B") if layout == "separate" else ("dualface",)
    plan = OutputPlan(
        source=source,
        folder=folder,
        videos=tuple(folder / f"{stem}.{mark}.{container}" for mark in marks),
        tracks=folder / f"{stem}.tracks.jsonl",
        report=folder / f"{stem}.report.json",
    )
    if max(len(os.fsencode(path.name)) for path in plan.files) > _MAX_NAME_BYTES:
        raise RequestError(
            "the file name is too long for its outputs", where=shown_input(source), remedy="Rename the input."
        )
    return plan


def _check_sources_differ(inputs: Sequence[Path | str]) -> None:
    seen: dict[Path | str, int] = {}
    for index, item in enumerate(inputs):
        first = seen.setdefault(_real_source(item), index)
        if first != index:
            other = inputs[first]
            same = "twice" if str(other) == str(item) else f"also as {shown_input(other)}"
            raise NameCollisionError(f"the input is given {same}", where=shown_input(item), remedy="Name it once.")


def _check_outputs_differ(plans: Sequence[OutputPlan]) -> None:
    owner: dict[Path, OutputPlan] = {}
    for plan in plans:
        for path, target in zip(plan.files, plan.targets, strict=True):
            other = owner.setdefault(path, plan)
            if other is not plan:
                raise NameCollisionError(
                    f"{shown_input(other.source)} and {shown_input(plan.source)} would both be written to it",
                    where=target,
                    remedy="Rename one of them, or run them into different folders.",
                )


def _check_inputs_stay(plans: Sequence[OutputPlan], inputs: Sequence[Path | str]) -> None:
    paths = [Path(os.path.abspath(item)) for item in inputs if not _remote(item)]  # noqa: PTH100
    taken = {*paths, *(_real(path) for path in paths)}
    addresses = {str(item) for item in inputs if _remote(item)}
    for plan in plans:
        for path in plan.files:
            goal = join_address(plan.publish, path.name) if plan.publish else ""
            if goal in addresses if goal else (path in taken or _real(path) in taken):
                raise NameCollisionError(
                    "the output would overwrite an input",
                    where=shown_address(goal) or str(path),
                    remedy="Use another output folder.",
                )


def _check_inside(plans: Sequence[OutputPlan], root: Path) -> None:
    real_root = _real(root)
    for plan in plans:
        if not _real(plan.folder).is_relative_to(real_root):
            raise RequestError(
                "a link in the output folder leads out of it", where=str(plan.folder), remedy="Remove the link."
            )
        for path in plan.files:
            if path.is_dir() and not path.is_symlink():
                raise RequestError("a folder is in the way of an output", where=str(path), remedy="Move it away.")


def _remote(item: Path | str) -> bool:
    return isinstance(item, str) and is_address(item)


def _real_source(item: Path | str) -> Path | str:
    return item if _remote(item) else _real(Path(item))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
