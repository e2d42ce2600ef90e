"""The camera path: calm, in time, inside the frame; layouts and tile rules."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Result, World, drive, keys, still

from dualface_ray.framing import layout_shape
from dualface_ray.framing.aims import Aim, CameraShape
from dualface_ray.framing.camera import Camera
from dualface_ray.framing.smooth import smooth
from dualface_ray.framing.string import taut_string
from dualface_ray.settings import Settings

P, Q = still(400, 300, 160, 0.15), still(900, 320, 170, 0.15, phase=1)


def path(result: Result, letter: str) -> np.ndarray:
    """Centre x, centre y and height of a person's crop in every frame."""
    rects = [next(t.source_px for c in f.plan.canvases for t in c.tiles if t.person == letter) for f in result.frames]
    r = np.array(rects)
    return np.stack([(r[:, 0] + r[:, 2]) / 2, (r[:, 1] + r[:, 3]) / 2, r[:, 3] - r[:, 1]], 1)


# --- string ---
walls = st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 40)), min_size=1, max_size=40)


@given(walls, st.floats(-50, 50))
@settings(max_examples=100, deadline=None)
def test_string_stays_in_a_tube_it_can_reach(tube: list[tuple[float, float]], start: float) -> None:
    times = [0.1 * (k + 1) for k in range(len(tube))]
    low, high = [a for a, _ in tube], [a + w for a, w in tube]
    string = taut_string(start, 0.0, times, low, high, 1e9)
    assert all(lo - 1e-5 <= x <= hi + 1e-5 for lo, x, hi in zip(low, string, high, strict=True))
    # No path through the tube is shorter: the greedy one that always stays nearest to where it is.
    lazy, at, way = [], start, 0.0
    for lo, hi in zip(low, high, strict=True):
        at = min(max(at, lo), hi)
        lazy.append(at)
    for one, two in zip([start, *lazy], lazy, strict=False):
        way += math.hypot(0.1, two - one)
    length = sum(math.hypot(0.1, two - one) for one, two in zip([start, *string], string, strict=False))
    assert length <= way + 1e-6


@given(walls, st.floats(1, 200))
@settings(max_examples=60, deadline=None)
def test_string_keeps_its_first_slopes_within_the_speed(tube: list[tuple[float, float]], speed: float) -> None:
    times = [0.1 * (k + 1) for k in range(len(tube))]
    string = taut_string(0.0, 0.0, times, [a for a, _ in tube], [a + w for a, w in tube], speed)
    steps = np.diff([0.0, *string]) / 0.1
    assert np.abs(steps).max() <= speed * (1 + 1e-6) + 1e-6


def test_string_holds_still_in_the_dead_zone_and_pans_evenly() -> None:
    times = [k / 30 for k in range(1, 31)]
    wobble = [5 * math.sin(k) for k in range(30)]
    assert taut_string(1.0, 0.0, times, [w - 10 for w in wobble], [w + 10 for w in wobble], 1e9) == [1.0] * 30
    walk = [4.0 * k + (k % 3) for k in range(30)]
    steps = np.diff(taut_string(0.0, 0.0, times, [w - 10 for w in walk], [w + 10 for w in walk], 1e9))
    assert np.ptp(steps[2:20]) < 1.0


# --- smoother ---
@pytest.mark.parametrize("even", [True, False])
def test_smoother_follows_lines_exactly_at_any_frame_spacing(even: bool) -> None:
    rng = np.random.default_rng(0)
    steps = np.full(40, 1 / 30) if even else rng.choice([1 / 60, 1 / 30, 1 / 15], 40)
    times = np.cumsum(steps)
    line = np.stack([3.0 * times + 1, np.full(40, 7.0)], 1)
    out = smooth(times[:3].tolist(), line[:3], times[3:].tolist(), line[3:], 0.1)
    assert np.abs(out[:, 1] - 7).max() < 1e-8
    assert np.abs(out[:20, 0] - line[3:23, 0]).max() < 0.02  # the free end pulls a little


def test_smoother_does_not_ring_and_goes_on_smoothly() -> None:
    times = np.arange(63) / 30
    step = np.where(times < 1.0, 0.0, 100.0)[:, None]
    out = smooth(times[:3].tolist(), step[:3], times[3:].tolist(), step[3:], 0.16)[:, 0]
    assert out.min() > -0.5
    assert out.max() < 100.5
    assert abs(np.diff([0.0, 0.0, *out], 2)[:2]).max() < 0.5
    assert out[26] == pytest.approx(50, abs=10)  # it moves before and after the step alike


