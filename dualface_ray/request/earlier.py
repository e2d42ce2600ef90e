"""Earlier: what earlier runs left in the output folder, and whether a video is done with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from dualface_ray.backends.storage import StoreFault, again, open_store, request_fault
from dualface_ray.errors import AddressError, InputError, OutputExistsError
from dualface_ray.media import OutputPlan, former_videos, is_under_way, join_address, shown_address
from dualface_ray.report import RunReport, VideoState, VideoTask, parse_report, read_report
from dualface_ray.settings import Settings

_MAX_REPORT_BYTES = 16 << 20
_ELSE = "or name another output folder."


class Earlier:
    """What earlier runs left in the output folder; a remote one is listed once."""

    def __init__(self, folder: Path | str, settings: Settings) -> None:
        self._remote = folder if isinstance(folder, str) else ""
        self._settings = settings
        self._listing: Mapping[str, int] = {}
        if self._remote:
            store = open_store(self._remote, settings)
            if not store.writable:
                raise AddressError(
                    "results cannot be written there",
                    where=shown_address(self._remote),
                    remedy="Name a folder, or an s3:// or gs:// address, for the results.",
                )
            try:
                self._listing = again(partial(store.listing, self._remote), settings.storage.attempts)
            except StoreFault as fault:
                raise request_fault(fault, self._remote) from None

    def exists(self, plan: OutputPlan, path: Path) -> bool:
        """Whether this file of a plan is there."""
        return self._below(plan, path) in self._listing if self._remote else path.exists()

    def report(self, plan: OutputPlan) -> RunReport | None:
        """The report of an earlier run, if there is one."""
        if not self.exists(plan, plan.report):
            return None
        if not self._remote:
            return read_report(plan.report)
        url = join_address(plan.publish, plan.report.name)
        size = min(_MAX_REPORT_BYTES, self._listing[self._below(plan, plan.report)])
        try:
            read = partial(open_store(url, self._settings).read, url, 0, size)
            content = again(read, self._settings.storage.attempts)
        except StoreFault as fault:
            raise request_fault(fault, url) from None
        return parse_report(content, shown_address(url))

    def _below(self, plan: OutputPlan, path: Path) -> str:
        return join_address(plan.publish, path.name)[len(self._remote.rstrip("/")) + 1 :]


def done_before(task: VideoTask, settings: Settings, earlier: Earlier) -> bool:
    """Whether a video was done before, with the same fingerprint.

    Raises:
        OutputExistsError: what is there was made from something else, or nothing says what it is.
    """
    if settings.job.overwrite:
        return False
    outputs = task.outputs
    report = _report(outputs, earlier)
    done = report is not None and report.state is VideoState.DONE
    if report is not None and done and report.fingerprint == task.fingerprint:
        return all(earlier.exists(outputs, path) for path in (*outputs.videos, outputs.tracks))
    # other settings may have given the videos other names; the tracks and the report would be replaced all the same
    named = [outputs.folder / Path(name).name for name in (report.outputs if report is not None else ())]
    there = [path for path in dict.fromkeys((*named, *outputs.videos, outputs.tracks)) if earlier.exists(outputs, path)]
    if there and (done or _is_foreign(outputs, report)):
        if done:
            what = "was made from another input or with other settings"
        elif report is None:
            what = "exists and has no report beside it, so nothing says that it may be replaced"
        else:
            what = "exists, and the report beside it is of a run that failed: nothing says that it may be replaced"
        raise OutputExistsError(
            what, where=_shown(outputs, there[0]), remedy=f"Use overwrite=True to replace it, {_ELSE}"
        )
    return False


def replaced(task: VideoTask, earlier: Earlier, inputs: Collection[Path | str]) -> tuple[str, ...]:
    """Names of the videos of an earlier result that a new one replaces without taking their names.

    Args:
        task: the video.
        earlier: what lies in the output folder.
        inputs: of the whole job, local ones without links: they stay, whatever made them.
    """
    try:
        report = earlier.report(task.outputs)
    except InputError:
        return ()
    if report is None or report.state is not VideoState.DONE:
        return ()
    outputs = task.outputs
    return tuple(
        name
        for name in former_videos(outputs, report.outputs)
        if (join_address(outputs.publish, name) if outputs.publish else (outputs.folder / name).resolve()) not in inputs
    )


def may_be_replaced(task: VideoTask, earlier: Earlier) -> bool:
    """Whether the report of a failure may stand where the report of a video stands, or would stand.

    Not in place of a finished result's, of whichever settings, nor of a file that cannot be read as a report.
    """
    try:
        report = _report(task.outputs, earlier)
    except OutputExistsError:
        return False
    return report is None or report.state is not VideoState.DONE


def _report(outputs: OutputPlan, earlier: Earlier) -> RunReport | None:
    """The report of an earlier run; None = there is none.

    Raises:
        OutputExistsError: what is there is no report, or of a newer version.
    """
    try:
        return earlier.report(outputs)
    except InputError as error:
        if not earlier.exists(outputs, outputs.report):
            return None  # it has just been taken away
        remedy = f"{error.remedy} Or use overwrite=True to replace it, {_ELSE}".strip()
        raise OutputExistsError(error.what, where=error.where, remedy=remedy) from error


def _is_foreign(outputs: OutputPlan, report: RunReport | None) -> bool:
    """Whether files are there that no unfinished run of ours can have left; looked for only where it matters.

    A run that was killed while it gave its files their names comes to its end. It had taken an earlier report away
    before, so files beside that of a failure are not its own - except at a remote place, where an upload may fail.
    """
    if report is not None:
        return not outputs.publish
    return bool(outputs.publish) or not is_under_way(outputs)


def _shown(outputs: OutputPlan, path: Path) -> str:
    return shown_address(join_address(outputs.publish, path.name)) if outputs.publish else str(path)
