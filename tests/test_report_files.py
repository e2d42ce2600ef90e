"""Tracks, reports, fingerprints and latency histograms: exact files, refused damage."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.errors import DiskFullError, InputError, InputMissingError, OutputError, ProtocolError
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.identity import IdentityEvent, PersonState, PersonTrack, TrackedFrame
from dualface_ray.media import AtomicFile
from dualface_ray.report import (
    ErrorRecord,
    FrameRecord,
    InputRecord,
    Quantiles,
    RunReport,
    TracksHeader,
    TracksWriter,
    VideoState,
    event_records,
    fingerprint,
    input_fingerprint,
    latency_records,
    read_report,
    read_tracks,
    versions,
)
from dualface_ray.settings import Settings

HEADER = TracksHeader("talk.mp4", 1920, 1080, Fraction(1, 30000))
SEEN = PersonTrack(PersonState.DETECTED, (100.0, 50.25, 300.5, 333.333), 0.98)
GONE = PersonTrack(PersonState.ABSENT, None)


def frame(index: int, a: PersonTrack = SEEN, b: PersonTrack = GONE, pts: int | None = None) -> TrackedFrame:
    return TrackedFrame(index, 500 + 1001 * index if pts is None else pts, 0, a, b)


def plan(index: int) -> FramePlan:
    tiles = (
        TilePlan((0.0, 0.0, 960.0, 1080.0), 0, 0, 960, 1080, "A"),
        TilePlan((-0.0, 0.0, 959.999, 1079.5), 960, 0, 960, 1080, "B"),
    )
    return FramePlan(index, 500 + 1001 * index, (CanvasPlan(1920, 1080, tiles),))


def test_lines_are_exactly_those_of_the_contract(tmp_path: Path) -> None:
    with AtomicFile(tmp_path / "t.jsonl") as file, TracksWriter(file.part, HEADER) as writer:
        for index in range(2):
            writer.add(frame(index), plan(index))
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "schema": 1, "source": "talk.mp4", "width": 1920, "height": 1080, "time_base": "1/30000", "persons": ["A", "B"],
    }  # fmt: skip
    assert lines[2] == (
        '{"frame":1,"pts":1501,"time":0.033367,"shot":0,'
        '"faces":{"A":{"box":[100.00,50.25,300.50,333.33],"state":"detected","score":0.980},'
        '"B":{"box":null,"state":"absent","score":0.000}},'
        '"crops":{"A":[0.00,0.00,960.00,1080.00],"B":[0.00,0.00,960.00,1079.50]}}'
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    hidden = PersonTrack(PersonState.PREDICTED, (-3.004, -0.001, 9.0, 8.0), 0.5)
    with TracksWriter(path, HEADER) as writer:
        writer.add(frame(0), plan(0))
        writer.add(frame(1, b=hidden), plan(1))
    tracks = read_tracks(path)
    assert tracks.header == HEADER
    assert tracks.states.tolist() == [[0, 2], [0, 1]]
    assert np.isnan(tracks.boxes_px[0, 1]).all()
    assert tracks.boxes_px[1, 1].tolist() == [-3.0, 0.0, 9.0, 8.0]
    assert "-0.00" not in path.read_text()
    assert tracks.time_s.tolist() == [0.0, 0.033367]
    assert tracks.crops_px[0, 1].tolist() == [0.0, 0.0, 960.0, 1079.5]


def test_names_of_sources_survive(tmp_path: Path) -> None:
    name = 'quo"te \\ näme \u2028 \n.mp4'
    with TracksWriter(tmp_path / "t", TracksHeader(name, 2, 2, Fraction(1))):
        pass
    assert read_tracks(tmp_path / "t").header.source == name
    assert len(read_tracks(tmp_path / "t")) == 0


def test_order_and_finite_numbers_are_enforced(tmp_path: Path) -> None:
    with TracksWriter(tmp_path / "t", HEADER) as writer:
        with pytest.raises(ProtocolError, match=r"frame 1 .*when frame 0 was due"):
            writer.add(frame(1), plan(1))
        with pytest.raises(ProtocolError, match="plan of frame 3"):
            writer.add(frame(0), plan(3))
        for bad in (math.nan, math.inf):
            with pytest.raises(ProtocolError, match="not finite"):
                writer.add(frame(0, a=PersonTrack(PersonState.DETECTED, (bad, 0, 1, 1), 1.0)), plan(0))
        writer.add(frame(0), plan(0))
    assert len(read_tracks(tmp_path / "t")) == 1


def test_a_full_disk_is_an_error_of_ours() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    writer = TracksWriter(full, HEADER)
    with pytest.raises(DiskFullError):
        writer.close()


def test_an_impossible_path_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        TracksWriter(tmp_path / "missing" / "t", HEADER)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("{}\n", 1),
        ('{"schema":2,"source":"a","width":1,"height":1,"time_base":"1/1","persons":["A","B"]}\n', 1),
        ("not json\n", 1),
        (HEADER.line() + '{"frame":0,"pts":', 2),
        (HEADER.line() + '{"frame":7}\n', 2),
        (HEADER.line() + "[]\n", 2),
        (HEADER.line().replace("1/30000", "1/0"), 1),
    ],
)
def test_damaged_tracks_name_the_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=f"line {line} "):
        read_tracks(path)


def test_binary_and_missing_tracks(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(InputError):
        read_tracks(tmp_path / "b")
    with pytest.raises(InputMissingError):
        read_tracks(tmp_path / "none")


@given(st.lists(st.floats(1e-6, 9e3), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_quantiles_keep_their_promised_error(values: list[float], share: float) -> None:
    histogram = Quantiles()
    histogram.extend(values)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert histogram.quantile(share) == pytest.approx(exact, rel=0.0201)


@given(st.lists(st.floats(0, 1e5), max_size=60), st.lists(st.floats(0, 1e5), max_size=60))
def test_merging_quantiles_is_counting_everything(left: list[float], right: list[float]) -> None:
    one, two, both = Quantiles(), Quantiles(), Quantiles()
    one.extend(left)
    two.extend(right)
    both.extend(left + right)
    one.merge(Quantiles.from_state(json.loads(json.dumps(two.to_state()))))
    assert one.to_state()["buckets"] == both.to_state()["buckets"]
    assert one.summary() == pytest.approx(both.summary())


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_quantiles_refuse_nonsense(value: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        Quantiles().add(value)


def test_a_report_survives_the_file(tmp_path: Path) -> None:
    stage = Quantiles()
    stage.extend([0.01, 0.02, 0.03])
    crossed = IdentityEvent(30, "crossed", "A", {"distance": 0.1234567891})
    report = RunReport(
        state=VideoState.DONE,
        input=InputRecord(path="in/talk.mp4", size_bytes=12, fingerprint="ab"),
        fingerprint="cd",
        frames=FrameRecord(frames_in=300, frames_out=300, concealed=2, repairs={"pts_missing": 1}),
        events=event_records([crossed], {30: 30530}, 500, Fraction(1, 30000)),
        degradations=("decoded on the CPU",),
        latency_s=latency_records({"total": stage}),
        error=ErrorRecord.of(InputError("broken", where="talk.mp4", remedy="Fix it.")),
    )  # fmt: skip
    path = tmp_path / "talk.report.json"
    report.save(path)
    assert read_report(path) == report
    plain = json.loads(path.read_text())
    assert plain["schema"] == 1
    assert plain["state"] == "done"
    assert plain["frames"]["in"] == 300
    assert plain["events"][0] == {
        "frame": 30, "time": 1.001, "kind": "crossed", "person": "A", "detail": {"distance": 0.123457},
    }  # fmt: skip
    assert plain["latency_s"]["total"]["p95"] == pytest.approx(0.03, rel=0.02)
    assert plain["error"]["code"] == "input"


def test_the_sound_of_an_earlier_report_is_found_where_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "talk.report.json"
    repairs = {"audio_packets": 7, "audio_samples": 7168, "pts_missing": 1}
    earlier = {"schema": 1, "state": "done", "input": {"path": "x"}, "frames": {"in": 3, "repairs": repairs}}
    path.write_text(json.dumps(earlier))
    report = read_report(path)
    assert report.sound == {"audio_packets": 7, "audio_samples": 7168}
    assert (report.frames.frames_in, report.frames.repairs) == (3, {"pts_missing": 1})
    report.save(path)
    assert read_report(path) == report
    path.write_text(json.dumps({**earlier, "frames": {"repairs": [1]}}))
    with pytest.raises(InputError, match=r"frames\.repairs"):
        read_report(path)


def test_errors_of_any_kind_fit_a_report() -> None:
    record = ErrorRecord.of(RuntimeError("two\nlines"))
    assert (record.code, record.what) == ("internal", "RuntimeError: two lines")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"state":"done"}', '{"state":"odd","input":{"path":"x"}}', "\x00"])
def test_damaged_reports_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a report"):
        read_report(path)


def test_newer_reports_are_refused_and_missing_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"schema":99,"state":"done","input":{"path":"x"}}')
    with pytest.raises(InputError, match="newer"):
        read_report(path)
    with pytest.raises(InputMissingError):
        read_report(tmp_path / "none.json")


def changed(**groups: dict[str, object]) -> Settings:
    return Settings.model_validate(groups)


def test_fingerprints_follow_content_and_settings_alone(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(bytes(range(256)) * 64)
    copy = tmp_path / "other name.mp4"
    copy.write_bytes(video.read_bytes())
    base = fingerprint(video, Settings())
    assert len(base) == 64
    assert fingerprint(copy, Settings()) == base
    same: list[dict[str, dict[str, object]]] = [
        {"lane": {"backend": "cpu", "cores": 3, "chunk_frames": 8}},
        {"job": {"overwrite": True}},
        {"detect": {"batch_wait_s": 0.01, "batch_max": 4}},
        {"input": {"max_streams": 3, "allow_symlinks": True}},
    ]
    for groups in same:
        assert fingerprint(video, changed(**groups)) == base, groups
    different: list[dict[str, dict[str, object]]] = [
        {"framing": {"layout": "stacked"}},
        {"framing": {"face_height_share": 0.34}},
        {"detect": {"grid_hz": 4.0}},
        {"identity": {"reid": "off"}},
        {"encode": {"quality": 21}},
        {"timing": {"mode": "cfr"}},
        {"input": {"on_damage": "stop"}},
    ]
    marks = {fingerprint(video, changed(**groups)) for groups in different}
    assert len(marks) == len(different)
    assert base not in marks
    assert fingerprint(video, Settings(), result_version=99) != base


def test_an_explicit_model_counts_by_its_content(tmp_path: Path) -> None:
    video, model = tmp_path / "a.mp4", tmp_path / "m.onnx"
    video.write_bytes(b"video")
    model.write_bytes(b"one")
    settings = changed(detect={"model_path": str(model)})
    first = fingerprint(video, settings)
    model.write_bytes(b"two")
    assert fingerprint(video, settings) != first
    model.unlink()
    with pytest.raises(InputMissingError, match=r"m\.onnx"):
        fingerprint(video, settings)


def test_the_description_beside_an_embedding_counts_and_home_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, model, beside = (tmp_path / name for name in ("a.mp4", "m.onnx", "m.yaml"))
    video.write_bytes(b"video")
    model.write_bytes(b"one")
    own, detector = (
        changed(**{g: {k: str(model)}}) for g, k in (("identity", "embedding_path"), ("detect", "model_path"))
    )
    bare, other = fingerprint(video, own), fingerprint(video, detector)
    beside.write_text("colour: BGR")
    described = fingerprint(video, own)
    assert described != bare
    assert fingerprint(video, detector) == other, "nobody reads one beside a detector"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fingerprint(video, changed(identity={"embedding_path": "~/m.onnx"})) == described
    beside.write_text("colour: RGB")
    assert fingerprint(video, own) not in (bare, described)
    beside.unlink()
    assert fingerprint(video, own) == bare


@pytest.mark.parametrize("size", [0, 1, 262_144, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 9_000_001])
def test_input_fingerprints_see_head_middle_tail_and_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "v"
    data = bytearray(size)
    path.write_bytes(data)
    base = input_fingerprint(path)
    path.write_bytes(data + b"\0")
    assert input_fingerprint(path) != base
    for place in {0, size // 2, size - 1} if size else set():
        data[place] ^= 1
        path.write_bytes(data)
        assert input_fingerprint(path) != base
        data[place] ^= 1


def test_input_fingerprint_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        input_fingerprint(tmp_path / "none")
    with pytest.raises(InputMissingError):
        input_fingerprint(tmp_path)


def test_what_is_installed_is_read_once_a_process(monkeypatch):
    known = versions()
    monkeypatch.setattr("dualface_ray.report.task.metadata.distributions", lambda: pytest.fail("read again"))
    assert versions() == known
    assert versions() is not known
