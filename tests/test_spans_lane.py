"""A video done in parts by one lane's services, against the same video done whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from in_process import InProcessLane, job_for
from media_maker import Clip

from actors.messages import SegmentJob, StreamStatus, Work
from dualface_ray.errors import Cancelled, SeamError
from dualface_ray.media import Span, Workspace, plan_spans, remove_leftovers, span_piece
from dualface_ray.report import SpanRecord, Survey, VideoState, load_span, load_survey, read_report, read_tracks
from dualface_ray.settings import Settings, resolve

pytestmark = pytest.mark.usefixtures("models")

SMALL = resolve(preset="ultrafast", width_px=640, height_px=360)


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s in which one person walks past the other, from 4.4 s on, and back."""
    from dualface_ray.demo import make_demo

    path = tmp_path_factory.mktemp("clips") / "crossing.mp4"
    make_demo(path, scene="crossing_lr", seconds=20, width_px=480, height_px=270, rate=Fraction(30))
    return path


@dataclass
class Cut:
    """A lane, a video done whole, and the same one done in parts up to its joining."""

    lane: InProcessLane
    source: Path
    whole: SegmentJob
    job: SegmentJob
    spans: tuple[Span, ...]

    def part(self, work: Work, *spans: Span, epoch: int = 0) -> SegmentJob:
        number = f"{spans[0].number:03d}" if spans else ""
        name = f"v0-{work.value[0]}{number}"
        return replace(self.job, stream_id=name, work=work, spans=spans, epoch=epoch)

    def run(self, work: Work, *spans: Span, epoch: int = 0) -> StreamStatus:
        return self.lane.run(self.part(work, *spans, epoch=epoch), 300)

    @property
    def space(self) -> Workspace:
        return Workspace.of(self.job.outputs)


@pytest.fixture(scope="module")
def cut(crossing: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    """The first seam lies where one person hides the other."""
    settings, out = SMALL, tmp_path_factory.mktemp("out")
    whole, job = (job_for(crossing, out / name, settings) for name in ("whole", "cut"))
    with InProcessLane(settings) as lane:
        assert lane.run(replace(whole, stream_id="whole"), 300).error is None
        made = Cut(lane, crossing, whole, job, ())
        assert made.run(Work.SURVEY).error is None
        survey = load_survey(job.outputs, job.fingerprint)
        assert survey is not None
        assert survey.refusal == ""
        made.spans = plan_spans(survey, 3, 1.5)
        assert [span.first_frame for span in made.spans] == [0, 180, 420]
        for span in reversed(made.spans):  # in any order
            status = made.run(Work.SPAN, span)
            assert status.error is None
            assert status.frames_done == status.frames_total == span.frames
        for before, after in pairwise(made.spans):
            status = made.run(Work.BRIDGE, before, after)
            assert status.error is None
            assert status.frames_done == before.end_frame - before.seam_frame
        yield made


def contents(space: Workspace, piece: str) -> dict[str, str]:
    """Digest of every file of a piece, without the attempt's number in the name; the record's numbers vary."""
    return {
        path.name.split(".e")[1][1:]: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(space.folder.glob(f"{piece}.e*"))
    }


def packets(path: Path, kind: str) -> list[tuple[int | None, bytes]]:
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts, bytes(packet)) for packet in container.demux(stream) if packet.size]


def test_a_span_done_again_is_the_same(cut: Cut) -> None:
    span = cut.spans[1]
    piece = span_piece(1)
    before = contents(cut.space, piece)
    record = load_span(cut.job.outputs, span, cut.job.fingerprint)
    assert record is not None
    cut.space.record(piece).unlink()
    remove_leftovers(cut.job.outputs)
    assert contents(cut.space, piece) == {}
    assert load_span(cut.job.outputs, cut.spans[0], cut.job.fingerprint) is not None, "the others are kept"
    assert cut.run(Work.SPAN, span, epoch=1).error is None
    assert contents(cut.space, piece) == before
    again = load_span(cut.job.outputs, span, cut.job.fingerprint)
    assert again is not None
    assert again.attempts == 2
    assert (again.coda, again.overture, again.events) == (record.coda, record.overture, record.events)


def test_a_cancelled_span_leaves_only_the_others(cut: Cut) -> None:
    before = sorted(path.name for path in cut.space.folder.iterdir())
    job = cut.part(Work.SPAN, replace(cut.spans[0], number=7), epoch=2)
    cut.lane.start(job)
    while not any(s.key == job.key and s.frames_done > 3 for s in cut.lane.encoder.status().streams):
        assert not any(s.key == job.key and s.state.final for s in cut.lane.encoder.status().streams)
    worker = cut.lane.encoder._workers[job.key]
    cut.lane.encoder.forget(job.key)
    worker.thread.join(60)
    assert isinstance(worker.session.status().error, Cancelled)
    assert sorted(path.name for path in cut.space.folder.iterdir()) == before


