"""How threads wait for the card: by spinning, or asleep where the environment says so."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from dualface_ray.backends.cuda import waiting
from dualface_ray.errors import SettingsError


class Stream:
    def __init__(self) -> None:
        self.spun = 0

    def synchronize(self) -> None:
        self.spun += 1


class Event:
    made: ClassVar[list[Event]] = []

    def __init__(self, *, block: bool, disable_timing: bool) -> None:
        self.block = block
        self.log: list[Any] = []
        Event.made.append(self)

    def record(self, stream: Any) -> None:
        self.log.append(stream)

    def synchronize(self) -> None:
        self.log.append("slept")


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(waiting, "cupy", lambda: types.SimpleNamespace(cuda=types.SimpleNamespace(Event=Event)))
    monkeypatch.setattr(waiting, "_local", types.SimpleNamespace())
    monkeypatch.delenv(waiting.SWITCH, raising=False)
    waiting.sleeps.cache_clear()
    Event.made.clear()
    yield
    waiting.sleeps.cache_clear()


def test_by_default_it_spins() -> None:
    stream = Stream()
    waiting.wait_for(stream)
    assert stream.spun == 1
    assert not Event.made
    assert waiting.new_event().block is False


def test_asleep_each_thread_has_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waiting.SWITCH, "sleep")
    first, second = Stream(), Stream()
    waiting.wait_for(first)
    waiting.wait_for(second)
    assert first.spun == second.spun == 0
    (event,) = Event.made
    assert event.block is True
    assert event.log == [first, "slept", second, "slept"]
    assert waiting.new_event().block is True


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waiting.SWITCH, "doze")
    with pytest.raises(SettingsError, match="doze"):
        waiting.wait_for(Stream())
