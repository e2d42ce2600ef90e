"""Scenes as plain motion: deterministic, continuous, and each does what it is named after."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from dualface_ray.demo import SCENES, Context, Scene
from dualface_ray.demo.motion import Wander, ease, path
from dualface_ray.demo.scene import Pane, Pose, Timing
from dualface_ray.demo.talk import SAMPLE_RATE_HZ, Talk

ASPECT, SECONDS = 16 / 9, 16.0


def make(name: str, seed: int = 3, people: int = 4, seconds: float = SECONDS) -> Scene:
    rng = np.random.default_rng(seed)
    talk = Talk.make(rng, seconds)
    return SCENES[name](Context(rng, ASPECT, seconds, people, talk))


def track(scene: Scene, person: int) -> list[tuple[float, float]]:
    found = []
    for k in range(int(SECONDS * 25)):
        found += [(k / 25, p.x) for p in scene.poses(k / 25) if p.person == person and not p.flat]
    return found


def layers(scene: Scene, time_s: float) -> list[list[Pose]]:
    """The persons of each picture that lies over another, the lowest one first."""
    return [scene.poses(time_s), *(list(pane.poses) for pane in scene.panes(time_s))]


def together(scene: Scene, time_s: float) -> set[int]:
    """Who is in the picture."""
    x = {p.person: p.x for p in scene.poses(time_s)}
    return {person for person, at in x.items() if -0.1 < at < ASPECT + 0.1}


def test_there_are_the_scenes_the_specification_names() -> None:
    needed = {
        "conversation", "crossing_lr", "crossing_rl", "swap_sides", "cuts", "fast_motion", "bystander", "absence",
        "approach", "low_light", "profile", "vfr", "three_people", "picture_on_wall", "flash", "whip_pan",
        "shot_reverse_shot", "remote_call", "dissolve", "inserts", "jump_cuts", "zoom_cuts", "late_second", "only_one",
        "lookalikes", "black_wall",
    }  # fmt: skip
    assert needed <= set(SCENES)


@pytest.mark.parametrize("name", SCENES)
def test_same_seed_same_scene_other_seed_another(name: str) -> None:
    one, again, other = make(name, 3), make(name, 3), make(name, 8)
    moments = (0.0, 2.5, 7.9, 15.9)
    assert [layers(one, t) for t in moments] == [layers(again, t) for t in moments]
    assert [one.camera(t) for t in moments] == [again.camera(t) for t in moments]
    assert [one.panes(t) for t in moments] == [again.panes(t) for t in moments]
    assert [layers(one, t) for t in moments] != [layers(other, t) for t in moments]


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("seconds", [1.0, 16.0])
def test_nobody_jumps_within_a_shot(name: str, seconds: float) -> None:
    """Faces move at most 15 % of the picture's height per frame of 1/25 s, however short the scene is."""
    scene = make(name, seconds=seconds)
    times = [k / 25 for k in range(int(seconds * 25))]
    for a, b in itertools.pairwise(times):
        if scene.shot(a) != scene.shot(b):
            continue
        before = {(k, p.person, p.flat): p for k, layer in enumerate(layers(scene, a)) for p in layer}
        for k, pose in ((k, pose) for k, layer in enumerate(layers(scene, b)) for pose in layer):
            old = before.get((k, pose.person, pose.flat))
            out_of_sight = not -0.3 < pose.x < ASPECT + 0.3
            if old is not None and not out_of_sight:
                assert abs(pose.x - old.x) < 0.15, (name, a, pose.person)
                assert abs(pose.y - old.y) < 0.08
                assert 0.7 < pose.size / old.size < 1.4


@pytest.mark.parametrize("name", ["crossing_lr", "crossing_rl"])
def test_crossings_cross_twice(name: str) -> None:
    scene = make(name)
    first, second = dict(track(scene, 0)), dict(track(scene, 1))
    order = [first[t] < second[t] for t in first]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert order[0]
    assert changes == 2
    depths = {p.person: p.depth for p in scene.poses(5.0)}
    assert (depths[0] < depths[1]) if name == "crossing_lr" else (depths[1] > depths[0])


def test_swap_sides_comes_back_on_the_other_side() -> None:
    scene = make("swap_sides")
    first, second = dict(track(scene, 0)), dict(track(scene, 1))
    assert first[0.0] < second[0.0]
    assert first[15.0] > second[15.0]
    assert any(x < -0.3 for t, x in first.items() if t < 8)
    assert any(x > ASPECT + 0.3 for t, x in first.items() if t > 8)


