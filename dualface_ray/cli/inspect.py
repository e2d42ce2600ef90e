"""``dualface inspect``: who was where, from a tracks file and the report beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualface_ray.cli.text import shown
from dualface_ray.errors import DualfaceError, RequestError

if TYPE_CHECKING:
    from dualface_ray.report import Tracks

_COLUMNS = 72
_STATES = ("detected", "predicted", "absent")
_MARKS = "#~."
_SUFFIX = ".tracks.jsonl"


def inspect_tracks(path: Path, *, as_json: bool = False) -> int:
    """Print sums, a timeline and the identity events of a finished video; returns 0.

    Raises:
        RequestError: there is no such file.
        InputError: it is no tracks file.
    """
    if not path.is_file():
        raise RequestError(
            "no such tracks file", where=str(path), remedy="Name a .tracks.jsonl that a finished run wrote."
        )
    from dualface_ray.report import read_tracks

    tracks = read_tracks(path)
    events = _events(path)
    if as_json:
        sys.stdout.write(json.dumps({**facts(tracks), "events": events}) + "\n")
        return 0
    sys.stdout.writelines(line + "\n" for line in page(path, tracks, events))
    return 0


def facts(tracks: Tracks) -> dict[str, Any]:
    """What a tracks file says in sums: frames, seconds, shots, and per person the share of frames in each state."""
    head, frames = tracks.header, len(tracks)
    return {
        "source": head.source,
        "width_px": head.width_px,
        "height_px": head.height_px,
        "frames": frames,
        "seconds": float(tracks.time_s[-1]) if frames else 0.0,
        "shots": int(tracks.shot[-1]) + 1 if frames else 0,
        "persons": {
            person: {
                name: float((tracks.states[:, column] == code).mean()) if frames else 0.0
                for code, name in enumerate(_STATES)
            }
            for column, person in enumerate(head.persons)
        },
    }


def timeline(tracks: Tracks, columns: int = _COLUMNS) -> tuple[list[str], str]:
    """One line of marks per person, and a line that marks where shots begin.

    A column stands for an equal share of the frames and shows the least certain state in it, so that nothing short is
    lost: ``#`` detected, ``~`` predicted, ``.`` absent; in the second line ``|`` is a cut.
    """
    frames = len(tracks)
    columns = min(columns, frames)
    edges = [i * frames // columns for i in range(columns + 1)] if columns else [0]
    spans = list(pairwise(edges))
    rows = ["".join(_MARKS[int(tracks.states[a:b, person].max())] for a, b in spans) for person in range(2)]
    cuts = {i for i in range(1, frames) if tracks.shot[i] != tracks.shot[i - 1]}
    return rows, "".join("|" if any(i in cuts for i in range(a, b)) else " " for a, b in spans)


def page(path: Path, tracks: Tracks, events: list[dict[str, Any]]) -> Iterator[str]:
    """The lines for a person."""
    sums = facts(tracks)
    yield shown(
        f"{path}: {sums['source']}, {sums['width_px']}x{sums['height_px']}, {sums['frames']} frames, "
        f"{sums['seconds']:.2f} s, {sums['shots']} shot{'' if sums['shots'] == 1 else 's'}"
    )
    rows, cuts = timeline(tracks)
    for person, row in zip(tracks.header.persons, rows, strict=True):
        shares = sums["persons"][person]
        yield f"{person}  {row}  " + ", ".join(f"{name} {100 * shares[name]:.1f} %" for name in _STATES)
    if cuts.strip():
        yield f"   {cuts}  shot cuts"
    if rows[0]:
        yield f"   one column is {sums['seconds'] / len(rows[0]):.2f} s: # detected, ~ predicted, . absent"
    for event in events:
        detail = ", ".join(f"{key}={value}" for key, value in event["detail"].items())
        person = f" {event['person']}" if event["person"] else ""
        yield shown(
            f"{event['time']:.2f} s, frame {event['frame']}: {event['kind']}{person} {f'({detail})' if detail else ''}"
        )


def _events(path: Path) -> list[dict[str, Any]]:
    """The identity events of the report beside a tracks file; none when there is no report."""
    from dualface_ray.report import read_report

    report = path.with_name(path.name[: -len(_SUFFIX)] + ".report.json") if path.name.endswith(_SUFFIX) else None
    if report is None or not report.is_file():
        return []
    try:
        found = read_report(report)
    except DualfaceError:
        return []  # a damaged report is no reason to hide what the tracks say
    return [event.model_dump() for event in found.events]
