"""Scenes cut into parts that know nothing of each other: the same people, the same states, no jump at the seams."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from identity_world import Path, World, during, keys, still
from seam_parts import Joined, crops, difference, joined, recorded, survey, swapped

from dualface_ray.bench.recorded import RecordedRun
from dualface_ray.bench.replaying import replay
from dualface_ray.framing import DirectedFrame
from dualface_ray.identity import Cast
from dualface_ray.settings import Settings, resolve

ST = Settings()
T = 24
P = still(400, 300, 160, 0.15)
Q = still(900, 320, 170, 0.15, phase=1)
CALM_STEP_PX = 2.0
"""Where the whole run stands still a seam may move a crop so slowly (a calm pan is eight times as fast)."""
CALM_BEND_PX = 0.3


def crossing(come_back: bool, at: float) -> dict[str, Path]:
    a, b = (300, 900) if come_back else (900, 300)
    return {
        "P": keys((0, 300, 300, 150), (at, 300, 300, 150), (at + 1, 640, 300, 150), (at + 2, a, 300, 150),
                  (T, a, 300, 150)),
        "Q": keys((0, 900, 300, 160), (at, 900, 300, 160), (at + 1, 640, 300, 160), (at + 2, b, 300, 160),
                  (T, b, 300, 160)),
    }  # fmt: skip


SEATS: dict[str, Path] = {
    "P": lambda t: P(t) if t < 12 else still(900, 320, 170, 0.15)(t),
    "Q": lambda t: Q(t) if t < 12 else still(380, 300, 150, 0.15)(t),
}
GUEST = keys((9, -150, 350, 200), (11, 500, 350, 200), (13, 1400, 350, 200))

SCENES: dict[str, tuple[World, list[float]]] = {
    "conversation": (World({"P": P, "Q": Q}, seconds=T), [8.0]),
    "conversation in four": (World({"P": P, "Q": Q}, seconds=T), [5.3, 11.1, 17.7]),
    "crossing in the overlap": (World(crossing(False, 7), seconds=T), [6.5, 14]),
    "crossing and back": (World(crossing(True, 7), seconds=T), [7.5]),
    "crossing before the seam": (World(crossing(False, 7), seconds=T), [9.0]),
    "crossing, dressed alike": (World(crossing(True, 7), seconds=T, look_distance=0.1), [6.5]),
    "bystander": (World({"P": P, "Q": Q, "R": GUEST}, seconds=T), [5.0, 10.0]),
    "bystander stays": (World({"P": P, "Q": Q, "R": during(still(640, 200, 70, 0.1), (8, 16))}, seconds=T), [9.0]),
    "seats swapped at a cut": (World(SEATS, seconds=T, cuts=(12.0,)), [10.5]),
    "cut exactly at the seam": (World(SEATS, seconds=T, cuts=(12.0,)), [12.0]),
    "cut exactly after the overlap": (World(SEATS, seconds=T, cuts=(12.0,)), [9.0]),
    "cut near the overlap's end": (World(SEATS, seconds=T, cuts=(12.0,)), [9.1]),
    "cut and another light": (World(SEATS, seconds=T, cuts=(12.0,), look_shift=0.5), [5.0, 10.0, 17.0]),
    "several cuts": (World(SEATS, seconds=T, cuts=(5.0, 12.0, 18.0)), [4.5, 11.0]),
    "two cuts in the overlap": (World(SEATS, seconds=T, cuts=(11.0, 12.0)), [10.0]),
    "absent for long": (World({"P": P, "Q": during(Q, (0, 6), (18, T))}, seconds=T), [10.0]),
    "absent for long, dressed alike": (
        World({"P": P, "Q": during(Q, (0, 6), (18, T))}, seconds=T, look_distance=0.1), [4.0, 10.0, 15.5],
    ),
    "re-entry where the overlap begins": (World({"P": P, "Q": during(Q, (0, 6), (12.2, T))}, seconds=T), [12.0]),
    "re-entry where the overlap ends": (World({"P": P, "Q": during(Q, (0, 6), (14.7, T))}, seconds=T), [12.0]),
    "re-entry after the overlap": (World({"P": P, "Q": during(Q, (0, 6), (15.1, T))}, seconds=T), [12.0]),
    "leaves in the overlap": (World({"P": P, "Q": during(Q, (0, 12.1), (20, T))}, seconds=T), [12.0]),
    "one at a time": (
        World({"P": during(P, (0, 6), (9, 12), (15, T)), "Q": during(Q, (0, 3), (6, 9), (12, T))}, seconds=T,
              cuts=(3.0, 6.0, 9.0, 12.0, 15.0)), [5.0, 10.0, 15.0],
    ),
    "the right one is there first": (World({"P": during(P, (3, T)), "Q": Q}, seconds=T), [2.0, 9.0]),
    "variable frame rate": (World({"P": P, "Q": Q}, seconds=T, vfr=True), [8.0]),
    "missed faces": (World({"P": P, "Q": Q}, seconds=T, miss=0.1), [8.0, 16.0]),
}  # fmt: skip


@cache
def prepared(name: str) -> tuple[RecordedRun, Cast, tuple[DirectedFrame, ...], list[int], Joined]:
    world, times = SCENES[name]
    run = recorded(world)
    cast = survey(run, ST, 1.0)
    assert isinstance(cast, Cast), cast
    seconds = (run.pts_ticks - run.pts_ticks[0]) * float(run.info.time_base)
    cuts = [int(np.argmin(np.abs(seconds - t))) for t in times]
    return run, cast, replay(run, ST).frames, cuts, joined(run, ST, cast, cuts)


@pytest.mark.parametrize("name", SCENES)
def test_parts_decide_as_the_whole_does(name: str) -> None:
    _, _, whole, _, parts = prepared(name)
    found = difference(whole, parts)
    assert not any(parts.complaints), parts.complaints
    assert (found.wrong, found.elsewhere, found.shots) == (0, 0, 0)
    assert found.seen > len(whole)
    assert found.states >= 0.99
    if all(f.tracked.certain for f in whole):
        assert all(f.tracked.certain for f in parts.frames)


@pytest.mark.parametrize("name", SCENES)
def test_no_seam_moves_a_crop_faster_than_the_whole_run_does(name: str) -> None:
    run, _, whole, _, parts = prepared(name)
    found = difference(whole, parts)
    assert found.step <= max(1.15 * found.step_whole, CALM_STEP_PX)
    uneven = SCENES[name][0].vfr  # even speed is uneven from frame to frame
    assert found.bend <= max(1.25 * found.bend_whole, CALM_STEP_PX if uneven else CALM_BEND_PX)
    for frame in parts.frames:
        for canvas in frame.plan.canvases:
            for tile in canvas.tiles:
                x0, y0, x1, y1 = tile.source_px
                assert 0 <= x0 < x1 <= run.info.display_width_px + 1e-9
                assert 0 <= y0 < y1 <= run.info.display_height_px + 1e-9
                assert (x1 - x0) * tile.height_px == pytest.approx((y1 - y0) * tile.width_px, rel=1e-9)
                track = frame.tracked.a if tile.person == "A" else frame.tracked.b
                if track.box_px is not None and track.state.value == "detected":
                    assert x0 <= 0.5 * (track.box_px[0] + track.box_px[2]) <= x1


@pytest.mark.parametrize("name", SCENES)
def test_letters_changed_from_part_to_part_are_noticed(name: str) -> None:
    run, cast, _, cuts, _ = prepared(name)
    wrong = joined(run, ST, cast, cuts, other=swapped(cast))
    assert all(wrong.complaints)
    assert all("show the other person" in why for why in wrong.complaints)


def test_nobody_in_the_overlap_is_no_contradiction() -> None:
    world = World({"P": during(P, (0, 9), (16, T)), "Q": during(Q, (0, 9.5), (15.5, T))}, seconds=T)
    run = recorded(world)
    cast = survey(run, ST, 1.0)
    assert isinstance(cast, Cast)
    parts = joined(run, ST, cast, [345])
    assert parts.complaints == [""]
    found = difference(replay(run, ST).frames, parts)
    assert (found.wrong, found.elsewhere) == (0, 0)


def test_overlaps_are_written_once() -> None:
    run, _, _, cuts, parts = prepared("conversation in four")
    rate = float(run.info.average_rate)
    assert [len(o) for o in parts.overlaps] == [round(3.0 * rate)] * 3
    assert [o.start for o in parts.overlaps] == cuts
    assert all(b - a == 1 for a, b in itertools.pairwise(f.frame_index for f in parts.frames))


def test_what_a_part_writes_was_decided_with_all_of_the_look_ahead() -> None:
    """Somebody moves over a little more than three seconds after the cut; four seconds ahead the camera knows."""
    settings = resolve(lookahead_s=4.0)
    move = keys((0, 300, 300, 150), (13.2, 300, 300, 150), (14, 520, 320, 150), (T, 520, 320, 150))
    run = recorded(World({"P": move, "Q": Q}, seconds=T))
    cast = survey(run, settings, 1.0)
    assert isinstance(cast, Cast)
    cut = 300
    parts = joined(run, settings, cast, [cut])
    assert parts.complaints == [""]
    assert [len(o) for o in parts.overlaps] == [round(6.0 * float(run.info.average_rate))]
    apart = np.abs(crops(replay(run, settings).frames) - crops(parts.frames)).max(axis=(1, 2))
    assert apart[:cut].max() < 0.1
