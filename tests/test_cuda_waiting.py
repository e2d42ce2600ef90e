"""How a process waits for the card: its lane's plan says it, its environment may say otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors.plan import LanePlan
from dualface_ray.backends import load_backend
from dualface_ray.backends.cuda import waiting
from dualface_ray.errors import SettingsError
from dualface_ray.hardware import thread_budget


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    waiting.choose(sleep=False)


def test_lanes_that_encode_on_the_cpu_leave_their_cores_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = {"lane_id": "l", "backend": "cuda", "cores": 4, "gpus": 1, "streams": 4, "pool_bytes": 1, "pool_slots": 1}

    def asleep(encoder: str, *, discard: bool = False) -> set[bool]:
        plan = LanePlan(**lane, threads=thread_budget(4, 4), encoder=encoder, discard=discard)
        found = set()
        for role in ("decoder", "inference", "encoder"):
            load_backend("cuda", plan.device_plan(role))
            found.add(waiting.sleeps())
        return found

    monkeypatch.delenv(waiting.SWITCH, raising=False)
    assert asleep("cpu") == {True}
    assert asleep("nvenc") == asleep("") == asleep("cpu", discard=True) == {False}
    monkeypatch.setenv(waiting.SWITCH, "spin")
    assert asleep("cpu") == {False}
    monkeypatch.setenv(waiting.SWITCH, "sleep")
    assert asleep("nvenc") == {True}
    monkeypatch.setenv(waiting.SWITCH, "nap")
    with pytest.raises(SettingsError, match="'nap' is no way to wait"):
        asleep("cpu")
