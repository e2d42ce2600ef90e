"""Earlier: what earlier runs left in the output folder, and whether a video is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from dualface_ray.backends.storage import StoreFault, again, open_store, request_fault
from dualface_ray.errors import AddressError, DualfaceError, OutputExistsError
from dualface_ray.media import OutputPlan, is_under_way, join_address, shown_address
from dualface_ray.report import RunReport, VideoState, VideoTask, parse_report, read_report
from dualface_ray.settings import Settings

_MAX_REPORT_BYTES = 16 << 20


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
                    remedy="Name a folder, or an s3:// or gs:// address, with -o.",
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
        OutputExistsError: its results are there and were made from something else.
    """
    if settings.job.overwrite:
        return False
    outputs = task.outputs
    report = earlier.report(outputs)
    complete = all(earlier.exists(outputs, path) for path in (*outputs.videos, outputs.tracks))
    if report is not None and report.state is VideoState.DONE and complete:
        if report.fingerprint == task.fingerprint:
            return True
        raise OutputExistsError(
            "was made from another input or with other settings",
            where=outputs.targets[0],
            remedy="Use --overwrite to replace it, or another output folder.",
        )
    foreign = [
        target for path, target in zip(outputs.videos, outputs.targets, strict=False) if earlier.exists(outputs, path)
    ]
    # a run that was killed while it gave its files their names comes to its end; looked for only where it matters
    if foreign and report is None and (outputs.publish or not is_under_way(outputs)):
        raise OutputExistsError(
            "exists and has no report beside it, so nothing says that it may be replaced",
            where=foreign[0],
            remedy="Use --overwrite to replace it, or another output folder.",
        )
    return False


def has_result(task: VideoTask, earlier: Earlier) -> bool:
    """Whether a finished result of a video is there, of whichever settings."""
    try:
        report = earlier.report(task.outputs)
    except DualfaceError:  # a report that cannot be read says nothing
        return False
    return report is not None and report.state is VideoState.DONE