def test_neighbours_that_disagree_are_not_bridged(cut: Cut, tmp_path: Path) -> None:
    other = Cut(cut.lane, cut.source, cut.whole, job_for(cut.source, tmp_path, SMALL), cut.spans)
    load = cut.space.folder
    other.space.folder.mkdir(parents=True)
    for path in load.iterdir():
        (other.space.folder / path.name).write_bytes(path.read_bytes())
    record = load_span(cut.job.outputs, cut.spans[2], cut.job.fingerprint)
    assert record is not None
    swapped = tuple(
        replace(point, tracked=replace(point.tracked, a=point.tracked.b, b=point.tracked.a))
        for point in record.overture
    )
    record.model_copy(update={"overture": swapped}).save(other.space.record(span_piece(2)))
    status = other.run(Work.BRIDGE, *cut.spans[1:], epoch=1)
    assert isinstance(status.error, SeamError)
    assert status.error.code == "seam"
    assert "not the same person" in str(status.error)
    record.model_copy(update={"extradata_sha256": ("another",)}).save(other.space.record(span_piece(2)))
    status = other.run(Work.BRIDGE, *cut.spans[1:], epoch=2)
    assert isinstance(status.error, SeamError)
    assert "different encoders" in str(status.error)
    status = other.run(Work.JOIN, *cut.spans, epoch=3)
    assert isinstance(status.error, SeamError)
    other.space.record(span_piece(2)).unlink()
    status = other.run(Work.JOIN, *cut.spans, epoch=4)
    assert isinstance(status.error, SeamError)
    assert not any(path.exists() for path in other.job.outputs.files), "nothing half done bears a final name"


def test_in_parts_is_as_good_as_whole(cut: Cut) -> None:
    """Last: joining clears the work folder."""
    status = cut.run(Work.JOIN, *cut.spans)
    assert status.error is None
    assert sorted(p.name for p in cut.job.outputs.folder.iterdir()) == sorted(p.name for p in cut.job.outputs.files)
    (whole,), (joined,) = cut.whole.outputs.videos, cut.job.outputs.videos
    pictures = packets(joined, "video")
    assert [pts for pts, _ in pictures] == [pts for pts, _ in packets(whole, "video")]
    assert packets(joined, "audio") == packets(whole, "audio")
    with av.open(str(joined)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(pictures) == 600
    a, b = read_tracks(cut.whole.outputs.tracks), read_tracks(cut.job.outputs.tracks)
    assert (a.pts_ticks == b.pts_ticks).all()
    assert (a.time_s == b.time_s).all()
    assert (a.shot == b.shot).all()
    assert_same_people(a.boxes_px, b.boxes_px)
    steps = np.abs(np.diff(b.crops_px, axis=0)).max(axis=2)
    usual = np.abs(np.diff(a.crops_px, axis=0)).max()
    for before, _ in pairwise(cut.spans):
        assert steps[before.seam_frame - 1 : before.end_frame].max() <= 1.05 * usual + 0.5, "the camera does not jump"
    report, other = read_report(cut.job.outputs.report), read_report(cut.whole.outputs.report)
    assert report.state is VideoState.DONE
    assert report.fingerprint == other.fingerprint
    assert (report.spans, other.spans) == (3, 1)
    assert (report.frames.frames_in, report.frames.frames_out) == (600, 600)
    assert report.frames.repairs == other.frames.repairs
    assert report.sound == other.sound
    assert report.latency_s["total"].count == 600
    assert report.inference_s["detect"] > 0
    assert [(e.frame, e.kind, e.person) for e in report.events] == [(e.frame, e.kind, e.person) for e in other.events]
    assert report.degradations == other.degradations
    assert report.models == other.models
    assert report.encoder == other.encoder == "libx264, 1 thread"


def assert_same_people(a: np.ndarray, b: np.ndarray) -> None:
    """The same letters in all frames: each box is nearer to its own one than to the other person's."""
    centre_a, centre_b = (0.5 * (x[:, :, :2] + x[:, :, 2:]) for x in (a, b))
    width = a[:, :, 2] - a[:, :, 0]
    apart = np.linalg.norm(centre_a - centre_b, axis=2) / width
    assert (np.isnan(a[..., 0]) == np.isnan(b[..., 0])).mean() > 0.98
    assert np.nanmax(apart) < 0.5


@pytest.mark.parametrize(
    ("settings", "reason"), [(resolve(), "seen often enough"), (Settings(timing={"mode": "cfr"}), "constant")]
)
def test_a_survey_that_says_no_is_no_failure(settings: Settings, reason: str, tmp_path: Path) -> None:
    source = Clip(100, width_px=320, height_px=180, gop=12, b_frames=2).write(tmp_path / "nobody.mp4")
    job = replace(job_for(source, tmp_path / "out", settings), work=Work.SURVEY)
    with InProcessLane(settings) as lane:
        status = lane.run(job)
    assert (status.state, status.error) == (VideoState.DONE, None)
    survey = load_survey(job.outputs, job.fingerprint)
    assert isinstance(survey, Survey)
    assert reason in survey.refusal
    assert survey.cast is None


def test_a_span_of_a_file_that_has_changed_is_not_taken(cut: Cut, tmp_path: Path) -> None:
    """Another file under the same name: the key frame is not there, and nothing stays."""
    source = Clip(300, gop=300, width_px=320, height_px=180).write(tmp_path / cut.source.name)
    job = replace(cut.part(Work.SPAN, replace(cut.spans[1], number=8), epoch=5), source=source)
    status = cut.lane.run(job)
    assert isinstance(status.error, SeamError)
    assert not list(cut.space.folder.glob("span-0008*"))


def test_records_are_plain_json(cut: Cut) -> None:
    record = SpanRecord(
        fingerprint="f", piece="p", first_frame=0, frames=1, segments=(), sizes_bytes=(), tracks="", specs=(),
        extradata_sha256=(), span=cut.spans[0],
    )  # fmt: skip
    assert SpanRecord.model_validate_json(record.model_dump_json()) == record
