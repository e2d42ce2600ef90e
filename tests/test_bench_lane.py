"""The lane benchmark without lanes: windows, turns, medians and what the machine was doing."""

from __future__ import annotations

import itertools
import json
import os
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from media_maker import Clip

from actors.messages import StreamStatus
from dualface_ray.bench import busy, turns
from dualface_ray.bench.busy import core_seconds
from dualface_ray.bench.encoders import EncoderAlone, EncodersRunner, decoded, there_and_back
from dualface_ray.bench.lane import LaneRow, _rows
from dualface_ray.bench.nvml import GpuLoad
from dualface_ray.bench.turns import medians, take_turns
from dualface_ray.bench.whole import LaneRunner
from dualface_ray.bench.window import Progress
from dualface_ray.cli.bench import LaneRequest, bench_lane
from dualface_ray.errors import ActorError, InputMissingError, RequestError
from dualface_ray.report import InputRecord, RunReport, VideoState
from dualface_ray.settings import resolve


def test_only_the_time_in_which_all_streams_run_counts() -> None:
    progress = Progress(2)
    for when, first, second in ((0.0, 0, 0), (1.0, 10, 0), (2.0, 20, 5), (3.0, 30, 15), (4.0, 40, 25), (5.0, 40, 35)):
        progress.mark(0, when, first)
        progress.mark(1, when, second)
    assert progress.window() == (2.0, 4.0)
    assert progress.rate() == pytest.approx((20 + 20) / 2)


@pytest.mark.parametrize("marks", [[(0.0, 1)], [(0.0, 1), (0.2, 2)]])
def test_a_clip_that_is_too_short_is_said_so(marks: list[tuple[float, int]]) -> None:
    progress = Progress(1)
    for when, frames in marks:
        progress.mark(0, when, frames)
    with pytest.raises(ActorError, match="measured" if len(marks) == 1 else "together"):
        progress.rate()


# --- turns -----------------------------------------------------------------------------------------------------------
class Played:
    """A runner that writes down what happens to it."""

    def __init__(self, name: str, log: list[str], rates: Sequence[float]) -> None:
        self.name, self.log, self.rates = name, log, list(rates)
        self.there = bool(rates)

    def start(self) -> bool:
        self.log.append(f"start {self.name}")
        return self.there

    def run(self, idle_bytes: int) -> tuple[float, dict[str, Any]]:
        self.log.append(f"run {self.name}")
        rate = self.rates.pop(0)
        return rate, {"gpu": rate / 1000, "total_ms": f"{rate:.0f}/2/3", "vram_mib": idle_bytes}

    def close(self) -> None:
        self.log.append(f"close {self.name}")


