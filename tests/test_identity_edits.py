"""Who is who in what is cut together: alone in turn, dissolves, cuts that nobody sees, strangers in inserts, twins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from identity_world import Path, Result, World, drive, during, keys, overlap, still

from dualface_ray.frames import SIGNATURE_BYTES
from dualface_ray.identity import PersonState
from dualface_ray.identity.fades import FadeWatch
from dualface_ray.settings import Settings

P = still(400, 300, 160, 0.15)
Q = still(900, 320, 170, 0.15, phase=1)
ALONE = {
    "P": still(640, 330, 250, 0.1),
    "Q": still(655, 330, 242, 0.1, phase=1),
    "R": still(630, 320, 260, 0.1, phase=2),
    "S": still(900, 320, 190, 0.1, phase=3),
}
WIDE = {"P": P, "Q": Q, "R": still(450, 300, 190, 0.1), "S": ALONE["S"]}


def edited(shots: Sequence[str], seconds: float = 2.0, **options: Any) -> World:
    """Shots of this length, or with these ``cuts``; of the persons named one is in the middle, two at their places."""
    cuts = options.pop("cuts", ()) or tuple((k + 1) * seconds + 0.07 * (k % 3) for k in range(len(shots) - 1))

    def actor(name: str) -> Path:
        def path(t: float) -> tuple[float, float, float] | None:
            shown = shots[sum(t >= cut - 1e-9 for cut in cuts)]
            return (ALONE if len(shown) == 1 else WIDE)[name](t) if name in shown else None

        return path

    names = sorted({name for shot in shots for name in shot})
    return World({n: actor(n) for n in names}, cuts=cuts, seconds=len(shots) * seconds, **options)


def boxes_on(result: Result, among: str = "PQRS") -> Counter[str]:
    """How often each letter's box lies on whom, as "AP", in frames that say so for certain."""
    counts: Counter[str] = Counter()
    for frame in result.frames:
        for letter, track in (("A", frame.tracked.a), ("B", frame.tracked.b)):
            for name, box in result.world.truth(frame.frame_index).items():
                if name in among and track.box_px is not None and overlap(track.box_px, box) > 0.5:
                    counts[letter + name] += 1
    return counts


def check(result: Result, wrong: int = 0, hits: float = 0.99) -> None:
    """A stays on P and B on Q in all but so many frames; both are found nearly always."""
    counts = boxes_on(result)
    assert sum(n for pair, n in counts.items() if pair not in ("AP", "BQ")) <= wrong, counts
    assert result.hits("A", "P") >= hits
    assert result.hits("B", "Q") >= hits


# --- alone in turn ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("look_distance", [0.55, 0.2, 0.05])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_at_a_time_before_both_in_any_clothes(look_distance: float, seed: int) -> None:
    shots = ["P", "Q", "P", "Q", "PQ", "Q", "P"]
    check(drive(edited(shots, look_distance=look_distance, seed=seed)), hits=1.0)


@pytest.mark.parametrize("cuts", [(0.4, 2, 4, 6, 8), (0.7, 1.4, 2.1, 2.8, 6), (0.3, 0.6, 0.9, 1.2, 6)])
def test_shots_shorter_than_the_look_ahead_keep_their_letters(cuts: tuple[float, ...]) -> None:
    world = edited(["P", "Q", "P", "Q", "PQ", "Q"], look_distance=0.3, cuts=cuts)
    check(drive(world), hits=1.0)


def test_who_was_seen_once_before_a_cut_takes_no_place() -> None:
    glimpse = during(still(300, 200, 120), (0.94, 1.0))
    world = World({"P": during(P, (1, 6)), "Q": during(Q, (1, 6)), "R": glimpse}, seconds=6, cuts=(1.0,))
    check(drive(world))


def test_the_face_decides_after_a_cut_and_an_absence_but_not_after_a_blink() -> None:
    away = drive(World({"P": during(P, (0, 3), (6, 10)), "Q": Q}))
    again = [e for e in away.events if e.kind == "re-identified"]
    assert again
    assert all("embedding_distance" in e.detail for e in again)
    assert drive(World({"P": during(P, (0, 3), (3.8, 10)), "Q": Q})).embeds <= 4


