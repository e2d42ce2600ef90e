"""Signatures equal their definition; cuts are candidates, and no flash or fade is taken for one in the end."""

from __future__ import annotations

import pickle
from functools import lru_cache

import numpy as np
import pytest
from compose_pictures import slot_of, stream, texture
from hypothesis import given, settings
from hypothesis import strategies as st

from dualface_ray.backends.cpu.signature import signature
from dualface_ray.frames import (
    SIGNATURE_BYTES,
    CutCandidates,
    PixelLayout,
    distance,
    reference_signature,
)
from dualface_ray.identity import ShotCutter

INFO = stream(320, 180)


def sign(slot: np.ndarray) -> np.ndarray:
    out = np.empty(SIGNATURE_BYTES, np.uint8)
    signature(slot, INFO, out)
    return out


# --- the bytes ----------------------------------------------------------------------------------------------------
@given(st.integers(1, 700), st.integers(1, 400), st.sampled_from(list(PixelLayout)), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_backend_gives_the_defined_bytes(width: int, height: int, layout: PixelLayout, seed: int) -> None:
    info = stream(width, height, layout=layout)
    slot = texture(info, np.random.default_rng(seed), 0, 256)
    before, out = slot.copy(), np.empty(SIGNATURE_BYTES, np.uint8)
    signature(slot, info, out)
    assert np.array_equal(out, reference_signature(slot, info))
    assert np.array_equal(slot, before)


def test_ties_of_a_mean_go_to_even() -> None:
    info = stream(512, 144)
    luma = np.zeros((144, 512))
    luma[:8, :8], luma[:8, 8:16] = 10, 11  # the first block: mean 10.5
    luma[:8, 16:24], luma[:8, 24:32] = 11, 12  # the second: 11.5
    found = reference_signature(slot_of(luma, info), info)
    assert (found[0], found[1], found[2]) == (10, 12, 0)


def test_the_layout_is_picture_then_histograms() -> None:
    luma = np.tile(np.linspace(0, 250, 320), (180, 1))
    found = sign(slot_of(luma, INFO, u=128, v=200))
    rows = found[:576].reshape(18, 32).astype(int)
    assert (rows == rows[0]).all()
    assert (np.diff(rows[0]) > 0).all()
    assert found[576:592].min() > 10  # a slope fills all bins of luma
    assert found[592:608].tolist() == [0] * 8 + [255] + [0] * 7
    assert found[608:624].tolist() == [0] * 15 + [255]


def test_ten_bits_sign_like_their_upper_eight() -> None:
    slot = texture(INFO, np.random.default_rng(1))
    deep = stream(320, 180, layout=PixelLayout.P010)
    words = (slot.astype(np.uint16) << 8) | 0xC0
    assert np.array_equal(reference_signature(words, deep), reference_signature(slot, INFO))


def test_a_wrong_output_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        signature(texture(INFO, np.random.default_rng(1)), INFO, np.empty(10, np.uint8))


# --- pictures of shots --------------------------------------------------------------------------------------------
@lru_cache(maxsize=32)
def scene(seed: int) -> np.ndarray:
    """A wide picture (luma 180 x 1600) of soft blobs, to look at through a window."""
    rng = np.random.default_rng(seed)
    y, x = np.arange(180)[:, None], np.arange(1600)[None, :]
    picture = np.full((180, 1600), rng.uniform(50, 120))
    for _ in range(60):
        cx, cy, size = rng.uniform(0, 1600), rng.uniform(-40, 220), rng.uniform(12, 70)
        blob = np.exp(-((y - cy) ** 2) / (2 * size**2)) * np.exp(-((x - cx) ** 2) / (2 * size**2))
        picture += rng.uniform(-70, 90) * blob
    return np.clip(picture, 16, 235)


def view(picture: np.ndarray, left: float, rng: np.random.Generator, u: float = 120, v: float = 140) -> np.ndarray:
    """A frame: the window at ``left``, a head that nods, camera noise."""
    x = round(left)
    frame = picture[:, x : x + 320].copy()
    nod = rng.uniform(-2, 2)
    rows, columns = np.mgrid[0:180, 0:320]
    frame += 60 * np.exp(-((columns - 160) ** 2 / 800 + (rows - 90 - nod) ** 2 / 1200))
    return slot_of(frame + rng.normal(0, 3, frame.shape), INFO, u, v)


def talk(seed: int, frames: int, u: float = 120, v: float = 140) -> list[np.ndarray]:
    """A talking head: signatures of ``frames`` frames of one shot."""
    rng, picture = np.random.default_rng(seed), scene(seed)
    return [sign(view(picture, 500 + 2 * np.sin(n / 5), rng, u, v)) for n in range(frames)]


def candidates(shots: list[np.ndarray]) -> list[int]:
    cuts = CutCandidates()
    return [n for n, one in enumerate(shots) if cuts.push(one)]


def confirmed(shots: list[np.ndarray], span: int = 6) -> list[int]:
    """Those candidates that identity, which sees a little of what follows, takes for cuts."""
    cutter = ShotCutter(span)
    for n, one in enumerate(shots):
        cutter.add(n, one)
    return [n for n in candidates(shots) if cutter.is_cut(n)[0]]


def test_a_talking_head_has_no_cut() -> None:
    for seed in range(3):
        shot = talk(seed, 60)
        assert candidates(shot) == [0]
        assert confirmed(shot) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_hard_cut_is_a_candidate_and_confirmed(seed: int) -> None:
    film = talk(seed, 20) + talk(seed + 100, 20) + talk(seed + 200, 3) + talk(seed + 300, 20)
    assert set(candidates(film)) == {0, 20, 40, 43}
    assert confirmed(film) == [20, 40, 43]


def test_a_cut_in_the_dark_counts() -> None:
    rng = np.random.default_rng(0)
    dark = [slot_of(20 + (scene(s)[:, :320] - 16) / 5, INFO) for s in (1, 2)]
    film = [
        sign(np.clip(dark[n // 15].astype(int) + rng.integers(-1, 2, (270, 320)), 0, 255).astype(np.uint8))
        for n in range(30)
    ]
    assert candidates(film) == [0, 15]


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_flash_is_no_cut(length: int) -> None:
    rng, picture = np.random.default_rng(3), scene(3)
    film = []
    for n in range(40):
        frame = view(picture, 500, rng).astype(int)
        if 20 <= n < 20 + length:
            frame[:180] += 110
        film.append(sign(np.clip(frame, 0, 255).astype(np.uint8)))
    assert 20 in candidates(film)  # seen without knowing the future it may be a cut
    assert confirmed(film) == []


@pytest.mark.parametrize("frames", [25, 12])
def test_a_fade_and_a_dissolve_are_no_cut(frames: int) -> None:
    rng = np.random.default_rng(5)
    one, two, black = scene(5), scene(6), np.full((180, 1600), 16.0)
    film = []
    for start, end in ((one, black), (black, two), (two, one)):
        film += [sign(view(start + (end - start) * n / frames, 500, rng)) for n in range(frames)]
    assert confirmed(film) == []


def test_ordinary_camera_motion_is_rarely_a_candidate() -> None:
    rng, picture = np.random.default_rng(7), scene(7)
    film = [sign(view(picture, 100 + 6 * n, rng)) for n in range(120)]  # half a picture width in a second
    assert len(candidates(film)) <= 3
    assert confirmed(film) == []


def test_cuts_between_moving_cameras_are_found() -> None:
    rng = np.random.default_rng(8)
    film = [sign(view(scene(8), 100 + 5 * n, rng)) for n in range(20)]
    film += [sign(view(scene(9), 900 - 5 * n, rng)) for n in range(20)]
    assert 20 in candidates(film)


def test_candidates_survive_pickling_mid_film() -> None:
    film = talk(1, 10) + talk(2, 10)
    whole, first = CutCandidates(), CutCandidates()
    marks = [whole.push(one) for one in film]
    found = [first.push(one) for one in film[:7]]
    state = pickle.dumps(first)
    assert len(state) < 2000
    second = pickle.loads(state)
    assert found + [second.push(one) for one in film[7:]] == marks


def test_a_buffer_that_is_written_again_does_no_harm() -> None:
    """The decoder may hand the same row of its batch again and again."""
    film, row, cuts = talk(1, 5) + talk(2, 5), np.empty(SIGNATURE_BYTES, np.uint8), CutCandidates()
    found = []
    for one in film:
        row[:] = one
        found.append(cuts.push(row))
    assert found == [True, *[False] * 4, True, *[False] * 4]


def test_distance_is_a_symmetric_measure() -> None:
    a, b = talk(1, 1)[0], talk(2, 1)[0]
    assert distance(a, a) == 0
    assert distance(a, b) == pytest.approx(distance(b, a))
    black, white = np.zeros(SIGNATURE_BYTES, np.uint8), np.full(SIGNATURE_BYTES, 255, np.uint8)
    assert np.isfinite(distance(black, white))