def test_absence_lasts_seconds() -> None:
    scene = make("absence")
    away = max(sum(not -0.2 < x < ASPECT + 0.2 for _, x in track(scene, person)) / 25 for person in (0, 1))
    assert away > 3


def test_cuts_mirror_and_scale_and_come_back() -> None:
    scene = make("cuts")
    shots = [scene.shot(k / 25) for k in range(400)]
    assert sorted(set(shots)) == list(range(7))
    assert shots == sorted(shots)
    cameras = [scene.camera(shots.index(s) / 25) for s in range(7)]
    assert cameras[0] == cameras[2] == cameras[6]
    assert any(c.mirror for c in cameras)
    assert len({c.zoom for c in cameras}) > 3


@pytest.mark.parametrize("name", ["flash", "whip_pan", "handheld", "vfr"])
def test_no_cut_is_one_shot(name: str) -> None:
    scene = make(name)
    assert {scene.shot(k / 25) for k in range(400)} == {0}


@pytest.mark.parametrize("seed", [3, 4, 8])
def test_shot_reverse_shot_shows_one_at_a_time_before_it_shows_both(seed: int) -> None:
    scene = make("shot_reverse_shot", seed)
    people = [[p.person for p in scene.poses(k / 25)] for k in range(400)]
    early = people[: int(0.4 * 400)]
    assert all(len(p) == 1 for p in early)
    assert {p[0] for p in early} == {0, 1}
    assert any(len(p) == 2 for p in people)
    firsts = {make("shot_reverse_shot", k).poses(0.0)[0].person for k in range(8)}
    assert firsts == {0, 1}, "who is seen first is not always on the left"


@pytest.mark.parametrize("seconds", [1.0, 16.0])
def test_dissolves_fade_in_steadily_and_through_black_completely(seconds: float) -> None:
    scene = make("dissolve", seconds=seconds)
    times = [k * seconds / 1600 for k in range(1600)]
    fading = [(t, pane.opacity) for t in times for pane in scene.panes(t)]
    assert all(0 < opacity < 1 for _, opacity in fading)
    ups = [b - a for (s, a), (t, b) in itertools.pairwise(fading) if t - s < 1.5 * seconds / 1600]
    assert min(ups) > 0
    for t, opacity in fading:  # a shot begins where it is seen better than the one before
        assert (scene.shot(t + 0.01 * seconds) > scene.shot(t - 0.04 * seconds)) or abs(opacity - 0.5) > 0.05
    blacks = [scene.look(t).black for t in times]
    assert max(blacks) == 1.0
    assert blacks[0] == blacks[-1] == 0.0


def test_inserts_show_nobody_and_somebody_else() -> None:
    scene = make("inserts")
    people = [{p.person for p in scene.poses(k / 25)} for k in range(400)]
    assert sum(not p for p in people) > 40
    assert sum(p == {2} for p in people) > 25
    assert people[0] == people[-1] == {0, 1}
    assert all(p.flat for k in range(400) for p in scene.poses(k / 25) if p.person == 2)


def test_jump_cuts_keep_the_framing_and_leave_time_out() -> None:
    scene = make("jump_cuts")
    assert {scene.camera(k / 25) for k in range(400)} == {scene.camera(0.0)}
    shots = [scene.shot(k / 25) for k in range(400)]
    assert 5 <= len(set(shots)) <= 20
    jumps = [k for k in range(1, 400) if shots[k] != shots[k - 1]]
    moved = [abs(a.x - b.x) / a.size for k in jumps
             for a, b in zip(scene.poses((k - 1) / 25), scene.poses(k / 25), strict=True)]  # fmt: skip
    assert max(moved) > 0.15
    assert max(moved) < 1.5


def test_zoom_cuts_enlarge_the_whole_picture() -> None:
    scene = make("zoom_cuts")
    cameras = {scene.camera(k / 25) for k in range(400)}
    assert {c.zoom for c in cameras} >= {1.0, 1.25, 1.5}
    assert {c.wall for c in cameras} == {1.0}
    for camera in cameras:  # what is shown lies inside the picture
        assert abs(camera.dx) <= ASPECT / 2 * (camera.zoom - 1) + 1e-9


