"""Units of a job: when a video is cut, what becomes ready after what, what an earlier run has left."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest

from actors.backlog.cost import frame_cost
from actors.backlog.cutting import pieces_for
from actors.backlog.pieces import DiskPieces
from actors.backlog.unit import Unit
from actors.backlog.units import Units
from actors.messages import Work
from dualface_ray.errors import ActorError, DiskFullError
from dualface_ray.media import Span, VideoNeeds, Workspace, plan_outputs
from dualface_ray.report import Survey, VideoTask
from dualface_ray.settings import resolve

SETTINGS = resolve()
RATE = 30


@dataclass
class Found:
    frames: int
    refusal: str = ""


@dataclass
class Disk:
    """Pieces in memory."""

    found: Found | None = None
    kept: tuple[Span, ...] | None = None
    spans: set[int] = field(default_factory=set)
    bridges: set[int] = field(default_factory=set)
    result: bool = False
    quarrel: str = ""
    asked: list[int] = field(default_factory=list)

    def survey(self, task: VideoTask) -> Found | None:
        return self.found

    def plan(self, task: VideoTask) -> tuple[Span, ...] | None:
        return self.kept

    def cut(self, task: VideoTask, pieces: int, overlap_s: float) -> tuple[Span, ...]:
        self.asked.append(pieces)
        assert self.found is not None
        self.kept = cut(self.found.frames, pieces)
        return self.kept

    def has_span(self, task: VideoTask, span: Span) -> bool:
        return span.number in self.spans

    def has_bridge(self, task: VideoTask, before: Span, after: Span) -> bool:
        return before.number in self.bridges

    def has_result(self, task: VideoTask) -> bool:
        return self.result

    def disagreement(self, task: VideoTask, before: Span, after: Span) -> str:
        return self.quarrel


def cut(frames: int, count: int, overlap: int = 90) -> tuple[Span, ...]:
    starts = [frames * k // count for k in range(count)]
    spans = []
    for k, first in enumerate(starts):
        seam = starts[k + 1] if k + 1 < count else frames
        end = seam + overlap if k + 1 < count else frames
        spans.append(Span(k, count, first, first, first + overlap if k else first, seam, end))
    return tuple(spans)


def task(index: int, seconds: float, ring_bytes: int = 100) -> VideoTask:
    name = f"v{index}"
    outputs = plan_outputs([Path(f"{name}.mov")], Path("out"), layout="side_by_side", container="mp4")[0]
    return VideoTask(
        index,
        Path(f"{name}.mov"),
        outputs,
        "f",
        frames_estimate=round(seconds * RATE),
        duration_s=seconds,
        ring_bytes=ring_bytes,
    )


def names(units: list[Unit]) -> list[str]:
    return [unit.unit_id for unit in units]


def begun(units: Units, slots: int) -> list[Unit]:
    """Release, and let lanes take all."""
    ready = units.release(slots)
    for unit in ready:
        units.taken(unit.unit_id)
    return ready


@pytest.mark.parametrize(
    ("seconds", "others", "slots", "pieces"),
    [
        (1380, 0, 2, 4),  # 23 minutes on two lanes: whole rounds of parts below ten minutes
        (1380, 0, 16, 16),
        (1380, 0, 64, 23),  # no part is shorter than a minute
        (1380, 1e6, 16, 3),  # plenty of other work: only so that a death costs little
        (300, 1e6, 16, 1),
        (300, 300, 4, 2),  # its fair share of the lanes
        (100, 0, 16, 1),
        (0, 0, 16, 1),
        (1380, 0, 1, 3),
    ],
)
def test_number_of_pieces(seconds, others, slots, pieces):
    """Of a video of 1080p among others; costs are seconds then."""
    share = seconds / (seconds + others) if seconds else 0.0
    assert pieces_for(seconds, share, slots, SETTINGS) == pieces


def test_a_frame_costs_what_it_takes_at_its_size():
    sizes = ((1280, 720), (1920, 1080), (3840, 2160))
    costs = [frame_cost(width * height, SETTINGS) for width, height in sizes]
    assert costs[1] == pytest.approx(1 / 30), "a second of the reference costs one"
    assert costs == pytest.approx([ms / 31 / 30 for ms in (26, 31, 58)])
    assert frame_cost(0, SETTINGS) == costs[1], "a size that is not known"
    small = resolve(width_px=640, height_px=360)
    assert frame_cost(3840 * 2160, small) / frame_cost(1280 * 720, small) == pytest.approx(43 / 10.9, rel=0.01)
    one_each = resolve(layout="separate")
    assert frame_cost(0, one_each) == pytest.approx(costs[1]), "two canvases, each of half the size"


def sized(index: int, seconds: float, rate: int, width: int, height: int) -> VideoTask:
    return replace(task(index, seconds), frames_estimate=round(seconds * rate), picture_px=width * height)


def test_videos_are_compared_by_work_and_cut_by_length():
    """A second of 2160p60 is 5.4 times as much work as one of 720p25."""
    tasks = [sized(1, 600, 25, 1280, 720), sized(2, 590, 60, 3840, 2160)]
    units = Units(tasks, SETTINGS, Disk())
    assert units.held == pytest.approx(600 * 25 / 30 * 26 / 31 + 590 * 60 / 30 * 58 / 31)
    assert [unit.video for unit in units.release(1)] == ["v00002"], "more work, though it is shorter"
    disk = Disk(Found(60 * 590))
    units = Units(tasks, SETTINGS, disk)
    large = [unit for unit in units.release(8) if unit.video == "v00002"]
    assert disk.asked == [7], "of 8; by seconds it would be 4"
    assert sum(unit.cost for unit in large) == pytest.approx((60 * 590 + 6 * 90) * 58 / 31 / 30)


def test_a_video_that_says_nothing_of_itself_is_a_minute_of_the_reference():
    nothing = replace(task(1, 30), frames_estimate=0, duration_s=0.0)
    (unit,) = Units([nothing], SETTINGS, Disk()).release(4)
    assert unit.cost == pytest.approx(60)
    (unit,) = Units([replace(nothing, frames_estimate=300)], SETTINGS, Disk()).release(4)
    assert unit.cost == pytest.approx(10)


def test_short_videos_are_one_unit_each():
    units = Units([task(1, 30), task(2, 119)], SETTINGS, Disk())
    ready = units.release(0)
    assert [(u.unit_id, u.work) for u in ready] == [("v00001", Work.WHOLE), ("v00002", Work.WHOLE)]
    assert [u.cost for u in ready] == pytest.approx([30, 119])
    assert units.release(4) == []
    assert units.waiting == 2
    assert units.done("v00001", 4).complete
    assert "v00001" not in units


def test_a_long_video_goes_through_survey_spans_bridges_and_join():
    disk = Disk()
    units = Units([task(1, 300)], SETTINGS, disk)
    (survey,) = begun(units, 3)
    assert (survey.unit_id, survey.work, survey.small) == ("v00001-survey", Work.SURVEY, True)
    disk.found = Found(9000)
    step = units.done("v00001-survey", 3)
    assert disk.asked == [3]
    assert names(step.ready) == ["v00001-s000", "v00001-s001", "v00001-s002"]
    assert step.ready[0].cost == pytest.approx(103)
    assert not step.ready[0].small

    assert units.progress("v00001-s000", 1545, 3090) == (round(9000 * 1545 / (9000 + 4 * 90)), 9000)
    assert units.done("v00001-s000", 3).ready == []
    assert units.done("v00001-s002", 3).ready == []
    step = units.done("v00001-s001", 3)
    assert [(u.unit_id, u.work, [s.number for s in u.spans]) for u in step.ready] == [
        ("v00001-b000", Work.BRIDGE, [0, 1]),
        ("v00001-b001", Work.BRIDGE, [1, 2]),
    ]
    assert units.done("v00001-b001", 3).ready == []
    (join,) = units.done("v00001-b000", 3).ready
    assert (join.unit_id, join.work, len(join.spans)) == ("v00001-join", Work.JOIN, 3)
    assert units.progress("v00001-join", 0, 0) == (9000, 9000)
    assert units.done("v00001-join", 3).complete


def test_what_an_earlier_run_finished_is_not_done_again():
    disk = Disk(Found(9000), cut(9000, 3), spans={0, 1}, bridges={0})
    units = Units([task(1, 300)], SETTINGS, disk)
    assert names(begun(units, 16)) == ["v00001-s002"]
    assert disk.asked == [], "cut as before, whatever the lanes are now"
    assert units.progress("v00001-s002", 0, 3000)[0] > 5500
    assert names(units.done("v00001-s002", 16).ready) == ["v00001-b001"]
    assert names(units.done("v00001-b001", 16).ready) == ["v00001-join"]


@pytest.mark.parametrize(("lookahead_s", "shared_s"), [(1.0, 3), (4.0, 6)])
def test_neighbours_share_a_warm_up_and_the_look_ahead(tmp_path, lookahead_s, shared_s):
    one = task(1, 300)
    one = replace(one, outputs=plan_outputs([tmp_path / "v1.mov"], tmp_path, "side_by_side", "mp4")[0])
    units = Units([one], resolve(lookahead_s=lookahead_s), DiskPieces())
    begun(units, 3)
    keys = tuple(range(0, 9000, 60))
    space = Workspace.of(one.outputs)
    space.folder.mkdir()
    Survey(fingerprint="f", frames=9000, rate=Fraction(RATE), key_frames=keys, key_pts_ticks=keys).save(
        space.record("survey")
    )
    ready = units.done("v00001-survey", 3).ready
    assert [span.first_frame for unit in ready for span in unit.spans] == [0, 3000, 6000]
    assert [unit.spans[0].end_frame - unit.spans[0].seam_frame for unit in ready] == [shared_s * RATE] * 2 + [0]


def test_everything_but_the_joining_was_done():
    disk = Disk(Found(9000), cut(9000, 3), spans={0, 1, 2}, bridges={0, 1})
    assert names(begun(Units([task(1, 300)], SETTINGS, disk), 4)) == ["v00001-join"]


def test_a_survey_that_says_no_means_whole_with_a_note():
    disk = Disk()
    units = Units([task(1, 300)], SETTINGS, disk)
    begun(units, 3)
    disk.found = Found(9000, refusal="its time stamps are broken")
    (whole,) = units.done("v00001-survey", 3).ready
    assert (whole.unit_id, whole.work) == ("v00001", Work.WHOLE)
    assert whole.notes == ("done in one piece: its time stamps are broken",)


def test_spans_that_disagree_mean_whole_and_the_others_are_dropped():
    disk = Disk()
    units = Units([task(1, 300)], SETTINGS, disk)
    begun(units, 3)
    disk.found = Found(9000)
    units.done("v00001-survey", 3)
    units.done("v00001-s000", 3)
    disk.quarrel = "A is not the same person on both sides of frame 3000"
    step = units.done("v00001-s001", 3)
    assert step.dropped == ["v00001-s002"]
    assert names(step.ready) == ["v00001"]
    assert disk.quarrel in step.ready[0].notes[0]
    assert "v00001-s002" not in units


def test_parts_of_an_earlier_run_that_disagree_mean_whole_and_nothing_else_is_ready():
    disk = Disk(Found(9000), cut(9000, 3), spans={0, 1}, quarrel="A is not the same person")
    units = Units([task(1, 300)], SETTINGS, disk)
    assert names(units.release(3)) == ["v00001"]
    assert units.waiting == 1
    disk = Disk()
    units = Units([task(1, 300)], SETTINGS, disk)
    begun(units, 3)
    disk.found, disk.kept, disk.spans, disk.quarrel = Found(9000), cut(9000, 3), {0, 1}, "A is not the same person"
    step = units.done("v00001-survey", 3)
    assert (names(step.ready), step.dropped) == (["v00001"], [])


def test_a_seam_of_an_earlier_run_that_agrees_gets_no_bridge_when_another_does_not():
    class Torn(Disk):
        def disagreement(self, task: VideoTask, before: Span, after: Span) -> str:
            return "A is not the same person" if before.number else ""

    disk = Torn(Found(9000), cut(9000, 3), spans={0, 1, 2})
    units = Units([task(1, 300)], SETTINGS, disk)
    assert names(units.release(3)) == ["v00001"]
    assert units.waiting == 1
    assert "v00001-b000" not in units


def test_a_part_that_fails_by_itself_means_whole_but_a_full_disk_does_not():
    disk = Disk(Found(9000))
    units = Units([task(1, 300)], SETTINGS, disk)
    begun(units, 3)
    assert units.instead("v00001-s000", DiskFullError("full")) is None
    step = units.instead("v00001-s000", ActorError("2 frames are missing"))
    assert step is not None
    assert sorted(step.dropped) == ["v00001-s000", "v00001-s001", "v00001-s002"]
    assert names(step.ready) == ["v00001"]
    assert units.instead("v00001", ActorError("again")) is None, "whole was the last resort"


def test_what_a_lane_finished_before_it_could_say_so_counts():
    disk = Disk()
    units = Units([task(1, 300)], SETTINGS, disk)
    begun(units, 3)
    assert not units.is_complete("v00001-survey")
    disk.found = Found(9000)
    assert units.is_complete("v00001-survey")
    units.done("v00001-survey", 3)
    assert not units.is_complete("v00001-s001")
    disk.spans = {0, 1, 2}
    assert units.is_complete("v00001-s001")
    for number in range(3):
        units.done(f"v00001-s{number:03d}", 3)
    assert not units.is_complete("v00001-b000")
    disk.bridges = {0, 1}
    assert units.is_complete("v00001-b000")
    units.done("v00001-b000", 3)
    units.done("v00001-b001", 3)
    assert not units.is_complete("v00001-join")
    disk.result = True
    assert units.is_complete("v00001-join")


def test_few_long_videos_are_half_done_at_a_time():
    units = Units([task(k, 1000 + k) for k in range(10)], SETTINGS, Disk())
    assert names(units.release(3)) == ["v00009-survey", "v00008-survey", "v00007-survey"], "the longest first"
    assert units.release(3) == []
    units.taken("v00009-survey")
    assert names(units.release(3)) == ["v00006-survey"]
    units.returned("v00009-survey")
    assert units.release(3) == []


def test_lanes_that_encode_differently_do_long_videos_whole():
    units = Units([task(1, 1000), task(2, 30)], SETTINGS, Disk())
    assert names(units.release(4, may_cut=False)) == ["v00002", "v00001"]


def test_plans_count_what_a_long_video_may_become():
    units = Units([task(1, 600, 7), task(2, 10, 5)], SETTINGS, Disk())
    assert sorted(units.rings()) == [5] + [7] * 10
    units.release(1)
    assert units.rings() == [7, 5], "one unit is enough for one place"
    units.taken("v00001")
    assert units.rings() == [7], "one waits, but the large one may come back"


def test_a_lane_has_to_be_ready_for_every_orientation_not_only_that_of_the_largest():
    """4K landscape runs, portrait waits: the largest frames are no picture of what comes."""
    large, tall = VideoNeeds(9000, 9000), VideoNeeds(100, 100, portrait=True)
    tasks = [replace(task(1, 10), ring_bytes=large), replace(task(2, 10), ring_bytes=tall)]
    units = Units(tasks, SETTINGS, Disk())
    assert units.orientations() == ("landscape", "portrait")
    units.release(2)
    units.taken("v00001")
    assert units.rings() == [large]
    assert units.orientations() == ("landscape", "portrait")
    units.done("v00001", 2)
    assert units.orientations() == ("portrait",)
    late = Units([replace(task(1, 600), ring_bytes=tall)], SETTINGS, Disk())
    assert late.orientations() == ("portrait",), "a long one that nobody has looked at counts as well"


def test_a_video_that_is_given_up_leaves_no_unit():
    disk = Disk(Found(9000))
    units = Units([task(1, 300)], SETTINGS, disk)
    ready = names(begun(units, 3))
    assert sorted(units.give_up("v00001")) == sorted(ready)
    assert units.waiting == 0