def test_without_embeddings_clothes_still_tell() -> None:
    result = drive(edited(["PQ", "P", "Q", "PQ"], look_distance=0.9), Settings(identity={"reid": "off"}))
    assert result.embeds == 0
    check(result)


# --- strangers ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [0, 1])
def test_a_stranger_who_wears_the_same_takes_no_place_that_is_free_for_a_while(seed: int) -> None:
    out = keys((0, 400, 300, 160), (2, 400, 300, 160), (3.2, -200, 300, 160))
    comes = keys((6, -200, 310, 170), (7.2, 400, 310, 170), (14, 400, 310, 170))
    result = drive(World({"P": out, "Q": Q, "R": comes}, seconds=12, look_distance=0.2, seed=seed))
    assert set(boxes_on(result)) == {"AP", "BQ"}


@pytest.mark.parametrize("shots", [["PQ", "R", "PQ", "P", "R", "Q"], ["PQ", "RS", "PQ"]])
@pytest.mark.parametrize("look_distance", [0.55, 0.2])
def test_strangers_in_inserts_are_nobody_of_the_two(shots: list[str], look_distance: float) -> None:
    check(drive(edited(shots, look_distance=look_distance)))


def test_slides_leave_both_tiles_wide_and_nobody_forgotten() -> None:
    result = drive(edited(["PQ", "", "PQ"], seconds=3.0))
    check(result)
    slide = [f for f in result.frames if f.tracked.shot == 1]
    assert all(f.tracked.a.state is f.tracked.b.state is PersonState.ABSENT for f in slide)
    heights = {round(t.source_px[3] - t.source_px[1]) for f in slide for c in f.plan.canvases for t in c.tiles}
    assert heights == {720}


def test_who_only_presents_gives_the_place_to_who_is_seen_for_longer_in_many_short_shots() -> None:
    result = drive(edited(["R"] * 4 + ["P", "Q"] * 11, seconds=2.0, look_distance=0.3))
    (replaced,) = [e for e in result.events if e.kind == "replaced"]
    assert 20 <= replaced.frame_index / 30 - 8 < 32
    late = Counter({pair: n for pair, n in boxes_on(result, "PQ").items() if n > 100})
    assert len(late) == 2
    assert {pair[1] for pair in late} == {"P", "Q"}
    assert {pair[0] for pair in late} == {"A", "B"}


# --- twins --------------------------------------------------------------------------------------------------------
def test_who_cannot_be_told_apart_keeps_the_side_and_is_said_to_be_in_doubt() -> None:
    for seed in range(4):
        world = edited(["PQ", "PQ", "PQ"], look_distance=0.0, face_distance=0.0, seed=seed)
        result = drive(world)
        assert set(boxes_on(result)) == {"AP", "BQ"}
        doubtful = [f.tracked.certain for f in result.frames if f.tracked.shot > 0].count(False)
        assert doubtful > 90


# --- cuts that nobody sees ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("look_distance", [0.9, 0.55, 0.45])
@pytest.mark.parametrize("seed", [0, 1])
def test_before_a_black_wall_faces_tell_where_the_cuts_are(look_distance: float, seed: int) -> None:
    world = edited(["P", "Q", "P", "Q", "P"], plain=True, look_distance=look_distance, look_noise=0.08, seed=seed)
    result = drive(world)
    check(result, wrong=2)
    cuts = [e.frame_index for e in result.events if e.kind == "cut"]
    assert [round(t * 30) for t in world.cuts] == pytest.approx(cuts, abs=1)


def test_every_frame_examined_finds_the_same_cuts() -> None:
    world = edited(["P", "Q", "P"], plain=True, look_noise=0.08)
    check(drive(world, Settings(detect={"every_frame": True}, identity={"max_detect_hz": 60})), wrong=4, hits=0.98)


def test_a_face_that_changes_in_one_window_is_not_followed_on() -> None:
    place = still(900, 320, 170, 0.15, phase=1)
    other = still(905, 325, 172, 0.15, phase=1)
    world = World(
        {"P": P, "Q": during(place, (0, 4), (8, 12)), "R": during(other, (4, 8))}, seconds=12, look_noise=0.08
    )
    result = drive(world)
    assert set(boxes_on(result)) == {"AP", "BQ"}
    assert "cut" not in result.kinds()
    back = [f for f in result.frames if world.time(f.frame_index) > 8.5]
    assert all(f.tracked.b.state is PersonState.DETECTED for f in back)


