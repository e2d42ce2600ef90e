"""DiskPieces: what earlier units of a video have left in its work folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dualface_ray.errors import DualfaceError, OutputError, ProtocolError
from dualface_ray.framing import check_seam
from dualface_ray.media import Span, plan_spans
from dualface_ray.report import Survey as SurveyRecord
from dualface_ray.report import (
    VideoState,
    VideoTask,
    load_bridge,
    load_plan,
    load_span,
    load_survey,
    read_report,
    save_plan,
)


class DiskPieces:
    """Reads the records; they count only with the fingerprint of this very request.

    Args:
        overwrite: results that are there may be those of an earlier run, to be replaced.
    """

    def __init__(self, *, overwrite: bool = False) -> None:
        self._overwrite = overwrite

    def survey(self, task: VideoTask) -> SurveyRecord | None:
        """Of this video, if it is finished."""
        return load_survey(task.outputs, task.fingerprint)

    def plan(self, task: VideoTask) -> tuple[Span, ...] | None:
        """How an earlier run has cut it."""
        return load_plan(task.outputs, task.fingerprint)

    def cut(self, task: VideoTask, pieces: int, overlap_s: float) -> tuple[Span, ...]:
        """Cut it and keep the plan; a video whose plan cannot be written is done whole, which fails with the cause."""
        survey = self.survey(task)
        spans = plan_spans(survey, pieces, overlap_s) if survey is not None else ()
        if spans:
            try:
                save_plan(task.outputs, task.fingerprint, spans)
            except OutputError:
                return ()
        return spans

    def has_span(self, task: VideoTask, span: Span) -> bool:
        """Whether this span is finished."""
        return load_span(task.outputs, span, task.fingerprint) is not None

    def has_bridge(self, task: VideoTask, before: Span, after: Span) -> bool:
        """Whether the bridge between these is finished."""
        return load_bridge(task.outputs, before, after, task.fingerprint) is not None

    def has_result(self, task: VideoTask) -> bool:
        """Whether the video itself is complete: its report, written last, says so."""
        if self._overwrite or task.publish or not task.outputs.report.exists():
            return False
        try:
            report = read_report(task.outputs.report)
        except DualfaceError:  # it has vanished meanwhile, or is somebody else's
            return False
        return report.state is VideoState.DONE and report.fingerprint == task.fingerprint

    def disagreement(self, task: VideoTask, before: Span, after: Span) -> str:
        """Why these finished spans cannot mean the same two people; "" = they do."""
        first, second = (load_span(task.outputs, span, task.fingerprint) for span in (before, after))
        if first is None or second is None:
            return f"the record of a part near frame {before.seam_frame} has vanished"
        try:
            return check_seam(first.coda, second.overture)
        except ProtocolError as error:
            return str(error)


def with_leftovers(tasks: Iterable[VideoTask]) -> Iterator[VideoTask]:
    """Those of the videos of which anything unfinished lies beside the outputs; each folder is looked at once."""
    found: dict[Path, list[str]] = {}
    for task in tasks:
        folder = task.outputs.report.parent
        if folder not in found:
            names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            found[folder] = [name.lstrip(".") for name in names if name.startswith(".") or name.endswith(".part")]
        if any(name.startswith(path.name) for name in found[folder] for path in task.outputs.files):
            yield task
