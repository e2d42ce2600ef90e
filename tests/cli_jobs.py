"""A job without Ray for the tests of the command line: it plays snapshots and remembers what was asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dualface_ray.report import JobSnapshot, VideoProgress, VideoState


def video(index: int = 0, state: VideoState = VideoState.RUNNING, **fields: object) -> VideoProgress:
    name = fields.pop("source", f"in/talk{index}.mp4")
    outputs = fields.pop("outputs", (f"out/talk{index}.dualface.mp4",))
    return VideoProgress(index=index, source=str(name), outputs=tuple(outputs), state=state, **fields)


def story(count: int = 2, frames: int = 300, fail: int | None = None) -> list[JobSnapshot]:
    """Snapshots of a job whose videos run one after the other; ``fail`` names one that fails half way."""
    ended: list[VideoProgress] = []
    snapshots = [JobSnapshot(tuple(video(i, VideoState.WAITING) for i in range(count)))]
    for index in range(count):
        waiting = [video(i, VideoState.WAITING) for i in range(index + 1, count)]
        for done in range(0, frames + 1, frames // 4):
            now = video(index, frames_done=done, frames_total=frames, fps=30.0, eta_s=(frames - done) / 30)
            snapshots.append(JobSnapshot((*ended, now, *waiting), lanes=("lane 0: cpu, 2 cores",), elapsed_s=done / 30))
        last = video(index, VideoState.DONE, frames_done=frames, frames_total=frames)
        if fail == index:
            error = f"in/talk{index}.mp4: no video stream in this file. Name a video file."
            last = video(index, VideoState.FAILED, frames_done=frames // 2, error=error, error_code="not_a_video")
        ended.append(last)
        snapshots.append(JobSnapshot((*ended, *waiting), elapsed_s=index + 1.0, lanes=("lane 0: cpu, 2 cores",)))
    snapshots.append(JobSnapshot(tuple(ended), elapsed_s=10.0, final=True, notes=("lane 0 was started again",)))
    return snapshots


class PlayedJob:
    """Plays snapshots; with ``endless`` it then waits until it is cancelled."""

    def __init__(self, snapshots: Sequence[JobSnapshot], *, pause_s: float = 0.0, endless: bool = False) -> None:
        self._snapshots = list(snapshots)
        self._last = self._snapshots[0]
        self._pause_s = pause_s
        self._endless = endless
        self.calls: list[str] = []

    def wait(
        self, timeout_s: float | None = None, on_progress: Callable[[JobSnapshot], None] | None = None
    ) -> JobSnapshot:
        self.calls.append("wait")
        for snapshot in self._snapshots:
            self._last = snapshot
            if on_progress:
                on_progress(snapshot)
            time.sleep(self._pause_s)
        while self._endless:
            time.sleep(0.01)
            if on_progress:
                on_progress(self._last)
        return self._last

    def snapshot(self) -> JobSnapshot:
        return self._last

    def cancel(self) -> None:
        self.calls.append("cancel")
        videos = tuple(
            v if v.state.final else video(v.index, VideoState.CANCELLED, frames_done=v.frames_done)
            for v in self._last.videos
        )
        self._last = JobSnapshot(videos, elapsed_s=self._last.elapsed_s, final=True)

    def close(self) -> None:
        self.calls.append("close")

    def __enter__(self) -> PlayedJob:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
