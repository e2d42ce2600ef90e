"""One path through an overlap: where it begins and ends, what it keeps, what it does at cuts, what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.errors import ProtocolError
from dualface_ray.framing import PathPoint, Rect, blend, check_seam, shot_offset
from dualface_ray.identity import Box, PersonState, PersonTrack, TrackedFrame
from dualface_ray.settings import Settings

ST = Settings()
ASPECT = 960 / 1080
LEFT, RIGHT = (300.0, 200.0, 420.0, 350.0), (900.0, 210.0, 1020.0, 360.0)


def crop(x: float, y: float, h: float) -> Rect:
    return x, y, x + h * ASPECT, y + h


def seen(box: Box | None) -> PersonTrack:
    return PersonTrack(PersonState.ABSENT, None) if box is None else PersonTrack(PersonState.DETECTED, box, 0.9)


def points(
    count: int = 90, a: Box | None = LEFT, b: Box | None = RIGHT, shots: tuple[int, ...] = (), first: int = 500,
    crops: tuple[Rect, Rect] = (crop(100, 50, 500), crop(700, 60, 480)), base: int = 0, order: tuple[int, int] = (0, 1),
) -> list[PathPoint]:  # fmt: skip
    """A stretch of equal frames; ``shots``: where a new one begins."""
    return [
        PathPoint(
            TrackedFrame(first + k, 1000 * (first + k), base + sum(k >= s for s in shots), seen(a), seen(b)),
            crops,
            order,
        )
        for k in range(count)
    ]


def tiles(frame) -> list[Rect]:
    return [t.source_px for c in frame.plan.canvases for t in c.tiles]


def test_it_begins_on_the_one_path_and_ends_on_the_other() -> None:
    coda, overture = points(), points(crops=(crop(160, 80, 520), crop(640, 0, 600)))
    frames = blend(coda, overture, ST)
    assert [f.frame_index for f in frames] == list(range(500, 590))
    assert np.allclose(tiles(frames[0]), coda[0].crops, atol=0.2)
    assert np.allclose(tiles(frames[-1]), overture[-1].crops, atol=0.2)
    path = np.array([tiles(f) for f in frames])
    speed = np.abs(np.diff(path, axis=0)).max(axis=(1, 2))
    assert speed[0] < 0.1 * speed.max()
    assert speed[-1] < 0.1 * speed.max()
    assert speed.max() < 1.6 * np.abs(path[-1] - path[0]).max() / 90


def test_equal_paths_stay_as_they_are() -> None:
    frames = blend(points(), points(base=3), ST)
    assert all(tuple(tiles(f)) == points()[0].crops for f in frames)
    assert shot_offset(points(), points(base=3)) == -3


@given(
    st.lists(st.tuples(*[st.floats(0, 1)] * 6), min_size=2, max_size=2),
    st.integers(1, 120),
    st.integers(0, 119),
)
@settings(max_examples=60, deadline=None)
def test_crops_stay_in_the_picture_and_keep_faces_and_aspect(sides: list, count: int, cut: int) -> None:
    both = []
    for side in sides:
        crops = []
        for k, face in ((0, LEFT), (1, RIGHT)):
            h = 200 + 500 * side[3 * k]
            x = min(max(face[2] - h * ASPECT + side[3 * k + 1] * (h * ASPECT - 120), 0), 1280 - h * ASPECT)
            y = min(max(face[3] - h + side[3 * k + 2] * (h - 150), 0), 720 - h)
            crops.append(crop(x, y, h))
        both.append(points(count, crops=(crops[0], crops[1]), shots=(cut,) if cut < count else ()))
    frames = blend(*both, ST)
    for frame in frames:
        for (x0, y0, x1, y1), face in zip(tiles(frame), (LEFT, RIGHT), strict=True):
            assert -1e-9 <= x0 <= face[0] + 1e-9
            assert face[2] - 1e-9 <= x1 <= 1280 + 1e-9
            assert -1e-9 <= y0 <= face[1] + 1e-9
            assert face[3] - 1e-9 <= y1 <= 720 + 1e-9
            assert (x1 - x0) == pytest.approx((y1 - y0) * ASPECT)


@pytest.mark.parametrize("cut", [1, 20, 45, 89])
def test_at_a_cut_the_paths_change_places_at_once(cut: int) -> None:
    coda = points(shots=(cut,), base=4)
    overture = points(shots=(cut,), crops=(crop(200, 80, 520), crop(600, 0, 600)))
    frames = blend(coda, overture, ST)
    assert [f.tracked.shot for f in frames] == [4] * cut + [5] * (90 - cut)
    assert all(tuple(tiles(f)) == coda[0].crops for f in frames[:cut])
    assert all(tuple(tiles(f)) == overture[0].crops for f in frames[cut:])
    assert shot_offset(coda, overture) == 4


def test_a_cut_the_overture_cannot_know_still_counts() -> None:
    """A span's first frame begins no shot for it; near its end a coda cannot judge a candidate any more."""
    coda = points(shots=(1,), base=4)
    late = points(shots=(89,))
    frames = blend(coda, late, ST)
    assert [f.tracked.shot for f in frames] == [4, *[5] * 88, 6]
    assert shot_offset(coda, late) == 5


