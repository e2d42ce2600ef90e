"""Sameness: whether two results of one video say the same, as recovery promises it.

Same frames, same time stamps, same states of A and B in every frame; boxes within a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualface_ray.backends.pyav import open_input
from dualface_ray.media import OutputPlan
from dualface_ray.report import VideoState, read_report, read_tracks

BOX_TOLERANCE_PX = 1.0


def differences(wanted: OutputPlan, made: OutputPlan) -> list[str]:
    """What differs, one short sentence each; empty = the same."""
    missing = [path.name for path in made.files if not path.exists()]
    if missing:
        return [f"missing: {', '.join(missing)}"]
    found = []
    report = read_report(made.report)
    if report.state is not VideoState.DONE:
        found.append(f"state {report.state.value}")
    for a, b in zip(wanted.videos, made.videos, strict=True):
        if time_stamps(a) != time_stamps(b):
            found.append("frames or time stamps differ")
    right, here = read_tracks(wanted.tracks), read_tracks(made.tracks)
    if len(right) != len(here):
        return [*found, f"{len(here)} rows of tracks instead of {len(right)}"]
    if not np.array_equal(right.states, here.states):
        found.append(f"states differ in {int((right.states != here.states).any(axis=1).sum())} frames")
    gap_px = np.nanmax(np.abs(right.boxes_px - here.boxes_px), initial=0.0)
    if gap_px > BOX_TOLERANCE_PX:
        found.append(f"a box is {gap_px:.1f} px away")
    return found


def time_stamps(path: Path) -> list[int]:
    """Of every frame of a video, decoded."""
    with open_input(path) as container:
        return [frame.pts for frame in container.decode(video=0) if frame.pts is not None]


def unfinished(folder: Path) -> list[str]:
    """Names below a folder of what a job should have cleared away."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.name.startswith(".") or ".part" in path.name or ".segment" in path.name
    )


def checked(wanted: Sequence[OutputPlan], made: Sequence[OutputPlan]) -> dict[str, list[str]]:
    """Differences by name of the video; those without any are left out."""
    found = {Path(b.source).name: differences(a, b) for a, b in zip(wanted, made, strict=True)}
    return {name: what for name, what in found.items() if what}
