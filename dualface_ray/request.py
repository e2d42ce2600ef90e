"""Request: checks a job completely and names its outputs, before Ray starts and before anything is written.

what was named ─► expand_inputs ─► plan_outputs ─► examine each (in a few threads) ─► VideoTask: to do, done, failed
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from dualface_ray.backends import video_needs
from dualface_ray.backends.pyav import MediaProbe, probe
from dualface_ray.backends.storage import (
    RemoteReader,
    ScratchStore,
    StoreFault,
    again,
    examine,
    input_fault,
    open_store,
    request_fault,
    scratch_input,
    scratch_outputs,
    scratch_root,
)
from dualface_ray.errors import AddressError, DualfaceError, OutputExistsError, RequestError
from dualface_ray.hardware import load_profile
from dualface_ray.media import (
    OutputPlan,
    address_parts,
    check_input,
    expand_inputs,
    is_address,
    is_under_way,
    join_address,
    local_path,
    plan_outputs,
    read_list,
    require_text,
    shown_address,
)
from dualface_ray.models import ensure
from dualface_ray.report import RunReport, VideoState, VideoTask, fingerprint, parse_report, read_report
from dualface_ray.settings import Settings

Inputs = str | Path | Sequence[str | Path]
_LOCAL_THREADS = 8
_REMOTE_THREADS = 16
"""Examining a remote file is mostly waiting for answers."""
_MAX_REPORT_BYTES = 16 << 20
_EDGE_BYTES = 256 << 10
_LEAVE_S = 2.0
"""How long those who fetch get to take away what they have begun."""
_QUIET_S = 2.0
"""Who waits longer than this is told what for."""
_TELL_S = 1.0
"""From then on, between two words."""
_T = TypeVar("_T")


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
        ModelError: a model that the settings need is neither cached nor to be had.
    """
    if settings.lane.profile:
        load_profile(settings.lane.profile)  # lanes without a card never ask for it, and the next machine may have one
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    if list_file is not None:
        given += read_list(Path(list_file))
    if not given:
        raise RequestError("no input was given", remedy="Name at least one video file.")
    sources = expand_inputs(given, partial(_find, settings, looking))
    folder = _output_folder(output, sources, settings)
    for place in (*sources, folder):
        require_text(place)
    if shared:
        _check_absolute(sources, folder)
    planned = plan_outputs(
        sources,
        folder,
        layout=settings.framing.layout,
        container=settings.encode.container,
        scratch=partial(scratch_outputs, scratch_root(settings)),
    )
    earlier = _alone(partial(_Earlier, folder, settings), looking, "looking for earlier results in", folder)
    remote = any(isinstance(source, str) for source in sources)
    stop = threading.Event()

    def tell(first: int, done: int) -> None:
        looking(f"looking at the inputs: {done} of {len(sources)} done, waiting for {_shown(sources[first])}")

    tasks = _in_threads(
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

    Raises:
        OutputExistsError: such a job made one with other settings.
    """
    waiting = [task for task in tasks if task.state is VideoState.WAITING]
    if not waiting:
        return tuple(tasks)
    plan = waiting[0].outputs
    earlier = _Earlier(plan.publish_root or plan.folder, settings)
    done = {task.index for task in waiting if _done_before(task, settings, earlier)}
    return tuple(replace(task, state=VideoState.SKIPPED) if task.index in done else task for task in tasks)


def refused(tasks: Sequence[VideoTask], settings: Settings) -> list[tuple[VideoTask, DualfaceError]]:
    """Videos that have failed before the start, with the cause, of which a report is to be left.

    Those with a finished result of an earlier run are not among them, unless it is to be overwritten: that an input
    cannot be opened today is no reason to take its result's report away.
    """
    found = [(task, task.error) for task in tasks if task.error is not None]
    if settings.job.overwrite or not found:
        return found
    plan = found[0][0].outputs
    earlier = _Earlier(plan.publish_root or plan.folder, settings)
    return [(task, error) for task, error in found if not _has_result(task, earlier)]


class _Earlier:
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


@dataclass(frozen=True, slots=True)
class _Found:
    """One input that can be opened."""

    probe: MediaProbe
    fingerprint: str
    source: Path
    origin: str = ""
    identity: str = ""


def _task(
    index: int,
    source: Path | str,
    outputs: OutputPlan,
    settings: Settings,
    earlier: _Earlier,
    stop: threading.Event,
) -> VideoTask:
    """Decide one input's state before the run: to do, done already, or not to be opened at all."""
    try:
        found = _examine_remote(source, settings, stop) if isinstance(source, str) else _examine_local(source, settings)
    except AddressError:
        raise
    except DualfaceError as error:
        if isinstance(source, Path):
            return VideoTask(index, source, outputs, state=VideoState.FAILED, error=error)
        place = scratch_input(scratch_root(settings), source, "", address_parts(source)[-1])
        return VideoTask(index, place, outputs, state=VideoState.FAILED, error=error, origin=source)
    task = VideoTask(index, found.source, outputs, found.fingerprint, origin=found.origin, identity=found.identity)
    if _done_before(task, settings, earlier):
        return replace(task, state=VideoState.SKIPPED)
    video = found.probe.video
    frames = video.frame_count_estimate
    return replace(
        task,
        frames_estimate=frames,
        duration_s=float(frames / video.average_rate) if video.average_rate else 0.0,
        ring_bytes=video_needs(found.probe, settings),
    )


def _done_before(task: VideoTask, settings: Settings, earlier: _Earlier) -> bool:
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


def _has_result(task: VideoTask, earlier: _Earlier) -> bool:
    try:
        report = earlier.report(task.outputs)
    except DualfaceError:  # a report that cannot be read says nothing
        return False
    return report is not None and report.state is VideoState.DONE


def _examine_local(source: Path, settings: Settings) -> _Found:
    check_input(source, allow_symlinks=settings.input.allow_symlinks)
    found = probe(source, settings)
    return _Found(found, fingerprint(source, settings), source)


def _examine_remote(url: str, settings: Settings, stop: threading.Event) -> _Found:
    """By reading parts of it; a server that gives none has to send all of it, here and later to a lane."""
    there = examine(url, settings)
    name = address_parts(url)[-1]
    place = scratch_input(scratch_root(settings), url, there.identity, name)
    try:
        if there.ranges:
            reader = RemoteReader(open_store(url, settings), there, name, settings)
            found = probe(place, settings, shown_address(url), content=reader, size_bytes=there.size_bytes)
            content = f"{there.size_bytes}\n{there.identity or _edges(reader, there.size_bytes)}"
            mark = fingerprint(place, settings, content=hashlib.sha256(content.encode()).hexdigest())
            return _Found(found, mark, place, url, there.identity)
        with ScratchStore(settings).using(url, place, there.identity, stop):
            found = probe(place, settings, shown_address(url))
            return _Found(found, fingerprint(place, settings), place, url, there.identity)
    except StoreFault as fault:
        raise input_fault(fault, url) from None
    except DualfaceError as error:
        raise error.renamed(str(place), shown_address(url)) from None


def _edges(reader: RemoteReader, size_bytes: int) -> str:
    """Of a file whose place says nothing that changes with the content: its beginning and its end."""
    digest = hashlib.sha256()
    for start in (0, max(0, size_bytes - _EDGE_BYTES)):
        reader.seek(start)
        left = _EDGE_BYTES
        while left and (piece := reader.read(left)):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def _output_folder(output: str | Path | None, sources: Sequence[Path | str], settings: Settings) -> Path | str:
    if output is None:
        if isinstance(sources[0], str):
            raise RequestError(
                "an output folder is needed", where=shown_address(sources[0]), remedy="Name one with -o."
            )
        output = sources[0].parent
    if isinstance(output, str) and is_address(output):
        path = local_path(output)
        if path is None:
            open_store(output, settings)  # an unknown protocol or a missing package is known at once
            return output.rstrip("/")
        output = path
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise RequestError("the output folder is a file", where=str(folder), remedy="Name a folder with -o.")
    return folder


def _check_absolute(sources: Sequence[Path | str], folder: Path | str) -> None:
    for source in sources:
        _one_absolute("input", source)
    _one_absolute("output folder", folder)


def _one_absolute(what: str, place: Path | str) -> None:
    if isinstance(place, Path) and not place.is_absolute():
        raise RequestError(
            f"a relative path as {what}: other nodes of the cluster have another current folder",
            where=str(place),
            remedy=f"Write it in full ({place.absolute()}) if every node sees that folder, or use an address (s3://...).",
        )


def _shown(place: Path | str) -> str:
    return shown_address(place) if isinstance(place, str) else str(place)


def _find(settings: Settings, looking: Callable[[str], None], pattern: str) -> list[str]:
    def find() -> list[str]:
        return again(partial(open_store(pattern, settings).find, pattern), settings.storage.attempts)

    try:
        return _alone(find, looking, "looking for inputs at", pattern)
    except StoreFault as fault:
        raise request_fault(fault, pattern) from None


def _alone(call: Callable[[], _T], looking: Callable[[str], None], what: str, place: Path | str) -> _T:
    """The result of one call that may have to wait for a server."""
    return _in_threads([call], 1, threading.Event(), lambda _first, _done: looking(f"{what} {_shown(place)}"))[0]


def _in_threads(
    calls: Sequence[Callable[[], _T]], most: int, stop: threading.Event, tell: Callable[[int, int], None]
) -> list[_T]:
    """Their results in order. The first error, or Ctrl-C, ends it: ``stop`` is set; who waits for a server is left.

    Args:
        calls: what to do.
        most: threads.
        stop: those that go on for long look at it.
        tell: gets now and then the first call that is not done, and how many are.
    """
    waiting = deque(range(len(calls)))
    outcomes: queue.SimpleQueue[tuple[int, _T | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        while not stop.is_set():
            try:
                index = waiting.popleft()
            except IndexError:
                return
            try:
                outcomes.put((index, calls[index]()))
            except BaseException as error:
                outcomes.put((index, error))

    threads = [threading.Thread(target=work, name="examine", daemon=True) for _ in range(min(most, len(calls)))]
    known: dict[int, _T | BaseException] = {}
    results: list[_T] = []
    tell_s = time.monotonic() + _QUIET_S
    try:
        for thread in threads:
            thread.start()
        for index in range(len(calls)):
            while index not in known:
                with suppress(queue.Empty):
                    known.update([outcomes.get(timeout=max(0.0, tell_s - time.monotonic()))])
                if time.monotonic() >= tell_s and index not in known:
                    tell(index, len(results) + len(known))
                    tell_s = time.monotonic() + _TELL_S
            outcome = known.pop(index)
            if isinstance(outcome, BaseException):
                raise outcome
            results.append(outcome)
    except BaseException:
        stop.set()
        end_s = time.monotonic() + _LEAVE_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, end_s - time.monotonic()))
        raise
    return results
