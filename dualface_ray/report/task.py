"""VideoTask: one video of a job as it was requested; RateMeter: how fast it goes."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from dualface_ray.errors import DualfaceError
from dualface_ray.frames import StreamInfo
from dualface_ray.media import OutputPlan, VideoNeeds, check_input, join_address, shown_address
from dualface_ray.report.fingerprint import counted_settings, input_fingerprint
from dualface_ray.report.progress import VideoProgress, VideoState
from dualface_ray.report.run_report import ErrorRecord, InputRecord, RunReport
from dualface_ray.settings import Settings

_LIBRARIES = (
    "dualface-ray",
    "ray",
    "av",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "tensorrt",
    "nvidia-tensorrt",
    "PyNvVideoCodec",
    "cupy-cuda13x",
    "cupy-cuda12x",
)


@dataclass(frozen=True, slots=True)
class VideoTask:
    """One input, its outputs and what is known about it before anything runs."""

    index: int
    source: Path
    """A local file, or where ``origin`` is fetched to."""
    outputs: OutputPlan
    fingerprint: str = ""
    """Of the input and the settings that change the result; empty when the input cannot be read."""
    state: VideoState = VideoState.WAITING
    """SKIPPED when the same was done before, FAILED when the input cannot even be opened."""
    error: DualfaceError | None = None
    frames_estimate: int = 0
    duration_s: float = 0.0
    """About how long it is; 0 = unknown."""
    picture_px: int = 0
    """Pixels of a stored picture; 0 = unknown."""
    ring_bytes: VideoNeeds | int = 0
    """What its frames take in a pool at once, on either kind of lane; a plain number counts for both."""
    origin: str = field(default="", repr=False)
    """Address of the source when it is not a local file."""
    identity: str = ""
    """What its place says of the content of ``origin`` (an ETag, a time stamp); empty = nothing."""
    replaced: tuple[str, ...] = ()
    """Names beside the outputs of an earlier result's videos, to be removed when the new one is complete."""

    @property
    def publish(self) -> str:
        """Address of the folder that the results go to; empty = a local one."""
        return self.outputs.publish

    @property
    def shown(self) -> str:
        """The source as people may see it."""
        return shown_address(self.origin) if self.origin else str(self.source)

    @property
    def stream_id(self) -> str:
        """Name of the video's stream in every message of the job."""
        return f"v{self.index:05d}"

    def initial_progress(self) -> VideoProgress:
        """The video before the job begins."""
        return VideoProgress(
            index=self.index,
            source=self.shown,
            outputs=self.outputs.targets[: len(self.outputs.videos)],
            state=self.state,
            frames_total=self.frames_estimate,
            error=str(self.error) if self.error else "",
            error_code=self.error.code if self.error else "",
        )


def input_record(
    source: Path, info: StreamInfo | None = None, shown: str = "", *, allow_symlinks: bool = True
) -> InputRecord:
    """What a report says of its input, as much as can be found out; nothing is read of one that is refused.

    Args:
        source: the file.
        info: of its stream.
        shown: its name where it is no local file.
        allow_symlinks: see ``check_input``.
    """
    try:
        size = check_input(source, allow_symlinks=allow_symlinks)
        content = input_fingerprint(source, follow=allow_symlinks)
    except DualfaceError:
        size, content = 0, ""
    path = shown or str(source)
    absolute = str(source.absolute()) if path == str(source) else ""
    record = InputRecord(path=path, absolute=absolute, size_bytes=size, fingerprint=content)
    if info is None:
        return record
    facts = {"codec": info.codec, "width_px": info.display_width_px, "height_px": info.display_height_px}
    return record.model_copy(update={**facts, "rate": str(info.average_rate)})


def write_failure(task: VideoTask, error: DualfaceError, settings: Settings, attempts: int = 1) -> None:
    """Leave the report of a video that failed, with its cause.

    Raises:
        OutputError: not even that can be written.
    """
    report = RunReport(
        state=VideoState.FAILED,
        input=input_record(task.source, shown=task.shown, allow_symlinks=settings.input.allow_symlinks),
        fingerprint=task.fingerprint,
        settings=counted_settings(settings),
        attempts=attempts,
        versions=versions(),
        error=ErrorRecord.of(error),
    )
    if not task.publish:
        report.save(task.outputs.report)
        return
    from dualface_ray.backends.storage import publish_bytes

    publish_bytes(report.to_json(), join_address(task.publish, task.outputs.report.name), settings)


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries a result depends on; those that are not installed are left out."""
    return {"python": platform.python_version(), **_installed()}


@cache
def _installed() -> Mapping[str, str]:
    """Once a process: it reads what every installed package says of itself, and each failure leaves a report."""
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: found[name.lower()] for name in _LIBRARIES if name.lower() in found}


class RateMeter:
    """Frames per second over the last ``window_s`` seconds.

    Args:
        window_s: length of the window in seconds.
    """

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._marks: deque[tuple[float, int]] = deque()
        self._first_s: float | None = None
        self._last_s = 0.0

    @property
    def seconds(self) -> float:
        """From the first mark to the last."""
        return 0.0 if self._first_s is None else self._last_s - self._first_s

    def push(self, now_s: float, frames: int) -> float:
        """Take a mark (monotonic seconds, frames so far) and return the rate; a count that falls starts afresh."""
        if self._marks and frames < self._marks[-1][1]:
            self._marks.clear()
        if self._first_s is None:
            self._first_s = now_s
        self._last_s = now_s
        self._marks.append((now_s, frames))
        while len(self._marks) > 2 and now_s - self._marks[0][0] > self._window_s:
            self._marks.popleft()
        (begin_s, begin), (end_s, end) = self._marks[0], self._marks[-1]
        return (end - begin) / (end_s - begin_s) if end_s > begin_s else 0.0
