"""The identity benchmark: rules of scoring on hand-made truth, recorded runs, and real detections against truth."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recorded_runs import LEFT, RIGHT, made_up_run

from dualface_ray.bench import identity as identity_bench
from dualface_ray.bench.recorded import RecordedRun, record
from dualface_ray.bench.replaying import replay
from dualface_ray.bench.scoreboard import IdentityBench
from dualface_ray.bench.scoring import Claim, claims_of, identities, iou, score
from dualface_ray.cli.app import execute
from dualface_ray.demo import SCENES, SceneTruth, TruthFace, TruthFrame, load_faces, render
from dualface_ray.errors import InputError
from dualface_ray.frames import EMBEDDING_SIZE, Faces
from dualface_ray.framing import CanvasPlan, DirectedFrame, FramePlan, TilePlan
from dualface_ray.identity import Box, PersonState, PersonTrack, TrackedFrame
from dualface_ray.settings import Settings

pytest.importorskip("motmetrics")

FRAMES = 40


def truth_of(**changes: object) -> SceneTruth:
    faces = (TruthFace(0, LEFT, 1.0), TruthFace(1, RIGHT, 1.0))
    rows = tuple(TruthFrame(i, i, 0, faces) for i in range(FRAMES))
    truth = SceneTruth(Path("x.mp4"), "hand", 0, 1280, 720, Fraction(1, 25), ("a", "b"), (0, 1), rows)
    return replace(truth, **changes)  # type: ignore[arg-type]


def directed(
    index: int, a: Box | None = LEFT, b: Box | None = RIGHT, *, seen: bool = True, shift: float = 0.0
) -> DirectedFrame:
    state = PersonState.DETECTED if seen else PersonState.PREDICTED

    def track(box: Box | None) -> PersonTrack:
        return PersonTrack(PersonState.ABSENT, None) if box is None else PersonTrack(state, box, 0.9)

    tiles = (
        TilePlan((50.0 + shift, 0.0, 350.0 + shift, 360.0), 0, 0, 960, 1080, "A"),
        TilePlan((400.0, 0.0, 700.0, 360.0), 960, 0, 960, 1080, "B"),
    )
    plan = FramePlan(index, index, (CanvasPlan(1920, 1080, tiles),))
    return DirectedFrame(TrackedFrame(index, index, 0, track(a), track(b)), plan)


def judge(truth: SceneTruth, frames: list[DirectedFrame]):
    return score(truth, frames, detected=16, embedded=2, director_s=0.004)


def test_a_perfect_answer_has_perfect_figures() -> None:
    found = judge(truth_of(), [directed(i) for i in range(FRAMES)])
    assert (found.idf1, found.switches, found.wrong_frames, found.missed_share) == (1, 0, 0, 0)
    assert (found.in_order, found.doubtful_share) == (True, 0)
    assert (found.tiles.inside_share, found.tiles.other_frames, found.tiles.jitter_p95) == (1, 0, 0)
    assert found.tiles.centre_error == pytest.approx(50 / 300, abs=0.09)
    assert found.detect_hz == pytest.approx(16 / (39 / 25))
    assert found.director_us == pytest.approx(100)


def test_letters_may_be_the_other_way_round_but_for_ever() -> None:
    turned = judge(truth_of(), [directed(i, RIGHT, LEFT) for i in range(FRAMES)])
    assert (turned.idf1, turned.wrong_frames, turned.in_order) == (1, 0, False)
    frames = [directed(i) if i < 30 else directed(i, RIGHT, LEFT) for i in range(FRAMES)]
    swapped = judge(truth_of(), frames)
    assert swapped.switches == 2
    assert swapped.wrong_frames == 10
    assert swapped.idf1 == pytest.approx(0.75)
    assert swapped.missed_share == pytest.approx(0.25)


def test_missing_and_misplaced_boxes_cost() -> None:
    missing = judge(truth_of(), [directed(i, b=None if i < 10 else RIGHT) for i in range(FRAMES)])
    assert missing.idf1 == pytest.approx(2 * 70 / (70 + 80))
    assert missing.missed_share == pytest.approx(10 / 80)
    assert missing.wrong_frames == 0
    nowhere = judge(truth_of(), [directed(i, b=(900.0, 400.0, 990.0, 500.0)) for i in range(FRAMES)])
    assert nowhere.idf1 == pytest.approx(0.5)


def test_a_prediction_that_shows_nobody_is_no_claim_but_one_on_the_wrong_person_is_wrong() -> None:
    faces = (TruthFace(0, LEFT, 1.0),)
    alone = truth_of(frames=tuple(TruthFrame(i, i, 0, faces) for i in range(FRAMES)))
    aside = (900.0, 400.0, 990.0, 500.0)
    frames = [directed(i, b=aside) for i in range(FRAMES)]
    predicted = [
        DirectedFrame(replace(f.tracked, b=replace(f.tracked.b, state=PersonState.PREDICTED)), f.plan) for f in frames
    ]
    assert judge(alone, predicted).idf1 == 1
    assert judge(alone, frames).idf1 < 0.7
    on_him = [directed(i, a=None, b=LEFT, seen=False) for i in range(FRAMES)]
    both = [directed(i) for i in range(FRAMES)]
    assert (
        judge(truth_of(), both[:20] + [replace_index(f, 20 + k) for k, f in enumerate(on_him[:20])]).wrong_frames == 20
    )


def replace_index(frame: DirectedFrame, index: int) -> DirectedFrame:
    return DirectedFrame(replace(frame.tracked, frame_index=index), frame.plan)


def test_hidden_faces_are_neither_expected_nor_forbidden() -> None:
    hidden = (TruthFace(0, LEFT, 1.0), TruthFace(1, RIGHT, 0.1))
    truth = truth_of(frames=tuple(TruthFrame(i, i, 0, hidden) for i in range(FRAMES)))
    assert judge(truth, [directed(i) for i in range(FRAMES)]).idf1 == 1
    assert judge(truth, [directed(i, b=None) for i in range(FRAMES)]).idf1 == 1


def test_overlapping_faces_are_an_occlusion_not_a_wrong_person() -> None:
    close: Box = (120.0, 100.0, 220.0, 220.0)
    faces = (TruthFace(0, LEFT, 1.0), TruthFace(1, close, 0.6))
    apart = truth_of().frames
    truth = truth_of(frames=(*apart[:30], *(TruthFrame(i, i, 0, faces) for i in range(30, FRAMES))))
    frames = [directed(i) if i < 30 else directed(i, a=(220.0, 100.0, 300.0, 220.0), b=LEFT) for i in range(FRAMES)]
    assert judge(truth, frames).wrong_frames == 0


def test_bystanders_count_only_against_those_who_should_ignore_them() -> None:
    other: Box = (800.0, 300.0, 900.0, 420.0)
    faces = (*truth_of().frames[0].faces, TruthFace(2, other, 1.0))
    truth = truth_of(frames=tuple(TruthFrame(i, i, 0, faces) for i in range(FRAMES)))
    claims = [[Claim(1, LEFT), Claim(2, RIGHT), Claim(3, other)] for _ in range(FRAMES)]
    assert identities(truth, claims, others_allowed=True).idf1 == 1
    assert identities(truth, claims).idf1 == pytest.approx(0.8)


def test_faces_outside_their_tile_and_shaking_crops_are_seen() -> None:
    outside = judge(truth_of(), [directed(i, shift=120.0 if i < 20 else 0.0) for i in range(FRAMES)])
    assert outside.tiles.inside_share == pytest.approx(0.75)
    shaking = judge(truth_of(), [directed(i, shift=float(i % 2)) for i in range(FRAMES)])
    assert shaking.tiles.jitter_p95 == pytest.approx(2.0)


def test_who_is_first_is_a_wherever_they_sit() -> None:
    later = TruthFace(0, LEFT, 1.0), TruthFace(1, RIGHT, 1.0)
    rows = tuple(TruthFrame(i, i, 0, later[1:] if i < 10 else later) for i in range(FRAMES))
    right_first = truth_of(frames=rows)
    assert judge(right_first, [directed(i, RIGHT, LEFT if i >= 10 else None) for i in range(FRAMES)]).in_order
    assert not judge(right_first, [directed(i, LEFT if i >= 10 else None, RIGHT) for i in range(FRAMES)]).in_order


def test_a_cross_fade_that_shows_somebody_twice_counts_the_face_seen_better() -> None:
    again: Box = (300.0, 100.0, 400.0, 220.0)
    faces = (TruthFace(0, LEFT, 0.6), TruthFace(0, again, 0.4), TruthFace(1, RIGHT, 1.0))
    truth = truth_of(frames=tuple(TruthFrame(i, i, 0, faces) for i in range(FRAMES)))
    on_it = judge(truth, [directed(i) for i in range(FRAMES)])
    assert (on_it.idf1, on_it.tiles.inside_share) == (1, 1)
    beside = judge(truth, [directed(i, a=again) for i in range(FRAMES)])
    assert beside.wrong_frames == 0
    assert beside.idf1 == pytest.approx(2 * FRAMES / (2 * FRAMES + FRAMES))


def test_somebody_else_alone_in_a_close_tile_is_noticed() -> None:
    photo = (TruthFace(102, LEFT, 1.0),)
    truth = truth_of(frames=(*truth_of().frames[:30], *(TruthFrame(i, i, 0, photo) for i in range(30, FRAMES))))
    frames = [directed(i) if i < 30 else directed(i, None, None) for i in range(FRAMES)]
    assert judge(truth, frames).tiles.other_frames == 10
    wide = (0.0, 0.0, 640.0, 720.0)
    for k in range(30, FRAMES):
        canvas = frames[k].plan.canvases[0]
        tiles = tuple(replace(tile, source_px=wide) for tile in canvas.tiles)
        frames[k] = replace(frames[k], plan=replace(frames[k].plan, canvases=(replace(canvas, tiles=tiles),)))
    assert judge(truth, frames).tiles.other_frames == 0


def test_nothing_claimed_is_no_crash() -> None:
    found = judge(truth_of(), [directed(i, None, None) for i in range(FRAMES)])
    assert (found.idf1, found.missed_share) == (0, 1)


# --- recorded runs ------------------------------------------------------------------------------------------------
def test_a_recorded_run_survives_its_file_bit_for_bit(tmp_path: Path) -> None:
    run = made_up_run()
    run.faces[3].boxes_px[:] += 1
    run = replace(
        run,
        faces=(*run.faces[:5], Faces.none(), *run.faces[6:]),
        embeddings=(*run.embeddings[:5], np.zeros((0, EMBEDDING_SIZE), np.float32), *run.embeddings[6:]),
    )
    run.save(tmp_path / "run.npz")
    again = RecordedRun.load(tmp_path / "run.npz")
    assert again.info == run.info
    assert [len(f) for f in again.faces] == [len(f) for f in run.faces]
    for mine, its in zip(run.faces, again.faces, strict=True):
        if len(mine):
            for name in ("boxes_px", "landmarks_px", "scores", "descriptors"):
                assert (getattr(mine, name) == getattr(its, name)).all()
    assert replay(again, Settings()).frames == replay(run, Settings()).frames


@pytest.mark.parametrize("faceless", [True, False])
def test_runs_without_faces_or_with_one_frame(tmp_path: Path, faceless: bool) -> None:
    run = made_up_run(1 if not faceless else 7)
    if faceless:
        none = tuple(np.zeros((0, 0), np.float32) for _ in range(7))
        run = replace(run, faces=tuple(Faces.none() for _ in range(7)), embeddings=none)
    run.save(tmp_path / "run.npz")
    assert len(replay(RecordedRun.load(tmp_path / "run.npz"), Settings()).frames) == len(run)


def test_replay_does_not_depend_on_how_frames_are_cut_into_messages() -> None:
    run = made_up_run()
    whole = replay(run, Settings())
    for chunk in (1, 7, 64):
        other = replay(run, Settings(), chunk_frames=chunk)
        assert (other.frames, other.events, other.detected) == (whole.frames, whole.events, whole.detected)
    assert len(whole.frames) == len(run)
    assert whole.detected < len(run) / 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"{}"])
def test_damaged_runs_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(InputError, match="not a recorded run"):
        RecordedRun.load(tmp_path / "run.npz")
    with pytest.raises(InputError):
        RecordedRun.load(tmp_path / "none.npz")


def test_real_detections_lie_on_the_true_boxes(tmp_path: Path, models: None) -> None:
    """Truth boxes mean what the detector means: median IoU above 0.75 for each person, nobody missed."""
    truth = render(
        SCENES["crossing_lr"], tmp_path / "t.mp4", width_px=960, height_px=540, rate=Fraction(3), duration_s=12.0,
        seed=6, faces=load_faces(),
    )  # fmt: skip
    run = record(truth.path, Settings())
    assert len(run) == len(truth.frames)
    found: dict[int, list[float]] = {0: [], 1: []}
    for frame, faces in zip(truth.frames, run.faces, strict=True):
        for face in frame.faces:
            if face.visible > 0.95:
                found[face.person].append(max((iou(face.box_px, tuple(b)) for b in faces.boxes_px.tolist()), default=0))
    for values in found.values():
        assert len(values) > 20
        assert float(np.median(values)) > 0.75
        assert min(values) > 0.5
    claims = claims_of(replay(run, Settings()).frames)
    assert identities(truth, claims).idf1 > 0.8


@pytest.mark.parametrize(
    ("options", "seeds"),
    [([], [1003]), (["--all-seeds"], [1003, 1004, 1011]), (["--seed=7", "--seed=8"], [7, 8])],
)
def test_the_command_measures_the_variants_it_is_told(options, seeds, monkeypatch, capsys) -> None:
    measured = []
    done = SimpleNamespace(frames=(), detected=0, embedded=0, director_s=0.0)
    monkeypatch.setattr(identity_bench, "cast", lambda split: [])
    monkeypatch.setattr(identity_bench, "recorded_scene", lambda name, seed, *_: measured.append(seed) or (None, None))
    monkeypatch.setattr(identity_bench, "replay", lambda *_: done)
    monkeypatch.setattr(identity_bench, "score", lambda *_, **__: None)
    monkeypatch.setattr(identity_bench.peers, "available", lambda: ())
    monkeypatch.setattr(IdentityBench, "text", lambda self: f"{len(self.results)} scenes\n")
    assert execute(["bench", "identity", "--scene", "cuts", *options]) == 0
    assert measured == seeds
    assert capsys.readouterr().out == f"{len(seeds)} scenes\n"
