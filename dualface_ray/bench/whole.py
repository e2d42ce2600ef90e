"""A whole lane: real actors, one clip opened once per stream."""

from __future__ import annotations

import shutil
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from dualface_ray.backends.pyav import probe
from dualface_ray.bench.busy import Busy
from dualface_ray.bench.turns import Run
from dualface_ray.bench.window import Progress
from dualface_ray.errors import ActorError, DualfaceError
from dualface_ray.frames import slot_stride_bytes
from dualface_ray.hardware import cores, gpus, profile_for, thread_budget
from dualface_ray.media import plan_outputs
from dualface_ray.settings import Settings

_ACTORS = ("DecoderActor", "InferenceActor", "EncoderActor")
_POLL_S = 0.1
"""Between looks at the actors. Each costs every process of the lane a call, so a job looks more seldom still."""
_COUNTED = ("frames_examined", "faces_embedded", "batches", "detect_s")


class LaneRunner:
    """A real lane on real actors.

    Args:
        clip: opened once per stream.
        mode: of ``MODES``.
        settings: of the actors.
        backend: ``cuda`` or ``cpu``.
        shape: streams, decoder processes, encoder processes.
        share: of the machine as Ray counts it; lanes that take turns share it on paper.
        kept: folder for the first stream's files; None = nothing stays.
    """

    def __init__(
        self,
        clip: Path,
        mode: str,
        settings: Settings,
        backend: str,
        shape: tuple[int, int, int],
        share: float,
        kept: Path | None = None,
    ) -> None:
        self.name = mode
        self._clip = clip
        self._settings = settings
        self._backend = backend
        self._shape = shape
        self._share = share
        self._kept = kept
        self._lane: Any = None
        self._round = 0

    def start(self) -> bool:
        """Start the actors and wait for them."""
        from actors.lane import Lane, LaneState
        from actors.placement import LanePlan

        count, decoders, encoders = self._shape
        info = probe(self._clip, self._settings).video
        each, machine = -(-count // decoders), cores()
        plan = LanePlan(
            lane_id=f"bench-{self.name}",
            backend=self._backend,
            cores=machine * self._share,  # type: ignore[arg-type]  # a plan of its own would hold whole ones
            gpus=self._share if self._backend == "cuda" else 0,  # type: ignore[arg-type]  # as above
            streams=count,
            threads=thread_budget(machine, count),
            pool_bytes=each * self._settings.quota_frames(info.average_rate) * slot_stride_bytes(info),
            pool_slots=each * self._settings.quota_frames(Fraction(self._settings.input.max_fps)),
            decoders=decoders,
            encoders=encoders,
            encoder="cpu" if self._backend == "cuda" and _no_nvenc() else "",
            discard=self.name != "encoder",
        )
        self._lane = Lane(plan, self._settings)
        while self._lane.state is not LaneState.READY:
            self._advance()
            time.sleep(0.05)
        return True

    def run(self, idle_bytes: int) -> Run:
        """Send the clip through once per stream."""
        from actors.messages import SegmentJob

        lane, count = self._lane, self._shape[0]
        self._round += 1
        progress = Progress(count)
        before = dict(lane.facts())
        with tempfile.TemporaryDirectory(prefix="dualface-lane-") as folder:
            for number in range(count):
                outputs = plan_outputs([self._clip], Path(folder) / str(number), "side_by_side", "mp4")[0]
                outputs.folder.mkdir()
                lane.assign(SegmentJob(f"{self._round}-{number}", 0, self._clip, outputs, ""))
            with Busy(_ACTORS, idle_bytes) as busy:
                self._watch(progress, until_all=False)
            facts = {**busy.facts, **self._inference(before), **self._latency()}
            self._watch(progress, until_all=True)
            if self._kept is not None:
                shutil.copytree(Path(folder) / "0", self._kept, dirs_exist_ok=True)
        for key in list(lane.jobs):
            lane.finished(key)
        return progress.rate(), facts

    def close(self) -> None:
        """End the actors."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()

    def _watch(self, progress: Progress, *, until_all: bool) -> None:
        """Mark progress until the first stream, or every stream, has ended."""
        lane, count = self._lane, self._shape[0]
        while True:
            self._advance()
            now_s = time.monotonic()
            states = list(lane.streams.values())
            for status in states:
                progress.mark(int(status.stream_id.split("-")[1]), now_s, status.frames_done)
            failed = [status.error for status in states if status.error is not None]
            if failed:
                raise ActorError(f"a stream failed: {failed[0]}", where=self.name)
            ended = sum(status.state.final for status in states)
            if ended and (ended == count or not until_all):
                return
            time.sleep(_POLL_S)

    def _inference(self, before: dict[str, Any]) -> dict[str, Any]:
        """What the inference actor did in this run."""
        facts = self._lane.facts()
        done = {name: facts.get(f"inference.{name}", 0) - before.get(f"inference.{name}", 0) for name in _COUNTED}
        return {
            "examined": done["frames_examined"],
            "embedded": done["faces_embedded"],
            "mean_batch": round(done["frames_examined"] / max(1, done["batches"]), 1),
            "detect_us": round(1e6 * done["detect_s"] / max(1, done["frames_examined"]), 1),
        }

    def _latency(self) -> dict[str, str]:
        """p50/p95/p99 of every stage in milliseconds, of the encoder process that is slowest in it."""
        import ray

        found: dict[str, tuple[float, ...]] = {}
        for summary in ray.get(self._lane.latency()):
            for stage, one in summary.items():
                values = tuple(1e3 * one[name] for name in ("p50", "p95", "p99"))
                found[stage] = max(found.get(stage, (0.0, 0.0, 0.0)), values, key=lambda three: three[1])
        return {f"{stage}_ms": "/".join(f"{value:.0f}" for value in values) for stage, values in found.items()}

    def _advance(self) -> None:
        self._lane.advance()
        if self._lane.failure is not None:
            raise DualfaceError(str(self._lane.failure), where="lane")


def _no_nvenc() -> bool:
    """Whether the card is known as one whose videos are encoded on the CPU, as a job's plan knows it."""
    profiles = [profile_for(card.name) for card in gpus()]
    return any(found is not None and not found.has_nvenc for found in profiles)