@pytest.mark.parametrize("fresh", [False, True])
def test_everything_takes_turns(fresh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_card_bytes", lambda: 7)
    log: list[str] = []
    alone = Played("decode + copy alone", log, [100, 300, 200])
    lane = Played("adaptive", log, [90, 200, 190])
    found = take_turns([alone, lane], 3, fresh=fresh)
    runs = [line for line in log if line.startswith("run")]
    assert runs == [f"run {one.name}" for _ in range(3) for one in (alone, lane)]
    assert sum(line.startswith("start") for line in log) == (6 if fresh else 2)
    assert log[-1].startswith("close")
    reference, row = _rows((16, 4, 2), found)
    assert (reference.median, reference.ratio, reference.encoders) == (200, None, 0)
    assert (row.streams, row.decoders, row.encoders, row.fps) == (16, 4, 2, (90, 200, 190))
    assert row.ratio == pytest.approx(0.95)
    assert row.ratios == (0.9, 0.6667, 0.95)
    assert row.facts == {"gpu": 0.19, "total_ms": "190/2/3", "vram_mib": 7}
    assert "= 0.950" in row.text()


def test_a_run_that_fails_closes_everything() -> None:
    log: list[str] = []
    runners = [Played("decode + copy alone", log, [100]), Played("adaptive", log, [])]
    runners[1].there = True
    with pytest.raises(IndexError):
        take_turns(runners, 2, fresh=False)
    assert sorted(log[-2:]) == ["close adaptive", "close decode + copy alone"]


def test_a_round_that_fails_leaves_the_ones_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_card_bytes", lambda: 7)
    log: list[str] = []
    said: list[str] = []

    class Ending(Played):
        def run(self, idle_bytes: int) -> tuple[float, dict[str, Any]]:
            if not self.rates:
                raise ActorError("the streams never ran together", remedy="Use a longer clip.")
            return super().run(idle_bytes)

    alone, lane = Played("decode + copy alone", log, [100, 110, 120]), Ending("adaptive", log, [90, 88])
    found = take_turns([alone, lane], 4, fresh=False, say=said.append)
    assert {name: [rate for rate, _ in runs] for name, runs in found.items()} == {
        "decode + copy alone": [100, 110],
        "adaptive": [90, 88],
    }
    assert "round 3 of 4 failed" in said[0]
    assert "never ran together" in said[0]
    assert sorted(log[-2:]) == ["close adaptive", "close decode + copy alone"]
    lane.rates = []
    with pytest.raises(ActorError, match="never ran together"):
        take_turns([lane], 2, fresh=False, say=said.append)


def test_medians_are_taken_of_what_is_there() -> None:
    runs = [{"a": 1, "b": "1/5/9"}, {"a": 3}, {"a": 2, "b": "3/7/9"}]
    assert medians(runs) == {"a": 2, "b": "2/6/9"}


# --- one lane --------------------------------------------------------------------------------------------------------
class PlayedLane:
    """In place of ``actors.lane.Lane``: every stream gets on by so many frames a look, the first one faster."""

    def __init__(self, plan: Any, settings: Any) -> None:
        from actors.lane import LaneState

        self.plan, self.state, self.failure = plan, LaneState.PLACING, None
        self.jobs: dict[Any, Any] = {}
        self.streams: dict[Any, StreamStatus] = {}
        self.looks = 0
        self.closed = False

    def assign(self, job: Any) -> None:
        self.jobs[job.key] = job

    def advance(self) -> None:
        from actors.lane import LaneState

        self.state = LaneState.READY
        for number, key in enumerate(self.jobs):
            done = min(60, self.streams[key].frames_done + (2 if number else 1) if key in self.streams else 0)
            state = VideoState.DONE if done == 60 else VideoState.RUNNING
            self.streams[key] = StreamStatus(key[0], key[1], state, done, 60)
        self.looks += bool(self.jobs)

    def facts(self) -> dict[str, Any]:
        return {
            "inference.frames_examined": 10 * self.looks,
            "inference.batches": self.looks,
            "inference.detect_s": 0.001 * self.looks,
            "inference.faces_embedded": 0,
        }

    def latency(self) -> list[dict[str, dict[str, float]]]:
        return [{"total": {"p50": 0.1, "p95": 0.2 + n, "p99": 0.3 + n}} for n in range(2)]

    def finished(self, key: Any) -> None:
        del self.jobs[key], self.streams[key]

    def close(self) -> None:
        self.closed = True


def test_a_lane_is_measured_several_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    import actors.lane

    monkeypatch.setattr(actors.lane, "Lane", PlayedLane)
    monkeypatch.setattr(ray, "get", lambda found: found)
    clip = Clip(frames=12).write(tmp_path / "clip.mp4")
    runner = LaneRunner(clip, "every_frame", resolve(backend="cpu"), "cpu", (3, 2, 1), 0.25)
    runner.start()
    lane = runner._lane
    assert (lane.plan.decoders, lane.plan.encoders, lane.plan.discard) == (2, 1, True)
    for _ in range(2):
        rate, facts = runner.run(0)
        assert rate > 0
        assert (facts["mean_batch"], facts["detect_us"], facts["embedded"]) == (10.0, 100.0, 0)
        assert facts["total_ms"] == "100/1200/1300"
        assert facts["cores_inference"] >= 0
        assert not lane.jobs
        assert not lane.streams
    runner.close()
    runner.close()
    assert lane.closed


def test_a_stream_that_fails_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import actors.lane

    monkeypatch.setattr(actors.lane, "Lane", PlayedLane)
    clip = Clip(frames=12).write(tmp_path / "clip.mp4")
    runner = LaneRunner(clip, "adaptive", resolve(backend="cpu"), "cpu", (1, 1, 1), 0.5)
    runner.start()
    broken = StreamStatus("1-0", 0, VideoState.FAILED, 0, 60, ActorError("gone", where="x"))
    monkeypatch.setattr(runner._lane, "advance", lambda: runner._lane.streams.update({("1-0", 0): broken}))
    with pytest.raises(ActorError, match="a stream failed"):
        runner.run(0)


# --- encoders alone --------------------------------------------------------------------------------------------------
def test_pictures_are_shown_there_and_back() -> None:
    assert list(itertools.islice(there_and_back(4), 9)) == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert list(itertools.islice(there_and_back(1), 3)) == [0, 0, 0]
    assert list(itertools.islice(there_and_back(4, 0.5), 9)) == [2, 3, 2, 1, 0, 1, 2, 3, 2]
    with pytest.raises(ActorError, match="no pictures"):
        there_and_back(0)


def reported(folder: Path, encoder: str) -> Path:
    """A result of 12 frames, and what its report says of it."""
    Clip(frames=12, width_px=64, height_px=48).write(folder / "clip.dualface.mp4")
    record = InputRecord(path="clip.mp4")
    report = RunReport(state=VideoState.DONE, input=record, outputs=("clip.dualface.mp4",), encoder=encoder)
    report.save(folder / "clip.report.json")
    return folder


def test_the_encoders_alone_take_the_lane_s_pictures(tmp_path: Path) -> None:
    made, settings = reported(tmp_path, "libx264, 1 thread"), resolve(preset="ultrafast")
    spec = decoded(made / "clip.dualface.mp4", made / "pictures", settings, 1)
    assert (spec.width_px, spec.height_px, spec.threads, spec.preset) == (64, 48, 1, "ultrafast")
    actor = EncoderAlone(spec, str(made / "pictures"))
    assert actor.ready() == 12
    marks = actor.run(0.2)
    assert marks[-1][0] - marks[0][0] < 30
    assert [frames for _, frames in marks] == [8 * (n + 1) for n in range(len(marks))]


@pytest.mark.parametrize(("encoder", "there"), [("libx264, 1 thread", True), ("nvenc h264, P2", False), ("", False)])
def test_only_the_cpu_s_encoders_have_that_reference(
    encoder: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def actor(spec: Any, pictures: str, begin: float) -> Any:
        """In place of a Ray actor: everything happens at once, and four frames a second are encoded."""
        one = EncoderAlone(spec, pictures, begin)
        begun.append(begin)
        run = types.SimpleNamespace(remote=lambda seconds: [(2.0 * n, 8 * n) for n in range(1, 4)])
        return types.SimpleNamespace(ready=types.SimpleNamespace(remote=one.ready), run=run)

    shell = types.SimpleNamespace(options=lambda num_cpus: types.SimpleNamespace(remote=actor))
    monkeypatch.setattr(ray, "remote", lambda kind: shell)
    monkeypatch.setattr(ray, "get", lambda found: found)
    monkeypatch.setattr(ray, "kill", lambda actor: None)
    (tmp_path / "finer").mkdir()
    finer = tmp_path / "finer" / "clip.mp4"
    asked: list[Path] = []
    begun: list[float] = []

    def pictures() -> Path:
        Clip(frames=5, width_px=64, height_px=48).write(finer)
        asked.append(finer)
        return finer

    runner = EncodersRunner(reported(tmp_path, encoder), pictures, resolve(), 2)
    assert runner.start() is there
    assert bool(asked) is there
    assert begun == ([0.0, 0.5] if there else [])
    if there:
        assert runner.run(0)[0] == pytest.approx(8.0)
    runner.close()


def test_a_lane_that_encodes_is_held_against_its_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_card_bytes", lambda: 7)
    log: list[str] = []
    alone = Played("decode + copy alone", log, [900, 1000])
    lane, reference = Played("encoder", log, [90, 100]), Played("encoders from memory", log, [100, 125])
    rows = {row.mode: row for row in _rows((16, 4, 4), take_turns([alone, lane, reference], 2, fresh=False))}
    assert rows["encoder"].ratios == (0.9, 0.8)
    assert rows["encoder"].reference == "encoders from memory"
    assert "of encoders from memory" in rows["encoder"].text()
    assert rows["encoders from memory"].ratio is None
    without = Played("encoders from memory", log, [])
    lane.rates, alone.rates = [90, 100], [900, 1000]
    rows = {row.mode: row for row in _rows((16, 4, 4), take_turns([alone, lane, without], 2, fresh=False))}
    assert list(rows) == ["decode + copy alone", "encoder"]
    assert rows["encoder"].ratios == (0.1, 0.1)


# --- what the machine was doing --------------------------------------------------------------------------------------
def test_cores_are_counted_by_kind_of_actor(tmp_path: Path) -> None:
    hz = os.sysconf("SC_CLK_TCK")
    for pid, (title, ticks) in enumerate((("ray::EncoderActor.chunk", 3), ("ray::EncoderActor", 4), ("bash", 9))):
        folder = tmp_path / str(100 + pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(title.encode() + b"\0-x\0")
        (folder / "stat").write_text(f"{pid} (a b) c) S " + " ".join(["0"] * 10) + f" {ticks * hz} {hz} 0")
    (tmp_path / "200").mkdir()
    assert core_seconds(tmp_path) == {("EncoderActor", 100): 4.0, ("EncoderActor", 101): 5.0}


def test_an_actor_that_ends_meanwhile_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([{("InferenceActor", 1): 50.0, ("InferenceActor", 2): 3.0}, {("InferenceActor", 2): 3.0}])
    monkeypatch.setattr(busy, "core_seconds", lambda: next(seen))
    with busy.Busy(("InferenceActor",)) as found:
        pass
    assert found.facts["cores_inference"] == 0.0


def test_what_a_card_says_is_told_beside_the_cores() -> None:
    load = GpuLoad(3, 0.5, 0.9, 0.7, None, 10 << 20)
    sampler: Any = types.SimpleNamespace(__enter__=lambda: None, __exit__=lambda: None, load=load)
    with busy.Busy(("InferenceActor",), 4 << 20, sampler) as found:
        pass
    assert {**found.facts, "cores_inference": 0} == {
        "cores_inference": 0, "gpu": 0.5, "gpu_peak": 0.9, "nvdec": 0.7, "vram_mib": 6,
    }  # fmt: skip


# --- the command -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [{"streams": "x"}, {"streams": "0"}, {"processes": "1"}, {"repeats": 0}, {"modes": "all"}, {"backend": "x"}],
)
def test_what_measures_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        bench_lane(LaneRequest(Path("clip.mp4"), **wrong))


def test_figures_are_printed_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dualface_ray.bench

    rows = [LaneRow("adaptive", 16, 4, 4, (1.0, 2.0), 0.9, (0.9,), {"gpu": 0.5})]
    given: dict[str, Any] = {}

    def measure(clip: Path, *, found: Any, say: Any, **arguments: Any) -> list[LaneRow]:
        given.update(arguments)
        found(rows)
        say("a line")
        return rows

    monkeypatch.setattr(dualface_ray.bench, "run_lane_bench", measure, raising=False)
    kept = tmp_path / "figures.json"
    request = LaneRequest(Path("c.mp4"), "1,16", "4+2", "every_frame", sets=("chunk_frames=32",), output=kept)
    assert bench_lane(request, as_json=True) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == json.loads(kept.read_text())
    assert json.loads(out)[0]["median"] == 1.5
    assert (given["streams"], given["processes"], given["modes"]) == ([1, 16], [(4, 2)], ["every_frame"])
    assert given["sets"] == ("chunk_frames=32",)
    assert bench_lane(request) == 0
    out, err = capsys.readouterr()
    assert "16 streams 4+4" in out
    assert "a line" in err


def test_what_cannot_be_measured_is_known_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import dualface_ray.api

    def start(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(dualface_ray.api, "connect", start)
    request = LaneRequest(tmp_path / "none.mp4", "1", "1+1", "adaptive", backend="cpu")
    with pytest.raises(InputMissingError, match="no such file"):
        bench_lane(request)
    with pytest.raises(RequestError, match="its folder does not exist"):
        bench_lane(replace(request, output=tmp_path / "none" / "figures.json"))
