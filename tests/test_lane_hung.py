"""What the services say of a video that hangs, or only waits; and a lane of actors that dies of one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import ray
from in_process import InProcessLane, job_for

from actors import bundle as bundle_room
from actors import decoding
from actors.lane import Lane, LaneState
from actors.messages import ActorStatus, SegmentJob, StreamKey
from actors.placement import ClusterSnapshot, plan_lanes
from actors.watch import Watch
from actors.work.segments import Segment
from dualface_ray.demo import make_demo
from dualface_ray.report import VideoState
from dualface_ray.settings import resolve

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

QUICK = {"framing.width_px": 320, "framing.height_px": 180, "encode.preset": "ultrafast", "reid": "off"}
HUNG = "v1"


@pytest.fixture(scope="module")
def clips(models: None, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("three")
    first = folder / "v0.mp4"
    make_demo(first, seconds=4, width_px=160, height_px=120, rate=Fraction(15))
    others = [folder / f"v{number}.mp4" for number in (1, 2)]
    for other in others:
        other.write_bytes(first.read_bytes())
    return [first, *others]


def _decoder(monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None]) -> None:
    real = decoding.open_source

    def opened(job: SegmentJob, *given: Any) -> Any:
        source = real(job, *given)
        if job.stream_id == HUNG:
            decode = source.session.decode

            def hangs(slots: Any) -> Any:
                hang()
                return decode(slots)

            monkeypatch.setattr(source.session, "decode", hangs)
        return source

    monkeypatch.setattr(decoding, "open_source", opened)


def _encoder(monkeypatch: pytest.MonkeyPatch, hang: Callable[[], None]) -> None:
    write = Segment.write

    def hangs(self: Segment, packets: Any) -> None:
        if HUNG in str(self.path):
            hang()
        write(self, packets)

    monkeypatch.setattr(Segment, "write", hangs)


def statuses(lane: InProcessLane) -> dict[str, ActorStatus]:
    services = {"decoder-0": lane.decoder, "inference": lane.inference, "encoder-0": lane.encoder}
    return {role: service.status() for role, service in services.items()}


@pytest.mark.parametrize("stage", [_decoder, _encoder], ids=["decoder", "encoder"])
def test_a_video_that_hangs_stands_still_while_the_others_go_on(
    stage: Any, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, go = resolve(**QUICK), threading.Event()
    stage(monkeypatch, lambda: go.wait(100))
    jobs = [job_for(clip, tmp_path / "out", settings, clip.stem) for clip in clips]
    moves = dict.fromkeys((job.key for job in jobs), 0)
    watch, clock_s = Watch(60, 900), 0.0
    with InProcessLane(settings, streams=3) as lane:
        try:
            for job in jobs:
                lane.start(job)
                watch.given(job.key)
            for job in jobs:
                if job.stream_id != HUNG:
                    assert lane.wait(job, 90).state is VideoState.DONE
            stall = None
            while stall is None and clock_s < 3000:  # a second of the watch's time at each look
                time.sleep(0.005)
                clock_s += 1
                watch.look(clock_s)
                for role, status in statuses(lane).items():
                    watch.heard(role, status)
                    for key, mark in status.marks.items():
                        moves[key] = max(moves[key], mark)
                stall = watch.stall()
            assert stall is not None
            assert stall.keys == {(HUNG, 0)}
            assert min(count for key, count in moves.items() if key[0] != HUNG) > 30
        finally:
            go.set()
        assert lane.wait(jobs[1], 90).error is None


def test_who_waits_for_room_moves_with_those_who_have_it(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(**QUICK)
    room = settings.quota_frames(15) * (160 * 120 * 3 // 2 + 256) * 3 // 2
    first, second = [job_for(clip, tmp_path / "out", settings, clip.stem) for clip in clips[:2]]
    reached, steps = threading.Event(), threading.Semaphore(0)
    real = decoding.open_source

    def opened(job: SegmentJob, *given: Any) -> Any:
        source = real(job, *given)
        if job.key == first.key:
            decode = source.session.decode

            def in_steps(slots: Any) -> Any:
                reached.set()
                assert steps.acquire(timeout=60)
                return decode(slots)

            monkeypatch.setattr(source.session, "decode", in_steps)
        return source

    monkeypatch.setattr(decoding, "open_source", opened)

    def mark(key: StreamKey) -> int:
        return lane.decoder.status().marks[key]

    with InProcessLane(settings, pool_bytes=room) as lane:
        lane.start(first)
        assert reached.wait(60)
        lane.start(second)
        until(lambda: lane.decoder._streams[second.key].queues)
        for _ in range(2):
            before = (mark(first.key), mark(second.key))
            steps.release()
            until(lambda: mark(first.key) > before[0] and mark(second.key) > before[1])  # noqa: B023
        for _ in range(100):
            steps.release()
        assert [lane.wait(job, 90).state for job in (first, second)] == [VideoState.DONE] * 2


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class Actor:
    """Every actor of a lane: whatever it does goes on, but for one video."""

    def __init__(self, plan: Any, settings: Any) -> None:
        self._asked = 0
        self._jobs: list[StreamKey] = []

    def prepare(self) -> None: ...
    def export_pool(self) -> int:
        return 1

    def attach(self, handle: int) -> None: ...
    def seal(self, *attached: None) -> None: ...
    def connect(self, *others: Any) -> None: ...
    def provenance(self) -> dict[str, str]:
        return {}

    def open(self, job: SegmentJob, _knows: None = None) -> None:
        self._jobs.append(job.key)

    def status(self) -> ActorStatus:
        self._asked += 1
        return ActorStatus({key: 0 if key[0] == HUNG else self._asked for key in self._jobs})

    def latency(self) -> dict[str, dict[str, float]]:
        return {}

    def close(self) -> None: ...


@pytest.fixture
def one_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    for name in ("DecoderActor", "InferenceActor", "EncoderActor"):
        monkeypatch.setattr(bundle_room, name, ray.remote(max_restarts=0)(Actor))
    yield
    ray.shutdown()


@pytest.mark.ray
def test_a_lane_dies_of_one_video_and_says_of_which(one_machine: None, tmp_path: Path) -> None:
    settings = resolve(**QUICK, **{"lane.streams": 2, "job.watchdog_s": 3})
    (plan,) = plan_lanes(settings, ClusterSnapshot(cpus=2), [1 << 26] * 2)
    lane = Lane(plan, settings)
    jobs = [SegmentJob(f"v{number}", 0, tmp_path / f"clip{number}.mp4", None, "") for number in range(2)]  # type: ignore[arg-type]
    deadline_s, assigned_s = time.monotonic() + 60, 0.0
    while lane.state is not LaneState.DEAD and time.monotonic() < deadline_s:
        lane.advance()
        if lane.state is LaneState.READY and not lane.jobs:
            assigned_s = time.monotonic()
            for job in jobs:
                lane.assign(job)
        time.sleep(0.05)
    lane.close()
    assert lane.guilty == {(HUNG, 0)}
    assert "no progress with" in str(lane.failure)
    assert "clip1.mp4 for" in str(lane.failure)
    assert time.monotonic() - assigned_s > 2 * 3, "of its share of the time"
