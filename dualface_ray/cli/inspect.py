"""``dualface inspect``: who was where, from a tracks file and the report beside it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
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
_EVERY_S = 10.0
_STATES = ("detected", "predicted", "absent")
_MARKS = "#~."
_SUFFIX = ".tracks.jsonl"
_NO_LIMITS = {
    "max_width_px": 16384,
    "max_height_px": 16384,
    "min_side_px": 2,
    "max_streams": 4096,
    "max_duration_s": 1e9,
    "max_decoded_bytes": 1 << 62,
    "allow_symlinks": True,
}
"""The run has let this video pass, by whichever settings: what they can allow at all is no reason to show nothing."""


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
    events = _events(path)
    if as_json:
        pictures = dict(_pictures(request, tracks, source, lambda _line: None))
        sys.stdout.write(json.dumps({**facts(tracks), "events": events, "pictures": pictures}) + "\n")
        return 0
    sys.stdout.writelines(line + "\n" for line in page(path, tracks, events))
    sys.stdout.flush()  # decoding the source takes a while, and may fail
    for name, file in _pictures(request, tracks, source, _say):
        sys.stdout.write(f"{name}: {shown(file)}\n")
        sys.stdout.flush()
    if source is None and request.picture:
        _say("the source video is not there, so there is no contact sheet; name it with --source")
    return 0


def _pictures(
    request: InspectRequest, tracks: Tracks, source: Path | None, say: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """Write what was asked for, and after each say what it is and where; the timeline needs no source."""
    from dualface_ray.report import contact_sheet, overlay, timeline

    if not len(tracks):
        return
    settings = resolve(input=_NO_LIMITS)
    if request.picture:
        file = _beside(request.tracks, ".timeline.png")
        timeline(tracks, _report(request.tracks), file)
        yield "timeline", str(file)
    if request.picture and source is not None:
        file = _beside(request.tracks, ".sheet.png")
        contact_sheet(tracks, source, file, settings=settings, progress=_Course("contact sheet", len(tracks), say))
        yield "contact sheet", str(file)
    if request.overlay and source is not None:
        file = _beside(request.tracks, ".overlay.mp4")
        course = _Course("overlay", len(tracks), say)
        overlay(tracks, source, file, settings=settings, threads=cores(), progress=course)
        yield "overlay", str(file)


class _Course:
    """How far reading the source has come, every ten seconds: a long video takes minutes."""

    def __init__(
        self, what: str, frames: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._frames, self._say, self._clock = what, frames, say, clock
        self._next_s = clock() + _EVERY_S

    def __call__(self, done: int) -> None:
        if self._clock() >= self._next_s:
            self._next_s = self._clock() + _EVERY_S
            self._say(f"{self._what}: {done}/{self._frames} frames")


def _say(line: str) -> None:
    sys.stderr.write(f"dualface: {line}\n")
    sys.stderr.flush()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(_SUFFIX) + suffix)


def _source(path: Path, tracks: Tracks) -> Path | None:
    """The source video: where the report says, else beside the tracks; None when it is in neither place.

    What the report says may be relative to a folder that nobody knows any more, if it is old or was moved together with
    its video: then the folders above the tracks are tried, for a file of the same size.
    """
    report = _report(path)
    beside = path.with_name(Path(tracks.header.source).name)
    if report is None:
        return beside if _is_file(beside) else None
    named = Path(report.input.path)
    for place in (Path(report.input.absolute), named, beside):
        if _is_file(place):
            return place
    above = (folder / named for folder in path.absolute().parents)
    return next((place for place in above if _is_file(place) and place.stat().st_size == report.input.size_bytes), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder of somebody else's, or too long a name
        return False


def facts(tracks: Tracks) -> dict[str, Any]:
    """What a tracks file says in sums: frames, seconds, shots, and per person the share of frames in each state."""
    head, frames = tracks.header, len(tracks)
    return {
        "source": head.source,
        "width_px": head.width_px,
        "height_px": head.height_px,
        "frames": frames,
        "seconds": tracks.length_s,
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
        yield f"{person}  {row}"
    if cuts.strip():
        yield f"   {cuts.rstrip()}"
    if rows[0]:
        legend = "# detected, ~ predicted, . absent" + (", | a cut" if cuts.strip() else "")
        yield f"   one column is {sums['seconds'] / len(rows[0]):.2f} s: {legend}"
    for person, shares in sums["persons"].items():
        yield f"{person}: " + ", ".join(f"{name} {100 * shares[name]:.1f} %" for name in _STATES)
    for event in events:
        detail = ", ".join(f"{key}={value}" for key, value in event["detail"].items() if value != "")
        person = f" {event['person']}" if event["person"] else ""
        yield shown(
            f"{event['time']:.2f} s, frame {event['frame']}: {event['kind']}{person} {f'({detail})' if detail else ''}"
        )


def _events(path: Path) -> list[dict[str, Any]]:
    """The identity events of the report beside a tracks file, by frame; none when there is no report.

    In the report they stand as they were decided, and some decisions are about the past.
    """
    report = _report(path)
    events = [] if report is None else sorted(report.events, key=lambda event: event.frame)
    return [event.model_dump() for event in events]


def _report(path: Path) -> RunReport | None:
    from dualface_ray.report import read_report

    file = _beside(path, ".report.json")
    if not path.name.endswith(_SUFFIX) or not file.is_file():
        return None
    try:
        return read_report(file)
    except DualfaceError:
        return None  # a damaged report is no reason to hide what the tracks say
