"""Naming: which files one input becomes, decided for all inputs before anything starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.errors import NameCollisionError, RequestError

_CONTAINERS = ("mp4", "mkv", "mov")
_MAX_NAME_BYTES = 255 - 32
"""Linux allows 255 bytes in a name; the rest is for the suffix that a file bears while it is written."""


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """The files of one input; all in one folder below the output folder.

    ``videos`` holds one path, or two (person A, person B) for the layout ``separate``.
    """

    source: Path
    folder: Path
    videos: tuple[Path, ...]
    tracks: Path
    report: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of this input, the report last."""
        return (*self.videos, self.tracks, self.report)


def plan_outputs(inputs: Sequence[Path], out_dir: Path, layout: str, container: str) -> tuple[OutputPlan, ...]:
    """Name every output; nothing is created, and the file system is only looked at.

    ``talk.mp4`` becomes ``talk.dualface.mp4`` (or ``talk.A.mp4`` and ``talk.B.mp4``), ``talk.tracks.jsonl`` and
    ``talk.report.json``. Folders below the inputs' common parent are kept.

    Args:
        inputs: the videos, at least one.
        out_dir: folder of the results; need not exist.
        layout: a layout of the settings; ``separate`` makes two videos.
        container: ``mp4``, ``mkv`` or ``mov``.

    Raises:
        NameCollisionError: two inputs share an output, an input is given twice, or an output is one of the inputs.
        RequestError: no inputs, a name is too long, an unknown container, or a folder that leads out of ``out_dir``.
    """
    if container not in _CONTAINERS:
        raise RequestError(f"unknown container {container!r}", remedy=f"Use one of {', '.join(_CONTAINERS)}.")
    if not inputs:
        raise RequestError("no inputs were given", remedy="Name at least one video.")
    sources = [Path(os.path.abspath(path)) for path in inputs]  # noqa: PTH100 - keeps links, removes ".."
    root = Path(os.path.abspath(out_dir))  # noqa: PTH100
    parent = Path(os.path.commonpath([source.parent for source in sources]))
    plans = tuple(
        _plan_one(path, root / source.parent.relative_to(parent), source.stem, layout, container)
        for path, source in zip(inputs, sources, strict=True)
    )
    _check_sources_differ(inputs)
    _check_outputs_differ(plans)
    _check_inputs_stay(plans, sources)
    _check_inside(plans, root)
    return plans


def _plan_one(source: Path, folder: Path, stem: str, layout: str, container: str) -> OutputPlan:
    marks = ("A", "B") if layout == "separate" else ("dualface",)
    plan = OutputPlan(
        source=source,
        folder=folder,
        videos=tuple(folder / f"{stem}.{mark}.{container}" for mark in marks),
        tracks=folder / f"{stem}.tracks.jsonl",
        report=folder / f"{stem}.report.json",
    )
    if max(len(os.fsencode(path.name)) for path in plan.files) > _MAX_NAME_BYTES:
        raise RequestError("the file name is too long for its outputs", where=str(source), remedy="Rename the input.")
    return plan


def _check_sources_differ(inputs: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in inputs:
        other = seen.setdefault(_real(path), path)
        if other is not path:
            same = "twice" if str(other) == str(path) else f"also as {other}"
            raise NameCollisionError(f"the input is given {same}", where=str(path), remedy="Name it once.")


def _check_outputs_differ(plans: Sequence[OutputPlan]) -> None:
    owner: dict[Path, Path] = {}
    for plan in plans:
        for path in plan.files:
            other = owner.setdefault(path, plan.source)
            if other is not plan.source:
                raise NameCollisionError(
                    f"{other} and {plan.source} would both be written to it",
                    where=str(path),
                    remedy="Rename one of them, or run them into different folders.",
                )


def _check_inputs_stay(plans: Sequence[OutputPlan], sources: Sequence[Path]) -> None:
    taken = {*sources, *(_real(source) for source in sources)}
    for plan in plans:
        for path in plan.files:
            if path in taken or _real(path) in taken:
                raise NameCollisionError(
                    "the output would overwrite an input", where=str(path), remedy="Use another output folder."
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


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
