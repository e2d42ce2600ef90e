"""talk.tracks.jsonl: both persons' boxes and crops of every source frame, one JSON line each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.errors import InputError, InputMissingError, ProtocolError, SeamError
from dualface_ray.framing import FramePlan
from dualface_ray.identity import PERSONS, PersonState, PersonTrack, TrackedFrame
from dualface_ray.media import output_error

SCHEMA = 1
_BUFFER_BYTES = 1 << 18
_STATES = (PersonState.DETECTED.value, PersonState.PREDICTED.value, PersonState.ABSENT.value)


@dataclass(frozen=True, slots=True)
class TracksHeader:
    """The first line: the source as displayed (rotation and pixel aspect applied) and its clock."""

    source: str
    width_px: int
    height_px: int
    time_base: Fraction
    persons: tuple[str, str] = PERSONS

    def line(self) -> str:
        """As JSON."""
        record = {
            "schema": SCHEMA, "source": self.source, "width": self.width_px, "height": self.height_px,
            "time_base": f"{self.time_base.numerator}/{self.time_base.denominator}", "persons": list(self.persons),
        }  # fmt: skip
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


class TracksWriter:
    """Streams frames into a file that the caller names afterwards.

        with AtomicFile(target) as file, TracksWriter(file.part, header) as tracks:
            tracks.add(tracked, plan)

    Numbers are written with a fixed count of digits (pixels 2, seconds 6, scores 3), so that the same tracks give the
    same bytes. Frames must come in display order, without gaps.

    Args:
        path: of the file.
        header: its first line.
        first_frame: number of the first frame; not 0 in a part of a video.
        origin_ticks: time stamp of the video's first frame; None = of the first one written.

    Raises:
        OutputError, DiskFullError: the file cannot be written.
        ProtocolError: a frame is out of order, its plan belongs to another one, or a number is not finite.
    """

    def __init__(
        self, path: Path, header: TracksHeader, *, first_frame: int = 0, origin_ticks: int | None = None
    ) -> None:
        self._path = path
        self._numerator, self._denominator = header.time_base.numerator, header.time_base.denominator
        self._first_pts = origin_ticks
        self._next = first_frame
        try:
            self._file = path.open("w", encoding="utf-8", buffering=_BUFFER_BYTES, newline="\n")
            self._file.write(header.line())
        except OSError as error:
            raise output_error(error, path) from error

    def __enter__(self) -> TracksWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, tracked: TrackedFrame, plan: FramePlan) -> None:
        """Write the next frame."""
        number, pts_ticks = self._next, tracked.pts_ticks
        if tracked.frame_index != number or plan.frame_index != number:
            raise ProtocolError(
                f"tracks of frame {tracked.frame_index} with the plan of frame {plan.frame_index} came when frame "
                f"{number} was due",
                where=str(self._path),
            )
        if self._first_pts is None:
            self._first_pts = pts_ticks
        seconds = (pts_ticks - self._first_pts) * self._numerator / self._denominator
        crops = {tile.person: tile.source_px for canvas in plan.canvases for tile in canvas.tiles}
        line = (
            f'{{"frame":{number},"pts":{pts_ticks},"time":{seconds:.6f},"shot":{tracked.shot},'
            f'"faces":{{"A":{_face(tracked.a)},"B":{_face(tracked.b)}}},'
            f'"crops":{{"A":{_box(crops.get("A"))},"B":{_box(crops.get("B"))}}}}}\n'
        )
        if "nan" in line or "inf" in line:
            raise ProtocolError(f"frame {number} holds a number that is not finite", where=str(self._path))
        try:
            self._file.write(line.replace("-0.00,", "0.00,").replace("-0.00]", "0.00]"))
        except OSError as error:
            raise output_error(error, self._path) from error
        self._next += 1

    def close(self) -> None:
        """Flush to the operating system; harmless when called twice."""
        try:
            self._file.close()
        except OSError as error:
            raise output_error(error, self._path) from error


_ROW = re.compile(r'{"frame":(\d+),"pts":(-?\d+),"time":([0-9.-]+),"shot":(\d+),')


def join_tracks(parts: Sequence[tuple[Path, int]], target: Path) -> list[int]:
    """Put the tracks of a video's parts together; returns the time stamps of all frames.

    Args:
        parts: files that ``TracksWriter`` made, in order, and what to add to each one's shot numbers.
        target: an open part file of the result.

    Raises:
        SeamError: a frame is missing or there twice, or shots go back.
        OutputError, DiskFullError: the file cannot be written.
    """
    pts_ticks: list[int] = []
    last_shot = 0
    try:
        with target.open("w", encoding="utf-8", buffering=_BUFFER_BYTES, newline="\n") as out:
            for path, more_shots in parts:
                with path.open(encoding="utf-8") as rows:
                    header = rows.readline()
                    if not pts_ticks:
                        out.write(header)
                    for row in rows:
                        found = _ROW.match(row)
                        if found is None or int(found[1]) != len(pts_ticks):
                            raise SeamError(f"frame {len(pts_ticks)} is missing in its tracks", where=str(path))
                        shot = int(found[4]) + more_shots
                        if not last_shot <= shot <= last_shot + 1:
                            raise SeamError(f"frame {found[1]} is of shot {shot} after {last_shot}", where=str(path))
                        last_shot = shot
                        pts_ticks.append(int(found[2]))
                        start, end = found.span(4)
                        out.write(f"{row[:start]}{shot}{row[end:]}")
    except OSError as error:
        raise output_error(error, target) from error
    return pts_ticks


def _box(box: Sequence[float] | None) -> str:
    return "null" if box is None else f"[{box[0]:.2f},{box[1]:.2f},{box[2]:.2f},{box[3]:.2f}]"


def _face(track: PersonTrack) -> str:
    return f'{{"box":{_box(track.box_px)},"state":"{track.state.value}","score":{track.score:.3f}}}'


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tracks:
    """A tracks file in memory; the second axis is the person (A, B). A notebook shows it as a timeline.

    Attributes:
        pts_ticks: int64 (n,).
        time_s: float64 (n,), from the first frame.
        shot: int32 (n,).
        boxes_px: float64 (n, 2, 4), NaN where absent.
        states: uint8 (n, 2): 0 detected, 1 predicted, 2 absent.
        scores: float64 (n, 2).
        crops_px: float64 (n, 2, 4), NaN where a person has no tile of their own.
    """

    header: TracksHeader
    pts_ticks: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    shot: npt.NDArray[np.int32]
    boxes_px: npt.NDArray[np.float64]
    states: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float64]
    crops_px: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pts_ticks)

    def __repr__(self) -> str:
        head = self.header
        return f"Tracks({head.source}: {head.width_px}x{head.height_px}, {len(self)} frames, {self.length_s:.2f} s)"

    def _repr_png_(self) -> bytes:
        from dualface_ray.report.timelines import timeline_png

        return timeline_png(self, None)

    @property
    def length_s(self) -> float:
        """Seconds from the first frame to the end of the last one, which is shown as long as most are."""
        if not len(self):
            return 0.0
        return float(self.time_s[-1]) + (float(np.median(np.diff(self.time_s))) if len(self) > 1 else 0.0)


def read_tracks(path: Path) -> Tracks:
    """Read a tracks file.

    Raises:
        InputMissingError: it cannot be opened.
        InputError: it is no tracks file, of another schema, or damaged; the message names the line.
    """
    pts, time, shot, boxes, states, scores, crops = [], [], [], [], [], [], []
    nothing = [float("nan")] * 4
    number = 1
    try:
        with path.open(encoding="utf-8") as lines:
            header = _read_header(json.loads(next(lines, "null")))
            for number, line in enumerate(lines, 2):
                row = json.loads(line)
                if row["frame"] != number - 2:
                    raise ValueError(f"frame {row['frame']} where {number - 2} was due")
                faces = [row["faces"][p] for p in PERSONS]
                pts.append(row["pts"])
                time.append(row["time"])
                shot.append(row["shot"])
                boxes.append([face["box"] or nothing for face in faces])
                states.append([_STATES.index(face["state"]) for face in faces])
                scores.append([face["score"] for face in faces])
                crops.append([row["crops"].get(p) or nothing for p in PERSONS])
        count = len(pts)
        return Tracks(
            header,
            np.array(pts, np.int64),
            np.array(time, np.float64),
            np.array(shot, np.int32),
            np.array(boxes, np.float64).reshape(count, 2, 4),
            np.array(states, np.uint8).reshape(count, 2),
            np.array(scores, np.float64).reshape(count, 2),
            np.array(crops, np.float64).reshape(count, 2, 4),
        )
    except OSError as error:
        raise InputMissingError(error.strerror or "cannot be read", where=str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"line {number} is not what a tracks file holds ({error})",
            where=str(path),
            remedy="Use the .tracks.jsonl that a finished run wrote.",
        ) from error


def _read_header(record: Any) -> TracksHeader:
    if record["schema"] != SCHEMA:
        raise ValueError(f"schema {record['schema']}, this version reads {SCHEMA}")
    if tuple(record["persons"]) != PERSONS:
        raise ValueError(f"persons {record['persons']}")
    return TracksHeader(
        str(record["source"]), int(record["width"]), int(record["height"]), Fraction(record["time_base"])
    )
