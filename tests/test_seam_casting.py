"""Casting: A and B from sparse frames, or a reason why not; sessions that start with a cast."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from identity_world import World, during, keys, still
from seam_parts import joined, part, recorded, survey, swapped

from dualface_ray.bench.replaying import replay
from dualface_ray.errors import ProtocolError
from dualface_ray.identity import Cast, SurveyedFrame, build_cast, faces_to_embed
from dualface_ray.settings import Settings

P = still(400, 300, 160, 0.15)
Q = still(900, 320, 170, 0.15, phase=1)
ST = Settings()


def cast_of(world: World, every_s: float = 1.0, settings: Settings = ST) -> Cast | str:
    return survey(recorded(world), settings, every_s)


def is_face(cast: Cast, letter: str, world: World, name: str) -> bool:
    role = cast.a if letter == "A" else cast.b
    return all(float(np.linalg.norm(e - world.faces_[name])) < 0.42 for e in role.embeddings)


def test_the_left_one_is_a() -> None:
    world = World({"Q": Q, "P": P}, seconds=8)
    cast = cast_of(world)
    assert isinstance(cast, Cast)
    assert is_face(cast, "A", world, "P")
    assert is_face(cast, "B", world, "Q")
    assert not cast.strangers


def test_who_is_there_first_is_a_wherever_they_sit() -> None:
    world = World({"P": during(P, (3, 12)), "Q": Q}, seconds=12)
    cast = cast_of(world)
    assert isinstance(cast, Cast)
    assert is_face(cast, "A", world, "Q")
    assert cast.seen_before(2.0) == [True, False]
    assert cast.seen_before(10.0) == [True, True]


def test_small_and_passing_people_are_no_principals() -> None:
    guest = keys((4, -150, 350, 250), (7, 1400, 350, 250))
    far = still(640, 150, 60, 0.1)
    world = World({"P": P, "Q": Q, "R": guest, "S": far}, seconds=20)
    cast = cast_of(world)
    assert isinstance(cast, Cast)
    assert is_face(cast, "A", world, "P")
    assert is_face(cast, "B", world, "Q")
    assert cast.strangers


def test_two_who_dress_alike_are_told_apart_by_their_faces() -> None:
    world = World({"P": P, "Q": Q}, seconds=10, look_distance=0.05)
    cast = cast_of(world)
    assert isinstance(cast, Cast)
    assert is_face(cast, "A", world, "P")
    assert is_face(cast, "B", world, "Q")


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (World({"P": P}, seconds=8), "1 person was seen often enough"),
        (World({"P": lambda t: None}, seconds=8), "no people were seen often enough"),
        (World({"P": P, "Q": during(Q, (0, 1.5))}, seconds=8), "1 person was seen often enough"),
        (World({"P": P, "Q": Q, "R": still(650, 310, 150, 0.1)}, seconds=8), "more than two people"),
        (World({"P": during(P, (3, 12)), "Q": during(Q, (2.2, 12))}, seconds=12), ""),
        (World({"P": P, "Q": Q}, seconds=8, face_distance=0.02), "cannot be told apart"),
    ],
)
def test_no_cast_without_certainty(world: World, why: str) -> None:
    cast = cast_of(world)
    if why:
        assert isinstance(cast, str)
        assert why in cast
    else:
        assert isinstance(cast, Cast)


def test_who_came_first_must_have_been_looked_for() -> None:
    world = World({"P": during(P, (9, 40)), "Q": during(Q, (9, 40))}, seconds=40)
    assert isinstance(cast_of(world, 5.0), Cast)
    assert "who of the two is seen first" in str(cast_of(world, 7.0))


def test_no_cast_without_re_identification() -> None:
    world = World({"P": P, "Q": Q}, seconds=8)
    assert "identity.reid" in str(cast_of(world, settings=Settings(identity={"reid": "off"})))


def test_embeddings_are_for_the_faces_that_were_chosen() -> None:
    run = recorded(World({"P": P, "Q": Q}, seconds=4))
    frames = [SurveyedFrame(k, k / 30, run.faces[k]) for k in range(0, 120, 20)]
    crops = faces_to_embed(frames)
    assert len(crops) == 12
    assert "11 embeddings for 12 faces" in str(build_cast(frames, np.zeros((11, 128), np.float32), ST))
    assert isinstance(build_cast(frames, np.zeros((12, 128), np.float32), ST), str)  # no embedding of length 0 counts
    assert isinstance(build_cast([], np.zeros((0, 128), np.float32), ST), str)


def test_many_frames_are_thinned_evenly() -> None:
    run = recorded(World({"P": P, "Q": Q}, seconds=10))
    frames = [SurveyedFrame(k, k / 30, run.faces[k]) for k in range(300)]
    crops = faces_to_embed(frames)
    assert 60 <= len(crops) <= 120
    assert {c.frame_index for c in crops if c.frame_index < 4} >= {0}
    assert max(c.frame_index for c in crops) > 280


def test_a_cast_survives_json() -> None:
    cast = cast_of(World({"P": P, "Q": Q}, seconds=8))
    assert isinstance(cast, Cast)
    again = Cast.from_dict(json.loads(json.dumps(cast.as_dict())))
    assert again.as_dict() == cast.as_dict()
    assert np.array_equal(again.a.embeddings[0], cast.a.embeddings[0])
    for damaged in ({}, {"Cast": {}}, {"Role": {}}, {"array": ["float32", [1], "AAAA"]}, {"tuple": []}):
        with pytest.raises(ProtocolError):
            Cast.from_dict(damaged)


def test_first_tracks_of_a_span_are_proven_by_embedding_in_both_orders() -> None:
    run = recorded(World({"P": P, "Q": Q}, seconds=8))
    cast = survey(run, ST)
    assert isinstance(cast, Cast)
    for who, owner in ((cast, "P"), (swapped(cast), "Q")):
        done = replay(part(run, 100, 240), ST, cast=who)
        assert done.embedded >= 2
        first = done.frames[0].tracked.a.box_px
        assert first is not None
        assert (first[0] < 640) == (owner == "P")


def test_a_bystander_alone_is_nobody_for_a_span_with_a_cast() -> None:
    world = World(
        {"P": during(P, (0, 5)), "Q": during(Q, (0, 5)), "R": during(still(500, 300, 150, 0.1), (5, 9))}, seconds=9
    )
    run = recorded(world)
    cast = survey(run, ST, 0.5)
    assert isinstance(cast, str)  # R is there nearly as much
    longer = World(dict(world.actors), seconds=9)
    first = survey(part(recorded(longer), 0, 150), ST, 0.5)
    assert isinstance(first, Cast)
    alone = replay(part(run, 160, 270), ST, cast=first)
    assert all(f.tracked.a.box_px is None and f.tracked.b.box_px is None for f in alone.frames)
    assert any(f.tracked.a.box_px is not None for f in replay(part(run, 160, 270), ST).frames)


def test_nobody_takes_the_place_of_a_cast_person_who_is_long_away() -> None:
    settings = Settings(identity={"replace_after_s": 2.0})
    world = World({"P": P, "Q": during(Q, (0, 6)), "R": during(still(900, 300, 150, 0.1), (9, 40))}, seconds=40)
    run = recorded(world)
    cast = survey(part(run, 0, 180), settings, 0.5)
    assert isinstance(cast, Cast)
    assert any(e.kind == "replaced" for e in replay(run, settings).events)
    done = replay(run, settings, cast=cast)
    assert not any(e.kind == "replaced" for e in done.events)
    assert all(f.tracked.b.box_px is None for f in done.frames[300:])


def test_the_other_tile_knows_who_had_been_seen_before() -> None:
    settings = Settings(framing={"empty_tile": "other"})
    run = recorded(World({"P": P, "Q": during(Q, (0, 3))}, seconds=12))
    cast = survey(run, settings, 0.5)
    assert isinstance(cast, Cast)
    late = replay(part(run, 200, 360), settings, cast=cast, begin_s=200 / 30)
    early = replay(part(run, 200, 360), settings, cast=cast)
    crops = [[t.source_px for t in done.frames[-1].plan.canvases[0].tiles] for done in (late, early)]
    assert crops[0][0] != crops[0][1]  # B was there: a wide shot
    assert crops[1][0] == crops[1][1]  # nobody has seen B yet: what A's tile shows


def test_a_wrong_cast_is_caught_at_the_seam() -> None:
    run = recorded(World({"P": P, "Q": Q}, seconds=14))
    cast = survey(run, ST)
    assert isinstance(cast, Cast)
    assert joined(run, ST, cast, [200]).complaints == [""]
    (complaint,) = joined(run, ST, cast, [200], other=swapped(cast)).complaints
    assert "90 show the other person" in complaint
    stranger = replace(cast.b, embeddings=(-cast.b.embeddings[0],), look=None)
    (complaint,) = joined(run, ST, cast, [200], other=replace(cast, b=stranger)).complaints
    assert "only one side sees B" in complaint


def test_somebody_frozen_keeps_the_place_that_the_cast_gave() -> None:
    """Without a cast a face that never moves is a picture, and a lively third one takes its place."""
    guest = during(still(640, 250, 120, 0.2), (2, 14))
    run = recorded(World({"P": P, "Q": still(900, 320, 170), "R": guest}, seconds=14, static=("Q",)))
    cast = survey(part(run, 0, 60), ST, 0.25)
    assert isinstance(cast, Cast)
    assert any(e.kind == "replaced" for e in replay(run, ST).events)
    done = replay(run, ST, cast=cast)
    assert not any(e.kind == "replaced" for e in done.events)
    assert all(f.tracked.b.box_px is not None and f.tracked.b.box_px[0] > 700 for f in done.frames)
