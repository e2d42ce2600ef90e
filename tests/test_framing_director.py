"""The Director's contract: order, liveness, message borders, saved sessions, hostile input."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Result, World, drive, during, keys, still

from dualface_ray.errors import ProtocolError
from dualface_ray.frames import SIGNATURE_BYTES, Answer, Detections, Faces, FrameFlag, StreamInfo
from dualface_ray.framing import Director
from dualface_ray.framing.director import STATE_VERSION
from dualface_ray.identity import FrameFact
from dualface_ray.settings import Settings

P, Q = still(400, 300, 160, 0.15), still(900, 320, 170, 0.15, phase=1)


def busy(seed: int = 0, **more: object) -> World:
    """A crossing, a cut, a short absence and a guest in six seconds."""
    p = keys((0, 300, 300, 150), (1, 300, 300, 150), (2.4, 900, 300, 150), (6, 900, 300, 150))
    q = keys((0, 900, 300, 160), (1, 900, 300, 160), (2.4, 300, 300, 160), (6, 300, 300, 160))
    guest = keys((4.6, -120, 350, 220), (5.9, 1300, 350, 220))
    actors = {"P": p, "Q": during(q, (0, 4.0), (4.5, 6)), "R": guest}
    return World(actors, seconds=6, cuts=(3.5,), seed=seed, miss=0.05, **more)  # type: ignore[arg-type]


def same(one: Result, two: Result) -> None:
    assert [f.tracked for f in one.frames] == [f.tracked for f in two.frames]
    assert [f.plan for f in one.frames] == [f.plan for f in two.frames]
    assert one.events == two.events
    assert one.detect_asks == two.detect_asks


WHOLE = {seed: drive(busy(seed), chunks=[16]) for seed in range(2)}


@given(st.integers(0, 1), st.lists(st.integers(1, 40), min_size=1, max_size=6))
@settings(max_examples=12, deadline=None)
def test_message_borders_change_nothing(seed: int, chunks: list[int]) -> None:
    same(WHOLE[seed], drive(busy(seed), chunks=chunks))


def test_late_answers_change_nothing() -> None:
    same(WHOLE[0], drive(busy(0), chunks=[16], late=2))
    same(WHOLE[1], drive(busy(1), chunks=[5], late=6))


@pytest.mark.parametrize("every", [1, 3])
def test_a_restored_session_goes_on_identically(every: int) -> None:
    same(WHOLE[0], drive(busy(0), chunks=[7], save_every=every))


@given(
    lookahead=st.integers(1, 45),
    grid_hz=st.sampled_from([0.5, 3.0, 10.0, 1000.0]),
    fps=st.sampled_from([10, 30, 50]),
    vfr=st.booleans(),
    chunk=st.integers(1, 20),
)
@settings(max_examples=25, deadline=None)
def test_no_frame_is_held_longer_than_the_lookahead(
    lookahead: int, grid_hz: float, fps: int, vfr: bool, chunk: int
) -> None:
    world = World({"P": P, "Q": during(Q, (0, 1), (1.4, 3))}, seconds=2.5, fps=Fraction(fps), vfr=vfr)
    result = drive(
        world,
        Settings(detect={"grid_hz": grid_hz}, identity={"max_detect_hz": 1000.0}),
        chunks=[chunk],
        lookahead=lookahead,
    )
    assert len(result.frames) == len(world.pts)


def facts(count: int, start: int = 0, candidates: frozenset[int] = frozenset({0})) -> list[FrameFact]:
    rng = np.random.default_rng(0)
    return [
        FrameFact(
            k,
            k * 1001,
            FrameFlag.CUT_CANDIDATE if k in candidates else FrameFlag.NONE,
            rng.integers(0, 255, SIGNATURE_BYTES, dtype=np.uint8),
        )
        for k in range(start, start + count)
    ]


INFO = StreamInfo("v", 640, 360, Fraction(1, 30000), Fraction(30000, 1001))


@given(st.lists(st.integers(1, 80), max_size=12, unique=True), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_noise_full_of_cut_candidates_and_unanswered_frames_keeps_moving(cuts: list[int], lookahead: int) -> None:
    director = Director(Settings(), INFO, lookahead)
    returned = 0
    for fact in facts(80, candidates=frozenset({0, *cuts})):
        step = director.push([fact], Detections())
        while step.asks:
            returned += len(step.frames)
            step = director.answer([Answer(ask.ask_id) for ask in step.asks])  # examined: nothing, not even "none"
        returned += len(step.frames)
        assert fact.frame_index + 1 - returned <= lookahead
    step = director.finish()
    while not step.done:
        returned += len(step.frames)
        step = director.answer([Answer(ask.ask_id) for ask in step.asks])
    assert returned + len(step.frames) == 80


def random_faces(rng: np.random.Generator, info: StreamInfo) -> Faces:
    """Faces anywhere, also beyond the frame, tiny, huge, degenerate or not finite."""
    n = int(rng.integers(0, 6))
    boxes = rng.uniform(-200, 900, (n, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(-5, 400, (n, 2)).astype(np.float32)
    if n and rng.random() < 0.2:
        boxes[0, 2] = np.nan if rng.random() < 0.5 else np.inf
    return Faces(
        boxes,
        rng.uniform(0, 600, (n, 5, 2)).astype(np.float32),
        rng.random(n).astype(np.float32),
        rng.random((n, 64)).astype(np.float32),
    )


@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([(640, 360), (361, 643), (33, 17), (2, 2), (4096, 64)]),
    layout=st.sampled_from(["side_by_side", "stacked", "separate"]),
    tile_by=st.sampled_from(["person", "position"]),
    empty=st.sampled_from(["wide", "other"]),
    rotation=st.sampled_from([0, 90]),
)
@settings(max_examples=60, deadline=None)
def test_any_input_gives_windows_inside_the_frame(
    seed: int, size: tuple[int, int], layout: str, tile_by: str, empty: str, rotation: int
) -> None:
    rng = np.random.default_rng(seed)
    info = StreamInfo("v", *size, Fraction(1, 30000), Fraction(30), rotation_deg=rotation)
    config = Settings(framing={"layout": layout, "tile_by": tile_by, "empty_tile": empty})
    director = Director(config, info, 24)
    width, height = info.display_width_px, info.display_height_px
    frames = facts(70, candidates=frozenset(int(k) for k in rng.integers(0, 70, 3)))
    out, asks = [], []

    def take(step) -> bool:
        out.extend(step.frames)
        asks.extend(step.asks)
        return step.done

    done = False
    for k in range(0, 70, 10):
        part = frames[k : k + 10]
        seen = {f.frame_index: random_faces(rng, info) for f in part if rng.random() < 0.3}
        before = {k: [a.copy() for a in (f.boxes_px, f.landmarks_px, f.scores, f.descriptors)] for k, f in seen.items()}
        take(director.push(part, Detections(seen)))
        while asks:
            ask = asks.pop()
            found = Detections({f: random_faces(rng, info) for f in ask.detect})
            take(director.answer([Answer(ask.ask_id, found, rng.random((len(ask.embed), 128)).astype(np.float32))]))
        for index, kept in before.items():  # nothing that came in has been changed
            f = seen[index]
            for one, two in zip(kept, (f.boxes_px, f.landmarks_px, f.scores, f.descriptors), strict=True):
                assert one.tobytes() == two.tobytes()
    done = take(director.finish())
    while not done:
        ask = asks.pop()
        found = Detections({f: random_faces(rng, info) for f in ask.detect})
        done = take(director.answer([Answer(ask.ask_id, found, rng.random((len(ask.embed), 128)).astype(np.float32))]))
    assert [f.frame_index for f in out] == list(range(70))
    for frame in out:
        assert list(frame.plan.canvases)
        assert sorted(t.person for c in frame.plan.canvases for t in c.tiles) == ["A", "B"]
        for canvas in frame.plan.canvases:
            for tile in canvas.tiles:
                x0, y0, x1, y1 = tile.source_px
                assert 0 <= x0 < x1 <= width
                assert 0 <= y0 < y1 <= height
                assert (x1 - x0) / (y1 - y0) == pytest.approx(tile.width_px / tile.height_px, rel=1e-6)
                target = tile.x_px, tile.y_px, tile.width_px, tile.height_px
                assert all(v % 2 == 0 for v in target)
                assert tile.x_px + tile.width_px <= canvas.width_px
                assert tile.y_px + tile.height_px <= canvas.height_px
        for person in (frame.tracked.a, frame.tracked.b):
            assert (person.box_px is None) == (person.state.value == "absent")
            assert person.box_px is None or all(map(math.isfinite, person.box_px))
            assert 0 <= person.score <= 1
        a, b = frame.tracked.a, frame.tracked.b
        if a.state.value == b.state.value == "detected":
            assert a.box_px != b.box_px  # one face is one person


def test_protocol_errors_are_said_clearly() -> None:
    director = Director(Settings(), INFO, 10)
    director.push(facts(5), Detections())
    with pytest.raises(ProtocolError, match="expected frame 5"):
        director.push(facts(1, start=7), Detections())
    with pytest.raises(ProtocolError, match="no open question"):
        director.answer([Answer(99)])
    director.finish()
    with pytest.raises(ProtocolError, match="after the end"):
        director.push(facts(1, start=5), Detections())


def test_wrong_number_of_embeddings_is_refused() -> None:
    world = World({"P": during(P, (0, 2), (3.2, 5)), "Q": Q}, seconds=5)
    director = Director(Settings(identity={"reid": "always"}), world.info(), 30)
    step = director.push(world.facts(), Detections({k: world.detect(k) for k in range(0, 150, 10)}))
    while not step.asks[0].embed:
        found = Detections({f: world.detect(f) for f in step.asks[0].detect})
        step = director.answer([Answer(step.asks[0].ask_id, found)])
    with pytest.raises(ProtocolError, match="embeddings for"):
        director.answer([Answer(step.asks[0].ask_id, embeddings=np.zeros((9, 128), np.float32))])


def test_damaged_or_foreign_sessions_are_refused() -> None:
    good = Director(Settings(), INFO, 10).save()
    assert json.loads(good)["version"] == STATE_VERSION
    for bad in (
        b"",
        b"{",
        b"[]",
        good[: len(good) // 2],
        good.replace(b'"version": %d' % STATE_VERSION, b'"version": %d' % (STATE_VERSION + 1)),
        b'{"version": 1}',
    ):
        with pytest.raises(ProtocolError):
            Director.restore(bad, Settings(), INFO)


def test_an_empty_video_is_done_at_once() -> None:
    step = Director(Settings(), INFO, 10).finish()
    assert step.done
    assert not step.frames


def test_a_session_saved_before_the_end_finishes_in_another_process() -> None:
    world = busy(0)
    director = Director(Settings(), world.info(), 30)
    list_of = world.facts()
    grid = set(world.grid(list_of, Settings()))
    frames = []

    def settle(step) -> None:
        frames.extend(step.frames)
        while step.asks:
            replies = [
                Answer(a.ask_id, Detections({f: world.detect(f) for f in a.detect}))
                if a.detect
                else Answer(a.ask_id, embeddings=world.embed(a))
                for a in step.asks
            ]
            step = director.answer(replies)
            frames.extend(step.frames)

    settle(director.push(list_of[:100], Detections({k: world.detect(k) for k in grid if k < 100})))
    director = Director.restore(director.save(), Settings(), world.info())
    settle(director.push(list_of[100:], Detections({k: world.detect(k) for k in grid if k >= 100})))
    settle(director.finish())
    assert [f.plan for f in frames] == [f.plan for f in WHOLE[0].frames]
