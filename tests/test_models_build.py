"""``dualface models build``: what is built, what is said, what is refused; with doubles for the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dualface_ray.backends as backends_room
import dualface_ray.models as models_room
from dualface_ray.cli.models import Wanted, build_some
from dualface_ray.errors import ModelError, RequestError
from dualface_ray.settings import Settings


class Card:
    """In place of the cuda backend."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str, str]] = []

    def build_detector(self, settings: Settings, say: Any) -> list[Path]:
        say("building the detector engine, takes about 2 minutes")
        self.done.append(("detector", settings.detect.model, settings.detect.precision))
        return [Path("/cache/a.engine"), Path("/cache/b.engine")]

    def build_embedder(self, settings: Settings, say: Any) -> list[Path]:
        self.done.append(("embedding", settings.identity.embedding_model, "fp32"))
        return [Path("/cache/c.engine")]

    def make_int8(self, settings: Settings, clips: tuple[Path, ...], say: Any) -> Path:
        self.done.append(("int8", settings.detect.model, str(clips[0])))
        if settings.detect.max_ap_loss == 0:
            raise ModelError("int8 loses 0.0100 average precision, at most 0.0000 is allowed")
        return Path("x")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    found = Card()
    monkeypatch.setattr(backends_room, "load_backend", lambda name: found)
    monkeypatch.setattr(models_room, "ensure", lambda name, path="", say=None: Path(path or name))
    return found


def test_the_settings_models_are_built_with_a_line_a_step(card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_some(Wanted()) == 0
    assert card.done == [("detector", "centerface", "fp16"), ("embedding", "dlib-resnet", "fp32")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "centerface: building the detector engine, takes about 2 minutes"
    assert lines[1] == "centerface: ready: /cache/a.engine, /cache/b.engine"
    assert build_some(Wanted(sets=("identity.reid=off",))) == 0
    assert card.done[2:] == [("detector", "centerface", "fp16")]


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
