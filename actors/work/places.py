"""Places: what a unit's files need around the work on them: a fetched source, a scratch folder, an upload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event

from actors.messages import SegmentJob, Work
from dualface_ray.backends.storage import ScratchStore, publish, withdraw
from dualface_ray.errors import OutputError
from dualface_ray.media import former_videos, join_address, writing_in
from dualface_ray.settings import Settings


@contextmanager
def places_of(job: SegmentJob, scratch: ScratchStore, stop: Event, *, writes: bool) -> Iterator[None]:
    """Everything a unit reads and writes is there and kept until the end of the context.

    Args:
        job: the unit.
        scratch: of this process.
        stop: ends the fetching of its source.
        writes: whether it writes results at all.

    Raises:
        InputError: the source cannot be fetched.
        OutputError: a folder cannot be made.
    """
    with scratch.using(job.origin, job.source, job.identity, stop):
        if not writes:
            yield
        elif job.publish:
            with scratch.holding(job.outputs.folder):
                yield
        else:
            with writing_in(job.outputs.folder):
                yield


def publish_results(job: SegmentJob, settings: Settings, tick: Callable[[], None], sent: Callable[[int], None]) -> None:
    """Upload the complete files of a video whose results go elsewhere; the report last, an older one first away.

    Args:
        job: the unit that made them.
        settings: of the job.
        tick: called between files; may raise ``Cancelled``.
        sent: is told of bytes on their way.

    Raises:
        OutputError: one cannot be delivered.
    """
    if job.work not in (Work.WHOLE, Work.JOIN):
        return
    withdraw(join_address(job.publish, job.outputs.report.name), settings)
    for path in job.outputs.files:
        tick()
        publish(path, join_address(job.publish, path.name), settings, sent=sent)


def remove_replaced(job: SegmentJob, settings: Settings) -> None:
    """Remove an earlier result's videos of other names, now that nothing speaks of them any more.

    One that cannot be removed stays: the new result is complete all the same.
    """
    if job.work not in (Work.WHOLE, Work.JOIN):
        return
    for name in former_videos(job.outputs, job.replaced):
        with suppress(OSError, OutputError):
            if job.publish:
                withdraw(join_address(job.publish, name), settings)
            else:
                (job.outputs.folder / name).unlink(missing_ok=True)
