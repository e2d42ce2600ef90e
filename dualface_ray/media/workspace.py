"""Workspace: the files a video needs on its way, beside its outputs, and how they are cleared away.

    talk.dualface.mp4  talk.tracks.jsonl  talk.report.json      the results; <name>.<8 hex>.part until complete
    .talk.dualface.mp4.0000.segment                             done whole: an attempt's encoded frames until the report
    .talk.report.json.work/                                     done in pieces, until they are joined:
        survey.json  plan.json                                  may it be cut, and how it is
        span-0003.e0.0.mp4  span-0003.e0.tracks.jsonl           of attempt 0 at a piece: canvases, tracks
        span-0003.json                                          its record, written last: "this piece is done"

Who clears what, and when:

    a lane died while it had a unit of this video   remove_partials(outputs, piece)      the other pieces live on
    a job begins with this video                    remove_half_named(outputs)           unless it may replace results
                                                    remove_leftovers(outputs)            finished pieces are kept
    the video failed for good, or was cancelled     remove_workspace(outputs)            nothing of it stays
    the video is done                               the joining unit has cleared all itself

Only whoever runs the video may call these, once no writer of what they remove lives.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.media.atomic import PART_SUFFIX, has_parts, remove_parts
from dualface_ray.media.disk import output_error
from dualface_ray.media.naming import OutputPlan

_SEGMENT_SUFFIX = ".segment"
SURVEY = "survey"
PLAN = "plan"


def segment_path(video: Path, attempt: int) -> Path:
    """Where an attempt's encoded frames lie until the report is written: hidden, beside the output.

    Each attempt has its own: one that is being killed cannot touch its successor's.
    """
    return video.with_name(f".{video.name}.{attempt:04d}{_SEGMENT_SUFFIX}")


def span_piece(number: int) -> str:
    """Name of a span in the work folder."""
    return f"span-{number:04d}"


def bridge_piece(number: int) -> str:
    """Name of the bridge from span ``number`` to the next."""
    return f"bridge-{number:04d}"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The work folder of one video; only ``make`` creates it."""

    folder: Path

    @staticmethod
    def of(outputs: OutputPlan) -> Workspace:
        """The hidden folder beside the outputs."""
        return Workspace(outputs.report.with_name(f".{outputs.report.name}.work"))

    def make(self) -> None:
        """Make it where it is missing; the folder that it lies in is there, or was deleted and must not come back.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise output_error(error, self.folder) from error

    def record(self, piece: str) -> Path:
        """The record of a piece: whoever sees it may rely on all files of the piece."""
        return self.folder / f"{piece}.json"

    def segment(self, piece: str, attempt: int, canvas: int) -> Path:
        """Encoded frames of one canvas."""
        return self.folder / f"{piece}.e{attempt}.{canvas}.mp4"

    def tracks(self, piece: str, attempt: int) -> Path:
        """Tracks of the written frames."""
        return self.folder / f"{piece}.e{attempt}.tracks.jsonl"

    def pieces(self) -> list[str]:
        """Names of all pieces that have left anything here."""
        return sorted({path.name.split(".", 1)[0] for path in self.folder.glob("*")})

    def clear(self, piece: str) -> None:
        """Remove what is unfinished of a piece: parts, and all of its files unless its record exists."""
        done = self.record(piece).exists()
        for path in self.folder.glob(f"{piece}.*"):
            if not done or path.name.endswith(PART_SUFFIX):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def all_or_none(outputs: OutputPlan) -> Iterator[None]:
    """Inside, a video's finished files get their names, the report last; an error takes back those that have one.

    An earlier report goes first: it must never stand beside files that it does not speak of.

    Raises:
        OutputError: the earlier report cannot be removed.
    """
    try:
        outputs.report.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(error, outputs.report) from error
    before = {path: _inode(path) for path in outputs.files}
    try:
        yield
    except BaseException:
        for path, inode in before.items():
            if _inode(path) != inode:
                path.unlink(missing_ok=True)
        raise


def is_under_way(outputs: OutputPlan) -> bool:
    """Whether beside the outputs lies what only a run leaves that was killed before its report was written."""
    return (
        Workspace.of(outputs).folder.is_dir()
        or any(has_parts(path) for path in outputs.files)
        or bool(_segments(outputs))
    )


def remove_half_named(outputs: OutputPlan) -> None:
    """Remove the files to which a run that was killed had already given their names; not those of finished results."""
    if not outputs.report.exists() and is_under_way(outputs):
        for path in (*outputs.videos, outputs.tracks):
            path.unlink(missing_ok=True)


def remove_partials(outputs: OutputPlan, piece: str = "") -> None:
    """Remove everything unfinished that one unit of a video may have left.

    Args:
        outputs: of the video.
        piece: of the unit (``SegmentJob.piece``); "" = the video done whole, or joined: parts of its files and its
            segments.
    """
    if piece:
        Workspace.of(outputs).clear(piece)
        return
    for path in outputs.files:
        remove_parts(path)
    for path in _segments(outputs):
        path.unlink(missing_ok=True)


def remove_leftovers(outputs: OutputPlan) -> None:
    """Remove everything unfinished of a video and of all its pieces; finished pieces stay."""
    remove_partials(outputs)
    space = Workspace.of(outputs)
    for piece in space.pieces():
        space.clear(piece)


def remove_workspace(outputs: OutputPlan) -> None:
    """Remove everything of a video but its results, finished pieces too."""
    remove_partials(outputs)
    shutil.rmtree(Workspace.of(outputs).folder, ignore_errors=True)


def _segments(outputs: OutputPlan) -> list[Path]:
    """Encoded frames of a video done whole."""
    found = []
    for video in outputs.videos:
        prefix = f".{video.name}."
        names = video.parent.iterdir() if video.parent.is_dir() else ()
        found += [
            path for path in names if path.name.startswith(prefix) and _SEGMENT_SUFFIX in path.name[len(prefix) :]
        ]
    return found


def _inode(path: Path) -> int:
    """0 = there is none."""
    try:
        return path.lstat().st_ino
    except OSError:
        return 0
