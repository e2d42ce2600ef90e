"""``dualface models build``: what is built, what is said, what is refused; with doubles for the card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import dualface_ray.backends as backends_room
import dualface_ray.models as models_room
from actors.cluster import memory as memory_room
from actors.placement import ClusterSnapshot, decide
from actors.usual import usual_batches
from dualface_ray.cli.models import Wanted, build_some
from dualface_ray.errors import ModelError, RequestError
from dualface_ray.hardware import Gpu
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import Settings, resolve


class Card:
    """In place of the cuda backend."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.batches: list[int] = []

    def build_detector(self, settings: Settings, say: Any) -> list[Path]:
        say("building the detector engine, takes about 2 minutes")
        self.done.append(("detector", settings.detect.model, settings.detect.precision))
        self.batches.append(settings.detect.batch_max)
        return [Path("/cache/a.engine"), Path("/cache/b.engine")]

    def build_embedder(self, settings: Settings, say: Any) -> list[Path]:
        self.done.append(("embedding", settings.identity.embedding_model, "fp32"))
        return [Path("/cache/c.engine")]

    def make_int8(self, settings: Settings, clips: tuple[Path, ...], say: Any) -> Path:
        self.done.append(("int8", settings.detect.model, str(clips[0])))
        if settings.detect.max_ap_loss == 0:
            raise ModelError("int8 loses 0.0100 average precision, at most 0.0000 is allowed")
        return Path("x")


@contextmanager
def with_memory(monkeypatch: pytest.MonkeyPatch, gib: int) -> Iterator[None]:
    """NVML shows one card of this size."""
    monkeypatch.setattr(memory_room, "gpus", lambda: (Gpu(0, "X", "GPU-0", gib << 30, "1"),))
    memory_room._local_cards.cache_clear()
    try:
        yield
    finally:
        memory_room._local_cards.cache_clear()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    found = Card()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(backends_room, "load_backend", lambda name: found)
    monkeypatch.setattr(models_room, "ensure", lambda name, path="", say=None: Path(path or name))
    with with_memory(monkeypatch, 80):
        yield found


def test_the_settings_models_are_built_with_a_line_a_step(card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_some(Wanted()) == 0
    assert card.done == [("detector", "centerface", "fp16"), ("embedding", "dlib-resnet", "fp32")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "centerface: building the detector engine, takes about 2 minutes"
    assert lines[1] == "centerface: ready: /cache/a.engine, /cache/b.engine"
    assert build_some(Wanted(sets=("identity.reid=off",))) == 0
    assert card.done[2:] == [("detector", "centerface", "fp16")]


@pytest.mark.parametrize(
    ("gib", "sets", "batches"),
    [
        (80, (), [64]),
        (8, (), [64, 16]),
        (8, ("detect.batch_max=16",), [16]),
        (80, ("lane.backend=cpu",), [64]),
        (24, (), [64, 16]),
        (24, ("lane.profile=rtx4090",), [64]),
        (1, (), [0]),
    ],
)
def test_engines_are_built_for_what_lanes_on_this_card_are_planned_with(
    card: Card, monkeypatch: pytest.MonkeyPatch, gib: int, sets: tuple[str, ...], batches: list[int]
) -> None:
    """A small card's first plan may be for less than 64 pictures: another engine, which would be built in the job."""
    with with_memory(monkeypatch, gib):
        assert build_some(Wanted(("centerface",), sets=sets)) == 0
    assert card.batches == batches


def test_every_first_plan_of_a_card_finds_its_engine() -> None:
    settings, cluster = resolve(), ClusterSnapshot(cpus=16, gpus=1)
    frames = settings.quota_frames(Fraction(30))
    for gib in (6, 8, 12, 24):

        def cards(*_: object, size: int = gib << 30) -> memory_room.Card:
            return memory_room.Card(size)

        built = usual_batches(settings, cluster, cards)
        for count, pixels in product((1, 3, 5, 16, 40), (1280 * 720, 1920 * 1080, 3840 * 2160)):
            ring = frames * pixels * 3 // 2
            need = VideoNeeds(ring, ring, frames, settings.lookahead_frames(Fraction(30)))
            for lane in decide(settings, cluster, [need] * count, cards=cards).lanes:
                assert lane.memory is not None
                assert lane.memory.plan.shape.batch in built


def test_a_name_a_precision_and_events(card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_some(Wanted(("centerface",), "fp32"), as_json=True) == 0
    assert card.done == [("detector", "centerface", "fp32")]
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["step", "ready"]
    assert events[1]["engines"] == ["/cache/a.engine", "/cache/b.engine"]
    assert all(event["model"] == "centerface" and event["seconds"] >= 0 for event in events)


def test_int8_goes_through_the_gate(card: Card) -> None:
    wanted = Wanted(("centerface",), "int8", (Path("talk.mp4"),))
    assert build_some(wanted) == 0
    assert card.done == [("int8", "centerface", "talk.mp4"), ("detector", "centerface", "int8")]
    with pytest.raises(ModelError, match=r"loses 0\.0100"):
        build_some(Wanted(("centerface",), "int8", (Path("talk.mp4"),), sets=("detect.max_ap_loss=0",)))
    assert len(card.done) == 3, "nothing is built from a refused model"


def test_what_makes_no_sense_is_refused_before_anything_is_built(card: Card) -> None:
    with pytest.raises(RequestError, match="unknown model"):
        build_some(Wanted(("nobody",)))
    with pytest.raises(RequestError, match="clips are for int8"):
        build_some(Wanted(clips=(Path("talk.mp4"),)))
    assert card.done == []
