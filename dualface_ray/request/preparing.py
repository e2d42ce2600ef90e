"""Preparing: what a request makes of each input: a video to do, one that is done already, one that has failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dualface_ray.backends import check_networks, video_needs
from dualface_ray.backends.storage import scratch_input, scratch_outputs, scratch_root
from dualface_ray.errors import AddressError, DualfaceError
from dualface_ray.hardware import profile_named
from dualface_ray.media import OutputPlan, address_parts, plan_outputs, require_text, shown_input
from dualface_ray.models import ensure
from dualface_ray.report import VideoState, VideoTask
from dualface_ray.request.earlier import Earlier, done_before, may_be_replaced, replaced
from dualface_ray.request.examining import examine_local, examine_remote
from dualface_ray.request.places import Inputs, check_absolute, output_folder, sources_of
from dualface_ray.request.waiting import alone, in_threads
from dualface_ray.settings import Settings

_LOCAL_THREADS = 8
_REMOTE_THREADS = 16
"""Examining a remote file is mostly waiting for answers."""


def _tell_nothing(_line: str) -> None:
    """Nobody listens."""


def prepare(
    inputs: Inputs,
    output: str | Path | None,
    settings: Settings,
    say: Callable[[str], None] = _tell_nothing,
    *,
    list_file: str | Path | None = None,
    shared: bool = False,
    looking: Callable[[str], None] = _tell_nothing,
) -> list[VideoTask]:
    """Check a request completely and name its outputs, before Ray starts and before anything is written.

    Inputs that cannot be opened are no reason to refuse the others: their tasks come back as FAILED.

    Args:
        inputs: what ``expand_inputs`` understands.
        output: folder of the results, or its address; by default the folder of the (first) input.
        settings: of the job.
        say: gets a line per step while a model is fetched.
        list_file: further inputs, see ``read_list``.
        shared: other machines will work on it, so paths must mean the same everywhere.
        looking: gets a line a second, from the third on, while disks or servers are waited for.

    Raises:
        RequestError: no inputs, two of them share an output name, an output was made with other settings, or the
            settings name a profile that does not exist.
        SettingsError: the settings name a model that does not exist, or a file that is none.
        ModelError: a model that the settings need is neither cached nor to be had.
    """
    profile_named(settings.lane.profile)  # lanes without a card never ask for it, and the next machine may have one
    check_networks(settings)
    sources = sources_of(inputs, list_file, settings, looking)
    folder = output_folder(output, sources, settings)
    for place in (*sources, folder):
        require_text(place)
    if shared:
        check_absolute(sources, folder)
    planned = plan_outputs(
        sources,
        folder,
        layout=settings.framing.layout,
        container=settings.encode.container,
        scratch=partial(scratch_outputs, scratch_root(settings)),
    )
    earlier = alone(
        partial(Earlier, folder, settings), looking, f"looking for earlier results in {shown_input(folder)}"
    )
    remote = any(isinstance(source, str) for source in sources)
    stop = threading.Event()

    def tell(first: int, done: int) -> None:
        looking(f"looking at the inputs: {done} of {len(sources)} done, waiting for {shown_input(sources[first])}")

    tasks = in_threads(
        [
            partial(_task, index, source, outputs, settings, earlier, stop)
            for index, (source, outputs) in enumerate(zip(sources, planned, strict=True))
        ],
        _REMOTE_THREADS if remote else _LOCAL_THREADS,
        stop,
        tell,
    )
    if any(task.state is VideoState.WAITING for task in tasks):
        ensure(settings.detect.model, settings.detect.model_path, say)
        if settings.identity.reid != "off":
            ensure(settings.identity.embedding_model, settings.identity.embedding_path, say)
    return tasks


def settle(tasks: Sequence[VideoTask], settings: Settings) -> tuple[VideoTask, ...]:
    """Look again whether videos are done, once nobody else writes to the output folder: a job may just have ended.

    Or, where results are to be replaced, what of them has other names than the new ones.

    Raises:
        OutputExistsError: such a job made one with other settings.
    """
    waiting = [task for task in tasks if task.state is VideoState.WAITING]
    if not waiting:
        return tuple(tasks)
    plan = waiting[0].outputs
    earlier = Earlier(plan.publish_root or plan.folder, settings)
    if settings.job.overwrite:
        inputs = {task.origin or task.source.resolve() for task in tasks}
        return tuple(
            replace(task, replaced=replaced(task, earlier, inputs)) if task.state is VideoState.WAITING else task
            for task in tasks
        )
    done = {task.index for task in waiting if done_before(task, settings, earlier)}
    return tuple(replace(task, state=VideoState.SKIPPED) if task.index in done else task for task in tasks)


def refused(tasks: Sequence[VideoTask], settings: Settings) -> list[tuple[VideoTask, DualfaceError]]:
    """Videos that have failed before the start, with the cause, of which a report is to be left.

    Those with a finished result of an earlier run, or with some file that is no report in its place, are not among
    them, unless it is to be overwritten: that an input cannot be opened today is no reason to take that away.
    """
    found = [(task, task.error) for task in tasks if task.error is not None]
    if settings.job.overwrite or not found:
        return found
    plan = found[0][0].outputs
    earlier = Earlier(plan.publish_root or plan.folder, settings)
    return [(task, error) for task, error in found if may_be_replaced(task, earlier)]


def _task(
    index: int,
    source: Path | str,
    outputs: OutputPlan,
    settings: Settings,
    earlier: Earlier,
    stop: threading.Event,
) -> VideoTask:
    """Decide one input's state before the run: to do, done already, or not to be opened at all."""
    try:
        found = examine_remote(source, settings, stop) if isinstance(source, str) else examine_local(source, settings)
    except AddressError:
        raise
    except DualfaceError as error:
        if isinstance(source, Path):
            return VideoTask(index, source, outputs, state=VideoState.FAILED, error=error)
        place = scratch_input(scratch_root(settings), source, "", address_parts(source)[-1])
        return VideoTask(index, place, outputs, state=VideoState.FAILED, error=error, origin=source)
    task = VideoTask(index, found.source, outputs, found.fingerprint, origin=found.origin, identity=found.identity)
    if done_before(task, settings, earlier):
        return replace(task, state=VideoState.SKIPPED)
    video = found.probe.video
    frames = video.frame_count_estimate
    return replace(
        task,
        frames_estimate=frames,
        duration_s=float(frames / video.average_rate) if video.average_rate else 0.0,
        picture_px=video.width_px * video.height_px,
        ring_bytes=video_needs(found.probe, settings),
    )
