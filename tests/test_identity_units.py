"""Parts of identity on their own: filter, assignment, evidence, shots, plain data."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.frames import SIGNATURE_BYTES
from dualface_ray.identity import constants as c
from dualface_ray.identity import decode, encode
from dualface_ray.identity.assign import Forecast, assign, pair_cost
from dualface_ray.identity.gallery import Person, embedding_distance, evidence
from dualface_ray.identity.knots import Knot, bends, bent
from dualface_ray.identity.labels import judge
from dualface_ray.identity.motion import Motion, gap_widths, iou
from dualface_ray.identity.overlaps import fill_overlaps
from dualface_ray.identity.refine import between
from dualface_ray.identity.shots import ShotCutter
from dualface_ray.identity.sights import Sight, Track
from dualface_ray.identity.tracker import Tracker
from dualface_ray.settings import Settings

SETTINGS = Settings()


def sight(x: float, y: float = 300, w: float = 100, t: float = 0.0, frame: int = 0, look: int | None = None) -> Sight:
    vector = None if look is None else np.eye(64, dtype=np.float32)[look]
    return Sight(frame, t, (x - w / 2, y - 0.6 * w, x + w / 2, y + 0.6 * w), 0.9, np.zeros((5, 2), np.float32), vector)


def track(number: int, *sights: Sight, person: str = "") -> Track:
    first = sights[0]
    made = Track(number, 0, "start", Motion.start(first.t_s, first.box), first.frame, first.t_s, person=person)
    for one in sights:
        made.see(one)
    return made


# --- motion -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("steps", [[1 / 30] * 60, [1 / 60, 1 / 15, 1 / 30] * 20])
def test_filter_learns_a_constant_speed_at_any_frame_rate(steps: list[float]) -> None:
    t, made = 0.0, track(0, sight(100))
    for step in steps:
        t += step
        made.see(sight(100 + 150 * t, t=t))
    assert made.motion.vx == pytest.approx(150, rel=0.15)
    assert made.motion.x == pytest.approx(100 + 150 * t, abs=4)
    ahead = made.motion.box_at(t + 0.1)
    assert 0.5 * (ahead[0] + ahead[2]) == pytest.approx(100 + 150 * (t + 0.1), abs=6)


def test_velocity_fades_while_hidden_and_spread_grows() -> None:
    made = track(0, sight(100), sight(130, t=0.1), sight(160, t=0.2))
    far = made.motion.box_at(100.0)
    assert 0.5 * (far[0] + far[2]) < 160 + made.motion.vx * c.SPEED_DECAY_S + 1
    assert made.motion.spread(0.3)[0] < made.motion.spread(1.0)[0] < made.motion.spread(2.0)[0]


def test_overlap_measures() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (20, 0, 30, 10)) == 0.0
    assert gap_widths((0, 0, 10, 10), (20, 0, 30, 10)) == pytest.approx(2.0)


# --- assignment ---------------------------------------------------------------------------------------------------
def test_joint_assignment_beats_the_greedy_one() -> None:
    # The left track's nearest face is the right track's only one: taking it first would lose the right track.
    left, right = track(0, sight(100)), track(1, sight(160))
    faces = [sight(140, t=0.1), sight(70, t=0.1)]
    assert assign([left, right], faces, 0.2).face_of == (1, 0)


def test_far_or_resized_faces_are_no_candidates() -> None:
    one = track(0, sight(100))
    assert pair_cost(one, Forecast.of(one, 0.1), sight(600, t=0.1), 0.2) is None
    assert pair_cost(one, Forecast.of(one, 0.1), sight(100, w=250, t=0.1), 0.2) is None
    assert pair_cost(one, Forecast.of(one, 0.1), sight(105, t=0.1), 0.2) is not None


def test_appearance_decides_between_equally_near_faces() -> None:
    one, two = track(0, sight(100, look=1)), track(1, sight(160, look=2))
    result = assign([one, two], [sight(131, t=0.3, look=2), sight(129, t=0.3, look=1)], 0.2)
    assert result.face_of == (1, 0)
    blind = assign([track(0, sight(100)), track(1, sight(160))], [sight(131, t=0.3), sight(129, t=0.3)], 0.2)
    assert blind.margin < c.AMBIGUOUS_MARGIN < result.margin


@given(
    st.lists(st.floats(0, 600), min_size=0, max_size=5),
    st.lists(st.floats(0, 600), min_size=0, max_size=7),
)
@settings(max_examples=60, deadline=None)
def test_assignment_is_valid_and_the_best_of_all(at: list[float], seen: list[float]) -> None:
    tracks = [track(i, sight(x)) for i, x in enumerate(at)]
    faces = [sight(x, t=0.2) for x in seen]
    result = assign(tracks, faces, 0.2)
    used = [j for j in result.face_of if j >= 0]
    assert len(result.face_of) == len(tracks)
    assert len(used) == len(set(used))

    def total(face_of: tuple[int, ...]) -> float:
        cost = 0.0
        for one, j in zip(tracks, face_of, strict=True):
            pair = c.MISS_COST if j < 0 else pair_cost(one, Forecast.of(one, faces[j].t_s), faces[j], 0.2)
            cost += math.inf if pair is None else pair
        return cost

    best = total(result.face_of)
    for i in range(len(tracks)):  # no single change and no exchange is better
        for j in range(-1, len(faces)):
            if j < 0 or j not in used:
                changed = (*result.face_of[:i], j, *result.face_of[i + 1 :])
                assert total(changed) >= best - 1e-9
        for k in range(i):
            swapped = list(result.face_of)
            swapped[i], swapped[k] = swapped[k], swapped[i]
            assert total(tuple(swapped)) >= best - 1e-9


# --- evidence -----------------------------------------------------------------------------------------------------
def unit(rng: np.random.Generator, size: int) -> np.ndarray:
    v = rng.standard_normal(size).astype(np.float32)
    return v / np.linalg.norm(v)


def test_embeddings_outweigh_the_descriptor_and_exclusion_names_the_other() -> None:
    rng = np.random.default_rng(0)
    face_a, face_b = unit(rng, 128), unit(rng, 128)
    a = Person("A", known=True, look_clear=True, look=np.eye(64, dtype=np.float32)[0], embeddings=[face_a])
    b = Person("B", known=True, look_clear=True, look=np.eye(64, dtype=np.float32)[0], embeddings=[face_b])
    one, two = track(0, sight(100, look=0)), track(1, sight(500, look=0))
    two.probes.append(face_a)
    verdicts = judge([one, two], [a, b], SETTINGS, others=False)
    assert [v.label for v in verdicts] == ["B", "A"]
    assert min(v.margin for v in verdicts) >= SETTINGS.identity.decide_margin
    assert verdicts[1].evidence.embedding == pytest.approx(0.0, abs=1e-3)


def test_a_stranger_is_not_taken_for_the_missing_person() -> None:
    rng = np.random.default_rng(1)
    a = Person("A", known=True, embeddings=[unit(rng, 128)])
    guest = track(0, sight(100))
    guest.probes.append(unit(rng, 128))
    (verdict,) = judge([guest], [a], SETTINGS, others=False)
    assert verdict.label == "-"


def test_across_a_cut_position_says_nothing() -> None:
    person = Person("A", known=True, motion=Motion.start(0.0, (0, 0, 100, 120)), last_shot=0)
    one = track(0, sight(50, y=60))
    assert evidence(one, person, SETTINGS, cut_between=True, both_met=False).nats == 0.0
    assert evidence(one, person, SETTINGS, cut_between=False, both_met=False).nats > 0.0


def test_gallery_keeps_its_anchor_and_its_size() -> None:
    rng = np.random.default_rng(2)
    person = Person("A")
    faces = [unit(rng, 128) for _ in range(3 * c.GALLERY_SIZE)]
    for k, face in enumerate(faces):
        person.enrol(face, float(k))
    assert len(person.embeddings) == c.GALLERY_SIZE
    assert person.embeddings[0] is faces[0]
    assert person.embeddings[-1] is faces[-1]
    assert embedding_distance([], person.embeddings) is None
    assert embedding_distance([faces[-1]], [faces[-1]]) == 0.0


# --- shots ----------------------------------------------------------------------------------------------------------
def signature(kind: int, noise: int = 0, brightness: float = 1.0, shift: int = 0) -> np.ndarray:
    picture = np.kron(np.random.default_rng(kind).integers(20, 220, (6, 8)), np.ones((3, 4)))
    picture = np.clip(np.roll(picture, shift, 1) * brightness, 0, 255)
    picture = np.clip(picture + np.random.default_rng(noise).normal(0, 3, picture.shape), 0, 255)
    return np.concatenate([picture.astype(np.uint8).ravel(), np.zeros(SIGNATURE_BYTES - 576, np.uint8)])


def judged(frames: list[np.ndarray], at: int, wait: int = 6) -> bool:
    cutter = ShotCutter(wait)
    for k, frame in enumerate(frames):
        cutter.add(k, frame)
        cutter.forget(min(k, at))
    return cutter.is_cut(at)[0]


def test_hard_cut_and_what_only_looks_like_one() -> None:
    calm = [signature(1, k) for k in range(10)]
    other = [signature(2, k + 50) for k in range(10)]
    assert judged(calm + other, 10)
    assert judged(calm + [signature(2, k, shift=k // 2) for k in range(10)], 10)  # into a moving shot
    flash = [*calm, signature(1, 90, 3.0), signature(1, 91, 2.5), *calm]
    assert not judged(flash, 10)
    assert not judged(flash, 12)
    assert not judged([signature(1, k, 1 + 0.02 * k) for k in range(20)], 10)  # a slow change of light
    pan = [signature(1, k, shift=max(0, 3 * (k - 9))) for k in range(20)]
    assert not judged(pan, 10)
    assert not judged(pan, 14)


def test_short_insert_of_another_shot_is_two_cuts() -> None:
    frames = (
        [signature(1, k) for k in range(10)]
        + [signature(2, k) for k in range(10)]
        + [signature(1, k) for k in range(10)]
    )
    assert judged(frames, 10)
    assert judged(frames, 20)


# --- questions --------------------------------------------------------------------------------------------------------
@given(st.integers(0, 50), st.integers(1, 60), st.floats(0.02, 1.0), st.sampled_from([24.0, 30.0, 60.0]))
@settings(max_examples=80, deadline=None)
def test_questions_lie_between_and_divide_evenly(first: int, gap: int, spacing: float, fps: float) -> None:
    last = first + gap
    frames = between(first, last, first / fps, last / fps, spacing)
    assert frames == sorted(set(frames))
    assert all(first < f < last for f in frames)
    stops = [first, *frames, last]
    assert max(b - a for a, b in itertools.pairwise(stops)) <= max(1, math.ceil(1.3 * spacing * fps))


# --- plain data -------------------------------------------------------------------------------------------------------
@dataclasses.dataclass
class Sample:
    number: float
    pair: tuple[int, str]
    table: dict[int, np.ndarray]
    nothing: None = None


@given(st.floats(allow_nan=False), st.integers(), st.text())
@settings(max_examples=50, deadline=None)
def test_plain_data_comes_back_bit_for_bit(number: float, whole: int, text: str) -> None:
    value = Sample(number, (whole, text), {3: np.array([[number, 1.0]], np.float64)})
    back = decode(json.loads(json.dumps(encode(value))), {"Sample": Sample})
    assert back.number == number
    assert back.pair == (whole, text)
    assert back.table[3].tobytes() == value.table[3].tobytes()
    assert back.table[3].dtype == np.float64


def test_plain_data_refuses_everything_else() -> None:
    with pytest.raises(TypeError):
        encode(object())
    with pytest.raises(KeyError):
        decode({"Path": {}}, {})
    with pytest.raises(ValueError, match="array"):
        decode({"array": ["object", [1], ""]}, {})


def _knot(frame: int, x: float, slope: tuple[float, float] | None) -> Knot:
    return Knot(frame, frame / 25, (x, 100.0, x + 100.0, 220.0), 0.9, 0.0, 0.0, 0, track_id=1, slope=slope)


def test_lunge_between_sights_is_a_cubic_that_does_not_overshoot() -> None:
    """From rest to rest over a width and a half: the way lies between the ends, slow at both."""
    rest, gone = _knot(0, 200.0, (0.0, 0.0)), _knot(8, 350.0, (150.0 / 0.32, 0.0))
    speeds = bends(rest, gone, _knot(16, 350.0, (0.0, 0.0)))
    assert speeds == (0.0, 0.0, 0.0, 0.0)
    way = [bent(rest, gone, frame / 25, speeds)[0] for frame in range(9)]
    assert way[0] == 200.0
    assert way[-1] == pytest.approx(350.0)
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(way))
    assert way[1] - way[0] < 0.5 * 150 / 8, "a lunge begins slowly"
    assert bends(_knot(0, 200.0, None), _knot(8, 203.0, (9.4, 0.0)), None) is None, "slow: a line will do"


def _loose(frame: int, x: float) -> Sight:
    return Sight(frame, frame / 25, (x, 100.0, x + 100.0, 220.0), 0.9, np.zeros((5, 2), np.float32), None)


def test_face_in_an_overlap_is_nobodys_unless_it_clearly_is_somebodys() -> None:
    """One visible face between two paths that lie on each other says nothing; one that follows a path does."""
    for gap, claimed in ((0.0, ""), (45.0, "A")):
        tracker = Tracker(1280.0, 720.0)
        tracker.loose = [_loose(4, 300.0), _loose(6, 300.0)]
        knots = {
            "A": [_knot(0, 300.0, None), _knot(10, 300.0, None)],
            "B": [_knot(0, 300.0 + gap, None), _knot(10, 300.0 + gap, None)],
        }
        fill_overlaps(tracker, knots)
        assert len(knots["A"]) == (4 if claimed == "A" else 2)
        assert len(knots["B"]) == 2