# --- calm ---
def test_plain_conversation_hardly_moves_the_camera() -> None:
    result = drive(World({"P": P, "Q": Q}, seconds=20, noise=0.02))
    for letter in "AB":
        moves = path(result, letter)
        assert np.percentile(np.abs(np.diff(moves, 2, axis=0)), 95) <= 0.1  # px per frame squared; the target is 0.5
        assert np.ptp(moves[:, 2]) < 0.02 * moves[0, 2]  # the zoom of a shot is constant


def test_walk_is_one_eased_pan_that_starts_in_time() -> None:
    walker = keys((0, 300, 300, 120), (3, 300, 300, 120), (6, 700, 300, 120), (10, 700, 300, 120))
    result = drive(World({"P": walker, "Q": still(1100, 300, 130, 0.1)}))
    x = path(result, "A")[:, 0]
    speed = np.diff(x)
    assert speed.min() > -0.05  # never backwards
    assert np.abs(np.diff(speed)).max() < 1.0
    assert result.inside("A", "P") == 1.0
    limit = Settings().framing.max_speed_share * path(result, "A")[0, 2] / 30
    assert speed.max() <= 1.02 * limit


def test_cut_of_the_picture_cuts_the_crop_exactly_there() -> None:
    moved = lambda t: (400, 300, 160) if t < 4 else (850, 250, 220)  # noqa: E731
    other = lambda t: (900, 320, 170) if t < 4 else (350, 300, 230)  # noqa: E731
    result = drive(World({"P": moved, "Q": other}, cuts=(4,), seconds=8))
    for letter in "AB":
        x = path(result, letter)[:, 0]
        jumps = np.abs(np.diff(x))
        assert int(np.argmax(jumps)) == 119
        assert np.delete(jumps, 119).max() < 1.0


def test_slow_approach_keeps_the_zoom_steady_and_the_face_in_range() -> None:
    nearer = keys((0, 400, 330, 90), (8, 400, 330, 260))
    result = drive(World({"P": nearer, "Q": Q}, seconds=8))
    heights = path(result, "A")[:, 2]
    assert np.abs(np.diff(np.log(heights), 2)).max() < 0.01
    shares = [260 / heights[-1], 90 / heights[0]]
    assert max(shares) < Settings().framing.face_height_share * Settings().framing.zoom_range * 1.15
    assert result.inside("A", "P") == 1.0


def test_absent_person_hold_then_wide_then_back_in_time() -> None:
    out = keys((0, 300, 300, 110), (3, 300, 300, 110), (4, -80, 300, 110))
    back = keys((9, -80, 300, 110), (10, 300, 300, 110), (13, 300, 300, 110))
    result = drive(World({"P": lambda t: out(t) or back(t), "Q": Q}, seconds=13))
    height = path(result, "A")[:, 2]
    assert height[140] == pytest.approx(height[60], rel=0.05)  # holds
    assert height[235] == pytest.approx(720, rel=0.01)  # wide: all of the frame's height
    assert np.abs(np.diff(height[130:235])).max() < 25  # eased
    assert result.inside("A", "P") > 0.995


@pytest.mark.parametrize("empty", ["wide", "other"])
def test_tile_of_somebody_who_never_comes(empty: str) -> None:
    result = drive(World({"P": P}, seconds=4), Settings(framing={"empty_tile": empty}))
    tiles = {t.person: t.source_px for t in result.frames[60].plan.canvases[0].tiles}
    assert (tiles["B"] == tiles["A"]) == (empty == "other")
    assert empty == "other" or tiles["B"][3] - tiles["B"][1] == pytest.approx(720)


def test_nobody_at_all_is_two_still_wide_shots() -> None:
    result = drive(World({}, seconds=3))
    assert len({f.plan.canvases[0].tiles[0].source_px for f in result.frames}) == 1


