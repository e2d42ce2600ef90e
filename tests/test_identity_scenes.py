"""Scenes with known truth through the real Director: who is who must hold."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from identity_world import Result, World, drive, during, keys, still

from dualface_ray.identity import PersonState
from dualface_ray.settings import Settings

P = still(400, 300, 160, 0.15)
Q = still(900, 320, 170, 0.15, phase=1)


def crossing(seconds: float = 2.0, wait: float = 0.0, come_back: bool = False, front: str = "Q") -> dict:
    """P and Q walk towards each other, one hides the other, and they part (changed sides or not)."""
    middle = 640
    a, b = (300, 900) if come_back else (900, 300)
    t0, t1 = 3.0, 3.0 + seconds / 2
    path = {
        "P": keys((0, 300, 300, 150), (t0, 300, 300, 150), (t1, middle, 300, 150), (t1 + wait, middle, 300, 150),
                  (t1 + wait + seconds / 2, a, 300, 150), (60, a, 300, 150)),
        "Q": keys((0, 900, 300, 160), (t0, 900, 300, 160), (t1, middle, 300, 160), (t1 + wait, middle, 300, 160),
                  (t1 + wait + seconds / 2, b, 300, 160), (60, b, 300, 160)),
    }  # fmt: skip
    return {name: path[name] for name in sorted(path, key=lambda name: name == front)}


def check(result: Result, hits: float = 0.985, inside: float = 0.995) -> Result:
    """A stays on P and B on Q, both faces stay in their tiles, and the detection budget holds."""
    assert result.hits("A", "P") >= hits
    assert result.hits("B", "Q") >= hits
    owners = result.owners("P", "Q")
    wrong = sum(
        n for letter, me in (("A", "P"), ("B", "Q")) for name, n in owners[letter].items() if name in set("PQR") - {me}
    )
    assert wrong <= 6, owners
    assert min(result.inside("A", "P"), result.inside("B", "Q")) >= inside
    assert result.detect_hz <= 10
    return result


def test_calm_conversation_asks_nothing() -> None:
    result = check(drive(World({"P": P, "Q": Q}, seconds=20)), hits=1.0, inside=1.0)
    assert result.embeds == 0
    assert set(result.detect_asks) <= {599}  # the last frame of the video, which no grid frame covers
    assert result.kinds() == ["entered", "entered"]
    assert all(f.tracked.certain for f in result.frames)
    assert all(f.tracked.a.state is PersonState.DETECTED for f in result.frames)


@pytest.mark.parametrize("front", ["P", "Q"])
@pytest.mark.parametrize("come_back", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_crossing_with_full_occlusion(front: str, come_back: bool, seed: int) -> None:
    world = World(crossing(come_back=come_back, front=front), seconds=9, seed=seed)
    result = check(drive(world))
    assert "crossed" in result.kinds()
    assert all(f.tracked.certain for f in result.frames)


def test_crossing_when_both_wear_the_same_is_settled_by_faces() -> None:
    world = World(crossing(come_back=True), seconds=9, look_distance=0.02)
    result = check(drive(world))
    assert result.embeds > 0
    assert any("embedding_distance" in event.detail for event in result.events if event.kind == "re-identified")


def test_crossing_without_embeddings_when_switched_off() -> None:
    settings = Settings(identity={"reid": "off"})
    result = check(drive(World(crossing(come_back=True), seconds=9), settings))
    assert result.embeds == 0


def test_always_embeds_where_auto_need_not() -> None:
    world = World({"P": during(P, (0, 3), (4.2, 10)), "Q": Q}, look_noise=0.05)
    often = drive(world, Settings(identity={"reid": "always"}))
    seldom = drive(world)
    assert often.embeds > seldom.embeds
    check(often)


def test_long_crossing_is_shown_without_labels_or_settled_by_the_visible_face() -> None:
    world = World(crossing(wait=4.0), seconds=14)
    result = check(drive(world))
    assert result.embeds > 0


def test_long_crossing_without_any_evidence_shows_both_in_each_tile() -> None:
    world = World(crossing(wait=4.0), seconds=14, look_distance=0.0, look_noise=0.0)
    result = drive(world, Settings(identity={"reid": "off"}))
    doubtful = [f for f in result.frames if not f.tracked.certain]
    assert doubtful
    for frame in doubtful:
        truth = world.truth(frame.frame_index)
        boxes = [t.source_px for c in frame.plan.canvases for t in c.tiles]
        for box in truth.values():
            centre = 0.5 * (box[0] + box[2])
            if max(abs(centre - 640) for _ in boxes) < 100:
                assert all(s[0] <= box[0] + 2 and box[2] - 2 <= s[2] for s in boxes)


def test_exit_and_reentry_on_the_other_side() -> None:
    out, back = (
        keys((0, 300, 300, 150), (2, 300, 300, 150), (3, -100, 300, 150)),
        keys((7, 1400, 300, 150), (8, 1000, 300, 150), (12, 1000, 300, 150)),
    )
    mover = keys((0, 900, 300, 160), (4, 900, 300, 160), (5, 400, 300, 160), (12, 400, 300, 160))
    result = check(drive(World({"P": lambda t: out(t) or back(t), "Q": mover}, seconds=12)))
    kinds = result.kinds()
    assert kinds.index("left") < kinds.index("re-identified")
    away = [f for f in result.frames if 3.6 < result.world.time(f.frame_index) < 6.5]
    assert all(f.tracked.a.state is PersonState.ABSENT and f.tracked.a.box_px is None for f in away)


@pytest.mark.parametrize("seconds", [0.4, 1.0, 1.2])
def test_occlusion_is_predicted_then_taken_up_again(seconds: float) -> None:
    result = check(drive(World({"P": during(P, (0, 4), (4 + seconds, 10)), "Q": Q})))
    hidden = [f for f in result.frames if 4.0 <= result.world.time(f.frame_index) < 3.99 + seconds]
    assert all(f.tracked.a.state is PersonState.PREDICTED for f in hidden)
    assert all(f.tracked.a.score < 0.95 for f in hidden)


def test_long_absence_becomes_absent_and_confidence_decays() -> None:
    result = check(drive(World({"P": during(P, (0, 4), (9, 12)), "Q": Q}, seconds=12)))
    frames = {round(result.world.time(f.frame_index), 2): f for f in result.frames}
    assert frames[4.5].tracked.a.score > frames[5.3].tracked.a.score > 0
    assert frames[7.0].tracked.a.state is PersonState.ABSENT


@pytest.mark.parametrize("seed", range(4))
def test_cut_to_mirrored_angle_and_back(seed: int) -> None:
    def mirrored(x: float, h: float) -> object:
        return lambda t: (x + 5 * math.sin(t), 300, h) if not 4 <= t < 7 else (1280 - x, 280, 1.4 * h)

    world = World({"P": mirrored(400, 160), "Q": mirrored(900, 170)}, cuts=(4, 7), look_shift=0.3, seed=seed)
    result = check(drive(world), hits=1.0)
    assert [e.frame_index for e in result.events if e.kind == "cut"] == [120, 210]
    assert [result.frames[i].tracked.shot for i in (119, 120, 209, 210)] == [0, 1, 1, 2]


def test_flash_and_whip_pan_are_no_cuts() -> None:
    flash = drive(World({"P": P, "Q": Q}, flashes=(3.0, 6.5)))
    assert "cut" not in flash.kinds()
    assert sum(bool(f.flags & 2) for f in flash.world.facts()) >= 4  # the candidates were there
    pan = drive(World({"P": P, "Q": Q}, whips=((3.0, 3.6),)))
    assert "cut" not in pan.kinds()
    check(flash, hits=1.0)
    check(pan, hits=1.0)


@pytest.mark.parametrize("seed", range(3))
def test_larger_bystander_passing_through_takes_no_place(seed: int) -> None:
    walker = keys((3, -150, 350, 260), (6, 1450, 350, 260))
    check(drive(World({"P": P, "Q": Q, "R": walker}, seed=seed)))


def test_bystander_does_not_take_the_place_of_somebody_away() -> None:
    away = during(P, (0, 3), (9, 12))
    guest = keys((5, -150, 350, 200), (7.5, 1450, 350, 200))
    result = check(drive(World({"P": away, "Q": Q, "R": guest}, seconds=12)))
    assert "R" not in result.owners("P", "Q")["A"]


def test_three_people_two_talk() -> None:
    check(
        drive(World({"R": still(640, 200, 90, 0.1), "P": still(250, 350, 160, 0.15), "Q": still(1000, 350, 170, 0.15)}))
    )


def test_static_picture_takes_no_place() -> None:
    world = World(
        {"S": still(640, 150, 150), "P": still(250, 380, 150, 0.15), "Q": still(1000, 380, 150, 0.15, phase=2)},
        static=("S",),
    )
    check(drive(world))


def test_picture_gives_its_place_back_to_somebody_alive() -> None:
    world = World(
        {"S": still(640, 150, 150), "P": still(250, 380, 150, 0.15), "Q": during(still(1000, 380, 150, 0.15), (3, 20))},
        static=("S",),
        seconds=16,
    )
    result = drive(world)
    assert "replaced" in result.kinds()
    late = [f for f in result.frames if world.time(f.frame_index) > 8]
    assert all(f.tracked.b.box_px and f.tracked.b.box_px[0] > 800 for f in late)


def test_variable_frame_rate_crossing() -> None:
    check(drive(World(crossing(), seconds=9, vfr=True, fps=Fraction(60), seed=3)))


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(60)])
def test_other_frame_rates(fps: Fraction) -> None:
    check(drive(World(crossing(), seconds=9, fps=fps)))


def test_fast_motion_stays_within_the_detection_budget() -> None:
    world = World({
        "P": lambda t: (350 + 90 * math.sin(4 * t), 300, 150), "Q": lambda t: (900 + 100 * math.sin(4.5 * t), 300, 150)
    })  # fmt: skip
    result = check(drive(world))
    assert result.detect_asks


def test_left_is_a_even_when_seen_a_moment_later() -> None:
    late = during(P, (0.4, 10))
    result = drive(World({"P": late, "Q": Q}))
    assert result.hits("A", "P") > 0.98
    alone = during(P, (3.0, 10))
    result = drive(World({"P": alone, "Q": Q}))
    assert result.hits("A", "Q") == 1.0
    assert result.hits("B", "P") > 0.98


def test_detector_that_misses_and_trembles() -> None:
    check(drive(World({"P": P, "Q": Q}, miss=0.1, noise=0.03, seconds=20)), hits=0.98)


def test_two_trackers_know_nothing_of_each_other() -> None:
    world = World(crossing(), seconds=9)
    first, second = drive(world), drive(world)
    assert [f.tracked for f in first.frames] == [f.tracked for f in second.frames]
    assert first.events == second.events


@pytest.mark.parametrize("actors", [{}, {"P": P}])
def test_nobody_or_one_person(actors: dict) -> None:
    result = drive(World(actors, seconds=4))
    assert all(f.tracked.b.box_px is None for f in result.frames)
    assert all(len(c.tiles) == 2 for f in result.frames for c in f.plan.canvases)