def test_the_second_comes_late_and_sits_on_the_left() -> None:
    scene = make("late_second")
    assert all(together(scene, k / 25) == {1} for k in range(199))
    x = {p.person: p.x for p in scene.poses(15.0)}
    assert x[0] < x[1]


def test_only_one_is_alone_and_away_for_a_while() -> None:
    scene = make("only_one")
    people = [together(scene, k / 25) for k in range(400)]
    assert max(map(len, people)) == 1
    assert len(set.union(*people)) == 1
    assert sum(not p for p in people) > 25


def test_a_call_changes_layout_and_sides() -> None:
    scene = make("remote_call")
    layouts = []
    for k in range(400):
        panes: list[Pane] = scene.panes(k / 25)
        assert sorted(p.person for pane in panes for p in pane.poses) == [0, 1]
        assert all(pane.place[0] < pane.place[2] and pane.place[1] < pane.place[3] for pane in panes)
        by_person = tuple(pane.place for pane in sorted(panes, key=lambda pane: pane.poses[0].person))
        if not layouts or layouts[-1] != by_person:
            layouts.append(by_person)
    assert len(layouts) == 6
    assert {a[0] < b[0] for a, b in layouts} == {True, False}


def test_bystander_is_larger_than_both() -> None:
    scene = make("bystander")
    pairs = [(p.size, max(q.size for q in poses if q.person < 2)) for t in range(400) for poses in [scene.poses(t / 25)]
             for p in poses if p.person == 2]  # fmt: skip
    assert pairs
    assert all(third > other * 1.2 for third, other in pairs)


def test_timing_is_exact_and_variable_rates_vary() -> None:
    timing = Timing.constant(Fraction(30000, 1001), 2.0)
    assert (timing.time_base, timing.pts_ticks[:3]) == (Fraction(1, 30000), (0, 1001, 2002))
    assert len(timing.pts_ticks) == 60
    variable = Timing.variable(np.random.default_rng(1), Fraction(25), 4.0)
    steps = set(np.diff(variable.pts_ticks).tolist())
    assert min(steps) > 0
    assert max(steps) > 2 * min(steps)
    assert len(Timing.constant(Fraction(25), 0.001).pts_ticks) == 1


def test_turns_alternate_and_mouths_follow_them() -> None:
    talk = Talk.make(np.random.default_rng(5), 20.0)
    speakers = [t.speaker for t in talk.turns]
    assert speakers[:4] == [0, 1, 0, 1]
    for turn in talk.turns[:3]:
        inside = np.linspace(turn.start_s, turn.end_s, 200)
        assert max(talk.mouth(turn.speaker, t) for t in inside) > 0.5
        assert max(talk.mouth(1 - turn.speaker, t) for t in inside) == 0.0
        assert talk.speaking(turn.speaker, (turn.start_s + turn.end_s) / 2) > 0.9


def test_voices_differ_in_pitch_and_side() -> None:
    talk = Talk.make(np.random.default_rng(5), 12.0)
    sound = talk.voices(np.random.default_rng(6), 12.0)
    assert sound.shape == (2, 12 * SAMPLE_RATE_HZ)
    assert 0.05 < np.abs(sound).max() < 1.0
    pitches, sides = [], []
    for turn in talk.turns[:2]:
        part = sound[:, round(turn.start_s * SAMPLE_RATE_HZ) : round(turn.end_s * SAMPLE_RATE_HZ)]
        sides.append(float(np.square(part[0]).mean() / np.square(part[1]).mean()))
        mono = part.sum(axis=0)[: 1 << 16]
        echo = np.fft.irfft(np.abs(np.fft.rfft(mono, 1 << 17)) ** 2)
        low, high = SAMPLE_RATE_HZ // 260, SAMPLE_RATE_HZ // 80
        pitches.append(SAMPLE_RATE_HZ / (low + int(np.argmax(echo[low:high]))))
    assert pitches[0] == pytest.approx(112, rel=0.12)
    assert pitches[1] == pytest.approx(205, rel=0.12)
    assert sides[0] > 1.5 > 0.7 > sides[1]


def test_eases_and_paths() -> None:
    assert [ease(t, 1, 2) for t in (0.0, 1.0, 1.5, 2.0, 9.0)] == [0, 0, 0.5, 1, 1]
    assert path(5.0, (0, 1.0), (1, 3.0), (2, 2.0)) == 2.0
    noise = Wander(np.random.default_rng(0))
    values = [noise(k / 10) for k in range(6000)]
    assert 0.6 < float(np.std(values)) < 1.5