# --- layouts ---
@pytest.mark.parametrize(
    ("layout", "canvases", "tile"),
    [
        ("side_by_side", ((1920, 1080),), (960, 1080)),
        ("stacked", ((1080, 1920),), (1080, 960)),
        ("separate", ((960, 1080), (960, 1080)), (960, 1080)),
    ],
)
def test_layouts(layout: str, canvases: tuple, tile: tuple[int, int]) -> None:
    shape = layout_shape(Settings(framing={"layout": layout}))
    assert shape.canvases == canvases
    assert [(t.width_px, t.height_px) for t in shape.tiles] == [tile, tile]
    own = layout_shape(Settings(framing={"layout": layout, "width_px": 804, "height_px": 404}))
    assert all(v % 2 == 0 for t in own.tiles for v in (t.x_px, t.y_px, t.width_px, t.height_px))
    result = drive(World({"P": P, "Q": Q}, seconds=2), Settings(framing={"layout": layout}))
    assert result.inside("A", "P") == result.inside("B", "Q") == 1.0


def test_tiles_follow_the_side_when_asked() -> None:
    a = keys((0, 300, 300, 150), (3, 300, 300, 150), (5, 950, 300, 150), (9, 950, 300, 150))
    b = keys((0, 900, 300, 160), (3, 900, 300, 160), (5, 300, 300, 160), (9, 300, 300, 160))
    result = drive(World({"P": a, "Q": b}, seconds=9), Settings(framing={"tile_by": "position"}))
    order = ["".join(t.person for t in f.plan.canvases[0].tiles) for f in result.frames]
    assert order[0] == "AB"
    assert order[-1] == "BA"
    assert sum(one != two for one, two in itertools.pairwise(order)) == 1


@pytest.mark.parametrize("size", [(320, 240), (64, 48), (240, 426)])
def test_small_sources_are_enlarged_no_more_than_needed(size: tuple[int, int]) -> None:
    k = size[0] / 1280
    world = World(
        {"P": still(400 * k, size[1] / 2, 100 * k), "Q": still(900 * k, size[1] / 2, 100 * k)},
        width=size[0],
        height=size[1],
        seconds=2,
    )
    shape = CameraShape.of(*map(float, size), 960, 1080, 4.0)
    for frame in drive(world).frames:
        for tile in frame.plan.canvases[0].tiles:
            height = tile.source_px[3] - tile.source_px[1]
            assert height >= min(270, shape.most) - 1e-6


@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.floats(-50, 700), st.floats(-50, 400), st.floats(4, 300))),
        min_size=3,
        max_size=50,
    ),
    st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_every_face_that_fits_is_inside_its_crop(faces: list, cuts: int) -> None:
    shape = CameraShape.of(640.0, 360.0, 960, 1080, 4.0)
    camera = Camera(shape, Settings())
    aims = [
        Aim(k / 30, k * (cuts + 1) // len(faces), None if f is None else (f[0], f[1], f[0] + 0.8 * f[2], f[1] + f[2]))
        for k, f in enumerate(faces)
    ]
    rects = camera.take(aims, len(aims))
    for aim, (x0, y0, x1, y1) in zip(aims, rects, strict=True):
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 360
        if aim.box is None:
            continue
        bx0, by0, bx1, by1 = max(aim.box[0], 0), max(aim.box[1], 0), min(aim.box[2], 640), min(aim.box[3], 360)
        if bx1 - bx0 <= 0 or by1 - by0 <= 0:
            continue
        visible = (bx1 - bx0) * (by1 - by0) / ((aim.box[2] - aim.box[0]) * (aim.box[3] - aim.box[1]))
        if visible > 0.5 and bx1 - bx0 < 0.9 * 320 and by1 - by0 < 0.9 * 360:
            assert x0 - 0.01 <= bx0
            assert bx1 <= x1 + 0.01
            assert y0 - 0.01 <= by0
            assert by1 <= y1 + 0.01


def test_variable_frame_rate_pans_evenly_in_time() -> None:
    walker = keys((0, 300, 300, 120), (2, 300, 300, 120), (6, 800, 300, 120), (9, 800, 300, 120))
    world = World({"P": walker, "Q": still(1150, 300, 130)}, vfr=True, fps=Fraction(60), seconds=9)
    x = path(drive(world), "A")[:, 0]
    t = np.array([world.time(k) for k in range(len(world.pts))])
    speed = np.diff(x) / np.diff(t)
    assert np.abs(np.diff(speed)).max() < 0.25 * speed.max()
