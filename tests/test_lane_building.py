"""A lane on a card builds its engines first, and says how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from actors import bundle as bundle_room
from actors.lane import Lane, LaneState
from actors.placement import ClusterSnapshot, plan_lanes
from actors.steps import lines_of
from dualface_ray.errors import ModelError
from dualface_ray.settings import resolve

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_lines_come_as_they_are_said_and_the_error_last() -> None:
    def work(say: Any) -> None:
        say("one")
        say("two")
        raise ModelError("no")

    lines = lines_of(work)
    assert [next(lines), next(lines)] == ["one", "two"]
    with pytest.raises(ModelError, match="no"):
        next(lines)


class Actor:
    """Every actor of a lane; only the one that builds takes its time."""

    def __init__(self, plan: Any, settings: Any) -> None:
        self._plan = plan

    def build(self) -> Iterator[str]:
        def work(say: Any) -> None:
            say("building the detector engine (640x384, fp16, Card), takes about 2 minutes, once")
            time.sleep(0.6)
            say("kernels chosen (0.6 s)")
            if self._plan.profile == "broken":
                raise ModelError("TensorRT found no implementation for the graph", where="m.onnx")

        yield from lines_of(work)

    def prepare(self) -> None: ...
    def export_pool(self) -> int:
        return 1

    def attach(self, handle: int) -> None: ...
    def seal(self, *attached: None) -> None: ...
    def connect(self, *others: Any) -> None: ...
    def provenance(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ray.init(
        address="local", num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False
    )
    for name in ("DecoderActor", "InferenceActor", "EncoderActor"):
        monkeypatch.setattr(bundle_room, name, ray.remote(max_restarts=0)(Actor))
    yield
    ray.shutdown()


def advance(lane: Lane, until: tuple[LaneState, ...]) -> list[str]:
    texts, deadline = [], time.monotonic() + 60
    while lane.state not in until and time.monotonic() < deadline:
        lane.advance()
        texts.append(lane.text)
        time.sleep(0.05)
    return list(dict.fromkeys(texts))


@pytest.mark.ray
def test_a_lane_says_what_it_builds_and_a_failure_ends_it(card: None) -> None:
    from dataclasses import replace

    settings = resolve()
    (plan,) = plan_lanes(settings, ClusterSnapshot(cpus=2, gpus=1), [1000])
    lane = Lane(plan, settings)
    texts = advance(lane, (LaneState.READY, LaneState.DEAD))
    assert lane.state is LaneState.READY, lane.failure
    assert any("starting: building the detector engine" in text for text in texts), texts
    assert "building" not in lane.text
    lane.close()
    lane = Lane(replace(plan, profile="broken"), settings)
    advance(lane, (LaneState.READY, LaneState.DEAD))
    assert lane.state is LaneState.DEAD
    assert isinstance(lane.failure, ModelError)
    lane.close()
