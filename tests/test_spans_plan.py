"""Cutting on paper: plans of spans, samples of key frames, records and the work folder."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.media import (
    FileSurvey,
    OutputPlan,
    Span,
    Workspace,
    bridge_range,
    plan_outputs,
    plan_spans,
    remove_leftovers,
    remove_partials,
    remove_workspace,
    sample_keys,
    span_piece,
)
from dualface_ray.report import (
    PieceRecord,
    SpanRecord,
    Survey,
    load_bridge,
    load_plan,
    load_span,
    load_survey,
    save_plan,
)


def survey(frames: int, gop: int, rate: int = 30, tick: int = 512) -> FileSurvey:
    keys = tuple(range(0, frames, gop))
    return FileSurvey("", frames, Fraction(rate), 7, keys, tuple(7 + key * tick for key in keys))


def check(spans: tuple[Span, ...], frames: int) -> None:
    """What every plan promises."""
    assert spans[0].first_frame == spans[0].write_frame == 0
    assert spans[-1].seam_frame == spans[-1].end_frame == frames
    for number, span in enumerate(spans):
        assert (span.number, span.count) == (number, len(spans))
        assert span.written > 0
    for before, after in pairwise(spans):
        assert before.seam_frame == after.first_frame
        assert before.end_frame == after.write_frame
        bridge = bridge_range(before, after)
        assert (bridge.first_frame, bridge.frames) == (before.seam_frame, after.write_frame - after.first_frame)
        assert bridge.first_pts_ticks == after.first_pts_ticks
    written = sum(span.written for span in spans) + sum(a.end_frame - a.seam_frame for a, _ in pairwise(spans))
    assert written == frames


def test_spans_are_about_equal_and_begin_at_key_frames() -> None:
    found = survey(3600, 60)
    spans = plan_spans(found, 4, 3.0)
    check(spans, 3600)
    assert [span.first_frame for span in spans] == [0, 900, 1800, 2700]
    assert [span.first_pts_ticks for span in spans] == [7 + 512 * f for f in (0, 900, 1800, 2700)]
    assert spans[1].write_frame == 990


@given(frames=st.integers(1, 20_000), gop=st.integers(1, 900), pieces=st.integers(1, 40), overlap_s=st.floats(0.04, 10))
def test_any_plan_covers_every_frame_once(frames: int, gop: int, pieces: int, overlap_s: float) -> None:
    spans = plan_spans(survey(frames, gop), pieces, overlap_s)
    assert len(spans) != 1
    assert len(spans) <= pieces
    if spans:
        check(spans, frames)


def test_fewer_where_key_frames_lie_far_apart() -> None:
    assert len(plan_spans(survey(3600, 1200), 8, 3.0)) == 3
    assert plan_spans(survey(3600, 10_000), 8, 3.0) == ()
    assert plan_spans(survey(500, 30), 2, 3.0) == (), "too short for its overlap"
    assert plan_spans(survey(3600, 60), 1, 3.0) == ()


def test_samples_are_few_and_denser_at_the_beginning() -> None:
    found = survey(36_000, 15)
    keys = sample_keys(found, Fraction(1, 30 * 512))
    assert 40 <= len(keys) <= 48
    early = [key for key in keys if key[0] < 900]
    assert len(early) >= 10
    assert keys[0][0] == 0
    assert keys[-1][0] > 30_000
    assert keys == sorted(set(keys))
    assert sample_keys(survey(0, 1), Fraction(1, 30)) == []
    assert len(sample_keys(survey(3600, 250), Fraction(1, 30 * 512))) == 15, "there are no more"


@pytest.fixture
def outputs(tmp_path: Path) -> OutputPlan:
    (tmp_path / "out").mkdir()
    return plan_outputs([tmp_path / "talk.mp4"], tmp_path / "out", "side_by_side", "mp4")[0]


def leave_span(outputs: OutputPlan, span: Span, attempt: int = 0) -> SpanRecord:
    """A finished span's files."""
    space, piece = Workspace.of(outputs), span_piece(span.number)
    segment, tracks = space.segment(piece, attempt, 0), space.tracks(piece, attempt)
    segment.parent.mkdir(parents=True, exist_ok=True)
    segment.write_bytes(b"video")
    tracks.write_text("rows")
    record = SpanRecord(
        fingerprint="f", piece=piece, first_frame=span.write_frame, frames=span.written, segments=(segment.name,),
        sizes_bytes=(5,), tracks=tracks.name, specs=(), extradata_sha256=("x",), span=span,
    )  # fmt: skip
    record.save(space.record(piece))
    return record


