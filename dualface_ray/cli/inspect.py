"""``dualface inspect``: who was where, from a tracks file and the report beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualface_ray.cli.text import shown
from dualface_ray.errors import DualfaceError, RequestError
from dualface_ray.hardware import cores
from dualface_ray.settings import resolve

if TYPE_CHECKING:
    from dualface_ray.report import RunReport, Tracks

_COLUMNS = 72
_STATES = ("detected", "predicted", "absent")
_MARKS = "#~."
_SUFFIX = ".tracks.jsonl"


@dataclass(frozen=True, slots=True)
class InspectRequest:
    """Which tracks, and which pictures of them."""

    tracks: Path
    source: Path | None = None
    picture: bool = True
    overlay: bool = False


def inspect_tracks(request: InspectRequest, *, as_json: bool = False) -> int:
    """Print sums, a timeline and the identity events of a finished video, and write pictures beside it; returns 0.

    Raises:
        RequestError: there is no such file, or the overlay's source video is not to be found.
        InputError: it is no tracks file, or the source is not its video.
        OutputError: a picture cannot be written.
    """
    path = request.tracks
    if not path.is_file():
        raise RequestError(
            "no such tracks file", where=str(path), remedy="Name a .tracks.jsonl that a finished run wrote."
        )
    from dualface_ray.report import read_tracks

    tracks = read_tracks(path)
    source = request.source or _source(path, tracks)
    if (request.overlay or request.source) and (source is None or not source.is_file()):
        where = str(source or tracks.header.source)
        raise RequestError("the source video is not there", where=where, remedy="Name it with --source.")
    pictures = _pictures(request, tracks, source)
    events = _events(path)
    if as_json:
        sys.stdout.write(json.dumps({**facts(tracks), "events": events, "pictures": pictures}) + "\n")
        return 0
    sys.stdout.writelines(line + "\n" for line in page(path, tracks, events))
    sys.stdout.writelines(f"{name}: {shown(file)}\n" for name, file in pictures.items())
    if source is None and request.picture:
        sys.stderr.write(
            "dualface: the source video is not there, so there is no contact sheet; name it with --source\n"
        )
    return 0


def _pictures(request: InspectRequest, tracks: Tracks, source: Path | None) -> dict[str, str]:
    """Write what was asked for and say where it is; the timeline needs no source."""
    from dualface_ray.report import contact_sheet, overlay, timeline

    made: dict[str, str] = {}
    if not len(tracks):
        return made
    settings = resolve()
    if request.picture:
        file = _beside(request.tracks, ".timeline.png")
        timeline(tracks, _report(request.tracks), file)
        made["timeline"] = str(file)
    if request.picture and source is not None:
        file = _beside(request.tracks, ".sheet.png")
        contact_sheet(tracks, source, file, settings=settings)
        made["contact sheet"] = str(file)
    if request.overlay and source is not None:
        file = _beside(request.tracks, ".overlay.mp4")
        overlay(tracks, source, file, settings=settings, threads=cores())
        made["overlay"] = str(file)
    return made


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(_SUFFIX) + suffix)


def _source(path: Path, tracks: Tracks) -> Path | None:
    """The source video: where the report says, else beside the tracks; None when it is in neither place."""
    report = _report(path)
    places = [Path(report.input.path)] if report is not None else []
    places.append(path.with_name(Path(tracks.header.source).name))
    return next((place for place in places if place.is_file()), None)


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
    report = _report(path)
    return [event.model_dump() for event in report.events] if report is not None else []


def _report(path: Path) -> RunReport | None:
    from dualface_ray.report import read_report

    file = _beside(path, ".report.json")
    if not path.name.endswith(_SUFFIX) or not file.is_file():
        return None
    try:
        return read_report(file)
    except DualfaceError:
        return None  # a damaged report is no reason to hide what the tracks say