def test_other_light_is_no_other_face() -> None:
    world = World({"P": P, "Q": Q}, cuts=(4,), plain=True, look_shift=0.6, look_noise=0.08)
    result = drive(world)
    check(result, hits=1.0)
    assert result.kinds() == ["entered", "entered"]
    assert result.embeds >= 4, "the faces were compared"


def test_one_sight_that_looks_different_is_no_other_face() -> None:
    world = World({"P": P, "Q": Q}, look_noise=0.08)
    usual = world.detect

    def dazzled(frame: int):
        faces = usual(frame)
        if frame in (100, 180):
            faces.descriptors[:] = np.roll(faces.descriptors, 7, axis=1)
        return faces

    world.detect = dazzled  # type: ignore[method-assign]
    result = drive(world)
    check(result, hits=1.0)
    assert result.kinds() == ["entered", "entered"]


# --- shots that begin without a step ------------------------------------------------------------------------------
@pytest.mark.parametrize("length", [0.4, 0.8, 1.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dissolves_part_the_shots(length: float, seed: int) -> None:
    world = edited(["PQ", "P", "Q", "P", "PQ"], seconds=3.0, dissolve_s=length, look_distance=0.3, seed=seed)
    result = drive(world)
    check(result, wrong=40, hits=0.9)  # faces that fade into one another at the same place: a few frames each
    settled = [
        f for f in result.frames if all(abs(world.time(f.frame_index) - cut) > 0.5 * length + 0.3 for cut in world.cuts)
    ]
    for frame in settled:
        truth = world.truth(frame.frame_index)
        for name, track in (("P", frame.tracked.a), ("Q", frame.tracked.b)):
            assert (track.state is PersonState.DETECTED) == (name in truth), (frame.frame_index, name)
    assert sum(e.detail.get("reason") == "dissolve" for e in result.events) == 4


@pytest.mark.parametrize("length", [0.6, 1.2])
def test_fades_through_black_part_the_shots(length: float) -> None:
    world = edited(["P", "Q", "P", "PQ"], seconds=3.0, black_s=length, look_distance=0.3)
    result = drive(world)
    check(result, hits=0.97)
    cuts = [e.frame_index / 30 for e in result.events if e.kind == "cut"]
    assert list(world.cuts) == pytest.approx(cuts, abs=0.25 * length)


def test_a_blink_to_black_is_no_new_shot() -> None:
    world = edited(["PQ", "PQ"], seconds=3.0, black_s=0.8, plain=True)
    result = drive(world)
    assert "cut" not in result.kinds()
    check(result, hits=0.95)


def soft(seed: int, wide: int = 200) -> np.ndarray:
    """A wide picture of soft blobs: luma (60, wide)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:60, 0:wide]
    picture = np.full((60, wide), 110.0)
    for _ in range(2 * wide):
        cx, cy, size = rng.uniform(0, wide), rng.uniform(0, 60), rng.uniform(1.5, 6)
        picture += rng.uniform(-40, 40) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size * size))
    return np.clip(picture, 0, 255)


def said(pictures: Sequence[np.ndarray], rate: float = 25.0, candidates: Sequence[int] = ()) -> list[tuple[int, str]]:
    """What a FadeWatch says of luma pictures (18, 32)."""
    watch, found = FadeWatch(), []
    for frame, picture in enumerate(pictures):
        signature = np.zeros(SIGNATURE_BYTES, np.uint8)
        signature[: 18 * 32] = np.clip(picture, 0, 255).astype(np.uint8).ravel()
        step = watch.see(frame, frame / rate, signature, candidates)
        if step is not None:
            found.append((step[0], str(step[1]["reason"])))
    return found


def window(picture: np.ndarray, x: float, y: float = 20.0) -> np.ndarray:
    """18 x 32 samples between the grid points of a wide picture."""
    rows, columns = np.arange(18) + y, np.arange(32) + x
    r, q = rows.astype(int), columns.astype(int)
    u, v = (rows - r)[:, None], (columns - q)[None, :]
    mixed = (
        (1 - u) * picture[r][:, q] + u * picture[r + 1][:, q],
        (1 - u) * picture[r][:, q + 1] + u * picture[r + 1][:, q + 1],
    )
    return (1 - v) * mixed[0] + v * mixed[1]


@pytest.mark.parametrize("rate", [12.0, 25.0, 60.0])
@pytest.mark.parametrize("length", [0.3, 0.6, 1.0, 2.0])
def test_a_dissolve_is_noticed_about_half_way_and_when_it_is_over(rate: float, length: float) -> None:
    for seed in range(4):
        a, b = window(soft(seed), 20), window(soft(seed + 50), 20)
        shares = np.clip((np.arange(round(6 * rate)) / rate - 3.0) / length + 0.5, 0, 1)
        found = said([(1 - w) * a + w * b for w in shares], rate)
        first, *between, last = [reason for _, reason in found]
        assert (first, last) == ("dissolve", "faded in")
        assert set(between) <= {"still fading"}
        assert found[0][0] / rate == pytest.approx(3.0, abs=0.15 + 0.3 * length)
        assert -0.15 * length < found[-1][0] / rate - (3.0 + 0.5 * length) < 0.35


@pytest.mark.parametrize("speed", [0.5, 2.0, 8.0, 30.0, 100.0])
def test_what_moves_is_no_dissolve(speed: float) -> None:
    for seed in range(6):
        wide = soft(seed, 400)
        pan = [window(wide, 180 - abs(180 - (speed * k / 25) % 360)) for k in range(150)]
        assert said(pan) == []
        shake = [
            window(wide, 100 + 0.02 * speed * math.sin(k), 20 + 0.02 * speed * math.sin(1.7 * k)) for k in range(150)
        ]
        assert said(shake) == []


def test_light_that_changes_is_no_dissolve() -> None:
    a = window(soft(3), 20)
    levels = np.interp(np.arange(150), [40, 60, 90, 110], [1.0, 0.3, 0.3, 1.0])
    assert said([20 + level * (a - 20) for level in levels]) == []
    white = [a * (1 - w) + 255 * w for w in np.interp(np.arange(100), [50, 51, 54], [0, 1, 0])]
    assert said(white) == []


def test_nothing_is_said_before_a_possible_cut_is_judged() -> None:
    a, b = window(soft(1), 20), window(soft(51), 20)
    shares = np.clip((np.arange(100) - 40) / 20, 0, 1)
    film = [(1 - w) * a + w * b for w in shares]
    assert said(film)
    assert said(film, candidates=[50]) == []


def test_a_long_black_and_a_dark_picture_hold_nothing_up() -> None:
    a, b = window(soft(1), 20), window(soft(51), 20)
    watch = FadeWatch()
    dim = 10 + 0.06 * (b - 10)  # hardly any contrast, for ever
    behind = []
    for frame, picture in enumerate([a] * 30 + [a * 0] * 100 + [dim] * 60):
        signature = np.zeros(SIGNATURE_BYTES, np.uint8)
        signature[: 18 * 32] = np.clip(picture, 0, 255).astype(np.uint8).ravel()
        watch.see(frame, frame / 25, signature, ())
        behind.append(frame - watch.flat if watch.before is not None else 0)
    assert max(behind) <= 12


@pytest.mark.parametrize("options", [{"dissolve_s": 0.8}, {"black_s": 0.8}, {"plain": True, "look_noise": 0.08}])
def test_neither_messages_nor_saved_sessions_change_what_is_found(options: dict[str, object]) -> None:
    world = edited(["P", "Q", "PQ", "P"], **options)
    whole = drive(world)
    for chunks, every, late in (([1], 0, 0), ([7, 30, 2], 3, 0), ([16], 0, 1)):
        other = drive(world, chunks=chunks, save_every=every, late=late)
        assert [f.plan for f in other.frames] == [f.plan for f in whole.frames]
        assert [f.tracked for f in other.frames] == [f.tracked for f in whole.frames]
        assert other.events == whole.events