def test_records_count_for_the_same_request_only(outputs: OutputPlan) -> None:
    first, second, *_ = spans = plan_spans(survey(3600, 60), 3, 3.0)
    assert load_span(outputs, first, "f") is None
    record = leave_span(outputs, first)
    assert load_span(outputs, first, "f") == record
    assert load_span(outputs, first, "another") is None
    assert load_span(outputs, second, "f") is None
    other = plan_spans(survey(3600, 60), 2, 3.0)[0]
    assert load_span(outputs, other, "f") is None, "cut otherwise"
    (Workspace.of(outputs).folder / record.segments[0]).write_bytes(b"short")
    assert load_span(outputs, first, "f") is not None
    (Workspace.of(outputs).folder / record.segments[0]).write_bytes(b"cut")
    assert load_span(outputs, first, "f") is None, "its segment is another one"
    save_plan(outputs, "f", spans)
    assert load_plan(outputs, "f") == spans
    assert load_plan(outputs, "g") is None
    path = Workspace.of(outputs).record("survey")
    Survey(fingerprint="f", frames=5, rate=Fraction(30000, 1001)).save(path)
    assert load_survey(outputs, "f") == Survey(fingerprint="f", frames=5, rate=Fraction(30000, 1001))
    path.write_text("{")
    assert load_survey(outputs, "f") is None


def test_a_bridge_belongs_to_its_two_spans(outputs: OutputPlan) -> None:
    spans = plan_spans(survey(3600, 60), 3, 3.0)
    space = Workspace.of(outputs)
    record = PieceRecord(
        fingerprint="f", piece="bridge-0000", first_frame=spans[0].seam_frame, frames=90, segments=(), sizes_bytes=(),
        tracks="t", specs=(), extradata_sha256=(),
    )  # fmt: skip
    record.save(space.record("bridge-0000"))
    assert load_bridge(outputs, spans[0], spans[1], "f") is None, "its tracks are not there"
    (space.folder / "t").touch()
    assert load_bridge(outputs, spans[0], spans[1], "f") == record
    assert load_bridge(outputs, spans[1], spans[2], "f") is None


def test_what_is_cleared_when(outputs: OutputPlan) -> None:
    spans = plan_spans(survey(3600, 60), 3, 3.0)
    space = Workspace.of(outputs)
    leave_span(outputs, spans[0], attempt=1)
    (space.folder / "span-0000.e0.0.mp4.0123abcd.part").touch()
    leave_span(outputs, spans[1])
    space.record("span-0001").unlink()
    leave_span(outputs, spans[2])
    space.record("span-0002").unlink()
    outputs.tracks.with_name(f"{outputs.tracks.name}.0123abcd.part").touch()
    remove_partials(outputs, "span-0001")
    left = sorted(path.name for path in space.folder.iterdir())
    assert "span-0001.e0.0.mp4" not in left
    assert "span-0002.e0.0.mp4" in left, "another lane may be at it"
    assert "span-0000.e0.0.mp4.0123abcd.part" in left
    remove_leftovers(outputs)
    left = sorted(path.name for path in space.folder.iterdir())
    assert left == ["span-0000.e1.0.mp4", "span-0000.e1.tracks.jsonl", "span-0000.json"]
    assert load_span(outputs, spans[0], "f") is not None
    assert list(outputs.folder.glob("*.part")) == []
    outputs.report.write_text("kept")
    remove_workspace(outputs)
    remove_workspace(outputs)
    assert [path.name for path in outputs.folder.iterdir()] == [outputs.report.name]
