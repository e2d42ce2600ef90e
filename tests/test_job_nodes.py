"""Real jobs on a Ray of several nodes with pretend cards (CPU backend): caps hold, lanes follow the nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from dualface_ray.report import JobSnapshot, VideoState

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("models"), pytest.mark.timeout(400)]

SMALL = {"framing.width_px": 320, "framing.height_px": 180, "reid": "off"}
"""A small picture: these tests are about nodes."""


@pytest.fixture(scope="module")
def head() -> Iterator[object]:
    """A head without cores."""
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}, shutdown_at_exit=False
    )
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def cluster(head) -> Iterator[object]:
    """The tests add nodes, and they go afterwards."""
    yield head
    for node in list(head.worker_nodes):
        head.remove_node(node)
    deadline_s = time.monotonic() + 30
    while len(living()) > 1:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def living() -> list[dict]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of two people, small."""
    from dualface_ray.demo import make_demo

    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    make_demo(path, seconds=3, width_px=320, height_px=180, rate=Fraction(25))
    return path


def copies(clip: Path, folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    made = [folder / f"clip{number:02d}.mp4" for number in range(count)]
    for path in made:
        path.write_bytes(clip.read_bytes())
    return made


def wait(job: object, condition: Callable[[JobSnapshot], bool], seconds: float = 200.0) -> JobSnapshot:
    deadline_s = time.monotonic() + seconds
    while not condition(snapshot := job.snapshot()):
        assert time.monotonic() < deadline_s, snapshot
        assert not snapshot.final, snapshot
        time.sleep(0.05)
    return snapshot


def running(snapshot: JobSnapshot) -> int:
    return sum(video.state in (VideoState.RUNNING, VideoState.FINISHING) for video in snapshot.videos)


def all_done(snapshot: JobSnapshot) -> bool:
    return snapshot.final and {video.state for video in snapshot.videos} == {VideoState.DONE}


def test_lanes_come_and_go_with_the_nodes_and_their_videos_move(cluster, clip, tmp_path):
    """One node; a second joins and gets work; the first vanishes in mid-video; everything comes out."""
    from dualface_ray.api import run

    first = cluster.add_node(num_cpus=1, labels={"dualface-machine": "rack1"})
    cluster.wait_for_nodes()
    videos = copies(clip, tmp_path / "in", 3)
    slow = {**SMALL, "preset": "veryslow", "framing.width_px": 960, "framing.height_px": 540}
    with run(videos, tmp_path / "out", **slow, max_attempts=3) as job:
        wait(job, lambda s: any(video.frames_done > 3 for video in s.videos))
        cluster.add_node(num_cpus=1, labels={"dualface-machine": "rack2"})
        wait(job, lambda s: running(s) == 2 and sum(lane.endswith("ready") for lane in s.lanes) == 2)
        cluster.remove_node(first, allow_graceful=False)
        snapshot = job.wait(300)
    assert all_done(snapshot), snapshot
    assert any("joins" in note for note in snapshot.notes), snapshot.notes
    assert any("lost" in note or "gone" in note or "died" in note for note in snapshot.notes), snapshot.notes
    assert max(video.attempts for video in snapshot.videos) == 2
    assert [
        p.name for p in tmp_path.rglob("*") if ".part" in p.name or ".segment" in p.name or "marker" in p.name
    ] == []


def test_a_resource_nobody_declares_is_named_within_seconds(cluster, clip, tmp_path):
    from dualface_ray.api import run

    labels = {"dualface-profile": "l4", "dualface-machine": "rack4"}
    cluster.add_node(num_cpus=1, num_gpus=1, resources={"nvdec_session": 8}, labels=labels)
    cluster.wait_for_nodes()
    with run([clip], tmp_path / "out", **SMALL, allow_unverified_profile=True) as job:
        snapshot = job.wait(15)
    assert snapshot.final
    assert snapshot.videos[0].state is VideoState.FAILED
    assert "nvenc_session is declared by nobody" in snapshot.videos[0].error
    assert snapshot.elapsed_s < 10


@pytest.fixture
def pretend_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans for cards are carried out on the CPU, with their bundles as they are."""
    from actors import lane

    real = lane.Lane.__init__

    def on_cpu(self: lane.Lane, plan: object, *rest: object) -> None:
        real(self, replace(plan, backend="cpu", encoder="cpu", decoders=1, encoders=1, memory=None), *rest)

    monkeypatch.setattr(lane.Lane, "__init__", on_cpu)


class Runner:
    """The job's runner in this process, so that a test can stand in for its lanes."""

    def __init__(self, videos: list[Path], out: Path, **overrides: object) -> None:
        from actors.job import JobRunner
        from dualface_ray.api import prepare
        from dualface_ray.settings import resolve

        settings = resolve(**overrides)
        self.runner = JobRunner(prepare(videos, out, settings), settings, "test")

    def __enter__(self) -> Runner:
        self.runner.start()
        return self

    def snapshot(self) -> JobSnapshot:
        return self.runner.snapshot()

    def __exit__(self, *_: object) -> None:
        self.runner.cancel()
        deadline_s = time.monotonic() + 30
        while not self.runner.snapshot().final and time.monotonic() < deadline_s:
            time.sleep(0.1)


class Watch:
    """Samples what is reserved of each node while a job runs."""

    def __init__(self) -> None:
        self.most: dict[tuple[str, str], float] = {}
        self.over: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        from actors.cluster.nodes import look

        while not self._stop.wait(0.1):
            for node in look().nodes:
                for name in ("GPU", "nvdec_session", "nvenc_session"):
                    used = float(node.used.get(name, 0.0))
                    key = node.machine, name
                    self.most[key] = max(self.most.get(key, 0.0), used)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_three_run_and_one_waits_where_encoders_are_scarce(cluster, clip, tmp_path, pretend_cards):
    """Four GeForce cards of one machine share three encoder sessions; no cap is passed at any time."""
    labels = {"dualface-profile": "rtx4090", "dualface-driver": "595.10", "dualface-machine": "rack1"}
    cluster.add_node(num_cpus=4, num_gpus=4, resources={"nvdec_session": 24, "nvenc_session": 3}, labels=labels)
    cluster.wait_for_nodes()
    videos = copies(clip, tmp_path / "in", 4)
    overrides = {**SMALL, "allow_unverified_profile": True, "lane.cores": 1}
    with Watch() as watch, Runner(videos, tmp_path / "out", **overrides) as job:
        wait(job, lambda s: running(s) == 3)
        seen: list[JobSnapshot] = []
        while not (snapshot := job.snapshot()).final:
            seen.append(snapshot)
            time.sleep(0.05)
    assert all_done(snapshot), snapshot
    assert max(running(s) for s in seen) == 3
    assert any(running(s) == 3 and s.units_waiting == 1 for s in seen), "3 running and 1 waiting"
    assert watch.most["rack1", "nvenc_session"] == 3
    assert watch.most["rack1", "GPU"] == 3
    assert all(len(s.lanes) == 3 for s in seen if running(s)), "at the end they are taken off one by one"


@pytest.mark.long
def test_a_node_that_is_about_to_leave_is_drained(cluster, clip, tmp_path):
    """Ray says that a node leaves: its lane finishes what it has and takes nothing more."""
    from ray._raylet import GcsClient

    from dualface_ray.api import run

    cluster.add_node(num_cpus=1, labels={"dualface-machine": "rack1"})
    cluster.add_node(num_cpus=1, labels={"dualface-machine": "rack2"})
    cluster.wait_for_nodes()
    videos = copies(clip, tmp_path / "in", 6)
    with run(videos, tmp_path / "out", **SMALL, preset="veryslow") as job:
        wait(job, lambda s: running(s) == 2)
        (leaving,) = [n["NodeID"] for n in living() if n["Labels"].get("dualface-machine") == "rack1"]
        deadline_ms = int((time.time() + 600) * 1000)
        accepted, why = GcsClient(address=cluster.gcs_address).drain_node(leaving, 2, "test", deadline_ms)
        assert accepted, why
        snapshot = job.wait(300)
    assert all_done(snapshot), snapshot
    assert any("takes nothing more" in note for note in snapshot.notes), snapshot.notes
    assert {video.attempts for video in snapshot.videos} == {1}, "nothing was interrupted"
