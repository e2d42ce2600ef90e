"""What an actor raises ends its lane as one line, not as Ray's traceback."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from actors.lane import Lane, LaneState
from dualface_ray.errors import DualfaceError, SharedMemoryError


def test_an_error_of_an_actor_keeps_its_line_and_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = SharedMemoryError("/dev/shm is too small", where="/dev/shm", remedy="Enlarge it.")
    wrapped = RayTaskError("prepare", "Traceback\n  File x\n", cause).as_instanceof_cause()
    assert isinstance(wrapped, DualfaceError), "Ray's wrapper is of both classes: that is the trap"
    died: list[Any] = []

    def fails(_lane: Lane) -> None:
        raise wrapped

    lane = Lane.__new__(Lane)
    lane.plan = SimpleNamespace(lane_id="lane-0")  # type: ignore[assignment]
    lane.state = LaneState.READY
    for name in ("_advance_ready", "_advance_placing", "_advance_starting"):
        if hasattr(Lane, name):
            monkeypatch.setattr(Lane, name, fails)
    monkeypatch.setattr(Lane, "_die", lambda _self, error: died.append(error))
    lane.advance()
    assert died == [cause]
    assert "\n" not in str(died[0])
