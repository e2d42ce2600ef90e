"""What travels between processes arrives as it was sent, bit for bit."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.errors import ActorError
from dualface_ray.frames import (
    SIGNATURE_BYTES,
    Answer,
    Detections,
    Faces,
    FaceTable,
    FrameChunk,
    FrameFlag,
    FrameTicket,
    StreamEnd,
)

COLUMNS = ("boxes_px", "landmarks_px", "scores", "descriptors")


def faces(rng: np.random.Generator, count: int, size: int = 64) -> Faces:
    if not count:
        return Faces.none()
    shapes = ((count, 4), (count, 5, 2), (count,), (count, size))
    return Faces(*(rng.random(shape, np.float32) for shape in shapes))


def same(first: Faces, second: Faces) -> bool:
    pairs = [(getattr(first, name), getattr(second, name)) for name in COLUMNS]
    return all(a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def all_same(first: Sequence[Faces], second: Sequence[Faces]) -> bool:
    return len(first) == len(second) and all(map(same, first, second))


@given(st.lists(st.integers(0, 3), max_size=20), st.data())
def test_a_table_is_the_list_it_was_made_of(counts: list[int], data: st.DataObject) -> None:
    rng = np.random.default_rng(len(counts))
    frames = [faces(rng, count) for count in counts]
    table = FaceTable.of(frames)
    assert all_same(table, frames)
    assert all_same(pickle.loads(pickle.dumps(table, 5)), frames)
    start = data.draw(st.integers(0, len(frames)))
    stop = data.draw(st.integers(start, len(frames)))
    assert all_same(table.part(start, stop), frames[start:stop])
    assert all_same(pickle.loads(pickle.dumps(table.part(start, stop), 5)), frames[start:stop])
    assert all_same(table[start:stop], frames[start:stop])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(frames)), max_size=4)))
    edges = [0, *cuts, len(frames)]
    parts = [table.part(a, b) for a, b in itertools.pairwise(edges)]
    assert all_same(FaceTable.joined(parts), frames)
    assert all_same(list(reversed(table)), frames[::-1])


def test_a_table_is_a_sequence() -> None:
    rng = np.random.default_rng(1)
    frames = [faces(rng, 2), faces(rng, 0), faces(rng, 1)]
    table = FaceTable.of(frames)
    assert same(table[-1], frames[2])
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            table[wrong]
    assert FaceTable.of(table) is table
    assert len(FaceTable.of([])) == len(FaceTable.joined([])) == 0


def test_arrays_that_do_not_fit_together_make_no_table_but_still_travel() -> None:
    rng = np.random.default_rng(2)
    odd = {3: faces(rng, 1, 64), 4: faces(rng, 1, 0)}
    with pytest.raises(ValueError, match="dimension"):
        FaceTable.of(odd.values())
    wide = Faces(*(getattr(odd[3], name).astype(np.float64) for name in COLUMNS))
    with pytest.raises(ValueError, match="float32"):
        FaceTable.of([wide])
    for given_ in (odd, {1: wide}, {}):
        back = pickle.loads(pickle.dumps(Detections(given_), 5))
        assert list(back.by_frame) == list(given_)
        assert all_same(list(back.by_frame.values()), list(given_.values()))


def test_detections_arrive_as_they_were_sent() -> None:
    rng = np.random.default_rng(3)
    frames = [faces(rng, 2), faces(rng, 0), faces(rng, 1)]
    for sent in (
        Detections({7: frames[0], 3: frames[1], 9: frames[2]}),
        Detections.of([7, 3, 9], FaceTable.of(frames)),
    ):
        assert len(sent) == 3
        for back in (sent, pickle.loads(pickle.dumps(Answer(1, sent), 5)).detections):
            assert len(back) == 3
            assert list(back.by_frame) == [7, 3, 9]
            assert [frame for frame, _ in back] == [3, 7, 9]
            assert all_same(list(back.by_frame.values()), frames)


def test_a_chunk_arrives_as_it_was_sent() -> None:
    rng = np.random.default_rng(4)
    tickets = tuple(FrameTicket("pool", n, 2 * n, 100 + n, -(1 << 40) + n, FrameFlag(n % 8)) for n in range(9))
    signatures = rng.integers(0, 256, (9, SIGNATURE_BYTES), np.uint8)
    for chunk in (
        FrameChunk("v", 2, 5, tickets, signatures, decoded_at_s=1.5),
        FrameChunk("v", 2, 6, (), np.zeros((0, SIGNATURE_BYTES), np.uint8), StreamEnd.END),
        FrameChunk("v", 2, 7, tickets[:1], signatures[:1], StreamEnd.ABORT, ActorError("gone", where="x")),
    ):
        back = pickle.loads(pickle.dumps(chunk, 5))
        assert (back.stream_id, back.epoch, back.sequence) == (chunk.stream_id, chunk.epoch, chunk.sequence)
        assert back.tickets == chunk.tickets
        assert all(type(ticket.flags) is FrameFlag for ticket in back.tickets)
        assert np.array_equal(back.signatures, chunk.signatures)
        assert back.signatures.shape == chunk.signatures.shape
        assert (back.end, back.decoded_at_s) == (chunk.end, chunk.decoded_at_s)
        assert str(back.error) == str(chunk.error)
    assert pickle.loads(pickle.dumps(tickets, 5)) == tickets