def test_boxes_are_the_better_of_both() -> None:
    doubt = [replace(p, tracked=replace(p.tracked, certain=False)) for p in points(a=(0.0, 0.0, 10.0, 10.0))]
    assert all(f.tracked.a.box_px == LEFT and f.tracked.certain for f in blend(doubt, points(), ST))
    assert all(f.tracked.a.box_px == LEFT and f.tracked.certain for f in blend(points(), doubt, ST))
    assert all(f.tracked.b.box_px == RIGHT for f in blend(points(), points(b=None), ST))
    moved = (310.0, 200.0, 430.0, 350.0)
    frames = blend(points(), points(a=moved), ST)
    assert [f.tracked.a.box_px for f in frames] == [LEFT] * 45 + [moved] * 45


def test_tiles_follow_positions_of_the_nearer_side() -> None:
    frames = blend(points(order=(1, 0)), points(), Settings(framing={"tile_by": "position"}))
    assert [t.person for t in frames[0].plan.canvases[0].tiles] == ["B", "A"]
    assert [t.person for t in frames[-1].plan.canvases[0].tiles] == ["A", "B"]
    two = blend(points(), points(), Settings(framing={"layout": "separate"}))
    assert [[t.person for t in c.tiles] for c in two[0].plan.canvases] == [["A"], ["B"]]


def test_who_is_who_is_decided_by_majority() -> None:
    same, crossed = points(), points(a=RIGHT, b=LEFT)
    assert check_seam(same, same) == ""
    why = check_seam(same, crossed)
    assert "A is not the same person on both sides of frame 500" in why
    assert "of 90 frames" in why
    assert "90 show the other person" in why
    mostly = same[:60] + crossed[60:]
    assert check_seam(same, mostly) == ""
    assert check_seam(same, same[:30] + crossed[30:])
    assert check_seam(same, points(a=(0.0, 500.0, 80.0, 600.0)))  # another face
    assert check_seam(points(b=None), points(a=None, b=LEFT))  # whom one calls A the other calls B


def test_what_only_one_side_sees_counts_when_it_lasts() -> None:
    same = points()
    assert "only one side sees A" in check_seam(same, points(a=None))
    assert check_seam(same, points(a=None)[:40] + same[40:]) == ""
    hidden = [replace(p, tracked=replace(p.tracked, a=PersonTrack(PersonState.PREDICTED, LEFT, 0.2))) for p in points()]
    assert check_seam(same, hidden) == ""
    assert check_seam(points(a=None, b=None), points(a=None, b=None)) == ""


def test_doubts_are_no_evidence() -> None:
    crossed = [replace(p, tracked=replace(p.tracked, certain=False)) for p in points(a=RIGHT, b=LEFT)]
    assert check_seam(points(), crossed) == ""


def test_two_parts_must_tell_of_the_same_frames() -> None:
    frames = blend(points(90), points(80, first=505), ST)  # only what both know
    assert [f.frame_index for f in frames] == list(range(505, 585))
    with pytest.raises(ProtocolError, match="do not meet"):
        blend(points(90), points(90, first=590), ST)
    with pytest.raises(ProtocolError, match="do not meet"):
        check_seam(points(30) + points(30, first=560), points(90))
    late = [replace(p, tracked=replace(p.tracked, pts_ticks=p.tracked.pts_ticks + 1)) for p in points()]
    with pytest.raises(ProtocolError, match="different times"):
        check_seam(points(), late)


def test_one_frame_is_enough() -> None:
    (frame,) = blend(points(1), points(1, crops=(crop(160, 80, 520), crop(640, 0, 600))), ST)
    assert all(a <= b for a, b in itertools.pairwise(tiles(frame)[0][::2]))
